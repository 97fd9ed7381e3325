import { describe, expect, test } from 'vitest';
import type { ClusterSettings, Endpoint } from '#routing';
import { isDistributedAs } from '../helpers/chi-square.ts';
import { endpointNamed, nothingTried, seeded, trial } from '../helpers/live-cluster.ts';

const policies = ['least-request', 'round-robin', 'random', 'ewma', 'ring-hash', 'maglev'] as const;
type Policy = (typeof policies)[number];
const by = (policy: Policy, more: Partial<ClusterSettings['loadBalancing']> = {}): ClusterSettings => ({
  loadBalancing: { policy, ...more },
});
const weighted = (weights: Readonly<Record<string, number>>): Endpoint[] =>
  Object.entries(weights).map(([name, weight]) => endpointNamed(name, { weight }));
const sharesOf = (endpoints: readonly Endpoint[]): Record<string, number> =>
  Object.fromEntries(endpoints.map(({ address, weight }) => [address, weight]));

describe.each(policies)('%s', (policy) => {
  test('gives endpoints of one weight equal shares', () => {
    const endpoints = weighted({ a: 1, b: 1, c: 1, d: 1, e: 1 });
    for (const seed of [1, 2, 3]) {
      const { counts } = trial({ endpoints, settings: by(policy), seed });
      expect(isDistributedAs({ counts: counts(20_000), shares: sharesOf(endpoints) })).toBe(true);
    }
  });

  test('gives shares by weight, and nothing for a weight of 0', () => {
    const endpoints = weighted({ a: 2, b: 3, c: 0, d: 5 });
    for (const seed of [1, 2, 3]) {
      const { counts } = trial({ endpoints, settings: by(policy), seed });
      const found = counts(20_000);
      expect(found).not.toHaveProperty('c:1');
      const shares = sharesOf(endpoints.filter(({ weight }) => weight > 0));
      expect(isDistributedAs({ counts: found, shares })).toBe(true);
    }
  });

  test('leaves out what was tried, and gives every endpoint before it gives none', () => {
    const endpoints = weighted({ a: 1, b: 1, c: 5, d: 1 });
    const { cluster } = trial({ endpoints, settings: by(policy) });
    for (const hash of [undefined, 7, 4_000_000_000]) {
      const tried = new Set<string>();
      for (let count = 0; count < endpoints.length; count++) {
        const picked = cluster.pick({ subset: undefined, hash, tried })!;
        expect(tried).not.toContain(picked.address);
        tried.add(picked.address);
      }
      expect(cluster.pick({ subset: undefined, hash, tried })).toBeUndefined();
    }
  });

  test('ten thousand endpoints all get requests', () => {
    const endpoints = Array.from({ length: 10_000 }, (_, at) => endpointNamed(`e${at}`));
    const random = seeded(3);
    const { counts } = trial({ endpoints, settings: by(policy) });
    const found = counts(200_000, { hash: () => Math.floor(random() * 2 ** 32) });
    expect(Object.keys(found).length).toBeGreaterThan(9_950);
  });
});

test('the chi-square test sees a share that is a twentieth off', () => {
  const endpoints = weighted({ a: 100, b: 100, c: 100 });
  const { counts } = trial({ endpoints, settings: by('random') });
  const shares = { 'a:1': 105, 'b:1': 100, 'c:1': 95 };
  expect(isDistributedAs({ counts: counts(60_000), shares })).toBe(false);
});

describe('round robin', () => {
  test('spreads the turns of a heavy endpoint evenly', () => {
    const { cluster } = trial({ endpoints: weighted({ heavy: 4, one: 1, other: 1 }), settings: by('round-robin') });
    const picked = Array.from(
      { length: 600 },
      () => cluster.pick({ subset: undefined, hash: undefined, tried: nothingTried })!.address,
    );
    const runs = picked.join(' ').match(/(heavy:1 ?)+/g)!;
    expect(Math.max(...runs.map((run) => run.split('heavy').length - 1))).toBeLessThanOrEqual(4);
    expect(picked.filter((address) => address === 'heavy:1')).toHaveLength(400);
  });
});

