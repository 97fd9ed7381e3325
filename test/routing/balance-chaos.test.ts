import { describe, expect, test } from 'vitest';
import type { ClusterSettings } from '#routing';
import { endpointNamed } from '../helpers/live-cluster.ts';
import {
  type Behaviour,
  createSimulatedMesh,
  failsAll,
  type SimulatedMesh,
  type SimulatedMeshOptions,
  slow,
  works,
} from '../helpers/simulated-mesh.ts';

const names = ['a', 'b', 'c', 'd', 'e'];
const endpoints = names.map((name) => endpointNamed(name));
const addressOf = (name: string): string => `${name}:1`;
/** As somebody writes it who wants to live on one endpoint of five. */
const detection: ClusterSettings = {
  loadBalancing: { panicThreshold: '10%' },
  outlierDetection: { maxEjected: '80%', consecutive5xx: 3, consecutiveGatewayErrors: 3 },
};

function meshWith(o: Partial<SimulatedMeshOptions> = {}): SimulatedMesh {
  return createSimulatedMesh({ endpoints, settings: detection, attempts: 4, ...o });
}
function harm(mesh: SimulatedMesh, whom: readonly string[], behaviour: Behaviour | (() => Behaviour)): void {
  for (const name of whom) mesh.behaviours.set(addressOf(name), behaviour);
}
const frozen: Behaviour = { kind: 'frozen' };
const killed: Behaviour = { kind: 'killed' };

describe('while one healthy endpoint remains, requests that may be retried all succeed', () => {
  test.each(['least-request', 'round-robin', 'random', 'ewma'] as const)(
    '%s, four of five killed at once',
    (policy) => {
      // With nothing declared but the policy: failures to connect are always looked at.
      const mesh = meshWith({ settings: { loadBalancing: { policy } } });
      mesh.load({ perSecond: 500, ms: 1_000 });
      harm(mesh, ['a', 'b', 'c', 'd'], killed);
      mesh.load({ perSecond: 500, ms: 20_000 });
      harm(mesh, names, works);
      mesh.load({ perSecond: 500, ms: 20_000 });
      mesh.settle();
      expect(mesh.seen).toMatchObject({ succeeded: 20_500, failed: 0, refused: 0, retries: 0 });
    },
  );

  test.each<[string, Behaviour]>([
    ['frozen', frozen],
    ['answering 500', failsAll],
    ['a hundred times slower, with a time-out for each try', slow],
    ['answering 503 at once', { kind: 'answers', status: 503, ms: 1 }],
  ])('one after the other %s', (_, behaviour) => {
    for (const seed of [1, 2, 3]) {
      const mesh = meshWith({ seed });
      mesh.load({ perSecond: 60, ms: 1_000 });
      for (const name of ['a', 'b', 'c', 'd']) {
        harm(mesh, [name], behaviour);
        mesh.load({ perSecond: 60, ms: 5_000 });
      }
      // Long enough for each to come back, fail and go again.
      mesh.load({ perSecond: 60, ms: 120_000 });
      mesh.settle();
      expect(mesh.seen).toMatchObject({ succeeded: 141 * 60, failed: 0, refused: 0 });
      expect(mesh.seen.retries).toBeGreaterThan(10);
    }
  });

  test('flapping, each at its own pace', () => {
    const mesh = meshWith();
    names.slice(1).forEach((name, at) => {
      const everyMs = 300 * (at + 1);
      harm(mesh, [name], () => (Math.floor(mesh.clock.monotonic() / everyMs) % 2 === 0 ? works : killed));
    });
    mesh.load({ perSecond: 200, ms: 60_000 });
    mesh.settle();
    expect(mesh.seen).toMatchObject({ succeeded: 12_000, failed: 0, refused: 0 });
  });

  test('a hundred times slower and waited for: they get hardly any', () => {
    for (const policy of ['least-request', 'ewma'] as const) {
      const mesh = meshWith({ settings: { loadBalancing: { policy } }, perTryTimeoutMs: 10_000 });
      harm(mesh, ['a', 'b'], slow);
      mesh.load({ perSecond: 200, ms: 20_000 });
      const busy = mesh.cluster.describe().endpoints.slice(0, 2);
      mesh.settle();
      expect(mesh.seen).toMatchObject({ succeeded: 4_000, failed: 0, retries: 0 });
      // Even shares would hold 40 each in progress.
      expect(Math.max(...busy.map(({ active }) => active))).toBeLessThan(12);
    }
  });
});

