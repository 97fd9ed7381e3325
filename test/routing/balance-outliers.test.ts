import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ClusterSettings, Outcome } from '#routing';
import { endpointNamed, type Trial, trial } from '../helpers/live-cluster.ts';

type Detection = NonNullable<ClusterSettings['outlierDetection']>;

const endpoints = ['a', 'b', 'c', 'd'].map((name) => endpointNamed(name));
const a = endpoints[0]!;
const answered = (status: number, grpcStatus?: number): Outcome => ({ kind: 'answered', status, grpcStatus });
const ok = answered(200);
const started = (outlierDetection: Detection = {}): Trial => trial({ endpoints, settings: { outlierDetection } });
const give = ({ cluster }: Trial, endpoint: { address: string }, outcomes: readonly (Outcome | undefined)[]): void => {
  const found = cluster.endpoints.find(({ address }) => address === endpoint.address)!;
  for (const outcome of outcomes) cluster.begin(found)(outcome);
};
const times = (count: number, outcome: Outcome): Outcome[] => Array.from({ length: count }, () => outcome);
const leftOut = ({ cluster }: Trial): string[] =>
  cluster.describe().endpoints.flatMap(({ address, ejectedForMs }) => (ejectedForMs === undefined ? [] : [address]));

describe('in a row', () => {
  test.each<[string, (Outcome | undefined)[], Detection, boolean]>([
    ['five 500', times(5, answered(500)), {}, true],
    ['four 500', times(4, answered(500)), {}, false],
    ['four 500, one 200, four 500', [...times(4, answered(500)), ok, ...times(4, answered(500))], {}, false],
    [
      'five 500 of which one caller went away',
      [...times(3, answered(500)), undefined, ...times(2, answered(500))],
      {},
      true,
    ],
    ['five 404', times(5, answered(404)), {}, false],
    ['two 500 where two are too many', times(2, answered(500)), { consecutive5xx: 2 }, true],
    ['nine 500 where they are not looked at', times(9, answered(500)), { consecutive5xx: 0 }, false],
    ['five 503 where only gateway errors are', times(5, answered(503)), { consecutive5xx: 0 }, true],
    ['five time-outs', times(5, { kind: 'timeout' }), { consecutive5xx: 0 }, true],
    ['five resets', times(5, { kind: 'reset' }), { consecutive5xx: 0 }, true],
    [
      '502, 503, 504, reset and time-out',
      [answered(502), answered(503), answered(504), { kind: 'reset' }, { kind: 'timeout' }],
      {},
      true,
    ],
    [
      '503 and 500 by turns, as gateway errors',
      [1, 2, 3, 4].flatMap(() => [answered(503), answered(500)]),
      { consecutive5xx: 0 },
      false,
    ],
    ['nine refusals of which nothing was processed', times(9, { kind: 'refused' }), {}, false],
    ['five gRPC UNAVAILABLE in answers of 200', times(5, answered(200, 14)), { consecutive5xx: 0 }, true],
    ['five gRPC INTERNAL', times(5, answered(200, 13)), {}, true],
    ['nine gRPC NOT_FOUND', times(9, answered(200, 5)), {}, false],
    [
      'nine 503 where neither is looked at',
      times(9, answered(503)),
      { consecutive5xx: 0, consecutiveGatewayErrors: 0 },
      false,
    ],
  ])('%s', (_, outcomes, detection, isOut) => {
    const run = started(detection);
    give(run, a, outcomes);
    expect(leftOut(run)).toEqual(isOut ? [a.address] : []);
    expect(Object.keys(run.counts(200))).toHaveLength(isOut ? 3 : 4);
  });

  test('without outlier detection no answer puts an endpoint out', () => {
    const run = trial({ endpoints });
    give(run, a, [...times(100, answered(503)), ...times(100, { kind: 'timeout' })]);
    expect(leftOut(run)).toEqual([]);
  });
});

