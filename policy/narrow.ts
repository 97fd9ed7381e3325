// A caller's own, smaller index of a large set: only the rules that can match it at the service it calls, so that a decision stays in the
// processor's cache. Made a little with each of its first decisions, within bounded memory; whoever has none yet uses the index of all.
import type { PolicyRule } from '#wire';
import type { Peer } from './peers.ts';
import { anyPath } from './rule.ts';
import type { Indexed, RuleIndex } from './rule-index.ts';
import { readTemplate, type Template } from './template.ts';
import { createNode, type Entry, insert, type Node } from './trie.ts';

/** The peer that every place of a narrow index holds for. */
export const everyEntry: Peer = { tokens: [0], holds: new Set([0]) };

/** Sets of at most this many rules are small enough as they are. */
export const smallSet = 1_000;
/** The most rules that can be a caller's and are put into an index of its own. */
const mostRules = 6_000;
/** The most rules in all such indexes of one program, some twenty-five megabytes. After that, callers that come later use the index of all. */
const mostKept = 120_000;
/** Rules that are looked at for each decision until it is whole: a tenth of a millisecond, however many there are. */
const perDecision = 64;

interface Growing {
  readonly root: Node<Indexed>;
  /** Of the caller's sources, those whose rules are still to be looked at, and how far the first of them is. */
  tokens: readonly number[];
  at: number;
}

export interface NarrowOptions {
  /** All of the set. */
  readonly rules: readonly PolicyRule[];
  readonly index: RuleIndex;
  readonly isLarge: boolean;
}

/** Gives the narrow index, or `undefined` where there is none, or none yet. The answers are the same with and without. */
export function createNarrow({ rules, index, isLarge }: NarrowOptions) {
  const kept = new WeakMap<Peer, Map<string, Growing | undefined>>();
  let left = isLarge ? mostKept : 0;

  function begin(peer: Peer): Growing | undefined {
    let count = 0;
    for (const token of peer.tokens) count += index.bySource[token]?.length ?? 0;
    if (count > mostRules || count > left) return undefined;
    left -= Math.max(1, count);
    return { root: createNode<Indexed>(), tokens: peer.tokens, at: 0 };
  }

  /** A rule of two of the caller's sources is there twice; whoever looks asks for each rule once. */
  function grow(growing: Growing, to: string): void {
    let work = perDecision;
    while (growing.tokens.length > 0 && work > 0) {
      const named = index.bySource[growing.tokens[0]!] ?? [];
      for (; growing.at < named.length && work > 0; work--) add(growing.root, named[growing.at++]!, to);
      if (growing.at >= named.length) [growing.tokens, growing.at] = [growing.tokens.slice(1), 0];
    }
  }

  function add(root: Node<Indexed>, item: Indexed, to: string): void {
    if (!item.to.some((text) => text === to || text === '*' || (text.endsWith('/**') && covers(text, to)))) return;
    const { paths, methods } = rules[item.index]!;
    const entry: Entry<Indexed> = { methods, sources: everyEntry.tokens, item };
    for (const template of paths ? paths.map(templateOf) : anyPath) insert(root, template, entry);
  }

  return (peer: Peer, to: string): Node<Indexed> | undefined => {
    if (!isLarge) return undefined;
    const byService = kept.get(peer) ?? new Map<string, Growing | undefined>();
    if (byService.size === 0) kept.set(peer, byService);
    let own = byService.get(to);
    if (!own) {
      // What a caller asks about that no rule names must not fill memory.
      if (byService.has(to) || left <= 0 || byService.size >= 1_024) return undefined;
      own = begin(peer);
      byService.set(to, own);
      if (!own) return undefined;
    }
    if (own.tokens.length > 0) grow(own, to);
    return own.tokens.length > 0 ? undefined : own.root;
  };
}

/** Whether the prefix holds the ID, by whole segments. */
function covers(prefix: string, id: string): boolean {
  const base = prefix.slice(0, -3);
  return id === base || id.startsWith(`${base}/`);
}

function templateOf(path: string): Template {
  const template = readTemplate(path);
  // It was read when the set was compiled.
  if (typeof template === 'string') throw new TypeError(template);
  return template;
}
