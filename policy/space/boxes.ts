// The rules of a set as boxes of the request space: groups resolved, shadow rules left out, since they decide nothing.
import type { PolicySet } from '#wire';
import { type ReadRule, readRules } from '../rule.ts';
import type { Box } from './cells.ts';

export interface RuleBox extends Box {
  readonly rule: ReadRule;
}

/** Throws `POLICY_INVALID`. Rules with the same sources share one list. */
export function boxesOf(set: PolicySet): RuleBox[] {
  const groups = new Map(Object.entries(set.groups));
  const lists = new Map<string, readonly string[]>();
  const resolve = (sources: readonly string[]): readonly string[] => {
    const key = sources.join('\n');
    let list = lists.get(key);
    if (!list) {
      const all = sources.flatMap((text) => (text.startsWith('group:') ? groups.get(text.slice(6))! : [text]));
      list = [...new Set(all)];
      lists.set(key, list);
    }
    return list;
  };
  return readRules(set).flatMap((rule) =>
    rule.shadow
      ? []
      : [{ rule, to: resolve(rule.to), from: resolve(rule.from), methods: rule.methods, templates: rule.templates }],
  );
}
