// What load balancing costs a request by policy and number of endpoints, and what a change of one endpoint costs.
import { createLiveCluster, type Endpoint, type LiveCluster } from '#routing';
import type { Bench, Figure } from './bench.ts';

const policies = ['least-request', 'round-robin', 'random', 'ewma', 'ring-hash', 'maglev'] as const;
type Policy = (typeof policies)[number];
const sizes = [10, 1_000, 10_000];
const rounds = 400_000;
const untried: ReadonlySet<string> = new Set();
const answered = { kind: 'answered', status: 200, grpcStatus: undefined } as const;
/** Spreads rounds over all hashes: the golden ratio of 32 bits. */
const golden = 2_654_435_761;

export async function run(): Promise<Bench> {
  return {
    title: 'Load balancing',
    how: `CPU of the thread over ${rounds.toLocaleString('en')} requests one after the other, each admit + pick + begin + end with outlier detection on, after as many to warm up. A change: one endpoint turns unhealthy or healthy again and the next request is placed, mean of 50. Tables: median of 5. Keys: 100,000 of them, one endpoint of 10 gone from the configuration.`,
    figures: [
      ...policies.map(requestFigure),
      ...weightedFigures(),
      flapFigure(),
      ...policies.slice(-2).flatMap(hashFigures),
    ],
  };
}

function requestFigure(policy: Policy): Figure {
  const nanos = sizes.map((size) => nanosOf(started(policy, endpointsOf(size))));
  return {
    what: `${policy}: a request with ${sizes.map((size) => size.toLocaleString('en')).join(' / ')} endpoints`,
    measured: `${nanos.map((each) => each.toFixed(0)).join(' / ')} ns`,
    bar: 'at most 1 us with 10',
    holds: nanos[0]! <= 1_000,
  };
}

function weightedFigures(): Figure[] {
  return (['least-request', 'round-robin'] as const).map((policy) => {
    const nanos = sizes.map((size) =>
      nanosOf(
        started(
          policy,
          endpointsOf(size).map((endpoint, at) => ({ ...endpoint, weight: 1 + (at % 3) })),
        ),
      ),
    );
    return { what: `${policy}, with weights`, measured: `${nanos.map((each) => each.toFixed(0)).join(' / ')} ns` };
  });
}

function flapFigure(): Figure {
  const times = policies.map((policy) => {
    // Time enough goes by for each change to be looked at by itself.
    let seconds = 0;
    const cluster = started(policy, endpointsOf(1_000), () => 1_000 * seconds);
    place(cluster, 0);
    const { address } = cluster.endpoints[0]!;
    const before = cpuMs();
    for (let count = 0; count < 50; count++) {
      cluster.checked(address, count % 2 === 1);
      seconds++;
      place(cluster, count);
    }
    return (cpuMs() - before) / 50;
  });
  return {
    what: 'a change of one endpoint of 1,000, the slowest policy',
    measured: `${Math.max(...times).toFixed(2)} ms`,
    bar: 'at most 20 ms',
    holds: Math.max(...times) <= 20,
  };
}

function hashFigures(policy: Policy): Figure[] {
  const buildMs = (size: number): number => {
    const times = Array.from({ length: 5 }, () => {
      const cluster = started(policy, endpointsOf(size));
      const before = cpuMs();
      place(cluster, 1);
      return cpuMs() - before;
    });
    return times.sort((one, other) => one - other)[2]!;
  };
  const [thousand, ten] = [buildMs(1_000), buildMs(10_000)];
  const cluster = started(policy, endpointsOf(10));
  const keys = Array.from({ length: 100_000 }, (_, at) => (at * golden) >>> 0);
  const places = () => keys.map((hash) => cluster.pick({ subset: undefined, hash, tried: untried })!.address);
  const before = places();
  cluster.update({ settings: { loadBalancing: { policy } }, endpoints: cluster.endpoints.slice(1) });
  const after = places();
  const moved = before.filter((address, at) => after[at] !== address).length / keys.length;
  const own = before.filter((address) => address === endpointsOf(1)[0]!.address).length / keys.length;
  return [
    {
      what: `${policy}: its table for 1,000 / 10,000 endpoints`,
      measured: `${thousand.toFixed(0)} / ${ten.toFixed(0)} ms`,
      bar: 'at most 20 ms for 1,000',
      holds: thousand <= 20,
    },
    {
      what: `${policy}: keys that move with one endpoint of 10`,
      measured: `${(moved * 100).toFixed(1)} %, its own ${(own * 100).toFixed(1)} % among them`,
    },
  ];
}

function started(
  policy: Policy,
  endpoints: readonly Endpoint[],
  monotonic: () => number = () => performance.now(),
): LiveCluster {
  const cluster = createLiveCluster({
    name: 'backend',
    monotonic,
    random: Math.random,
    zone: undefined,
  });
  cluster.update({ settings: { loadBalancing: { policy }, outlierDetection: {} }, endpoints });
  return cluster;
}

function place(cluster: LiveCluster, at: number): void {
  const admitted = cluster.admit()!;
  const endpoint = cluster.pick({ subset: undefined, hash: (at * golden) >>> 0, tried: untried })!;
  cluster.begin(endpoint)(answered);
  admitted();
}

function nanosOf(cluster: LiveCluster): number {
  for (let at = 0; at < rounds; at++) place(cluster, at);
  const before = cpuMs();
  for (let at = 0; at < rounds; at++) place(cluster, at);
  return ((cpuMs() - before) / rounds) * 1e6;
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

function endpointsOf(count: number): Endpoint[] {
  return Array.from({ length: count }, (_, at) => ({
    host: `10.1.${at >> 8}.${at & 255}`,
    port: 15_006,
    address: `10.1.${at >> 8}.${at & 255}:15006`,
    instance: `backend-${at}`,
    labels: {},
    weight: 1,
    zone: undefined,
    isUnhealthy: false,
  }));
}
