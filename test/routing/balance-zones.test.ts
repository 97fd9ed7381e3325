import { describe, expect, test } from 'vitest';
import type { ClusterSettings, Endpoint } from '#routing';
import { isDistributedAs } from '../helpers/chi-square.ts';
import { endpointNamed, nothingTried, trial } from '../helpers/live-cluster.ts';

type Zones = NonNullable<NonNullable<ClusterSettings['loadBalancing']>['zones']>;

/** So many endpoints in each zone, of which so many are healthy. */
function inZones(zones: Readonly<Record<string, { all: number; healthy?: number }>>): Endpoint[] {
  return Object.entries(zones).flatMap(([zone, { all, healthy = all }]) =>
    Array.from({ length: all }, (_, at) => endpointNamed(`${zone}${at}`, { zone, isUnhealthy: at >= healthy })),
  );
}

function zoneCounts(o: {
  endpoints: readonly Endpoint[];
  zones?: Zones;
  own?: string;
  policy?: 'random' | 'maglev';
  panicThreshold?: string;
}) {
  const run = trial({
    endpoints: o.endpoints,
    settings: {
      loadBalancing: {
        policy: o.policy ?? 'random',
        ...(o.zones && { zones: o.zones }),
        ...(o.panicThreshold && { panicThreshold: o.panicThreshold }),
      },
    },
    ...(o.own !== undefined && { zone: o.own }),
  });
  const counts: Record<string, number> = {};
  for (const [address, count] of Object.entries(run.counts(20_000))) {
    const zone = o.endpoints.find((endpoint) => endpoint.address === address)!.zone!;
    counts[zone] = (counts[zone] ?? 0) + count;
  }
  return counts;
}

