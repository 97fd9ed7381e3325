// What a failed try costs the caller: another one where the route and the cluster say so, and a clear end otherwise.
import type { ServerResponse } from 'node:http';
import { describe, expect, test } from 'vitest';
import { openRaw } from '../helpers/mesh.ts';
import { open, startTraffic, type Traffic } from '../helpers/traffic.ts';

const three = { payments: [{}, {}, {}] };
const routes = (http: string, cluster = ''): string => `${open}kind: Cluster
name: payments
endpoints: enrolled
loadBalancing: { policy: round-robin }
${cluster}
---
kind: VirtualService
name: payments
hosts: [payments]
http:
  - ${http}
`;
const failing =
  (status: number, headers: Record<string, string> = {}) =>
  (_: unknown, response: ServerResponse) => {
    response.writeHead(status, headers);
    response.end('failed');
  };
const tries = ({ instances }: Traffic): number => instances.payments!.reduce((sum, { seen }) => sum + seen.length, 0);

describe('retries', () => {
  test('an answer that the route does not want is given up for one of another endpoint', async () => {
    const traffic = await startTraffic(
      routes('{ retries: { attempts: 2, on: ["503"] }, route: [{ cluster: payments }] }'),
      three,
    );
    const [one, two] = traffic.instances.payments!;
    one!.answer = failing(503);
    two!.answer = failing(503);
    for (let at = 0; at < 6; at++) expect((await traffic.ask()).status).toBe(200);
    const records = await traffic.web.recorded(6);
    expect(Math.max(...records.map(({ tries: count = 1 }) => count))).toBeGreaterThan(1);
    for (const { endpoint } of records)
      expect(endpoint).toBe(`127.0.0.1:${traffic.instances.payments![2]!.proxy.addresses.inbound.port}`);
  });

  test('what may have been done already is done again only when doing it twice does no harm', async () => {
    const traffic = await startTraffic(
      routes('{ retries: { attempts: 2, on: [5xx, reset] }, route: [{ cluster: payments }] }'),
      three,
    );
    for (const instance of traffic.instances.payments!) instance.answer = failing(500);
    expect((await traffic.ask({ method: 'POST', body: 'x' })).status).toBe(500);
    expect(tries(traffic)).toBe(1);
    expect((await traffic.ask({ method: 'PUT', body: 'x' })).status).toBe(500);
    expect(tries(traffic)).toBe(4);
  });

  test('a body is sent again as it was, as long as it is small; a large one is sent once', async () => {
    const traffic = await startTraffic(
      routes('{ retries: { attempts: 2, on: ["503"] }, route: [{ cluster: payments }] }'),
      three,
    );
    const [one, two, third] = traffic.instances.payments!;
    one!.answer = failing(503);
    two!.answer = failing(503);
    const small = 'abc'.repeat(10_000);
    for (let at = 0; at < 3; at++) expect((await traffic.ask({ method: 'PUT', body: small })).status).toBe(200);
    expect(new Set(third!.seen.map(({ body }) => body))).toEqual(new Set([small]));
    const large = 'abc'.repeat(50_000);
    const statuses = [];
    for (let at = 0; at < 3; at++) statuses.push((await traffic.ask({ method: 'PUT', body: large })).status);
    expect(statuses.sort()).toEqual([200, 503, 503]);
  });

  test('a body that comes in pieces is kept and sent again too', async () => {
    const traffic = await startTraffic(
      routes('{ retries: { attempts: 2, on: ["503"] }, route: [{ cluster: payments }] }'),
      three,
    );
    const [one, two, third] = traffic.instances.payments!;
    one!.answer = failing(503);
    two!.answer = failing(503);
    for (let at = 0; at < 3; at++) {
      const client = await openRaw(traffic.web.addresses.outbound.port);
      client.send(
        'PUT / HTTP/1.1\r\nhost: payments\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n',
      );
      client.send('6\r\n world\r\n0\r\n\r\n');
      expect((await client.closed()).slice(9, 12)).toBe('200');
    }
    expect(new Set(third!.seen.map(({ body }) => body))).toEqual(new Set(['hello world']));
  });

  test('an endpoint whose application is gone costs nothing: nothing of the request was processed there', async () => {
    const traffic = await startTraffic(open, three);
    for (const instance of traffic.instances.payments!.slice(0, 2))
      await new Promise((resolve) => instance.app.server.close(resolve));
    for (let at = 0; at < 20; at++)
      expect((await traffic.ask({ method: 'POST', body: 'charge' })).status, `request ${at}`).toBe(200);
    expect(traffic.instances.payments![2]!.seen.length).toBe(20);
  });

  test('no route has more tries than it says, and retries stay within the budget of the cluster', async () => {
    const traffic = await startTraffic(
      routes(
        '{ retries: { attempts: 5, on: ["503"] }, route: [{ cluster: payments }] }',
        'circuitBreaker: { retryBudget: 20%, minRetries: 2 }',
      ),
      three,
    );
    for (const instance of traffic.instances.payments!) instance.answer = failing(503);
    expect((await traffic.ask()).status).toBe(503);
    expect(tries(traffic)).toBe(6);
    const waiting: ServerResponse[] = [];
    for (const instance of traffic.instances.payments!)
      instance.answer = (_, response) => {
        waiting.push(response);
        if (waiting.length === 20) for (const each of waiting.splice(0)) each.writeHead(503).end();
        else if (waiting.length < 20 && tries(traffic) > 26)
          for (const each of waiting.splice(0)) each.writeHead(503).end();
      };
    const answers = await Promise.all(Array.from({ length: 20 }, () => traffic.ask()));
    expect(answers.every(({ status }) => status === 503)).toBe(true);
    // Twenty at a time may have four retries at a time, of five each at most.
    expect(tries(traffic) - 6).toBeLessThanOrEqual(20 + 4 * 5 * 5);
    expect(traffic.web.metrics.render()).toMatch(/postern_limits_total\{limit="retry-budget"\} [1-9]/);
  });
});

