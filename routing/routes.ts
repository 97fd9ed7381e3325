// Where a name leads: the virtual host that a request is for, and the first of its routes that matches. A name that two claim leads nowhere.
import { isDeepStrictEqual } from 'node:util';
import { suggest } from '#base/suggest';
import { parseSpiffeId } from '#spiffe';
import type { ClusterEntry, ServiceEntry, VirtualServiceEntry } from '#wire';
import type { Asked, HttpAction, TunnelAction } from './action.ts';
import { compileVirtualHost } from './virtual-host.ts';

export interface VirtualHost {
  /** Of the virtual service. */
  readonly name: string;
  /** What it was made of; of a service or cluster that nobody wrote one for, the one that stands for it. */
  readonly entry: VirtualServiceEntry;
  /** SPIFFE ID of the service that a call to this host is a call to: what policy decides on before any route is looked at. */
  readonly id: string;
  /** The application's port of that service, when it has exactly one. */
  readonly port: number | undefined;
  http(asked: Asked): HttpAction | undefined;
  tcp(asked: Pick<Asked, 'from' | 'port'>): TunnelAction | undefined;
  tls(asked: Pick<Asked, 'from' | 'port'> & { readonly sni: string }): TunnelAction | undefined;
}

/** A cluster as it was declared, or with every default when a service has none. */
export interface RoutedCluster {
  readonly name: string;
  /** SPIFFE ID of its service. */
  readonly id: string;
  readonly entry: ClusterEntry | undefined;
  /** Present when its endpoints are the enrolled instances of a service. */
  readonly service: ServiceEntry | undefined;
}

export interface Routes {
  /** By exact host, then by the longest `*.` pattern. */
  byHost(host: string): VirtualHost | undefined;
  /** By the name of a service, a virtual service or a cluster: of ports of their own. */
  byName(name: string): VirtualHost | undefined;
  readonly clusters: ReadonlyMap<string, RoutedCluster>;
  readonly virtualHosts: readonly VirtualHost[];
  /** The nearest known host, for people who have mistyped one. */
  nearest(host: string): string | undefined;
}

export interface RoutesOptions {
  /** Those in force so far: what has not changed is not compiled again. */
  readonly before?: Routes | undefined;
  readonly services: readonly ServiceEntry[];
  readonly clusters: readonly ClusterEntry[];
  readonly virtualServices: readonly VirtualServiceEntry[];
}

/**
 * Every service and every cluster that no virtual service speaks for gets one with defaults. Throws when an entry makes no sense: a snapshot is
 * taken whole or not at all.
 */