describe('K10: no retry storm', () => {
  test.each<[string, Behaviour]>([
    ['all answer 500', failsAll],
    ['all are frozen', frozen],
    ['all are a hundred times slower', slow],
  ])('%s: retries in progress stay within a fifth of the requests in progress', (_, behaviour) => {
    const mesh = meshWith({ attempts: 10 });
    mesh.load({ perSecond: 1_000, ms: 1_000 });
    const before = { ...mesh.seen };
    harm(mesh, names, behaviour);
    mesh.load({ perSecond: 1_000, ms: 10_000 });
    expect(mesh.seen.overBudget).toBeLessThanOrEqual(0);
    // Ten retries each would be 110,000.
    expect(mesh.seen.tries - before.tries).toBeLessThan(10_000 * 1.8);
    harm(mesh, names, works);
    mesh.settle();
    const { failed } = mesh.seen;
    mesh.clock.advance(300_000);
    mesh.load({ perSecond: 1_000, ms: 1_000 });
    mesh.settle();
    expect(mesh.seen.failed).toBe(failed);
    expect(mesh.cluster.describe()).toMatchObject({ requests: 0, retries: 0, panic: false });
    expect(mesh.cluster.describe().refused.retryBudget).toBeGreaterThan(1_000);
  });

  test('all frozen: the breaker refuses what is above its bound, and closes again', () => {
    const mesh = meshWith({ settings: { circuitBreaker: { maxRequests: 50 } }, perTryTimeoutMs: 5_000, attempts: 0 });
    harm(mesh, names, frozen);
    mesh.load({ perSecond: 100, ms: 4_000 });
    expect(mesh.seen).toMatchObject({ mostRequests: 50, refused: 350 });
    harm(mesh, names, works);
    mesh.settle();
    mesh.load({ perSecond: 100, ms: 4_000 });
    mesh.settle();
    expect(mesh.seen).toMatchObject({ succeeded: 400, failed: 50, refused: 350 });
  });

  test('four of five fail at once: what the budget does not cover fails, until they are ejected', () => {
    const mesh = meshWith();
    mesh.load({ perSecond: 500, ms: 1_000 });
    harm(mesh, ['a', 'b', 'c', 'd'], failsAll);
    mesh.load({ perSecond: 500, ms: 1_000 });
    const { failed } = mesh.seen;
    expect(failed).toBeLessThan(25);
    mesh.load({ perSecond: 500, ms: 20_000 });
    expect(mesh.seen.failed).toBe(failed);
  });
});

test('K9: health checks that lie are found out by real traffic', () => {
  const mesh = meshWith();
  harm(mesh, ['a', 'b'], failsAll);
  const say = (): void => {
    for (const name of names) mesh.cluster.checked(addressOf(name), true);
  };
  for (let second = 0; second < 20; second++) {
    say();
    mesh.load({ perSecond: 100, ms: 1_000 });
  }
  mesh.settle();
  expect(mesh.seen).toMatchObject({ succeeded: 2_000, failed: 0 });
  expect(mesh.cluster.describe().endpoints.map(({ ejectedWhy }) => ejectedWhy !== undefined)).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
});

test('K7: health checks that call every endpoint unhealthy are no outage', () => {
  const mesh = meshWith();
  for (const name of names) mesh.cluster.checked(addressOf(name), false);
  mesh.load({ perSecond: 100, ms: 1_000 });
  mesh.settle();
  expect(mesh.seen).toMatchObject({ succeeded: 100, failed: 0 });
  expect(mesh.cluster.describe()).toMatchObject({ panic: true, panicPicks: 100 });
});

test('K6: ten thousand updates a second under load fail no request, and the newest holds', () => {
  const mesh = meshWith();
  for (let at = 0; at < 2_000; at++) {
    mesh.load({ perSecond: 1_000, ms: 1 });
    for (let count = 0; count < 10; count++)
      mesh.cluster.update({
        settings: detection,
        endpoints: endpoints.filter((_, place) => place === 0 || (at + count + place) % 3 > 0),
      });
  }
  mesh.cluster.update({ settings: detection, endpoints: [endpoints[4]!] });
  mesh.load({ perSecond: 1_000, ms: 100 });
  mesh.settle();
  expect(mesh.seen).toMatchObject({ succeeded: 2_100, failed: 0, refused: 0 });
  expect(mesh.cluster.describe()).toMatchObject({ requests: 0, retries: 0 });
  expect(mesh.cluster.describe().endpoints.map(({ address, active }) => [address, active])).toEqual([['e:1', 0]]);
});
