// What a route makes of a request is decided again before it is sent: by its path when that is rewritten, by its service when the route leads to another one.
import { expect, test } from 'vitest';
import { idOf } from '../helpers/mesh.ts';
import { startTraffic } from '../helpers/traffic.ts';

const services = { payments: [{}], ledger: [{}] };
const policy = (to: string, paths: string): string => `kind: Policy
name: ${to}
to: ${to}
rules: [{ id: in, effect: allow, from: [web], paths: ["${paths}"] }]
---
`;
const routes = (http: string): string => `kind: VirtualService
name: payments
hosts: [payments]
http:
  - ${http}
`;
const seenBy = (traffic: Awaited<ReturnType<typeof startTraffic>>): number =>
  Object.values(traffic.instances)
    .flat()
    .reduce((sum, { seen }) => sum + seen.length, 0);

test('a rewrite to a path that the caller may not ask for is denied, and one that it may passes', async () => {
  const traffic = await startTraffic(
    policy('payments', '/public/**') +
      routes(
        '{ match: [{ path: { prefix: /public/in } }], rewrite: { path: /admin }, route: [{ cluster: payments }] }',
      ),
    services,
  );
  const denied = await traffic.ask({ path: '/public/in/x' });
  expect([denied.status, denied.json().error.code]).toEqual([403, 'ACCESS_DENIED']);
  expect(denied.json().error.message).toContain('access is denied');
  const [record] = await traffic.web.recorded(1);
  expect(record).toMatchObject({ decision: 'deny', reason: 'default-deny', path: '/public/in/x', route: '0' });
  expect(seenBy(traffic)).toBe(0);
  traffic.configure(
    policy('payments', '/public/**') +
      routes(
        '{ match: [{ path: { prefix: /public/in } }], rewrite: { path: /public/out }, route: [{ cluster: payments }] }',
      ),
  );
  expect((await traffic.ask({ path: '/public/in/x' })).status).toBe(200);
  expect(traffic.instances.payments![0]!.seen[0]!.url).toBe('/public/out/x');
});

test.each([
  [
    'headers that a rule asks for are set by the route',
    '{ headers: { request: { set: { x-env: prod } } }, route: [{ cluster: payments }] }',
  ],
  [
    'headers that a rule denies are set by the route',
    '{ headers: { request: { add: { x-debug: "1" } } }, route: [{ cluster: payments }] }',
  ],
  ['the Host is another one', '{ rewrite: { host: admin.example }, route: [{ cluster: payments }] }'],
])('what is sent is decided as it is sent: %s', async (_, http) => {
  const traffic = await startTraffic(
    `kind: Policy
name: payments
to: payments
rules:
  - { id: prod, effect: allow, from: [web], when: [{ key: "header:x-env", in: [prod] }] }
  - { id: no-debug, effect: deny, from: ["*"], when: [{ key: "header:x-debug", in: ["1"] }] }
  - { id: no-admin, effect: deny, from: ["*"], when: [{ key: "header:host", in: [admin.example] }] }
---
${routes(http)}`,
    services,
  );
  // Without the header no rule admits the request as it came, whatever the route would make of it.
  expect((await traffic.ask({ path: '/x' })).status).toBe(403);
  const sent = await traffic.ask({ path: '/x', headers: ['x-env: prod'] });
  expect(sent.status).toBe(http.includes('x-env') ? 200 : 403);
  expect(seenBy(traffic)).toBe(http.includes('x-env') ? 1 : 0);
  for (const record of traffic.web.records) expect(record.hop).toBe('outbound');
});

test('policy is asked before any route: what it denies is not redirected, delayed or answered by one either', async () => {
  const traffic = await startTraffic(
    policy('payments', '/public/**') + routes('{ directResponse: { status: 200, body: hello } }'),
    services,
  );
  expect((await traffic.ask({ path: '/private' })).status).toBe(403);
  expect((await traffic.ask({ path: '/public/x' })).status).toBe(200);
});

test('a route to the cluster of another service needs to be allowed there too, by the calling and by the called side', async () => {
  const http = '{ route: [{ cluster: ledger }] }';
  const traffic = await startTraffic(policy('payments', '/**') + routes(http), services);
  const denied = await traffic.ask({ path: '/x' });
  expect([denied.status, denied.json().error.code]).toEqual([403, 'ACCESS_DENIED']);
  expect(denied.json().error.hint).toContain('web ledger');
  expect(seenBy(traffic)).toBe(0);
  traffic.configure(policy('payments', '/**') + policy('ledger', '/**') + routes(http));
  expect((await traffic.ask({ path: '/x' })).status).toBe(200);
  const [ledger] = traffic.instances.ledger!;
  expect(ledger!.seen.length).toBe(1);
  expect((await ledger!.proxy.recorded(1))[0]).toMatchObject({ to: idOf('ledger'), rule: 'ledger/in' });
});

test('a copy for a cluster that may not be called is not sent, and the request itself goes its way', async () => {
  const traffic = await startTraffic(
    policy('payments', '/**') + routes('{ mirror: [{ cluster: ledger }], route: [{ cluster: payments }] }'),
    services,
  );
  expect((await traffic.ask({ path: '/x' })).status).toBe(200);
  const records = await traffic.web.recorded(2);
  expect(records.find(({ mirrored }) => mirrored)).toMatchObject({ decision: 'deny', reason: 'default-deny' });
  expect(traffic.instances.ledger![0]!.seen).toEqual([]);
});

test('a request that runs is cut when what it was rewritten to is denied now', async () => {
  const both = policy('payments', '/**') + policy('ledger', '/**') + routes('{ route: [{ cluster: ledger }] }');
  const traffic = await startTraffic(both, services);
  const [ledger] = traffic.instances.ledger!;
  const arrived = new Promise<void>((resolve) => {
    ledger!.answer = (_, response) => {
      response.write('begun');
      resolve();
    };
  });
  const running = traffic.ask({ path: '/x' });
  await arrived;
  traffic.configure(policy('payments', '/**') + routes('{ route: [{ cluster: ledger }] }'));
  await running;
  const [record] = await traffic.web.recorded(1);
  expect(record).toMatchObject({ decision: 'deny', reason: 'policy-changed' });
});