describe('least request', () => {
  test('with weights, an endpoint of twice the weight holds twice as many requests', () => {
    const { cluster } = trial({ endpoints: weighted({ small: 1, large: 2 }) });
    for (let count = 0; count < 3_000; count++)
      cluster.begin(cluster.pick({ subset: undefined, hash: undefined, tried: nothingTried })!);
    const [small, large] = cluster.describe().endpoints.map(({ active }) => active);
    expect(large! / small!).toBeGreaterThan(1.35);
    expect(large! / small!).toBeLessThan(2.1);
  });

  test.each([
    ['alike', { a: 1, b: 1, hangs: 1 }, 1],
    // Its weight is divided by the requests that it holds: about the root of twice the requests.
    ['with weights', { a: 1, b: 2, hangs: 2 }, 150],
  ])('%s, an endpoint that hangs gets ever less', (_, weights, most) => {
    const { cluster } = trial({ endpoints: weighted(weights) });
    let hanging = 0;
    for (let count = 0; count < 10_000; count++) {
      const picked = cluster.pick({ subset: undefined, hash: undefined, tried: nothingTried })!;
      const end = cluster.begin(picked);
      if (picked.host === 'hangs') hanging++;
      else end({ kind: 'answered', status: 200, grpcStatus: undefined });
    }
    expect(hanging).toBeLessThanOrEqual(most);
  });
});

describe('latency', () => {
  const answered = { kind: 'answered', status: 200, grpcStatus: undefined } as const;
  function run(tookMs: Readonly<Record<string, number>>, requests: number) {
    const endpoints = Object.keys(tookMs).map((name) => endpointNamed(name));
    const { cluster, clock } = trial({ endpoints, settings: by('ewma') });
    const counts: Record<string, number> = {};
    const send = (count: number): void => {
      for (let at = 0; at < count; at++) {
        const picked = cluster.pick({ subset: undefined, hash: undefined, tried: nothingTried })!;
        const end = cluster.begin(picked);
        counts[picked.host] = (counts[picked.host] ?? 0) + 1;
        clock.advance(tookMs[picked.host]!);
        end(answered);
      }
    };
    send(requests);
    return { cluster, clock, counts, send };
  }

  test('an endpoint a hundred times slower gets hardly anything', () => {
    const { counts } = run({ fast: 2, quick: 2, slow: 200 }, 3_000);
    expect((counts.slow ?? 0) / 3_000).toBeLessThan(0.02);
    expect(counts.fast! / counts.quick!).toBeGreaterThan(0.7);
    expect(counts.fast! / counts.quick!).toBeLessThan(1.4);
  });

  test('what was slow once is asked again as its estimate fades', () => {
    const tookMs = { fast: 2, slow: 400 };
    const { counts, clock, send } = run(tookMs, 100);
    tookMs.slow = 2;
    clock.advance(60_000);
    const before = counts.slow ?? 0;
    send(20_000);
    expect((counts.slow ?? 0) - before).toBeGreaterThan(100);
  });

  test('failing fast does not look like being fast', () => {
    const { cluster, clock } = trial({
      endpoints: [endpointNamed('fails'), endpointNamed('works')],
      settings: by('ewma'),
    });
    let failing = 0;
    for (let count = 0; count < 1_000; count++) {
      const picked = cluster.pick({ subset: undefined, hash: undefined, tried: nothingTried })!;
      const end = cluster.begin(picked);
      clock.advance(picked.host === 'fails' ? 1 : 20);
      if (picked.host === 'fails') failing++;
      end(picked.host === 'fails' ? { ...answered, status: 500 } : answered);
    }
    expect(failing).toBeLessThan(50);
  });
});
