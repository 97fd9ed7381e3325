// Virtual services through real data planes, written as an operator would.
import { once } from 'node:events';
import http2 from 'node:http2';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openRaw } from '../helpers/mesh.ts';
import { open, startTraffic, type Traffic } from '../helpers/traffic.ts';

const payments = { payments: [{ labels: { version: 'v1' } }, { labels: { version: 'v2' } }] };
const subsets = `kind: Cluster
name: payments
endpoints: enrolled
subsets: { v1: { labels: { version: v1 } }, v2: { labels: { version: v2 } } }
---
`;
const routes = (http: string): string => `${open}${subsets}kind: VirtualService
name: payments
hosts: [payments]
http:
${http.replace(/^/gm, '  ')}`;

const plain = (body: string): string => body.replace(/^[0-9a-f]+\r\n([\s\S]*?)\r\n0\r\n\r\n$/, '$1');

async function asked(traffic: Traffic, o: Parameters<Traffic['ask']>[0]): Promise<string> {
  const { status, body } = await traffic.ask(o);
  return status === 200 ? plain(body) : String(status);
}

describe('matches', () => {
  test('the first route that matches counts: by path, method, header, query, caller and port', async () => {
    const traffic = await startTraffic(
      routes(`- match: [{ path: { exact: /only } }]
  directResponse: { status: 200, body: exact }
- match: [{ path: { prefix: /v2 }, headers: { x-beta: "1" } }]
  route: [{ cluster: payments, subset: v2 }]
- match: [{ path: { template: "/orders/{id}/lines/**" }, methods: [GET] }]
  directResponse: { status: 200, body: template }
- match: [{ path: { regex: "/[0-9]{3}" } }]
  directResponse: { status: 200, body: regex }
- match: [{ query: { debug: { present: true }, level: { prefix: h } } }]
  directResponse: { status: 200, body: query }
- match: [{ from: [shop/nobody] }]
  directResponse: { status: 200, body: nobody }
- match: [{ ports: [8443] }]
  directResponse: { status: 200, body: port }
- route: [{ cluster: payments, subset: v1 }]`),
      payments,
    );
    expect(await asked(traffic, { path: '/only' })).toBe('exact');
    expect(await asked(traffic, { path: '/only/more' })).toBe('payments-1');
    expect(await asked(traffic, { path: '/v2/x', headers: ['x-beta: 1'] })).toBe('payments-2');
    expect(await asked(traffic, { path: '/v2/x' })).toBe('payments-1');
    expect(await asked(traffic, { path: '/v20', headers: ['x-beta: 1'] })).toBe('payments-1');
    expect(await asked(traffic, { path: '/orders/7/lines/8/9' })).toBe('template');
    expect(await asked(traffic, { path: '/orders/7/lines/8', method: 'POST', body: '' })).toBe('payments-1');
    expect(await asked(traffic, { path: '/123' })).toBe('regex');
    expect(await asked(traffic, { path: '/1234' })).toBe('payments-1');
    expect(await asked(traffic, { path: '/?debug&level=high' })).toBe('query');
    expect(await asked(traffic, { path: '/?level=high' })).toBe('payments-1');
    expect(await asked(traffic, { host: 'payments:8443' })).toBe('port');
  });

  test('what no route matches is answered 404 and recorded, and nothing is sent', async () => {
    const traffic = await startTraffic(
      routes(`- match: [{ path: { prefix: /api } }]
  route: [{ cluster: payments, subset: v1 }]`),
      payments,
    );
    const answer = await traffic.ask({ path: '/other' });
    expect([answer.status, answer.json().error.code]).toEqual([404, 'ROUTE_UNMATCHED']);
    expect(traffic.instances.payments!.flatMap(({ seen }) => seen)).toEqual([]);
    const [record] = await traffic.web.recorded(1);
    expect(record).toMatchObject({ decision: 'error', reason: 'ROUTE_UNMATCHED', status: 404, rule: 'open/all' });
  });
});

