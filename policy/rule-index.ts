// Where the rules of a program are found again: one trie for each destination text, and the rules of each source. A rule is read and put into its places
// in one go, so that hardly anything that was made on the way lives longer than it, the rule itself neither.
import type { PolicySet } from '#wire';
import { fail } from './errors.ts';
import { anyPath, asksClaims, nameOf, openRules, type ReadRule } from './rule.ts';
import { createNode, distinct, type Entry, getOrAdd, insert, type Node } from './trie.ts';

/** What a program keeps of a rule: no more than a decision needs, for the set may be text and each of its rules an object of a moment. */
export interface Indexed extends Pick<ReadRule, 'index' | 'deny' | 'shadow' | 'to' | 'ports' | 'conditions'> {
  /** With the policy's name it is the rule's: most rules are never named, and so have no text of their own for it. */
  readonly id: string;
  readonly policy: string;
}

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

/** Places that are taken in one step: hardly any work, but for each of them a map may have to grow, which takes a millisecond when it is large. */
const perStep = 4;

/** Throws `POLICY_INVALID` as `readRules`, and for too many places: before it takes those of the rule with which they are too many. */
export function* indexRules(set: PolicySet, tokenOf: (source: string) => number): Generator<void, RuleIndex> {
  const readRule = yield* openRules(set);
  const destinations = new Map<string, Node<Indexed>>();
  const bySource: Indexed[][] = [];
  const asking = new Set<string>();
  const shared = createShared();
  let [index, entries, work] = [0, 0, 0];
  for (const rule of set.rules) {
    const { deny, shadow, to, from, methods, templates = anyPath, ports, conditions } = readRule(rule, index);
    const { policy, id } = rule;
    const item = { index, deny, shadow, to: shared.list(to), ports, conditions, id, policy: shared.text(policy) };
    const sources = distinct(from).map(tokenOf);
    const reached = distinct(item.to);
    const entry: Entry<Indexed> = { methods, sources, item };
    const perTemplate = sources.length * (methods?.length ?? 1);
    index++;
    entries += reached.length * templates.length * perTemplate;
    if (entries > mostEntries) {
      const reason = `${nameOf(rule)}: too many combinations; name a group instead of a list`;
      throw fail('POLICY_INVALID', { reason });
    }
    for (const source of sources) {
      const named = bySource[source];
      if (named) named.push(item);
      else bySource[source] = [item];
    }
    for (const destination of reached) {
      if (asksClaims(item)) asking.add(destination);
      const root = getOrAdd(destinations, destination, createNode<Indexed>);
      for (const template of templates) {
        insert(root, template, entry);
        work += perTemplate;
        if (work <= perStep) continue;
        work = 0;
        yield;
      }
    }
  }
  return { destinations, bySource, asking };
}

/** One text, and one list of it alone, for all rules that say the same: each comes with a rule of its own. */
function createShared() {
  const texts = new Map<string, string>();
  const lists = new Map<string, readonly string[]>();
  const text = (given: string): string => getOrAdd(texts, given, () => given);
  const list = (given: readonly string[]): readonly string[] =>
    given.length === 1 ? getOrAdd(lists, given[0]!, () => given) : given.map(text);
  return { text, list };
}
