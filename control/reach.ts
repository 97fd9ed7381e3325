// Which services may a service be able to call? Those that some allow rule or Casbin model may admit it to, whatever the method, path or condition.
import type { PolicySet } from '#wire';

/** Called services as SPIFFE IDs, and as patterns (`*`, `spiffe://td/prefix/**`) where a rule's `to` has one. */
export interface Reach {
  readonly ids: readonly string[];
  readonly patterns: readonly string[];
}

export function reachOf(set: PolicySet, service: string): Reach {
  const ids = new Set<string>();
  const patterns = new Set<string>();
  for (const rule of set.rules) {
    if (rule.effect !== 'allow' || rule.shadow) continue;
    if (!rule.from.some((source) => isMatch(source, service, set.groups))) continue;
    const targets = rule.to.flatMap((target) => (target.startsWith('group:') ? membersOf(target, set.groups) : target));
    for (const target of targets) (isPattern(target) ? patterns : ids).add(target);
  }
  // Whom a Casbin model admits only casbin can tell, for each call: so it may be anybody.
  for (const target of (set.models ?? []).flatMap(({ to }) => to)) {
    const targets = target.startsWith('group:') ? membersOf(target, set.groups) : [target];
    for (const each of targets) (isPattern(each) ? patterns : ids).add(each);
  }
  return { ids: [...ids], patterns: [...patterns] };
}

/** The reachable services among those that are known, and the named ones that are not known yet; sorted. */
export function expandReach({ ids, patterns }: Reach, known: Iterable<string>): string[] {
  if (patterns.length === 0) return [...ids].sort();
  const all = new Set(ids);
  for (const service of known) if (patterns.some((pattern) => isMatch(pattern, service, {}))) all.add(service);
  return [...all].sort();
}

/** Groups are flat on the wire: their members are IDs, prefixes and `*`. */
function isMatch(source: string, service: string, groups: PolicySet['groups']): boolean {
  if (source === '*') return true;
  if (source.startsWith('group:')) return membersOf(source, groups).some((member) => isMatch(member, service, {}));
  return source.endsWith('/**') ? service.startsWith(source.slice(0, -2)) : source === service;
}

function membersOf(group: string, groups: PolicySet['groups']): readonly string[] {
  const name = group.slice('group:'.length);
  return Object.hasOwn(groups, name) ? groups[name]! : [];
}

function isPattern(target: string): boolean {
  return target === '*' || target.endsWith('/**');
}