test('weights split traffic between subsets, and the record says which way it went', async () => {
  const traffic = await startTraffic(
    routes(`- name: canary
  route: [{ cluster: payments, subset: v1, weight: 90 }, { cluster: payments, subset: v2, weight: 10 }]`),
    payments,
  );
  for (let at = 0; at < 400; at++) expect((await traffic.ask()).status).toBe(200);
  const [v1, v2] = traffic.instances.payments!.map(({ seen }) => seen.length);
  expect(v1! + v2!).toBe(400);
  // Binomial with p = 0.1: five standard deviations are 30.
  expect(v2).toBeGreaterThan(10);
  expect(v2).toBeLessThan(70);
  const clusters = new Set((await traffic.web.recorded(400)).map(({ route, cluster }) => `${route} ${cluster}`));
  expect(clusters).toEqual(new Set(['canary payments/v1', 'canary payments/v2']));
});

describe('what a route changes', () => {
  test('the matched prefix, or the whole path after another match, and the Host header', async () => {
    const traffic = await startTraffic(
      routes(`- match: [{ path: { prefix: /old } }]
  rewrite: { path: /new, host: inner.example }
  route: [{ cluster: payments, subset: v1 }]
- match: [{ path: { exact: /x } }]
  rewrite: { path: /whole }
  route: [{ cluster: payments, subset: v1 }]
- match: [{ path: { prefix: /users } }]
  rewrite: { regex: { match: "/users/([0-9]+)", replace: "/people/$1" } }
  route: [{ cluster: payments, subset: v1 }]`),
      payments,
    );
    for (const path of ['/old', '/old/a?b=c', '/x', '/users/7'])
      expect(await asked(traffic, { path })).toBe('payments-1');
    const [instance] = traffic.instances.payments!;
    expect(instance!.seen.map(({ url }) => url)).toEqual(['/new', '/new/a?b=c', '/whole', '/people/7']);
    expect(instance!.seen[0]?.headers.host).toBe('inner.example');
  });

  test('headers of the request and of the response, for the route and for one target', async () => {
    const traffic = await startTraffic(
      routes(`- headers:
    request: { set: { x-env: prod }, add: { x-more: "2" }, remove: [x-secret] }
    response: { set: { x-served: mesh }, remove: [x-internal] }
  route:
    - cluster: payments
      subset: v1
      headers: { request: { set: { x-target: one } }, response: { set: { x-from: v1 } } }`),
      payments,
    );
    const [instance] = traffic.instances.payments!;
    instance!.answer = (_, response) => {
      response.setHeader('x-internal', 'secret');
      response.end('ok');
    };
    const { head } = await traffic.ask({ headers: ['x-env: dev', 'x-more: 1', 'x-secret: s'] });
    const { headers } = instance!.seen[0]!;
    expect(headers).toMatchObject({ 'x-env': 'prod', 'x-more': '1, 2', 'x-target': 'one' });
    expect(headers).not.toHaveProperty('x-secret');
    expect(head).toContain('x-served: mesh');
    expect(head).toContain('x-from: v1');
    expect(head).not.toContain('x-internal');
  });
});

