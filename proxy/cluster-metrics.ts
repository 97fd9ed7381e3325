// The state of clusters as numbers, read from them when somebody scrapes. Names are those of configuration.
import type { Counter, Metrics, Observed } from '#base/metrics';
import type { ClusterState } from '#routing';
import type { Clusters } from './clusters.ts';

export interface ClusterMetrics {
  /** An endpoint is left out from now on, or for another reason, or no more. */
  ejected(cluster: string, o: { readonly why: string | undefined; readonly before: string | undefined }): void;
  retried(cluster: string): void;
}

export function createClusterMetrics(metrics: Metrics, clusters: () => Clusters): ClusterMetrics {
  /** All families show one state of each cluster, looked at once for all that read together. */
  const seen = new WeakMap<object, readonly (readonly [string, ClusterState])[]>();
  const statesFor = (reading: object): readonly (readonly [string, ClusterState])[] => {
    const known = seen.get(reading);
    if (known) return known;
    const states = Array.from(clusters().all, ({ name, live }) => [name, live.describe()] as const);
    seen.set(reading, states);
    return states;
  };
  const each = (read: (state: ClusterState) => Iterable<Observed>) =>
    function* (reading: object): Iterable<Observed> {
      for (const [name, state] of statesFor(reading))
        for (const [labels, value] of read(state)) yield [[name, ...labels], value];
    };
  // Every thread sees all endpoints: the main one's word stands for them.
  metrics.observed({
    name: 'postern_cluster_endpoints',
    help: 'Endpoints of a cluster: healthy, unhealthy (by health checks), or ejected (by what their answers were).',
    labels: ['cluster', 'state'],
    type: 'gauge',
    isWhole: true,
    read: each(({ endpoints }) => countsOf(endpoints)),
  });
  metrics.observed({
    name: 'postern_cluster_panic',
    help: '1 while so few endpoints are healthy that all of them get requests.',
    labels: ['cluster'],
    type: 'gauge',
    isWhole: true,
    read: each(({ panic }) => [[[], Number(panic)]]),
  });
  metrics.observed({
    name: 'postern_cluster_requests_active',
    help: 'Requests in progress toward a cluster.',
    labels: ['cluster'],
    type: 'gauge',
    read: each(({ requests }) => [[[], requests]]),
  });
  metrics.observed({
    name: 'postern_cluster_retries_active',
    help: 'Retries in progress toward a cluster.',
    labels: ['cluster'],
    type: 'gauge',
    read: each(({ retries }) => [[[], retries]]),
  });
  metrics.observed({
    name: 'postern_cluster_refused_total',
    help: 'Requests and retries that the circuit breaker of a cluster refused, by the bound that bit.',
    labels: ['cluster', 'bound'],
    type: 'counter',
    read: each(({ refused }) => Object.entries(refused).map(([bound, count]) => [[bound], count])),
  });
  const ejections = metrics.counter({
    name: 'postern_cluster_ejections_total',
    help: 'Endpoints that a cluster left out for a while, by what was found.',
    labels: ['cluster', 'why'],
  });
  const retries = metrics.counter({
    name: 'postern_cluster_retries_total',
    help: 'Requests that were sent again by the rules of their route, by cluster.',
    labels: ['cluster'],
  });
  const retriesOf = new Map<string, Counter>();
  return {
    ejected(cluster, { why, before }) {
      const kind = why && kindOf(why);
      // While it is left out, only the numbers in the words change.
      if (kind && kind !== (before && kindOf(before))) ejections(cluster, kind).value++;
    },
    retried(cluster) {
      const known = retriesOf.get(cluster) ?? retries(cluster);
      if (retriesOf.size < 1_000) retriesOf.set(cluster, known);
      known.value++;
    },
  };
}

/** What is said to people has numbers in it, which make no good labels. */
function kindOf(why: string): string {
  const kinds = ['gateway errors', 'server errors', 'success rate', 'connect failed'];
  return kinds.find((kind) => why.includes(kind))?.replace(' ', '-') ?? 'other';
}

function countsOf(endpoints: ClusterState['endpoints']): Observed[] {
  const counts = { healthy: 0, unhealthy: 0, ejected: 0 };
  for (const { health, ejectedForMs } of endpoints) counts[ejectedForMs === undefined ? health : 'ejected']++;
  return Object.entries(counts).map(([state, count]) => [[state], count]);
}