describe('zones', () => {
  test.each<{ claim: string; zones: Parameters<typeof inZones>[0]; rules?: Zones; own?: string; shares: object }>([
    {
      claim: 'without rules they are not looked at',
      zones: { a: { all: 2 }, b: { all: 4 } },
      own: 'a',
      shares: { a: 1, b: 2 },
    },
    { claim: 'the own one gets all', zones: { a: { all: 2 }, b: { all: 4 } }, rules: {}, own: 'a', shares: { a: 1 } },
    {
      claim: 'the own one gets all while 70 % of it are healthy',
      zones: { a: { all: 10, healthy: 7 }, b: { all: 4 } },
      rules: {},
      own: 'a',
      shares: { a: 1 },
    },
    {
      claim: 'less healthy, others get the difference',
      zones: { a: { all: 10, healthy: 5 }, b: { all: 4 } },
      rules: {},
      own: 'a',
      shares: { a: 5 / 7, b: 2 / 7 },
    },
    {
      claim: 'minHealthy says how little is enough',
      zones: { a: { all: 10, healthy: 5 }, b: { all: 4 } },
      rules: { minHealthy: '50%' },
      own: 'a',
      shares: { a: 1 },
    },
    {
      claim: 'a minHealthy of 0 %: as long as there is one',
      zones: { a: { all: 10, healthy: 1 }, b: { all: 4 } },
      rules: { minHealthy: '0%' },
      own: 'a',
      shares: { a: 1 },
    },
    {
      claim: 'a minHealthy of 0 %: and not when there is none',
      zones: { a: { all: 10, healthy: 0 }, b: { all: 4 } },
      rules: { minHealthy: '0%' },
      own: 'a',
      shares: { b: 1 },
    },
    {
      claim: 'fail over in the order that is said',
      zones: { a: { all: 4, healthy: 0 }, b: { all: 4 }, c: { all: 4 } },
      rules: { failover: ['c', 'b'] },
      own: 'a',
      shares: { c: 1 },
    },
    {
      claim: 'fail over step by step',
      zones: { a: { all: 10, healthy: 1 }, b: { all: 10 }, c: { all: 10, healthy: 4 } },
      rules: { failover: ['c', 'b'] },
      own: 'a',
      shares: { a: 1 / 7, c: 4 / 7, b: 2 / 7 },
    },
    {
      claim: 'those that nobody names come last, together',
      zones: { a: { all: 4, healthy: 0 }, b: { all: 2 }, c: { all: 4 } },
      rules: {},
      own: 'a',
      shares: { b: 1, c: 2 },
    },
    {
      claim: 'none is preferred when that is said',
      zones: { a: { all: 2 }, b: { all: 4 } },
      rules: { prefer: false },
      own: 'a',
      shares: { a: 1, b: 2 },
    },
    {
      claim: 'a proxy without a zone has none of its own',
      zones: { a: { all: 2 }, b: { all: 4 } },
      rules: {},
      shares: { a: 1, b: 2 },
    },
    {
      claim: 'an own zone without endpoints is passed over',
      zones: { b: { all: 2 }, c: { all: 2 } },
      rules: { failover: ['b'] },
      own: 'a',
      shares: { b: 1 },
    },
    {
      claim: 'shares add up when all together are not enough',
      zones: { a: { all: 10, healthy: 2 }, b: { all: 10, healthy: 2 } },
      rules: {},
      own: 'a',
      shares: { a: 1, b: 1 },
    },
  ])('$claim', ({ zones, rules, own, shares }) => {
    const counts = zoneCounts({
      endpoints: inZones(zones),
      panicThreshold: '0%',
      ...(rules && { zones: rules }),
      ...(own !== undefined && { own }),
    });
    expect({ counts, isAsExpected: isDistributedAs({ counts, shares: shares as Record<string, number> }) }).toEqual({
      counts,
      isAsExpected: true,
    });
  });

  test('a key stays in its zone as long as shares do', () => {
    const endpoints = inZones({ a: { all: 10, healthy: 5 }, b: { all: 4 } });
    const pick = () => {
      const { cluster } = trial({ endpoints, zone: 'a', settings: { loadBalancing: { policy: 'maglev', zones: {} } } });
      return Array.from(
        { length: 1_000 },
        (_, at) => cluster.pick({ subset: undefined, hash: at * 4_000_037, tried: nothingTried })!.address,
      );
    };
    expect(pick()).toEqual(pick());
    expect(new Set(pick().map((address) => address[0]))).toEqual(new Set(['a', 'b']));
  });

  test('a retry goes to another zone when the own one has none left', () => {
    const { cluster } = trial({
      endpoints: inZones({ a: { all: 1 }, b: { all: 1 } }),
      zone: 'a',
      settings: { loadBalancing: { zones: {} } },
    });
    const pick = (...tried: string[]) =>
      cluster.pick({ subset: undefined, hash: undefined, tried: new Set(tried) })?.address;
    expect(pick()).toBe('a0:1');
    expect(pick('a0:1')).toBe('b0:1');
    expect(pick('a0:1', 'b0:1')).toBeUndefined();
  });
});

