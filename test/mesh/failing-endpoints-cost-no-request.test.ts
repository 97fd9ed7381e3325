// Endpoints that are killed, frozen, slow, wrong or flapping while calls go on: as long as one of them is healthy, calls that may be repeated succeed, and what is
// sent for them stays within the budget.
import type { ServerResponse } from 'node:http';
import { describe, expect, test } from 'vitest';
import { type Instance, open, startTraffic, type Traffic } from '../helpers/traffic.ts';

const mesh = (more = ''): string => `${open}kind: Cluster
name: payments
endpoints: enrolled
outlierDetection: { consecutive5xx: 3, consecutiveGatewayErrors: 3, baseEjection: 30s, maxEjected: 100% }
circuitBreaker: { retryBudget: 20%, minRetries: 10 }
loadBalancing: { policy: round-robin, panicThreshold: 0% }
---
kind: VirtualService
name: payments
hosts: [payments]
http:
  - retries: { attempts: 4, perTryTimeout: 300ms, on: [connect-failure, refused-stream, reset, timeout, 5xx], backoff: { base: 1ms, max: 5ms } }
    ${more}
    route: [{ cluster: payments }]
`;
const four = { payments: [{}, {}, {}, {}] };

/** Calls, some at a time; how many of them did not succeed. */
async function load(traffic: Traffic, count: number, atOnce = 4): Promise<number> {
  let left = count;
  let failed = 0;
  const caller = async (): Promise<void> => {
    while (left-- > 0) if ((await traffic.ask({ path: '/x' })).status !== 200) failed++;
  };
  await Promise.all(Array.from({ length: atOnce }, caller));
  return failed;
}
const tries = ({ instances }: Traffic): number => instances.payments!.reduce((sum, { seen }) => sum + seen.length, 0);
const answers500 = (_: unknown, response: ServerResponse): void => void response.writeHead(500).end();
const freezes = (): void => undefined;
const resets = (_: unknown, response: ServerResponse): void => void response.socket?.destroy();

describe('K9, K10: while one endpoint is healthy every call succeeds', () => {
  test.each([
    ['answer 500', (one: Instance) => Object.assign(one, { answer: answers500 })],
    ['are frozen', (one: Instance) => Object.assign(one, { answer: freezes })],
    ['break off', (one: Instance) => Object.assign(one, { answer: resets })],
    ['are gone, their sidecars not', (one: Instance) => void one.app.server.close()],
    ['are gone with their sidecars', (one: Instance) => void one.proxy.plane.drain().then(() => undefined)],
  ])('three of four applications that %s', async (_, harm) => {
    const traffic = await startTraffic(mesh(), four);
    expect(await load(traffic, 20)).toBe(0);
    for (const one of traffic.instances.payments!.slice(0, 3)) harm(one);
    const before = tries(traffic);
    expect(await load(traffic, 200)).toBe(0);
    // Three endpoints, out after three failures each and a few that ran at the same time.
    expect(tries(traffic) - before).toBeLessThan(200 + 3 * (3 + 4) + 10);
  });

  test('one that is a hundred times slower is waited for no longer than a try may take', async () => {
    const traffic = await startTraffic(mesh(), four);
    traffic.instances.payments![0]!.answer = (_, response) => void setTimeout(() => response.end('late'), 2_000);
    expect(await load(traffic, 60)).toBe(0);
  });

  test('endpoints that come and go', async () => {
    const traffic = await startTraffic(mesh(), four);
    let isOver = false;
    const running = load(traffic, 400).then((failed) => {
      isOver = true;
      return failed;
    });
    for (let round = 0; !isOver; round++) {
      const one = round % 3;
      traffic.instances.payments![one]!.answer = round % 2 === 0 ? answers500 : resets;
      traffic.endpoint('payments', (one + 1) % 3, { unhealthy: true });
      await new Promise((resolve) => setTimeout(resolve, 10));
      traffic.instances.payments![one]!.answer = (_, response) => void response.end('ok');
      traffic.endpoint('payments', (one + 1) % 3, { unhealthy: undefined } as never);
    }
    expect(await running).toBe(0);
  });
});

test('K10: when all of them fail, what is sent stays within the budget of retries', async () => {
  const traffic = await startTraffic(mesh(), four);
  for (const one of traffic.instances.payments!) one.answer = answers500;
  const count = 300;
  expect(await load(traffic, count, 8)).toBe(count);
  // Ten retries may always run: eight callers at a time, one retry each at a time, are all within it; after that every one of them counts.
  expect(tries(traffic)).toBeLessThanOrEqual(count * 5);
  traffic.configure(mesh().replace('minRetries: 10', 'minRetries: 0'));
  const before = tries(traffic);
  expect(await load(traffic, count, 10)).toBe(count);
  // A fifth of ten calls in progress: two retries at a time beside ten first tries.
  expect(tries(traffic) - before).toBeLessThan(count * 2.1);
});

describe('K7: a cluster without an endpoint to call', () => {
  test('that has none is 503 with the reason', async () => {
    const traffic = await startTraffic(mesh(), four);
    for (let at = 0; at < 4; at++) traffic.endpoint('payments', at, undefined);
    const answer = await traffic.ask();
    expect([answer.status, answer.json().error.code]).toEqual([503, 'SERVICE_WITHOUT_ENDPOINTS']);
  });

  test('that are all unhealthy are all used, unless the cluster says otherwise', async () => {
    const panicking = mesh().replace('panicThreshold: 0%', 'panicThreshold: 50%');
    const traffic = await startTraffic(panicking, four);
    for (let at = 0; at < 4; at++) traffic.endpoint('payments', at, { unhealthy: true });
    expect(await load(traffic, 20)).toBe(0);
    traffic.configure(mesh());
    const answer = await traffic.ask();
    expect([answer.status, answer.json().error.code]).toEqual([503, 'SERVICE_WITHOUT_ENDPOINTS']);
  });
});
