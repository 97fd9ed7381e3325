// Settings of clusters and routes as an operator writes them, each seen in what happens to calls through real sidecars: bounds of breakers, what counts as an outlier,
// when a retry is made, shares of copies and faults, limits for each caller.
import type { ServerResponse } from 'node:http';
import { describe, expect, test } from 'vitest';
import type { ClusterState } from '#routing';
import { call, startApp } from '../helpers/mesh.ts';
import { type Instance, open, startTraffic, type Traffic } from '../helpers/traffic.ts';
import { eventually } from '../helpers/until.ts';

const mesh = (cluster: string, route: string): string => `${open}kind: Cluster
name: payments
endpoints: enrolled
${cluster}
---
kind: VirtualService
name: payments
hosts: [payments]
http:
  - { ${route}, route: [{ cluster: payments }] }
`;
const failing =
  (status: number) =>
  (_: unknown, response: ServerResponse): void =>
    void response.writeHead(status).end();
const seenBy = (instances: readonly Instance[] | undefined): number[] => instances!.map(({ seen }) => seen.length);
const triesOf = ({ instances }: Traffic): number => seenBy(instances.payments).reduce((sum, count) => sum + count, 0);
const stateOf = ({ web }: Traffic, name: string): ClusterState => {
  const { clusters } = web.plane.describe() as { clusters: (ClusterState & { name: string })[] };
  return clusters.find((one) => one.name === name)!;
};

describe('circuit breakers', () => {
  test('connections to an endpoint, and requests that wait for one', async () => {
    const held: ServerResponse[] = [];
    const app = await startApp((_, response) => void held.push(response));
    const traffic = await startTraffic(
      `${open}kind: Cluster
name: legacy
endpoints: { static: ["127.0.0.1:${app.port}"] }
hosts: [legacy.example]
plaintext: true
circuitBreaker: { maxConnections: 2, maxPending: 1 }
`,
      { payments: [{}] },
    );
    const answers = Array.from({ length: 5 }, () => traffic.ask({ host: 'legacy.example' }));
    // Two have a connection, one waits for it, the others are refused at once.
    expect((await firstOf(answers, 2)).map(({ status, json }) => [status, json().error.code])).toEqual([
      [503, 'UPSTREAM_OVERLOADED'],
      [503, 'UPSTREAM_OVERLOADED'],
    ]);
    await eventually(
      async () => held.length,
      (count) => count === 2,
    );
    for (const response of held.splice(0)) response.end('ok');
    await eventually(
      async () => held.length,
      (count) => count === 1,
    );
    held[0]!.end('ok');
    expect((await Promise.all(answers)).map(({ status }) => status).sort()).toEqual([200, 200, 200, 503, 503]);
    expect(app.accepts()).toBeLessThanOrEqual(2 + 1);
  });

  test('retries in progress, whatever the budget', async () => {
    const traffic = await startTraffic(
      mesh('circuitBreaker: { maxRetries: 1, retryBudget: 100% }', 'retries: { attempts: 3, on: ["503"] }'),
      { payments: [{}, {}] },
    );
    const held: ServerResponse[] = [];
    for (const one of traffic.instances.payments!) one.answer = (_, response) => void held.push(response);
    const answers = Array.from({ length: 4 }, () => traffic.ask());
    await eventually(
      async () => held.length,
      (count) => count === 4,
    );
    for (const response of held.splice(0)) response.writeHead(503).end();
    expect((await firstOf(answers, 3)).map(({ status }) => status)).toEqual([503, 503, 503]);
    await eventually(
      async () => held.length,
      (count) => count === 1,
    );
    held[0]!.end('ok');
    expect((await Promise.all(answers)).map(({ status }) => status).sort()).toEqual([200, 503, 503, 503]);
    expect(triesOf(traffic)).toBe(5);
    expect(stateOf(traffic, 'payments').refused).toMatchObject({ maxRetries: 3 });
  });
});

