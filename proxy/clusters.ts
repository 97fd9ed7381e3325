// Clusters at work: one live cluster for each that configuration names, with its endpoints kept current. Everything new is checked before anything is
// changed; what is known of a cluster and of endpoints that stay is kept over every change.
import type { Clock } from '#base/clock';
import type { ClusterSettings, Endpoint, LiveCluster, LiveClusterOptions, RoutedCluster } from '#routing';
import { type ClusterLink, linkOf } from './cluster-link.ts';
import { endpointsOf } from './discovery/declared.ts';
import type { Dns } from './discovery/dns.ts';
import { type DnsEndpoints, type DnsQuestion, type Levels, watchDns } from './discovery/dns-endpoints.ts';

export interface Cluster {
  readonly name: string;
  /** SPIFFE ID of its service: what policy decides on. */
  readonly id: string;
  readonly live: LiveCluster;
  /** Replaced whole when it is spoken to in another way from now on. */
  readonly link: ClusterLink;
  /** Configuration names it no more; what runs may end. */
  readonly isGone: boolean;
  /** While its first endpoints are being asked for; fulfilled, never rejected, when that has ended, well or not. */
  readonly warming: Promise<void> | undefined;
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
  readonly clock: Clock;
  readonly random: () => number;
  readonly dns: Dns;
  /** How a question for the endpoints of a cluster ended; `reason` when there is no good answer, and those of before stay. */
  readonly onDnsAnswer: (o: { readonly cluster: string; readonly reason: string | undefined }) => void;
}

interface Held {
  name: string;
  id: string;
  live: LiveCluster;
  link: ClusterLink;
  isGone: boolean;
  warming: Promise<void> | undefined;
  settings: ClusterSettings;
  /** Where its endpoints come from when DNS knows them. */
  watch: { readonly question: DnsQuestion; readonly dns: DnsEndpoints; levels: Levels } | undefined;
}

interface Prepared {
  readonly routed: RoutedCluster;
  readonly link: ClusterLink;
  readonly endpoints: readonly Endpoint[] | DnsQuestion;
}

export function createClusters(o: ClustersOptions): Clusters {
  const held = new Map<string, Held>();

  const putInForce = ({ routed, link, endpoints }: Prepared): void => {
    const { name, id, entry: settings = {} } = routed;
    let cluster = held.get(name);
    if (!cluster) {
      const live = o.createLive({ name });
      cluster = { name, id, live, link, isGone: false, warming: undefined, settings, watch: undefined };
      held.set(name, cluster);
    }
    cluster.id = id;
    cluster.settings = settings;
    if (!isSame(cluster.link, link)) cluster.link = link;
    if ('type' in endpoints) return ask(cluster, endpoints);
    stopAsking(cluster);
    use(cluster, endpoints);
  };
  const use = (cluster: Held, endpoints: readonly Endpoint[]): void => {
    cluster.live.update({ settings: cluster.settings, endpoints });
    o.onChange(cluster);
  };
  const ask = (cluster: Held, question: DnsQuestion): void => {
    const { watch } = cluster;
    if (watch && isSame(watch.question, question)) return use(cluster, cluster.live.endpoints);
    const isAsked = watch && isSame({ ...watch.question, refreshMs: 0 }, { ...question, refreshMs: 0 });
    stopAsking(cluster);
    use(cluster, isAsked ? cluster.live.endpoints : []);
    const { dns, clock, random } = o;
    const asking = watchDns({
      ...question,
      dns,
      clock,
      random,
      onLevels(levels) {
        next.levels = levels;
        use(cluster, levels[0] ?? []);
      },
      onAnswer: (reason) => o.onDnsAnswer({ cluster: cluster.name, reason }),
    });
    const next: NonNullable<Held['watch']> = { question, dns: asking, levels: [] };
    cluster.watch = next;
    const warming = asking.asked.then(() => {
      if (cluster.warming === warming) cluster.warming = undefined;
    });
    cluster.warming = warming;
  };
  const stopAsking = (cluster: Held): void => {
    cluster.watch?.dns.close();
    cluster.watch = undefined;
    cluster.warming = undefined;
  };
  const remove = (cluster: Held): void => {
    held.delete(cluster.name);
    cluster.isGone = true;
    stopAsking(cluster);
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

/** Both are plain data, made with their keys in one order. */
function isSame(one: ClusterLink | DnsQuestion, other: ClusterLink | DnsQuestion): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
