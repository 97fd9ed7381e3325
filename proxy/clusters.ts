// Clusters at work: one live cluster for each that configuration names, with its endpoints kept current. Everything new is checked before anything is
// changed; what is known of a cluster and of endpoints that stay is kept over every change.
import type { Clock } from '#base/clock';
import type { ClusterSettings, ClusterState, Endpoint, LiveCluster, LiveClusterOptions, RoutedCluster } from '#routing';
import type { ClusterEntry, ServiceEntry } from '#wire';
import { type ClusterLink, linkOf } from './cluster-link.ts';
import { endpointsOf } from './discovery/declared.ts';
import type { Dns } from './discovery/dns.ts';
import { type DnsEndpoints, type DnsQuestion, type Levels, watchDns } from './discovery/dns-endpoints.ts';
import { type HealthCheck, readHealthCheck } from './health/check.ts';
import type { Checker, CheckerOptions } from './health/checker.ts';

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
  /** For people. */
  describe(): readonly ClusterDescription[];
  close(): void;
}

export interface ClusterDescription extends ClusterState {
  readonly name: string;
  readonly id: string;
  readonly link: ClusterLink;
  /** Why the last question for its endpoints had no good answer. */
  readonly unresolved: string | undefined;
  /** Why endpoints are unhealthy, by address. */
  readonly failing: Readonly<Record<string, string>>;
}

export interface ClustersOptions {
  /** How its endpoints are spoken to; as declared when absent. */
  readonly linkOf?: typeof linkOf;
  readonly createLive: (o: Pick<LiveClusterOptions, 'name'>) => LiveCluster;
  /** Its endpoints or its link have changed, or it is gone. */
  readonly onChange: (cluster: Cluster) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly dns: Dns;
  /** How a question for the endpoints of a cluster ended; `reason` when there is no good answer, and those of before stay. */
  readonly onDnsAnswer: (o: { readonly cluster: string; readonly reason: string | undefined }) => void;
  /** Checks endpoints outside the mesh; those of services are checked by the proxies beside them. */
  readonly createChecker: (cluster: string, onChange: CheckerOptions['onChange']) => Checker;
  /** An endpoint is healthy again, or is not any more and why. */
  readonly onHealth: (o: {
    readonly cluster: string;
    readonly address: string;
    readonly reason: string | undefined;
  }) => void;
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
  watch: { readonly question: DnsQuestion; readonly dns: DnsEndpoints } | undefined;
  /** Those to use first, those to use when none of them is healthy, and so on. */
  levels: Levels;
  check: HealthCheck | undefined;
  checker: Checker | undefined;
  unresolved: string | undefined;
  readonly failing: Map<string, string>;
  source: Source;
}

/** What a cluster was made from: the very same objects make the very same cluster. */
interface Source {
  readonly entry: ClusterEntry | undefined;
  readonly service: ServiceEntry | undefined;
  readonly own: string;
}

interface Prepared {
  readonly source: Source;
  readonly routed: RoutedCluster;
  readonly link: ClusterLink;
  readonly endpoints: readonly Endpoint[] | DnsQuestion;
  readonly check: HealthCheck | undefined;
}