describe('what a route answers itself', () => {
  test('redirects and direct responses, without a connection onward', async () => {
    const traffic = await startTraffic(
      routes(`- match: [{ path: { prefix: /moved } }]
  redirect: { prefix: /there, status: 308 }
- match: [{ path: { prefix: /away } }]
  redirect: { host: other.example, scheme: https, port: 8443 }
- match: [{ path: { exact: /teapot } }]
  directResponse: { status: 418, body: "short and stout", headers: { x-tea: green } }`),
      payments,
    );
    const moved = await traffic.ask({ path: '/moved/x?y=z' });
    expect([moved.status, moved.head]).toEqual([308, expect.stringContaining('location: http://payments/there/x?y=z')]);
    const away = await traffic.ask({ path: '/away/x' });
    expect([away.status, away.head]).toEqual([
      302,
      expect.stringContaining('location: https://other.example:8443/away/x'),
    ]);
    const teapot = await traffic.ask({ path: '/teapot' });
    expect([teapot.status, teapot.body, teapot.head]).toEqual([
      418,
      'short and stout',
      expect.stringContaining('x-tea: green'),
    ]);
    expect(traffic.instances.payments!.flatMap(({ app }) => app.accepts())).toEqual([0, 0]);
  });

  test('a direct response opens no tunnel, whatever its status would be taken for', async () => {
    const traffic = await startTraffic(
      routes(`- match: [{ path: { exact: /chat } }]
  directResponse: { status: 200, body: "no chat" }`),
      payments,
    );
    const { port } = traffic.web.addresses.outbound;
    const session = http2.connect(`http://127.0.0.1:${port}`);
    onTestFinished(() => session.destroy());
    await once(session, 'remoteSettings');
    const stream = session.request({
      ...{
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':scheme': 'http',
        ':authority': 'payments',
        ':path': '/chat',
      },
    });
    const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    expect(head[':status']).toBe(404);
    const key = 'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13';
    const client = await openRaw(port);
    client.send(`GET /chat HTTP/1.1\r\nhost: payments\r\nconnection: upgrade\r\nupgrade: websocket\r\n${key}\r\n\r\n`);
    expect(await client.until(/no chat/)).toMatch(/^HTTP\/1\.1 404 /);
    expect(await asked(traffic, { path: '/chat' })).toBe('no chat');
  });

  test('faults that somebody asked for: delays and aborts, in their share, and on record as such', async () => {
    const traffic = await startTraffic(
      routes(`- match: [{ path: { exact: /never } }]
  fault: { abort: { status: 503, percentage: 0 } }
  route: [{ cluster: payments, subset: v1 }]
- match: [{ path: { exact: /slow } }]
  fault: { delay: { fixed: 30ms } }
  route: [{ cluster: payments, subset: v1 }]
- fault: { abort: { status: 418 } }
  route: [{ cluster: payments, subset: v1 }]`),
      payments,
    );
    expect(await asked(traffic, { path: '/never' })).toBe('payments-1');
    expect(await asked(traffic, { path: '/slow' })).toBe('payments-1');
    expect(await asked(traffic, { path: '/' })).toBe('418');
    const records = await traffic.web.recorded(3);
    expect(records.map(({ fault }) => fault)).toEqual([undefined, 'delay', 'abort']);
    expect(records[1]!.ms).toBeGreaterThanOrEqual(29);
    expect(traffic.instances.payments![0]!.seen.length).toBe(2);
  });

  test('preflight requests of origins that may, and the fields that let a browser read the answer', async () => {
    const traffic = await startTraffic(
      routes(`- cors:
    allowOrigins: ["https://shop.example"]
    allowMethods: [GET, POST]
    allowHeaders: [content-type]
    maxAge: 10m
    allowCredentials: true
  route: [{ cluster: payments, subset: v1 }]`),
      payments,
    );
    const preflight = (origin: string) =>
      traffic.ask({ method: 'OPTIONS', headers: [`origin: ${origin}`, 'access-control-request-method: POST'] });
    const good = await preflight('https://shop.example');
    expect(good.status).toBe(204);
    for (const line of [
      'access-control-allow-origin: https://shop.example',
      'access-control-allow-methods: GET,POST',
      'access-control-max-age: 600',
      'access-control-allow-credentials: true',
    ])
      expect(good.head.replaceAll(', ', ',')).toContain(line);
    const bad = await preflight('https://evil.example');
    expect(bad.head).not.toContain('access-control-allow-origin');
    const read = await traffic.ask({ headers: ['origin: https://shop.example'] });
    expect(read.head).toContain('access-control-allow-origin: https://shop.example');
  });
});

