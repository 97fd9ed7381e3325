// A caller's own, smaller index of a large set: only the rules that can match it at the service it calls, so that a decision stays in the
// processor's cache. Made when it first calls the service, within milliseconds and bounded memory; whoever has none uses the index of all.
import type { Peer } from './peers.ts';
import { anyPath, type ReadRule } from './rule.ts';
import { basesOf } from './source.ts';
import { createNode, insert, type Node } from './trie.ts';

export interface RuleIndex {
  /** One trie for each destination text: an ID, a prefix or `*`. */
  readonly destinations: Map<string, Node<ReadRule>>;
  /** Destinations of rules that ask about tokens. */
  readonly asking: ReadonlySet<string>;
  /** Rules by the number of a source that they name. */
  readonly bySource: readonly (readonly ReadRule[] | undefined)[];
}

/** The peer that every place of a narrow index holds for. */
export const everyEntry: Peer = { tokens: [0], holds: new Set([0]) };

/** Sets of at most this many rules are small enough as they are. */
export const smallSet = 1_000;
/** The most rules of one caller that are put into an index of its own: about a millisecond of work. */
const mostRules = 1_000;
/** The most rules in all such indexes of one program, some ten megabytes. After that, callers that come later use the index of all. */
const mostKept = 64_000;

/** Gives the narrow index, or `undefined` where there is none. The answers are the same with and without. */
export function createNarrow({ index, isLarge }: { readonly index: RuleIndex; readonly isLarge: boolean }) {
  const kept = new WeakMap<Peer, Map<string, Node<ReadRule> | undefined>>();
  let left = isLarge ? mostKept : 0;

  function build(peer: Peer, to: string): Node<ReadRule> | undefined {
    let rules = 0;
    for (const token of peer.tokens) rules += index.bySource[token]?.length ?? 0;
    if (rules > mostRules || rules > left) return undefined;
    left -= Math.max(1, rules);
    const root = createNode<ReadRule>();
    const called = new Set([to, '*', ...basesOf(to).map((base) => `${base}/**`)]);
    const seen = new Set<ReadRule>();
    for (const token of peer.tokens) {
      for (const item of index.bySource[token] ?? []) {
        if (seen.has(item) || !item.to.some((text) => called.has(text))) continue;
        seen.add(item);
        for (const { steps, rest } of item.templates ?? anyPath)
          insert(root, { steps, rest, methods: item.methods, sources: everyEntry.tokens, item });
      }
    }
    return root;
  }

  return (peer: Peer, to: string): Node<ReadRule> | undefined => {
    if (!isLarge) return undefined;
    const byService = kept.get(peer) ?? new Map<string, Node<ReadRule> | undefined>();
    if (byService.size === 0) kept.set(peer, byService);
    if (byService.has(to)) return byService.get(to);
    // What a caller asks about that no rule names must not fill memory.
    if (left <= 0 || byService.size >= 1_024) return undefined;
    const own = build(peer, to);
    byService.set(to, own);
    return own;
  };
}