export function createClusters(o: ClustersOptions): Clusters {
  const held = new Map<string, Held>();

  const putInForce = ({ routed, link, endpoints, check, source }: Prepared): void => {
    const { name, id, entry: settings = {} } = routed;
    let cluster = held.get(name);
    if (!cluster) {
      const live = o.createLive({ name });
      cluster = {
        name,
        id,
        live,
        link,
        isGone: false,
        warming: undefined,
        settings,
        watch: undefined,
        levels: [],
        check: undefined,
        checker: undefined,
        unresolved: undefined,
        failing: new Map(),
        source,
      };
      held.set(name, cluster);
    }
    cluster.id = id;
    cluster.settings = settings;
    cluster.check = check;
    cluster.source = source;
    if (!isSame(cluster.link, link)) cluster.link = link;
    if ('type' in endpoints) return ask(cluster, endpoints);
    stopAsking(cluster);
    use(cluster, [endpoints]);
  };
  const use = (cluster: Held, levels: Levels): void => {
    cluster.levels = levels;
    const { check, link } = cluster;
    if (check && link.kind === 'external') {
      cluster.checker ??= o.createChecker(cluster.name, ({ address, reason }) => {
        o.onHealth({ cluster: cluster.name, address, reason });
        if (reason === undefined) cluster.failing.delete(address);
        else cluster.failing.set(address, reason);
        choose(cluster);
      });
      cluster.checker.use({ check, link, endpoints: levels.flat() });
    } else {
      cluster.checker?.close();
      cluster.checker = undefined;
    }
    for (const address of cluster.failing.keys())
      if (cluster.checker?.isHealthy(address) !== false) cluster.failing.delete(address);
    choose(cluster);
  };
  /** The first level of which any endpoint is healthy; the first one when none is. */
  const choose = (cluster: Held): void => {
    const { checker, levels, live, settings } = cluster;
    const isHealthy = ({ address }: Endpoint): boolean => checker?.isHealthy(address) !== false;
    const endpoints = levels.find((level) => level.some(isHealthy)) ?? levels[0] ?? [];
    live.update({ settings, endpoints });
    for (const endpoint of endpoints) live.checked(endpoint.address, isHealthy(endpoint));
    o.onChange(cluster);
  };
  const ask = (cluster: Held, question: DnsQuestion): void => {
    const { watch } = cluster;
    if (watch && isSame(watch.question, question)) return use(cluster, cluster.levels);
    const isKnown = watch && isSame({ ...watch.question, refreshMs: 0 }, { ...question, refreshMs: 0 });
    stopAsking(cluster);
    use(cluster, isKnown ? cluster.levels : []);
    const { clock, random } = o;
    const dns = watchDns({
      ...question,
      dns: o.dns,
      clock,
      random,
      onLevels: (levels) => use(cluster, levels),
      onAnswer(reason) {
        cluster.unresolved = reason;
        o.onDnsAnswer({ cluster: cluster.name, reason });
      },
    });
    cluster.watch = { question, dns };
    const warming = dns.asked.then(() => {
      if (cluster.warming === warming) cluster.warming = undefined;
    });
    cluster.warming = warming;
  };
  const stopAsking = (cluster: Held): void => {
    cluster.watch?.dns.close();
    cluster.watch = undefined;
    cluster.warming = undefined;
    cluster.unresolved = undefined;
  };
  const remove = (cluster: Held): void => {
    held.delete(cluster.name);
    cluster.isGone = true;
    stopAsking(cluster);
    cluster.checker?.close();
    o.onChange(cluster);
  };

  return {
    get: (name) => held.get(name),
    all: { [Symbol.iterator]: () => held.values() },
    prepare({ clusters, own }) {
      const prepared = [...clusters.values()].flatMap((routed): Prepared[] => {
        const { name, id, entry } = routed;
        const before = held.get(name);
        const source = { entry, service: serviceOf(routed, clusters), own };
        if (before?.id === id && isOfSame(before.source, source)) return [];
        const link = (o.linkOf ?? linkOf)({ id, entry, own });
        const check = entry?.healthCheck && readHealthCheck(name, entry.healthCheck);
        return [
          { routed, link, endpoints: endpointsOf({ name, entry, link, service: source.service }), check, source },
        ];
      });
      return () => {
        for (const one of prepared) putInForce(one);
        for (const cluster of [...held.values()]) if (!clusters.has(cluster.name)) remove(cluster);
      };
    },
    describe: () =>
      [...held.values()].map(({ name, id, link, live, unresolved, failing }) => ({
        ...live.describe(),
        ...{ name, id, link, unresolved, failing: Object.fromEntries(failing) },
      })),
    close() {
      for (const cluster of [...held.values()]) remove(cluster);
    },
  };
}

/** Whose instances it has: its own service's, or those of the gateway that is the way to it. */
function serviceOf(
  { service, entry }: RoutedCluster,
  clusters: ReadonlyMap<string, RoutedCluster>,
): ServiceEntry | undefined {
  if (service || entry?.gateway === undefined) return service;
  for (const one of clusters.values()) if (one.service?.id === entry.gateway) return one.service;
  return undefined;
}

function isOfSame(one: Source, other: Source): boolean {
  return one.entry === other.entry && one.service === other.service && one.own === other.own;
}

/** Both are plain data, made with their keys in one order. */
function isSame(one: ClusterLink | DnsQuestion, other: ClusterLink | DnsQuestion): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