describe('outlier detection', () => {
  test.each([
    ['consecutiveGatewayErrors', 500, false],
    ['consecutiveGatewayErrors', 503, true],
    ['consecutive5xx', 500, true],
    ['consecutive5xx', 404, false],
  ])('by %s alone, three answers of %i in a row: %s', async (setting, status, isEjected) => {
    const off = { consecutive5xx: 0, consecutiveGatewayErrors: 0, [setting]: 3 };
    const traffic = await startTraffic(
      mesh(
        `outlierDetection: ${JSON.stringify(off)}\nloadBalancing: { policy: round-robin }`,
        'retries: { attempts: 0 }',
      ),
      { payments: [{}, {}] },
    );
    traffic.instances.payments![0]!.answer = failing(status);
    for (let at = 0; at < 6; at++) await traffic.ask();
    expect(stateOf(traffic, 'payments').endpoints.map(({ ejectedWhy }) => ejectedWhy !== undefined)).toEqual([
      isEjected,
      false,
    ]);
    for (let at = 0; at < 4; at++) await traffic.ask();
    expect(seenBy(traffic.instances.payments)).toEqual(isEjected ? [3, 7] : [5, 5]);
  });

  test('what was ejected is called again when its time is over', async () => {
    const traffic = await startTraffic(
      mesh('outlierDetection: { consecutive5xx: 1, baseEjection: 50ms }', 'retries: { attempts: 0 }'),
      { payments: [{}, {}] },
    );
    const [bad] = traffic.instances.payments!;
    bad!.answer = failing(500);
    while (bad!.seen.length === 0) await traffic.ask();
    bad!.answer = (_, response) => void response.end('well');
    const answer = await eventually(
      async () => (await traffic.ask()).body,
      (body) => body.includes('well'),
    );
    expect(answer).toContain('well');
  });
});

describe('retries are made', () => {
  const broken = (_: unknown, response: ServerResponse): void => void response.socket?.destroy();
  test.each<[retries: string, answer: Instance['answer'], method: string, tries: number]>([
    ['on: [retriable-4xx]', failing(409), 'GET', 2],
    ['on: [retriable-4xx]', failing(404), 'GET', 1],
    ['on: [gateway-error]', failing(502), 'GET', 2],
    ['on: [gateway-error]', failing(500), 'GET', 1],
    ['on: [5xx]', failing(500), 'DELETE', 2],
    ['on: ["429"]', failing(429), 'GET', 2],
    ['on: [reset]', broken, 'GET', 2],
    ['on: [reset]', broken, 'POST', 1],
    ['on: [gateway-error], methods: [POST]', failing(503), 'POST', 2],
    ['on: [gateway-error], methods: [POST]', failing(503), 'GET', 1],
    ['on: [connect-failure, refused-stream]', failing(503), 'GET', 1],
  ])('%s: when the first answer is of that kind (%#)', async (retries, answer, method, tries) => {
    const traffic = await startTraffic(mesh('', `retries: { attempts: 1, ${retries} }`), { payments: [{}, {}] });
    let isFirst = true;
    for (const one of traffic.instances.payments!)
      one.answer = (seen, response, message) => {
        if (!isFirst) return void response.end('ok');
        isFirst = false;
        one.answer = (_, later) => void later.end('ok');
        answer(seen, response, message);
      };
    const { status } = await traffic.ask({ method, ...(method === 'GET' ? {} : { body: '' }) });
    expect([triesOf(traffic), status === 200]).toEqual([tries, tries === 2]);
    // At another endpoint, since there is one.
    expect(Math.max(...seenBy(traffic.instances.payments))).toBe(1);
  });

  test('when an application is late: its sidecar, which waits no longer, says so', async () => {
    const traffic = await startTraffic(
      mesh('loadBalancing: { policy: round-robin }', 'retries: { attempts: 1, on: [timeout] }'),
      { payments: [{}, {}] },
      { instanceLimits: { responseMs: 100 } },
    );
    const [late] = traffic.instances.payments!;
    late!.answer = () => undefined;
    while (late!.seen.length < 2) expect((await traffic.ask()).status).toBe(200);
    // What may have been done is not done again.
    let status = 200;
    while (late!.seen.length < 3) ({ status } = await traffic.ask({ method: 'POST', body: '' }));
    expect(status).toBe(504);
  });

  test('at any endpoint where it need not be another one', async () => {
    const traffic = await startTraffic(
      mesh(
        'loadBalancing: { policy: maglev, hashOn: { header: x-user } }',
        'retries: { attempts: 1, on: ["503"], anotherEndpoint: false }',
      ),
      { payments: [{}, {}, {}] },
    );
    for (const one of traffic.instances.payments!)
      one.answer = (_, response) => void response.writeHead(one.seen.length === 1 ? 503 : 200).end();
    expect((await traffic.ask({ headers: ['x-user: ada'] })).status).toBe(200);
    expect(seenBy(traffic.instances.payments).sort()).toEqual([0, 0, 2]);
  });
});

