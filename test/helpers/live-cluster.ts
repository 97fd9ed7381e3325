// Clusters at work for tests: endpoints by name, a clock that stands still, and random numbers from a seed.
import { type ClusterSettings, createLiveCluster, type Endpoint, type LiveCluster } from '#routing';
import { createClock, type SettableClock } from './clock.ts';

export const nothingTried: ReadonlySet<string> = new Set();

export function endpointNamed(name: string, given: Partial<Endpoint> = {}): Endpoint {
  return {
    host: name,
    port: 1,
    address: `${name}:1`,
    instance: name,
    labels: {},
    weight: 1,
    zone: undefined,
    isUnhealthy: false,
    ...given,
  };
}

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export interface Trial {
  readonly cluster: LiveCluster;
  readonly clock: SettableClock;
  /** Ejections and returns in their order, as `address why` or `address back`. */
  readonly told: string[];
  update(endpoints: readonly Endpoint[], settings?: ClusterSettings): void;
  /** How often each address is picked, of so many requests that end at once. */
  counts(picks: number, o?: { subset?: string; hash?: (at: number) => number }): Record<string, number>;
}

export function trial(
  o: { endpoints?: readonly Endpoint[]; settings?: ClusterSettings; zone?: string; seed?: number } = {},
): Trial {
  const clock = createClock();
  const told: string[] = [];
  const cluster = createLiveCluster({
    name: 'backend',
    monotonic: () => clock.monotonic(),
    random: seeded(o.seed ?? 1),
    zone: o.zone,
    onEjection: ({ address, why }) => told.push(`${address} ${why ?? 'back'}`),
  });
  let current = o.settings ?? {};
  if (o.endpoints) cluster.update({ settings: current, endpoints: o.endpoints });
  return {
    cluster,
    clock,
    told,
    update(endpoints, settings = current) {
      current = settings;
      cluster.update({ settings, endpoints });
    },
    counts(picks, { subset, hash } = {}) {
      const counts: Record<string, number> = {};
      for (let at = 0; at < picks; at++) {
        const picked = cluster.pick({ subset, hash: hash?.(at), tried: nothingTried });
        if (picked) counts[picked.address] = (counts[picked.address] ?? 0) + 1;
      }
      return counts;
    },
  };
}
