// What one service's proxies must know of the whole policy: rules for calls to it, and rules for calls that it may make. Never less: the
// decisions about calls from or to the service are the same in the scoped set as in the whole one.
import type { SpiffeId } from '#spiffe';
import type { CasbinModel, PolicySet } from '#wire';
import { basesOf } from './source.ts';

/** `also`: SPIFFE IDs of services for which its proxies decide too, being the only way to them. */
export function scopePolicySet(set: PolicySet, service: SpiffeId, also: readonly string[] = []): PolicySet {
  const groups = new Map(Object.entries(set.groups));
  const own = [service.uri, ...also];
  const direct = new Set(['*', ...own, ...own.flatMap((id) => basesOf(id).map((base) => `${base}/**`))]);
  const memberOf = new Set<string>();
  for (const [name, members] of groups) {
    if (members.some((member) => direct.has(member))) memberOf.add(`group:${name}`);
  }
  const holds = (text: string): boolean => direct.has(text) || memberOf.has(text);
  const rules = set.rules.filter((rule) => rule.to.some(holds) || rule.from.some(holds));
  // Whom a model lets call only casbin knows: every proxy may have to ask it before a call.
  const models = set.models ?? [];
  const needed = new Set(
    [...rules.flatMap((rule) => [...rule.to, ...rule.from]), ...models.flatMap((model) => model.to)].filter((text) =>
      text.startsWith('group:'),
    ),
  );
  return {
    revision: set.revision,
    rules,
    groups: Object.fromEntries([...groups].filter(([name]) => needed.has(`group:${name}`))),
    ...(set.issuers && (rules.some(asksClaims) || models.some(takesClaims)) ? { issuers: set.issuers } : {}),
    ...(models.length > 0 ? { models } : {}),
  };
}

function takesClaims({ request = {} }: CasbinModel): boolean {
  return Object.values(request).some((source) => source.startsWith('jwt:'));
}

function asksClaims({ when }: PolicySet['rules'][number]): boolean {
  return when?.some(({ key }) => key.startsWith('jwt:')) ?? false;
}