test('endpoints that are written down have weights, and subsets by their labels', async () => {
  const apps = [];
  for (const name of ['one', 'two', 'three']) apps.push(await startApp((_, response) => response.end(`${name}\n`)));
  const [one, two, three] = apps.map(({ port }) => `127.0.0.1:${port}`);
  const traffic = await startTraffic(
    `${open}kind: Cluster
name: partner
endpoints:
  static:
    - { address: "${one}", weight: 3, labels: { site: east } }
    - { address: "${two}", labels: { site: east } }
    - { address: "${three}", labels: { site: west } }
hosts: [partner.example]
plaintext: true
loadBalancing: { policy: round-robin }
subsets: { east: { labels: { site: east } }, west: { labels: { site: west } } }
---
kind: VirtualService
name: partner
hosts: [partner.example]
http:
  - match: [{ path: { prefix: /west } }]
    route: [{ cluster: partner, subset: west }]
  - route: [{ cluster: partner, subset: east }]
`,
    { payments: [{}] },
  );
  const answers: string[] = [];
  for (let at = 0; at < 8; at++) answers.push((await traffic.ask({ host: 'partner.example' })).body);
  const count = (name: string): number => answers.filter((body) => body.includes(`${name}\n`)).length;
  expect([count('one'), count('two'), count('three')]).toEqual([6, 2, 0]);
  expect((await traffic.ask({ host: 'partner.example', path: '/west' })).body).toContain('three\n');
});

describe('shares', () => {
  test('of copies', async () => {
    const route = (percentage: number): string => mesh('', `mirror: [{ cluster: shadow, percentage: ${percentage} }]`);
    const traffic = await startTraffic(route(0), { payments: [{}], shadow: [{}] });
    for (let at = 0; at < 20; at++) expect((await traffic.ask()).status).toBe(200);
    traffic.configure(route(25));
    for (let at = 0; at < 200; at++) expect((await traffic.ask()).status).toBe(200);
    const copies = traffic.instances.shadow![0]!.seen;
    // Binomial with p = 0.25: five standard deviations are 31.
    await eventually(
      async () => copies.length,
      (count) => count > 19,
    );
    expect(copies.length).toBeLessThan(81);
    const mirrored = traffic.web.records.filter((record) => record.mirrored);
    expect(mirrored.every(({ cluster }) => cluster === 'shadow')).toBe(true);
  });

  test('of faults: delays and aborts each by itself, and both at once', async () => {
    const traffic = await startTraffic(
      mesh('', 'fault: { delay: { fixed: 1ms, percentage: 50 }, abort: { status: 418, percentage: 20 } }'),
      { payments: [{}] },
    );
    const count = 300;
    const statuses: number[] = [];
    for (let at = 0; at < count; at++) statuses.push((await traffic.ask()).status);
    const faults = (await traffic.web.recorded(count)).map(({ fault }) => fault);
    const aborted = faults.filter((fault) => fault === 'abort' || fault === 'delay-abort').length;
    const delayed = faults.filter((fault) => fault === 'delay' || fault === 'delay-abort').length;
    expect(statuses.filter((status) => status === 418)).toHaveLength(aborted);
    expect(triesOf(traffic)).toBe(count - aborted);
    // Five standard deviations: 35 and 44.
    expect([aborted > 25, aborted < 95, delayed > 106, delayed < 194]).toEqual([true, true, true, true]);
    expect(new Set(faults)).toEqual(new Set([undefined, 'delay', 'abort', 'delay-abort']));
  });
});

test('a limit for each caller is one for each, and a burst is what may come at once', async () => {
  const traffic = await startTraffic(
    mesh('', 'rateLimit: [{ requests: 1, per: 1h, burst: 2, each: peer }, { requests: 1, per: 1h, burst: 5 }]'),
    { payments: [{}] },
    { callers: ['batch', 'report'] },
  );
  const statuses: Record<string, number[]> = {};
  for (const name of ['web', 'batch', 'report']) {
    statuses[name] = [];
    for (let at = 0; at < 3; at++) statuses[name].push((await call(traffic.caller(name))).status);
  }
  // Of the five of all callers together the last one has a single one left.
  expect(statuses).toEqual({ web: [200, 200, 429], batch: [200, 200, 429], report: [200, 429, 429] });
});

type Answer = Awaited<ReturnType<Traffic['ask']>>;
/** The first so many that have ended. */
function firstOf(answers: readonly Promise<Answer>[], count: number): Promise<readonly Answer[]> {
  return new Promise((resolve) => {
    const ended: Answer[] = [];
    for (const answer of answers)
      void answer.then((one) => {
        ended.push(one);
        if (ended.length === count) resolve([...ended]);
      });
  });
}
