// What a set of resources can speak of: its clusters, and the services that there are.
import { suggest } from '#base/suggest';
import { readSource } from '#policy';
import type { ClusterResource, LocatedResource } from '#wire';
import { hostOf } from '../service-host.ts';

export interface Known {
  readonly trustDomain: string;
  readonly clusters: ReadonlyMap<string, ClusterResource>;
  /** Enrolled, or about to be. `undefined`: nobody has said, so any name may be one. */
  readonly services: ReadonlySet<string> | undefined;
  /** Whether a name may be that of a service: it is one, or a policy speaks of it. */
  isService(name: string): boolean;
  /** The nearest of these names, for people who have mistyped one; of the first few, since looking for it among thousands is not free. */
  nearest(name: string, names: () => Iterable<string>): string | undefined;
  /** The service whose own host this is. */
  ownerOf(host: string): string | undefined;
}

export function createKnown(
  resources: readonly LocatedResource[],
  o: { readonly trustDomain: string; readonly services: ReadonlySet<string> | undefined },
): Known {
  const clusters = new Map<string, ClusterResource>();
  for (const { resource } of resources)
    if (resource.kind === 'Cluster' && !clusters.has(resource.name)) clusters.set(resource.name, resource);
  const named = new Set([...(o.services ?? []), ...servicesNamedIn(resources, o.trustDomain)]);
  const owners = new Map([...(o.services ?? [])].map((service) => [hostOf(service), service]));
  let hints = 20;
  return {
    ...{ trustDomain: o.trustDomain, clusters, services: o.services },
    nearest: (name, names) => (hints-- > 0 ? suggest(name, names()) : undefined),
    isService: (name) => o.services === undefined || named.has(name),
    ownerOf: (host) => owners.get(host),
  };
}

/** A cluster whose endpoints are not instances of a service. */
export function isOutside({ endpoints }: Pick<ClusterResource, 'endpoints'>): boolean {
  return endpoints !== 'enrolled';
}

/** The services that policies and groups speak of by name: those may be written before anything is enrolled. */
export function servicesNamedIn(resources: readonly LocatedResource[], trustDomain: string): ReadonlySet<string> {
  const names = new Set<string>();
  const own = `spiffe://${trustDomain}/`;
  const add = (text: string): void => {
    const source = readSource(text);
    if (typeof source === 'string') return;
    if (source.kind === 'service') names.add(source.name);
    else if (source.kind === 'id' && source.uri.startsWith(own)) names.add(source.uri.slice(own.length));
  };
  for (const { resource } of resources) {
    if (resource.kind === 'Group') resource.members.forEach(add);
    if (resource.kind !== 'Policy' && resource.kind !== 'CasbinModel') continue;
    [resource.to].flat().forEach(add);
    if (resource.kind === 'Policy') for (const { from } of resource.rules) from.forEach(add);
  }
  return names;
}
