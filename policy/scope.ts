// What one service's proxies must know of the whole policy: rules for calls to it, and rules for calls that it may make. Never less: the
// decisions about calls from or to the service are the same in the scoped set as in the whole one.
import type { SpiffeId } from '#spiffe';
import type { CasbinModel, PolicyRule, PolicySet } from '#wire';
import { basesOf } from './source.ts';

/** `also`: SPIFFE IDs of services for which its proxies decide too, being the only way to them. */
export type Scope = (service: SpiffeId, also?: readonly string[]) => PolicySet;

/** For many services of one set: nothing is looked for in all of the rules but once. */
export function createScope(set: PolicySet): Scope {
  const rulesNaming = new Map<string, number[]>();
  set.rules.forEach(({ to, from }, at) => {
    for (const text of new Set([...to, ...from])) add(rulesNaming, text, at);
  });
  const groupsWith = new Map<string, string[]>();
  for (const [name, members] of Object.entries(set.groups)) for (const member of members) add(groupsWith, member, name);
  // Whom a model lets call only casbin knows: every proxy may have to ask it before a call.
  const { models = [] } = set;

  return (service, also = []) => {
    const own = [service.uri, ...also];
    const direct = new Set(['*', ...own, ...own.flatMap((id) => basesOf(id).map((base) => `${base}/**`))]);
    const groups = [...direct].flatMap((text) => groupsWith.get(text) ?? []).map((name) => `group:${name}`);
    const places = new Set([...direct, ...groups].flatMap((text) => rulesNaming.get(text) ?? []));
    const rules = [...places].sort((one, other) => one - other).map((at) => set.rules[at]!);
    return {
      revision: set.revision,
      rules,
      groups: groupsNamedIn(rules, models, set.groups),
      ...(set.issuers && (rules.some(asksClaims) || models.some(takesClaims)) ? { issuers: set.issuers } : {}),
      ...(models.length > 0 ? { models } : {}),
    };
  };
}

function groupsNamedIn(
  rules: readonly PolicyRule[],
  models: readonly CasbinModel[],
  groups: PolicySet['groups'],
): PolicySet['groups'] {
  const names = new Set<string>();
  const note = (text: string): void => {
    const name = text.startsWith('group:') ? text.slice('group:'.length) : '';
    if (Object.hasOwn(groups, name)) names.add(name);
  };
  for (const { to, from } of rules) for (const text of [...to, ...from]) note(text);
  for (const { to } of models) to.forEach(note);
  return Object.fromEntries([...names].sort().map((name) => [name, groups[name]!]));
}

function add<T>(lists: Map<string, T[]>, key: string, value: T): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

function takesClaims({ request = {} }: CasbinModel): boolean {
  return Object.values(request).some((source) => source.startsWith('jwt:'));
}

function asksClaims({ when }: PolicySet['rules'][number]): boolean {
  return when?.some(({ key }) => key.startsWith('jwt:')) ?? false;
}