describe('time-outs', () => {
  test('of a try: the next endpoint is asked', async () => {
    const traffic = await startTraffic(
      routes('{ retries: { attempts: 2, perTryTimeout: 100ms, on: [timeout] }, route: [{ cluster: payments }] }'),
      three,
    );
    const [one, two] = traffic.instances.payments!;
    one!.answer = () => undefined;
    two!.answer = () => undefined;
    for (let at = 0; at < 3; at++) expect((await traffic.ask()).status).toBe(200);
  });

  test('of the whole request: 504, whatever tries are left, also while a try waits', async () => {
    const traffic = await startTraffic(
      routes(
        '{ timeout: 150ms, retries: { attempts: 5, perTryTimeout: 100ms, on: [timeout] }, route: [{ cluster: payments }] }',
      ),
      three,
    );
    for (const instance of traffic.instances.payments!) instance.answer = () => undefined;
    const { status, json } = await traffic.ask();
    expect([status, json().error.code]).toEqual([504, 'UPSTREAM_TIMEOUT']);
    const [record] = await traffic.web.recorded(1);
    expect(record!.tries).toBe(2);
  });

  test('of an answer that stays away: it is cut, and the caller can tell', async () => {
    const traffic = await startTraffic(routes('{ idleTimeout: 100ms, route: [{ cluster: payments }] }'), three);
    for (const instance of traffic.instances.payments!) instance.answer = (_, response) => void response.write('begun');
    const client = await openRaw(traffic.web.addresses.outbound.port);
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    const text = await client.closed();
    expect(text).toContain('begun');
    expect(text.endsWith('0\r\n\r\n')).toBe(false);
    const [record] = await traffic.web.recorded(1);
    expect(record).toMatchObject({ decision: 'error', reason: 'HTTP_TIMEOUT' });
  });
});

test('a cluster takes no more requests at a time than it says: the rest is refused at once', async () => {
  const traffic = await startTraffic(
    routes('{ route: [{ cluster: payments }] }', 'circuitBreaker: { maxRequests: 2 }'),
    three,
  );
  const waiting: ServerResponse[] = [];
  const both = new Promise<void>((resolve) => {
    for (const instance of traffic.instances.payments!)
      instance.answer = (_, response) => {
        waiting.push(response);
        if (waiting.length === 2) resolve();
      };
  });
  const running = [traffic.ask(), traffic.ask()];
  await both;
  const refused = await traffic.ask();
  expect([refused.status, refused.json().error.code]).toEqual([503, 'UPSTREAM_OVERLOADED']);
  for (const response of waiting) response.end('ok');
  expect((await Promise.all(running)).map(({ status }) => status)).toEqual([200, 200]);
  for (const instance of traffic.instances.payments!) instance.answer = (_, response) => void response.end('ok');
  expect((await traffic.ask()).status).toBe(200);
});