describe('an ejection', () => {
  const eject = (run: Trial, endpoint = a): void => give(run, endpoint, times(5, answered(500)));

  test('is longer each time, up to the longest, and shorter again after intervals without one', () => {
    const run = started({ baseEjection: '10s', maxEjection: '25s', interval: '10s' });
    const lengths = () => run.cluster.describe().endpoints[0]!.ejectedForMs;
    eject(run);
    expect(lengths()).toBe(10_000);
    run.clock.advance(10_000);
    expect(lengths()).toBeUndefined();
    eject(run);
    expect(lengths()).toBe(20_000);
    run.clock.advance(20_000);
    eject(run);
    expect(lengths()).toBe(25_000);
    run.clock.advance(25_000 + 20_000);
    eject(run);
    expect(lengths()).toBe(20_000);
    run.clock.advance(20_000 + 60_000);
    eject(run);
    expect(lengths()).toBe(10_000);
  });

  test('ends by itself: the endpoint is tried again, and judged by what it does then', () => {
    const run = started();
    const { cluster, clock, told, counts } = run;
    const late = cluster.begin(a);
    eject(run);
    // What was on its way says nothing of how it is when it is back.
    late(answered(500));
    clock.advance(30_000);
    expect(counts(400)).toHaveProperty(a.address);
    give(run, a, times(4, answered(500)));
    expect(leftOut(run)).toEqual([]);
    expect(told).toEqual(['a:1 5 server errors in a row', 'a:1 back']);
    give(run, a, [answered(500)]);
    expect(leftOut(run)).toEqual([a.address]);
  });

  test('is not of more than half of the endpoints, but for one that may always be', () => {
    const run = started();
    for (const endpoint of endpoints) eject(run, endpoint);
    expect(leftOut(run)).toEqual(['a:1', 'b:1']);
    const least = started({ maxEjected: '0%' });
    for (const endpoint of endpoints) eject(least, endpoint);
    expect(leftOut(least)).toEqual(['a:1']);
    const all = started({ maxEjected: '100%' });
    for (const endpoint of endpoints) eject(all, endpoint);
    expect(leftOut(all)).toHaveLength(4);
    // K7: when all are out, all are used.
    expect(Object.keys(all.counts(400))).toHaveLength(4);
  });

  test('gives its place to another when it ends or its endpoint goes', () => {
    const run = started({ maxEjected: '25%' });
    eject(run);
    eject(run, endpoints[1]);
    expect(leftOut(run)).toEqual(['a:1']);
    run.update(endpoints.slice(1));
    eject(run, endpoints[1]);
    expect(leftOut(run)).toEqual(['b:1']);
    run.clock.advance(30_000);
    eject(run, endpoints[2]);
    expect(leftOut(run)).toEqual(['c:1']);
  });

  test('outlives an update that says nothing new of its endpoint', () => {
    const run = started();
    eject(run);
    run.update(endpoints.map((endpoint) => ({ ...endpoint, weight: 2 })));
    expect(leftOut(run)).toEqual(['a:1']);
    expect(Object.keys(run.counts(200))).toHaveLength(3);
  });
});

describe('success rates', () => {
  const many = Array.from({ length: 8 }, (_, at) => endpointNamed(`e${at}`));
  const rated = (failuresOf: (at: number) => number, given: Partial<Detection> = {}, requests = 100) => {
    const run = trial({
      endpoints: many,
      settings: {
        outlierDetection: { consecutive5xx: 0, consecutiveGatewayErrors: 0, successRate: {}, ...given },
      },
    });
    many.forEach((endpoint, at) => {
      give(run, endpoint, [...times(failuresOf(at), answered(500)), ...times(requests - failuresOf(at), ok)]);
    });
    expect(leftOut(run)).toEqual([]);
    run.clock.advance(10_000);
    give(run, many[0]!, [ok]);
    return run;
  };

  test('one that stands out is ejected at the end of the interval, with both rates told', () => {
    const run = rated((at) => (at === 5 ? 40 : 1));
    expect(leftOut(run)).toEqual(['e5:1']);
    expect(run.told[0]).toBe('e5:1 success rate 60% beside 94.1% of all');
  });

  test('when all fail alike none is', () => {
    expect(leftOut(rated(() => 40))).toEqual([]);
  });

  test('too few requests or endpoints say nothing', () => {
    expect(leftOut(rated((at) => (at === 5 ? 40 : 1), {}, 90))).toEqual([]);
    expect(leftOut(rated((at) => (at === 5 ? 40 : 1), { successRate: { minRequests: 50 } }, 90))).toEqual(['e5:1']);
    expect(leftOut(rated((at) => (at === 5 ? 40 : 1), { successRate: { minEndpoints: 9 } }))).toEqual([]);
  });

  test('the factor says how far off is too far', () => {
    expect(leftOut(rated((at) => (at === 5 ? 40 : 1), { successRate: { stdevFactor: 3 } }))).toEqual([]);
  });

  test('each interval stands by itself', () => {
    const run = rated((at) => (at === 5 ? 40 : 1), { baseEjection: '1s' });
    run.clock.advance(10_000);
    for (const endpoint of many) give(run, endpoint, times(100, ok));
    run.clock.advance(10_000);
    give(run, many[0]!, [ok]);
    expect(leftOut(run)).toEqual([]);
  });

  test('are looked at however often endpoints change', () => {
    const run = trial({
      endpoints: many,
      settings: { outlierDetection: { consecutive5xx: 0, consecutiveGatewayErrors: 0, successRate: {} } },
    });
    for (let at = 0; at < 110; at++) {
      for (const endpoint of many) give(run, endpoint, [endpoint.host === 'e5' && at % 2 ? answered(500) : ok]);
      run.clock.advance(100);
      run.update(many.map((endpoint) => ({ ...endpoint, weight: 1 + (at % 2) })));
    }
    expect(leftOut(run)).toEqual(['e5:1']);
  });
});

