import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ClusterSettings } from '#routing';
import { breakerBounds } from '../../routing/balance/settings.ts';
import { endpointNamed, trial } from '../helpers/live-cluster.ts';

type Given = NonNullable<ClusterSettings['circuitBreaker']>;
const started = (circuitBreaker?: Given) =>
  trial({ endpoints: [endpointNamed('a')], settings: circuitBreaker ? { circuitBreaker } : {} });

test('every bound is finite when nothing is declared', () => {
  const { cluster } = started();
  expect(cluster.bounds).toEqual({
    maxConnections: 256,
    maxPending: 256,
    maxRequests: 1_024,
    maxRetries: 64,
    retryBudget: 0.2,
    minRetries: 3,
  });
  const ends = Array.from({ length: 2_000 }, () => cluster.admit()).filter((end) => end !== undefined);
  expect(ends).toHaveLength(1_024);
  expect(cluster.describe().refused).toEqual({ maxRequests: 976, maxRetries: 0, retryBudget: 0 });
});

test('the parts of several threads add up to the whole, and none is without', () => {
  const sums = (circuitBreaker: Given, of: number) => {
    const parts = Array.from({ length: of }, (_, index) => breakerBounds({ circuitBreaker }, { index, of }));
    const sum = (name: 'maxRequests' | 'maxRetries' | 'minRetries' | 'maxPending') =>
      parts.reduce((all, part) => all + part[name], 0);
    return [sum('maxRequests'), sum('maxRetries'), sum('minRetries'), sum('maxPending')];
  };
  expect(sums({}, 3)).toEqual([1_024, 64, 3, 256]);
  expect(sums({ maxRequests: 2, maxRetries: 5, minRetries: 2, maxPending: 1 }, 4)).toEqual([4, 5, 2, 4]);
});

describe('retries', () => {
  const retriesOf = (requests: number, given?: Given) => {
    const { cluster } = started(given);
    for (let count = 0; count < requests; count++) cluster.admit();
    const admitted = Array.from({ length: 500 }, () => cluster.admitRetry()).filter((end) => end !== undefined);
    return { retries: admitted.length, refused: cluster.describe().refused };
  };

  test.each([
    ['three may run however few requests do', 1, undefined, 3, 'retryBudget'],
    ['a fifth of the requests in progress', 100, undefined, 20, 'retryBudget'],
    ['a part of a retry is a retry', 101, undefined, 21, 'retryBudget'],
    ['maxRetries whatever the budget', 1_000, undefined, 64, 'maxRetries'],
    ['maxRetries below minRetries', 10, { maxRetries: 1 }, 1, 'maxRetries'],
    ['a budget of 0 % and none at least: none', 100, { retryBudget: '0%', minRetries: 0 }, 0, 'retryBudget'],
    ['a budget of 100 %', 50, { retryBudget: '100%' }, 50, 'retryBudget'],
  ] as const)('%s', (_, requests, given, most, bound) => {
    const { retries, refused } = retriesOf(requests, given);
    expect(retries).toBe(most);
    expect(refused).toEqual({ maxRequests: 0, maxRetries: 0, retryBudget: 0, [bound]: 500 - most });
  });
});

test('the budget is never exceeded when a retry is admitted, and all returns to zero, whatever the order of ends', () => {
  const step = fc.record({
    kind: fc.constantFrom('request', 'retry', 'end', 'end twice', 'bounds'),
    at: fc.nat(1_000),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const run = started();
      const { cluster } = run;
      let given: Required<Pick<Given, 'maxRequests' | 'maxRetries' | 'minRetries'>> & { retryBudget: string } = {
        maxRequests: 30,
        maxRetries: 6,
        minRetries: 2,
        retryBudget: '20%',
      };
      run.update(cluster.endpoints, { circuitBreaker: given });
      const open: { end: () => void; isRetry: boolean }[] = [];
      const count = (isRetry: boolean): number => open.filter((one) => one.isRetry === isRetry).length;
      for (const { kind, at } of steps) {
        const [requests, retries] = [count(false), count(true)];
        if (kind === 'request') {
          const end = cluster.admit();
          expect(end !== undefined).toBe(requests < given.maxRequests);
          if (end) open.push({ end, isRetry: false });
        } else if (kind === 'retry') {
          const end = cluster.admitRetry();
          const budget = Math.max(given.minRetries, (Number.parseFloat(given.retryBudget) / 100) * requests);
          expect(end !== undefined).toBe(retries < budget && retries < given.maxRetries);
          if (end) open.push({ end, isRetry: true });
        } else if (kind === 'bounds') {
          given = {
            maxRequests: 1 + (at % 40),
            maxRetries: 1 + (at % 9),
            minRetries: at % 4,
            retryBudget: `${at % 101}%`,
          };
          run.update(cluster.endpoints, { circuitBreaker: given });
        } else {
          const [one] = open.splice(at % Math.max(1, open.length), 1);
          one?.end();
          if (kind === 'end twice') one?.end();
        }
        expect(cluster.describe()).toMatchObject({ requests: count(false), retries: count(true) });
      }
      for (const { end } of open) end();
      expect(cluster.describe()).toMatchObject({ requests: 0, retries: 0 });
    }),
  );
});
