// From what operators wrote to the set that proxies compile: service names become SPIFFE IDs, groups are resolved, each rule keeps the file
// and line it came from. Call it only on resources in which `validateResources` finds nothing.
import type { CasbinModel, LocatedResource, Origin, PolicyResource, PolicyRule, PolicySet } from '#wire';
import { flattenGroups } from './groups.ts';
import { positionOf } from './problems.ts';
import { resolveSource } from './source.ts';

export interface BuildOptions {
  readonly resources: readonly LocatedResource[];
  readonly trustDomain: string;
  /** Rises with every change of policies or groups. */
  readonly revision: number;
}

export function buildPolicySet({ resources, trustDomain, revision }: BuildOptions): PolicySet {
  const resolve = (texts: readonly string[]): string[] => [
    ...new Set(texts.map((text) => resolveSource(text, trustDomain))),
  ];
  const groups = groupsOf(resources, trustDomain);
  const rules = resources.flatMap(({ resource, origin }) =>
    resource.kind === 'Policy' ? rulesOf(resource, origin, resolve) : [],
  );
  const models = resources.flatMap((located) => modelOf(located, trustDomain, resolve));
  return {
    ...{ revision, rules, groups: Object.fromEntries(groups), ...issuersOf(resources) },
    ...(models.length > 0 ? { models } : {}),
  };
}

function modelOf(
  { resource, origin }: LocatedResource,
  trustDomain: string,
  resolve: (texts: readonly string[]) => string[],
): CasbinModel[] {
  if (resource.kind !== 'CasbinModel') return [];
  const { name, to, model = '', request, rows = [] } = resource;
  const at = origin && positionOf(origin, '');
  return [
    {
      ...{ name, to: resolve([to].flat()), trustDomain, model, rows },
      ...(request ? { request } : {}),
      ...(origin && at ? { source: { file: origin.file, ...at } } : {}),
    },
  ];
}

function issuersOf(resources: readonly LocatedResource[]): Pick<PolicySet, 'issuers'> {
  const issuers = resources.flatMap(({ resource }) => {
    if (resource.kind !== 'JwtIssuer') return [];
    const { issuer, audiences, jwks } = resource;
    return [{ issuer, audiences, keys: jwks?.keys ?? [] }];
  });
  return issuers.length > 0 ? { issuers } : {};
}

/** Each group's members, groups of groups resolved. */
export function groupsOf(
  resources: readonly LocatedResource[],
  trustDomain: string,
): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, readonly string[]>();
  for (const { resource } of resources) {
    if (resource.kind !== 'Group') continue;
    const members = resource.members.map((text) => resolveSource(text, trustDomain));
    groups.set(resource.name, [...new Set(members)]);
  }
  return flattenGroups(groups);
}

function rulesOf(
  policy: PolicyResource,
  origin: Origin | undefined,
  resolve: (texts: readonly string[]) => string[],
): PolicyRule[] {
  const to = resolve(typeof policy.to === 'string' ? [policy.to] : policy.to);
  return policy.rules.map(({ id, effect, shadow, from, methods, paths, ports, when }, index) => {
    const at = origin && positionOf(origin, `/rules/${index}`);
    return {
      policy: policy.name,
      id,
      effect,
      ...(shadow ? { shadow } : {}),
      to,
      from: resolve(from),
      ...(methods ? { methods } : {}),
      ...(paths ? { paths } : {}),
      ...(ports ? { ports } : {}),
      ...(when ? { when } : {}),
      ...(origin && at ? { source: { file: origin.file, ...at } } : {}),
    };
  });
}