test('copies go to another cluster, whole, whatever becomes of them, and the caller sees one answer', async () => {
  const traffic = await startTraffic(
    `${routes(`- mirror: [{ cluster: shadow }]
  route: [{ cluster: payments, subset: v1 }]`)}`,
    { ...payments, shadow: [{}] },
  );
  const [shadow] = traffic.instances.shadow!;
  const copied = new Promise<string>((resolve) => {
    shadow!.answer = ({ body }, response) => {
      response.statusCode = 500;
      response.end('nobody sees this');
      resolve(body);
    };
  });
  const body = 'x'.repeat(20_000);
  const answer = await traffic.ask({ method: 'POST', path: '/charge', body });
  expect([answer.status, plain(answer.body)]).toEqual([200, 'payments-1']);
  expect(await copied).toBe(body);
  const records = await traffic.web.recorded(2);
  expect(records.map(({ mirrored, cluster }) => `${cluster} ${mirrored ?? false}`).sort()).toEqual([
    'payments/v1 false',
    'shadow true',
  ]);
});

describe('limits are held where all callers meet', () => {
  test('requests in a time: 429 with the seconds to wait, from the called side', async () => {
    const traffic = await startTraffic(
      routes(`- rateLimit: { requests: 3, per: 60s }
  route: [{ cluster: payments, subset: v1 }]`),
      payments,
    );
    const statuses: number[] = [];
    let last = '';
    for (let at = 0; at < 5; at++) {
      const answer = await traffic.ask();
      statuses.push(answer.status);
      last = answer.head;
    }
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    expect(last).toMatch(/retry-after: [12][0-9]?/);
    expect(last).toContain('x-postern-hop: inbound');
    expect(traffic.instances.payments![0]!.seen.length).toBe(3);
  });

  test('bytes of a body: declared ones at once, others when they have come', async () => {
    const traffic = await startTraffic(
      routes(`- maxBody: 1KiB
  route: [{ cluster: payments, subset: v1 }]`),
      payments,
    );
    expect((await traffic.ask({ method: 'POST', body: 'x'.repeat(1024) })).status).toBe(200);
    expect((await traffic.ask({ method: 'POST', body: 'x'.repeat(1025) })).status).toBe(413);
    const chunked = `400\r\n${'x'.repeat(1024)}\r\n400\r\n${'x'.repeat(1024)}\r\n0\r\n\r\n`;
    const { web } = traffic;
    const client = await openRaw(web.addresses.outbound.port);
    client.send(
      `POST / HTTP/1.1\r\nhost: payments\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n${chunked}`,
    );
    expect((await client.closed()).slice(9, 12)).toBe('413');
  });

  test.each([
    [
      'changes the path',
      'match: [{ path: { prefix: /old } }], rewrite: { path: /new }, route: [{ cluster: payments }]',
    ],
    [
      'changes the host',
      'match: [{ path: { prefix: /old } }], rewrite: { host: pay.example }, route: [{ cluster: payments }]',
    ],
    ['leads to another service', 'match: [{ path: { prefix: /old } }], route: [{ cluster: ledger }]'],
  ])('and by the calling side where the called one would not know the route again: it %s', async (_, route) => {
    const traffic = await startTraffic(
      `${routes(`- { ${route}, rateLimit: { requests: 2, per: 60s }, maxBody: 1KiB }
- route: [{ cluster: payments }]`)}
---
kind: VirtualService
name: pay
service: payments
hosts: [pay.example]
`,
      { ...payments, ledger: [{}] },
    );
    expect((await traffic.ask({ path: '/old', method: 'POST', body: 'x'.repeat(1025) })).status).toBe(413);
    const statuses: number[] = [];
    for (let at = 0; at < 4; at++) statuses.push((await traffic.ask({ path: '/old' })).status);
    expect(statuses).toEqual([200, 200, 429, 429]);
    expect((await traffic.ask({ path: '/fresh' })).status).toBe(200);
  });
});