describe('failures to connect', () => {
  const failed: Outcome = { kind: 'connect-failed' };
  const length = ({ cluster }: Trial) => cluster.describe().endpoints[0]!.ejectedForMs;

  test('put an endpoint aside for 250 ms, doubled up to 15 s', () => {
    const run = trial({ endpoints });
    const lengths: unknown[] = [];
    for (let count = 0; count < 9; count++) {
      give(run, a, [failed]);
      lengths.push(length(run));
      run.clock.advance(length(run)!);
    }
    expect(lengths).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
    give(run, a, [ok, failed]);
    expect(length(run)).toBe(250);
  });

  test('of many requests at once count as one', () => {
    const run = trial({ endpoints });
    give(run, a, times(50, failed));
    expect(length(run)).toBe(250);
  });

  test('count as gateway errors where outlier detection is declared', () => {
    const run = started({ consecutive5xx: 0 });
    give(run, a, times(5, failed));
    expect(run.cluster.describe().endpoints[0]).toMatchObject({
      ejectedForMs: 30_000,
      ejectedWhy: '5 gateway errors in a row',
    });
  });
});

test('whatever happens in whatever order, at most half are ejected, all come back, and nothing stays in progress', () => {
  const happening = fc.record({
    at: fc.nat(3),
    kind: fc.constantFrom('begin', 'end', 'wait', 'update', 'check', 'pick'),
    status: fc.constantFrom(200, 500, 503, undefined),
    outcome: fc.constantFrom('answered', 'connect-failed', 'reset', 'timeout', 'refused'),
    ms: fc.nat(40_000),
    flag: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 200 }), (happenings) => {
      const run = started({ consecutive5xx: 2, consecutiveGatewayErrors: 1 });
      const { cluster, clock } = run;
      const open: ((outcome: Outcome | undefined) => void)[] = [];
      for (const { at, kind, status, outcome, ms, flag } of happenings) {
        if (kind === 'begin') open.push(cluster.begin(endpoints[at]!));
        if (kind === 'end')
          open.splice(at, 1)[0]?.(
            outcome !== 'answered' ? { kind: outcome } : status === undefined ? undefined : answered(status),
          );
        if (kind === 'wait') clock.advance(ms);
        if (kind === 'check') cluster.checked(endpoints[at]!.address, flag);
        if (kind === 'update') run.update(endpoints.map((endpoint) => ({ ...endpoint, isUnhealthy: flag })));
        if (kind === 'pick') expect(Object.values(run.counts(1))).toEqual([1]);
        const ejected = cluster
          .describe()
          .endpoints.filter(({ ejectedWhy }) => ejectedWhy !== undefined && ejectedWhy !== 'connect failed');
        expect(ejected.length).toBeLessThanOrEqual(2);
      }
      for (const end of open) end(undefined);
      for (const { address } of endpoints) cluster.checked(address, true);
      run.update(endpoints);
      clock.advance(400_000);
      expect(cluster.describe().endpoints.map(({ active, ejectedForMs }) => [active, ejectedForMs])).toEqual(
        endpoints.map(() => [0, undefined]),
      );
      const told = new Map(run.told.map((line) => [line.split(' ')[0]!, line.endsWith(' back')]));
      expect([...told.values()].every((isBack) => isBack)).toBe(true);
    }),
  );
});
