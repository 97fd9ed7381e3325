// Clusters at work: one live cluster for each that configuration names, with its endpoints kept current. Everything new is checked before anything is
// changed; what is known of a cluster and of endpoints that stay is kept over every change.
import { formatHostPort, parseHostPort } from '#base/host-port';
import type { Endpoint, LiveCluster, LiveClusterOptions, RoutedCluster } from '#routing';
import type { ClusterEntry, ServiceEntry } from '#wire';
import { type ClusterLink, linkOf } from './cluster-link.ts';

export interface Cluster {
  readonly name: string;
  /** SPIFFE ID of its service: what policy decides on. */
  readonly id: string;
  readonly live: LiveCluster;
  /** Replaced whole when it is spoken to in another way from now on. */
  readonly link: ClusterLink;
  /** Configuration names it no more; what runs may end. */
  readonly isGone: boolean;
}

export interface Clusters {
  get(name: string): Cluster | undefined;
  readonly all: Iterable<Cluster>;
  /** Checks everything and changes nothing; the result puts it in force and cannot fail. Throws what is wrong. */
  prepare(o: { readonly clusters: ReadonlyMap<string, RoutedCluster>; readonly own: string }): () => void;
  close(): void;
}

export interface ClustersOptions {
  readonly createLive: (o: Pick<LiveClusterOptions, 'name'>) => LiveCluster;
  /** Its endpoints or its link have changed, or it is gone. */
  readonly onChange: (cluster: Cluster) => void;
}

interface Held {
  name: string;
  id: string;
  live: LiveCluster;
  link: ClusterLink;
  isGone: boolean;
}

interface Prepared {
  readonly routed: RoutedCluster;
  readonly link: ClusterLink;
  readonly endpoints: readonly Endpoint[];
}

export function createClusters(o: ClustersOptions): Clusters {
  const held = new Map<string, Held>();

  const putInForce = ({ routed, link, endpoints }: Prepared): void => {
    let cluster = held.get(routed.name);
    if (!cluster) {
      cluster = { name: routed.name, id: routed.id, live: o.createLive({ name: routed.name }), link, isGone: false };
      held.set(routed.name, cluster);
    }
    cluster.id = routed.id;
    if (!isSame(cluster.link, link)) cluster.link = link;
    cluster.live.update({ settings: routed.entry ?? {}, endpoints });
    o.onChange(cluster);
  };
  const remove = (cluster: Held): void => {
    held.delete(cluster.name);
    cluster.isGone = true;
    o.onChange(cluster);
  };

  return {
    get: (name) => held.get(name),
    all: { [Symbol.iterator]: () => held.values() },
    prepare({ clusters, own }) {
      const prepared = [...clusters.values()].map((routed): Prepared => {
        const link = linkOf({ id: routed.id, entry: routed.entry, own });
        return { routed, link, endpoints: endpointsOf({ routed, link, clusters }) };
      });
      return () => {
        for (const one of prepared) putInForce(one);
        for (const cluster of [...held.values()]) if (!clusters.has(cluster.name)) remove(cluster);
      };
    },
    close() {
      for (const cluster of [...held.values()]) remove(cluster);
    },
  };
}

/** The clusters of a snapshot: the declared ones, and one of its own name for each service. */
export function clustersOf(o: {
  readonly services: readonly ServiceEntry[];
  readonly clusters?: readonly ClusterEntry[] | undefined;
}): ReadonlyMap<string, RoutedCluster> {
  const all = new Map<string, RoutedCluster>();
  for (const service of o.services) {
    const name = service.id.replace(/^spiffe:\/\/[^/]+\//, '');
    all.set(name, { name, id: service.id, entry: undefined, service });
  }
  for (const entry of o.clusters ?? []) {
    const service = entry.endpoints === 'enrolled' ? o.services.find(({ id }) => id === entry.id) : undefined;
    all.set(entry.name, { name: entry.name, id: entry.id, entry, service });
  }
  return all;
}

function endpointsOf(o: {
  routed: RoutedCluster;
  link: ClusterLink;
  clusters: ReadonlyMap<string, RoutedCluster>;
}): readonly Endpoint[] {
  const { routed, link, clusters } = o;
  if (link.kind === 'mesh') {
    const service = routed.service ?? serviceOf(clusters, link.expect.uri);
    return service ? enrolled(service) : [];
  }
  const { endpoints } = routed.entry!;
  return typeof endpoints !== 'string' && 'static' in endpoints ? staticEndpoints(routed.name, endpoints.static) : [];
}

function serviceOf(clusters: ReadonlyMap<string, RoutedCluster>, id: string): ServiceEntry | undefined {
  for (const { service } of clusters.values()) if (service?.id === id) return service;
  return undefined;
}

/** An address that makes no sense is only left out: it is the word of one instance, which must not keep its callers from the next policy or ban. */
function enrolled({ endpoints }: ServiceEntry): readonly Endpoint[] {
  return endpoints.flatMap(({ address, instance, labels, weight = 1, zone, unhealthy }) => {
    const place = parseHostPort(address);
    return place ? [{ ...place, address, instance, labels, weight, zone, isUnhealthy: unhealthy === true }] : [];
  });
}

function staticEndpoints(
  cluster: string,
  given: Extract<ClusterEntry['endpoints'], { static: unknown }>['static'],
): readonly Endpoint[] {
  const found = new Map<string, Endpoint>();
  for (const one of given) {
    const { address: written, weight = 1, zone, labels = {} } = typeof one === 'string' ? { address: one } : one;
    const place = parseHostPort(written);
    if (!place || place.port === 0) throw new TypeError(`the cluster ${cluster} has the address ${written}`);
    const address = formatHostPort(place);
    found.set(address, { ...place, address, instance: address, labels, weight, zone, isUnhealthy: false });
  }
  return [...found.values()];
}

/** Both are plain data, made with their keys in one order. */
function isSame(one: ClusterLink, other: ClusterLink): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
