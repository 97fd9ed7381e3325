// Where the rules of a program are found again: one trie for each destination text, and the rules of each source. A rule is read and put into its places
// in one go, so that hardly anything that was made on the way lives longer than it; a set with too many places is refused before it takes the first.
import type { PolicyRule, PolicySet } from '#wire';
import { fail } from './errors.ts';
import { anyPath, asksClaims, nameOf, openRules, type ReadRule, resolveTo } from './rule.ts';
import { createNode, getOrAdd, insert, type Node } from './trie.ts';

/** What a program keeps of a rule: without the templates, which are most of it and are all in the index, and without what `written` says. */
export type Indexed = Omit<ReadRule, 'name' | 'templates' | 'methods' | 'from'>;

export interface RuleIndex {
  /** One trie for each destination text: an ID, a prefix or `*`. */
  readonly destinations: Map<string, Node<Indexed>>;
  /** Destinations of rules that ask about tokens. */
  readonly asking: ReadonlySet<string>;
  /** Rules by the number of a source that they name. */
  readonly bySource: readonly (readonly Indexed[] | undefined)[];
}

/** The most places in the index that one set may take, so that a rule of a million combinations is refused, not swallowed. */
export const mostEntries = 5_000_000;

/** Places that are taken in one step: a quarter of a millisecond's work. */
const perStep = 64;

/** Throws `POLICY_INVALID` as `readRules`. */
export function* indexRules(set: PolicySet, tokenOf: (source: string) => number): Generator<void, RuleIndex> {
  yield* assertBounded(set);
  const readRule = yield* openRules(set);
  const destinations = new Map<string, Node<Indexed>>();
  const bySource: Indexed[][] = [];
  const asking = new Set<string>();
  let work = 0;
  for (const [index, rule] of set.rules.entries()) {
    const { deny, shadow, to, from, methods, templates = anyPath, ports, conditions } = readRule(rule, index);
    const item: Indexed = { index, deny, shadow, to, ports, conditions, written: rule };
    const sources = distinct(from).map(tokenOf);
    for (const source of sources) {
      const named = bySource[source];
      if (named) named.push(item);
      else bySource[source] = [item];
    }
    const perTemplate = (methods?.length ?? 1) * sources.length;
    for (const destination of distinct(to)) {
      if (asksClaims(item)) asking.add(destination);
      const root = getOrAdd(destinations, destination, createNode<Indexed>);
      for (const { steps, rest } of templates) {
        insert(root, { steps, rest, methods, sources, item });
        work += perTemplate;
        if (work <= perStep) continue;
        work = 0;
        yield;
      }
    }
  }
  return { destinations, bySource, asking };
}

/** Before the first place is taken, and of rules as they are written: what is refused must not have cost its memory. */
function* assertBounded({ rules, groups }: PolicySet): Generator<void, void> {
  const byName = new Map(Object.entries(groups));
  let entries = 0;
  for (const [index, rule] of rules.entries()) {
    if (index % 256 === 255) yield;
    entries += placesOf(rule, byName);
    if (entries <= mostEntries) continue;
    throw fail('POLICY_INVALID', { reason: `${nameOf(rule)}: too many combinations; name a group instead of a list` });
  }
}

function placesOf(rule: PolicyRule, groups: ReadonlyMap<string, readonly string[]>): number {
  const { to, from, paths = anyPath, methods = anyPath } = rule;
  // What is no list is refused when it is read.
  if (!Array.isArray(to) || !Array.isArray(from)) return 0;
  return distinct(resolveTo(rule, groups)).length * distinct(from).length * paths.length * methods.length;
}

/** Each text once. Most lists have one alone. */
function distinct(texts: readonly string[]): readonly string[] {
  return texts.length === 1 ? texts : [...new Set(texts)];
}
