// The clusters of several data planes as one: what each thread sees of a cluster, added up. For people; nothing decides by it.
import type { ClusterState } from '#routing';

export type ClusterView = ClusterState & { readonly name: string; readonly id: string };

type EndpointState = ClusterState['endpoints'][number];

/** In the order of the first; a cluster or an endpoint that only some threads have yet is there too. */
export function sumOfClusters(views: readonly (readonly ClusterView[])[]): ClusterView[] {
  const all = new Map<string, ClusterView>();
  for (const view of views) {
    for (const cluster of view) {
      const before = all.get(cluster.name);
      all.set(cluster.name, before ? add(before, cluster) : cluster);
    }
  }
  return [...all.values()];
}

function add(one: ClusterView, other: ClusterView): ClusterView {
  const names = new Set([...Object.keys(one.refused), ...Object.keys(other.refused)]);
  const endpoints = new Map(one.endpoints.map((endpoint) => [endpoint.address, endpoint]));
  for (const endpoint of other.endpoints) {
    const before = endpoints.get(endpoint.address);
    endpoints.set(endpoint.address, before ? addEndpoint(before, endpoint) : endpoint);
  }
  return {
    ...one,
    requests: one.requests + other.requests,
    retries: one.retries + other.retries,
    refused: Object.fromEntries(
      [...names].map((name) => [name, (one.refused[name] ?? 0) + (other.refused[name] ?? 0)]),
    ),
    panic: one.panic || other.panic,
    panicPicks: one.panicPicks + other.panicPicks,
    endpoints: [...endpoints.values()],
  };
}

/** Each thread leaves endpoints out by itself: shown is the one that does so longest. */
function addEndpoint(one: EndpointState, other: EndpointState): EndpointState {
  const longer = (other.ejectedForMs ?? 0) > (one.ejectedForMs ?? 0) ? other : one;
  return {
    ...one,
    active: one.active + other.active,
    health: one.health === 'unhealthy' ? one.health : other.health,
    ejectedForMs: longer.ejectedForMs,
    ejectedWhy: longer.ejectedWhy,
  };
}
