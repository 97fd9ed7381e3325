import { describe, expect, test } from 'vitest';
import type { Outcome } from '#routing';
import { endpointNamed, nothingTried, trial } from '../helpers/live-cluster.ts';

const [a, b, c] = [endpointNamed('a'), endpointNamed('b'), endpointNamed('c')];
const connectFailed: Outcome = { kind: 'connect-failed' };
const answered = (status: number): Outcome => ({ kind: 'answered', status, grpcStatus: undefined });
const addresses = (counts: Record<string, number>): string[] => Object.keys(counts).sort();

describe('the less busy of two', () => {
  test('an endpoint with more running requests is picked less', () => {
    const { cluster, counts } = trial({ endpoints: [a, b, c] });
    for (let count = 0; count < 5; count++) cluster.begin(a);
    // It wins only draws in which it is alone, and there are none.
    expect(addresses(counts(300))).toEqual([b.address, c.address]);
  });

  test('an endpoint that failed to connect is left out, longer each time, and comes back', () => {
    const { cluster, clock, counts, told } = trial({ endpoints: [a, b] });
    cluster.begin(a)(connectFailed);
    expect(addresses(counts(50))).toEqual([b.address]);
    clock.advance(250);
    expect(addresses(counts(50))).toEqual([a.address, b.address]);
    cluster.begin(a)(connectFailed);
    clock.advance(250);
    expect(addresses(counts(50))).toEqual([b.address]);
    cluster.begin(a)(answered(200));
    expect(addresses(counts(50))).toEqual([a.address, b.address]);
    expect(told).toEqual(['a:1 connect failed', 'a:1 back', 'a:1 connect failed', 'a:1 back']);
  });

  test('K7: when all have failed, all are tried again', () => {
    const { cluster, update } = trial({ endpoints: [a, b] });
    for (const one of [a, b]) cluster.begin(one)(connectFailed);
    const pick = (...tried: string[]) => cluster.pick({ subset: undefined, hash: undefined, tried: new Set(tried) });
    expect(pick()).toBeDefined();
    expect(pick(a.address)).toBe(b);
    expect(pick(a.address, b.address)).toBeUndefined();
    update([]);
    expect(pick()).toBeUndefined();
  });
});

test('round robin gives each endpoint its turn', () => {
  const { counts } = trial({ endpoints: [a, b, c], settings: { loadBalancing: { policy: 'round-robin' } } });
  expect(counts(300)).toEqual({ 'a:1': 100, 'b:1': 100, 'c:1': 100 });
});

test('five server errors in a row eject an endpoint for 30 s when outlier detection is declared', () => {
  const { cluster, clock, counts, told } = trial({ endpoints: [a, b, c], settings: { outlierDetection: {} } });
  for (let count = 0; count < 5; count++) cluster.begin(a)(answered(500));
  expect(addresses(counts(50))).toEqual([b.address, c.address]);
  clock.advance(29_999);
  expect(addresses(counts(50))).toEqual([b.address, c.address]);
  clock.advance(1);
  expect(addresses(counts(50))).toEqual([a.address, b.address, c.address]);
  expect(told).toEqual(['a:1 5 server errors in a row', 'a:1 back']);
});

test('a full cluster takes a request again when one has ended', () => {
  const { cluster } = trial({ endpoints: [a], settings: { circuitBreaker: { maxRequests: 2 } } });
  const [first, second] = [cluster.admit(), cluster.admit()];
  expect(cluster.admit()).toBeUndefined();
  first!();
  first!();
  expect(cluster.admit()).toBeDefined();
  expect(cluster.admit()).toBeUndefined();
  expect(cluster.describe().refused.maxRequests).toBe(2);
  second!();
  expect(cluster.describe().requests).toBe(1);
});

test('a subset holds the endpoints with all of its labels', () => {
  const v1 = endpointNamed('one', { labels: { version: 'v1', tier: 'web' } });
  const v2 = endpointNamed('two', { labels: { version: 'v2' } });
  const { cluster, counts } = trial({
    endpoints: [v1, v2],
    settings: { subsets: { first: { labels: { version: 'v1', tier: 'web' } }, none: { labels: { version: 'v3' } } } },
  });
  expect(counts(20, { subset: 'first' })).toEqual({ 'one:1': 20 });
  expect(cluster.pick({ subset: 'none', hash: undefined, tried: nothingTried })).toBeUndefined();
  expect(cluster.pick({ subset: 'unknown', hash: undefined, tried: nothingTried })).toBeUndefined();
});