describe('panic', () => {
  test('below the threshold all endpoints are used, which is counted', () => {
    const run = trial({ endpoints: inZones({ a: { all: 5, healthy: 2 } }) });
    expect(Object.keys(run.counts(200))).toHaveLength(5);
    expect(run.cluster.describe()).toMatchObject({ panic: true, panicPicks: 200 });
    run.update(inZones({ a: { all: 4, healthy: 2 } }));
    expect(Object.keys(run.counts(200))).toHaveLength(2);
    expect(run.cluster.describe()).toMatchObject({ panic: false, panicPicks: 200 });
  });

  test('a retry in it goes where nothing speaks against it', () => {
    for (const policy of ['least-request', 'random', 'round-robin', 'ewma', 'ring-hash', 'maglev'] as const) {
      const { cluster } = trial({
        endpoints: inZones({ a: { all: 9, healthy: 2 } }),
        settings: { loadBalancing: { policy } },
      });
      for (let count = 0; count < 50; count++)
        for (const hash of [undefined, count])
          expect(cluster.pick({ subset: undefined, hash, tried: new Set(['a8:1', 'a1:1']) })!.address).toBe('a0:1');
    }
  });

  test('in it one that cannot be connected to stays out, until none can', () => {
    const endpoints = inZones({ a: { all: 5, healthy: 1 } });
    const { cluster, counts } = trial({ endpoints });
    const fail = (at: number): void => cluster.begin(endpoints[at]!)({ kind: 'connect-failed' });
    for (const at of [0, 1, 2]) fail(at);
    expect(Object.keys(counts(200)).sort()).toEqual(['a3:1', 'a4:1']);
    for (const at of [3, 4]) fail(at);
    expect(Object.keys(counts(200))).toHaveLength(5);
  });

  test('a threshold of 0 % is none: unhealthy endpoints get nothing', () => {
    const run = trial({
      endpoints: inZones({ a: { all: 5, healthy: 1 } }),
      settings: { loadBalancing: { panicThreshold: '0%' } },
    });
    expect(Object.keys(run.counts(100))).toEqual(['a0:1']);
    run.update(inZones({ a: { all: 5, healthy: 0 } }));
    expect(run.counts(10)).toEqual({});
    expect(run.cluster.describe().panic).toBe(false);
  });

  test('with zones there is none while another zone has enough', () => {
    const endpoints = inZones({ a: { all: 5, healthy: 1 }, b: { all: 5 } });
    const run = trial({ endpoints, zone: 'a', settings: { loadBalancing: { zones: {} } } });
    expect(Object.keys(run.counts(2_000)).sort()).toEqual(['a0:1', 'b0:1', 'b1:1', 'b2:1', 'b3:1', 'b4:1']);
    expect(run.cluster.describe().panic).toBe(false);
    run.update(inZones({ a: { all: 5, healthy: 1 }, b: { all: 5, healthy: 1 } }));
    expect(Object.keys(run.counts(2_000))).toHaveLength(10);
    expect(run.cluster.describe().panic).toBe(true);
  });

  test('health checks of our own count like those of the proxy beside the instance', () => {
    const { cluster, counts } = trial({ endpoints: inZones({ a: { all: 4 } }) });
    cluster.checked('a1:1', false);
    cluster.checked('unknown:1', false);
    expect(Object.keys(counts(200)).sort()).toEqual(['a0:1', 'a2:1', 'a3:1']);
    expect(cluster.describe().endpoints[1]).toMatchObject({ address: 'a1:1', health: 'unhealthy' });
    cluster.checked('a1:1', true);
    expect(Object.keys(counts(200))).toHaveLength(4);
  });
});

describe('slow start', () => {
  const policies = ['least-request', 'round-robin', 'random', 'ewma'] as const;
  const old = ['a', 'b', 'c'].map((name) => endpointNamed(name));
  const fresh = endpointNamed('fresh');
  const started = (policy: (typeof policies)[number]) =>
    trial({ endpoints: old, settings: { loadBalancing: { policy, slowStart: '30s' } } });

  test.each(policies)('%s: the share of a new endpoint grows from a small one to all of it', (policy) => {
    const run = started(policy);
    run.update([...old, fresh]);
    const shares: number[] = [];
    for (let count = 0; count < 4; count++) {
      shares.push((run.counts(10_000)[fresh.address] ?? 0) / 10_000);
      run.clock.advance(10_000);
    }
    expect(shares.every((share, at) => at === 0 || share > shares[at - 1]!)).toBe(true);
    expect(shares[0]).toBeLessThan(0.06);
    expect(shares[3]).toBeGreaterThan(0.23);
    expect(shares[3]).toBeLessThan(0.27);
  });

  test.each(policies)('%s: one that is healthy again begins anew', (policy) => {
    const run = started(policy);
    run.cluster.checked('a:1', false);
    expect(run.counts(1_000)).not.toHaveProperty('a:1');
    run.cluster.checked('a:1', true);
    expect(run.counts(10_000)['a:1']! / 10_000).toBeLessThan(0.08);
    run.clock.advance(30_000);
    expect(run.counts(10_000)['a:1']! / 10_000).toBeGreaterThan(0.3);
  });

  test('what is there from the beginning has its whole share', () => {
    for (const policy of policies) expect(started(policy).counts(9_000)['a:1']).toBeGreaterThan(2_800);
  });
});
