// A live cluster with the least that is needed: the less busy of two endpoints, those left out that have just failed to connect.
import type { Endpoint, LiveCluster, LiveClusterOptions } from '#routing';
import { createBalancer } from './balance.ts';

export function createPlainCluster(o: Pick<LiveClusterOptions, 'name' | 'monotonic' | 'random'>): LiveCluster {
  const balancer = createBalancer(o);
  const unhealthy = new Set<string>();
  let endpoints: readonly Endpoint[] = [];
  let requests = 0;
  const isUsable = ({ address, isUnhealthy }: Endpoint): boolean => !isUnhealthy && !unhealthy.has(address);
  return {
    name: o.name,
    update(next) {
      endpoints = next.endpoints;
      const addresses = new Set(endpoints.map(({ address }) => address));
      balancer.keep(addresses);
      for (const address of unhealthy) if (!addresses.has(address)) unhealthy.delete(address);
    },
    pick({ tried }) {
      const usable = endpoints.filter(isUsable);
      const picked = balancer.pick(usable.length > 0 ? usable : endpoints, tried) as Endpoint | undefined;
      return picked ?? (balancer.pick(endpoints, tried) as Endpoint | undefined);
    },
    admit() {
      requests++;
      return () => {
        requests--;
      };
    },
    admitRetry: () => () => undefined,
    begin(endpoint) {
      const end = balancer.begin(endpoint);
      return (outcome) => {
        end();
        if (outcome?.kind === 'connect-failed') balancer.failed(endpoint);
        else if (outcome?.kind === 'answered') balancer.connected(endpoint);
      };
    },
    checked(address, isHealthy) {
      if (isHealthy) unhealthy.delete(address);
      else unhealthy.add(address);
    },
    hashOn: undefined,
    get endpoints() {
      return endpoints;
    },
    describe() {
      const ejected = new Set(balancer.ejected());
      return {
        requests,
        retries: 0,
        refused: {},
        panic: endpoints.length > 0 && !endpoints.some(isUsable),
        endpoints: endpoints.map((one) => ({
          address: one.address,
          instance: one.instance,
          zone: one.zone,
          weight: one.weight,
          active: 0,
          health: isUsable(one) ? 'healthy' : 'unhealthy',
          ejectedForMs: ejected.has(one.address) ? 0 : undefined,
          ejectedWhy: ejected.has(one.address) ? 'it cannot be connected to' : undefined,
        })),
      };
    },
  };
}