export function compileRoutes({ services, clusters: declared, virtualServices, before }: RoutesOptions): Routes {
  const clusters = clustersOf(services, declared);
  const owners = new Map<string, string>();
  for (const { id, hosts } of services) for (const host of hosts) owners.set(host, id);
  const claims = new Map<string, Claim>();
  for (const entry of virtualServices) {
    if (claims.has(entry.name)) throw new TypeError(`the virtual service ${entry.name} comes twice`);
    claims.set(entry.name, { entry, hosts: new Set(entry.hosts) });
  }
  const claimed = new Set(virtualServices.flatMap(({ hosts }) => hosts));
  /** What speaks for this name: the virtual service of it, which also gets those of its hosts that nobody claims; a new one otherwise. */
  const speakFor = (o: { name: string; id: string; hosts: readonly string[] }): void => {
    const free = o.hosts.filter((host) => !claimed.has(host));
    const own = claims.get(o.name);
    if (own && own.entry.id === o.id) for (const host of free) own.hosts.add(host);
    else if (!own && (free.length > 0 || o.hosts.length === 0))
      claims.set(o.name, { entry: { name: o.name, id: o.id, hosts: free }, hosts: new Set(free) });
  };
  for (const { id, hosts } of services) speakFor({ name: serviceOf(id), id, hosts });
  for (const { name, id, hosts = [] } of declared) speakFor({ name, id, hosts });

  const ports = new Map(services.map((service) => [service.id, service.ports]));
  const byHost = new Map<string, VirtualHost | undefined>();
  const byName = new Map<string, VirtualHost>();
  for (const [name, { entry, hosts }] of claims) {
    const behind = ports.get(entry.id) ?? [];
    const port = behind.length === 1 ? behind[0] : undefined;
    const virtualHost = compileOrKeep({ entry: withDefaults(entry, clusters), port }, before?.byName(name));
    byName.set(name, virtualHost);
    for (const host of hosts) {
      const isStolen = owners.has(host) && owners.get(host) !== entry.id;
      byHost.set(host, isStolen || byHost.has(host) ? undefined : virtualHost);
    }
  }
  // A service whose host another virtual service of it has claimed is found by its name all the same.
  for (const { id, hosts } of services) {
    const [found] = hosts.flatMap((host) => byHost.get(host) ?? []);
    if (found && !byName.has(serviceOf(id))) byName.set(serviceOf(id), found);
  }
  for (const { name, hosts = [] } of declared) {
    const [found] = hosts.flatMap((host) => byHost.get(host) ?? []);
    if (found && !byName.has(name)) byName.set(name, found);
  }
  const hasWildcards = [...byHost.keys()].some((host) => host.startsWith('*.'));
  return {
    byHost(host) {
      if (!hasWildcards || byHost.has(host)) return byHost.get(host);
      for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) {
        const pattern = `*${host.slice(dot)}`;
        if (byHost.has(pattern)) return byHost.get(pattern);
      }
      return undefined;
    },
    byName: (name) => byName.get(name),
    clusters,
    virtualHosts: [...new Set(byName.values())],
    nearest: remembering((host) => suggest(host, [...byHost.keys()].slice(0, mostSuggested))),
  };
}

/** Looking through names is not free, and who has mistyped one tries again. */
const mostSuggested = 1_000;
const mostRemembered = 64;
function remembering(find: (name: string) => string | undefined): (name: string) => string | undefined {
  const known = new Map<string, string | undefined>();
  return (name) => {
    if (known.has(name)) return known.get(name);
    const found = find(name);
    if (known.size >= mostRemembered) known.clear();
    known.set(name, found);
    return found;
  };
}

type Ready = Pick<VirtualHost, 'entry' | 'port'>;
function compileOrKeep(next: Ready, before: VirtualHost | undefined): VirtualHost {
  const isSame = before && before.port === next.port && isDeepStrictEqual(before.entry, next.entry);
  return isSame ? before : compileVirtualHost(next);
}

interface Claim {
  readonly entry: VirtualServiceEntry;
  readonly hosts: Set<string>;
}

function clustersOf(
  services: readonly ServiceEntry[],
  declared: readonly ClusterEntry[],
): ReadonlyMap<string, RoutedCluster> {
  const byId = new Map<string, ServiceEntry>();
  const clusters = new Map<string, RoutedCluster>();
  for (const service of services) {
    const name = parseSpiffeId(service.id).service;
    if (clusters.has(name)) throw new TypeError(`the service ${service.id} comes twice`);
    byId.set(service.id, service);
    clusters.set(name, { name, id: service.id, entry: undefined, service });
  }
  const names = new Set<string>();
  for (const entry of declared) {
    const { name, id } = entry;
    parseSpiffeId(id);
    if (names.has(name)) throw new TypeError(`the cluster ${name} comes twice`);
    names.add(name);
    clusters.set(name, { name, id, entry, service: entry.endpoints === 'enrolled' ? byId.get(id) : undefined });
  }
  return clusters;
}

/** A virtual service that says nothing of HTTP, or of TCP, leaves it as it was: to the cluster of its service. */
function withDefaults(entry: VirtualServiceEntry, clusters: ReadonlyMap<string, RoutedCluster>): VirtualServiceEntry {
  const own = [clusters.get(entry.name), clusters.get(serviceOf(entry.id))].find((cluster) => cluster?.id === entry.id);
  if (!own) return entry;
  const route = [{ route: [{ cluster: own.name }] }];
  return { ...entry, http: entry.http ?? route, tcp: entry.tcp ?? route };
}

function serviceOf(id: string): string {
  return parseSpiffeId(id).service;
}
