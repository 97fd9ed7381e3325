// A gateway answers every question that is asked of a sidecar, once for each of its identities: tap, proxy dump, describe, status; and what `postern route`
// says of its callers is what it does with them.
import { createServer } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { DecisionRecord } from '#wire';
import { type GatewayReady, portOf, startTown, type Town } from '../helpers/gateway.ts';
import { createTestIssuer } from '../helpers/jwt-issuer.ts';
import { createOutsideCa } from '../helpers/outside-server.ts';
import { outcomeOf, runPostern, spawnPostern } from '../helpers/postern.ts';
import type { Process } from '../helpers/processes.ts';
import { eventually } from '../helpers/until.ts';

const ca = createOutsideCa();
const issuer = createTestIssuer('shop');
const host = 'shop.example.com';
let town: Town & { end(): Promise<void> };
let gateway: Process<GatewayReady>;
const app = createServer((_, response) => response.end('ok\n'));
let appPort: number;
let port: number;

const resources = `
kind: Policy
name: payments
to: payments
rules:
  - { id: visitors, effect: allow, from: [edge], methods: [GET], paths: [/open/**, /moved/**, /v2/**] }
  - { id: clerks, effect: allow, from: [edge], paths: [/desk/**], when: [{ key: "jwt:claims.role", in: [clerk] }] }
---
${issuer.resource}
---
kind: VirtualService
name: shop
service: payments
hosts: [${host}]
http:
  - { name: secure, match: [{ ports: [443] }, { path: { prefix: /desk } }], route: [{ cluster: payments }] }
  - { name: moved, match: [{ path: { prefix: /moved } }], redirect: { prefix: /open } }
`;

beforeAll(async () => {
  town = await startTown();
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  appPort = (app.address() as AddressInfo).port;
  const { cert, key } = ca.issue([host]);
  town.write('shop.crt', cert, 0o644);
  town.write('shop.key', key);
  gateway = await town.gateway(
    `
admin: 127.0.0.1:0
metrics: 127.0.0.1:0
services:
  - service: edge
    listeners:
      - { listen: 127.0.0.1:0, hosts: [${host}], tls: { certFile: shop.crt, keyFile: shop.key } }
  - service: payments
    inbound: 127.0.0.1:0
    app: { static: ["127.0.0.1:${appPort}"] }
`,
    ['edge', 'payments'],
  );
  await town.apply(resources);
  port = portOf(gateway.ready.services.find(({ service }) => service.endsWith('edge'))!.listeners![0]);
  await eventually(
    () => ask('/open/a'),
    ({ status }) => status === 200,
  );
}, 90_000);
afterAll(async () => {
  await town.end();
  app.closeAllConnections();
  app.close();
});

interface Asked {
  readonly method?: string;
  readonly authority?: string;
  readonly token?: string | undefined;
}
function ask(
  path: string,
  { method = 'GET', authority = host, token }: Asked = {},
): Promise<{ status: number; location: string | undefined }> {
  return new Promise((resolve, reject) => {
    const headers = { host: authority, ...(token && { authorization: `Bearer ${token}` }) };
    const options = { host: '127.0.0.1', port, path, method, servername: host, ca: ca.pem, agent: false, headers };
    request(options, (answer) => {
      answer.resume().on('end', () => resolve({ status: answer.statusCode!, location: answer.headers.location }));
    })
      .on('error', reject)
      .end();
  });
}

const tokenOf = (role: string): Promise<string> => issuer.token({ role });

interface Said {
  readonly outcome: string;
  readonly action?: { readonly route: string; readonly location?: string };
}

test.each<[what: string, path: string, asked: Asked & { role?: string }, status: number, code: number, said: object]>([
  ['the port of HTTPS when the Host has none', '/open/a', {}, 200, 0, { outcome: 'forward', route: 'secure' }],
  [
    'a port that is written',
    '/moved/a',
    { authority: `${host}:8443` },
    302,
    0,
    { outcome: 'redirect', route: 'moved' },
  ],
  ['no route', '/v2/a', { authority: `${host}:8443` }, 404, 4, { outcome: 'no-route' }],
  ['a method that no rule admits', '/open/a', { method: 'DELETE', role: 'guest' }, 403, 3, { outcome: 'denied' }],
  ['a user whom a rule wants', '/desk/a', { role: 'clerk' }, 200, 0, { outcome: 'forward', route: 'secure' }],
  ['a user whom it does not', '/desk/a', { role: 'guest' }, 403, 3, { outcome: 'denied' }],
])(
  '`postern route` says of callers from outside what the edge does: %s',
  async (_, path, asked, status, code, told) => {
    const { role, method = 'GET', authority = host } = asked;
    const got = await ask(path, { ...asked, token: role && (await tokenOf(role)) });
    expect(got.status).toBe(status);
    const claims = role === undefined ? [] : ['--claims', JSON.stringify({ role })];
    const words = ['route', 'edge', `https://${authority}${path}`, '-X', method, ...claims, '-o', 'json'];
    const outcome = await runPostern(['--home', town.home, ...words]);
    expect([outcome.code, outcome.stderr.includes('come to the edge of a gateway')]).toEqual([code, true]);
    const said = JSON.parse(outcome.stdout) as Said;
    expect({
      outcome: said.outcome,
      ...(said.outcome !== 'denied' && said.action && { route: said.action.route }),
    }).toEqual(told);
    expect(said.action?.location).toBe(got.location);
  },
);

test('a tap shows what each identity of a gateway does, and where callers have come from', async () => {
  const child = spawnPostern(['--home', town.home, 'tap', '--path', '/open/tapped', '--max', '2', '-o', 'json']);
  onTestFinished(() => void child.kill());
  const outcome = outcomeOf(child);
  await new Promise<void>((resolve) => {
    let text = '';
    child.stderr!.on('data', (part: string) => {
      text += part;
      if (text.includes('looking at 2 proxies')) resolve();
    });
  });
  expect((await ask('/open/tapped')).status).toBe(200);
  const { code, stdout } = await outcome;
  expect(code).toBe(0);
  const seen = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as DecisionRecord);
  const [edge, group] = ['edge', 'payments'].map((name) => seen.find(({ service }) => service.endsWith(`/${name}`))!);
  expect(edge).toMatchObject({
    hop: 'outbound',
    edge: 'https',
    rule: 'payments/visitors',
    route: 'secure',
    status: 200,
  });
  expect(group).toMatchObject({ hop: 'inbound', peer: 'spiffe://example.org/edge', endpoint: `127.0.0.1:${appPort}` });
  expect(group!.edge).toBeUndefined();
});

test('a tap of one service of a gateway shows that one, as a line for people', async () => {
  const child = spawnPostern(['--home', town.home, 'tap', 'edge', '--decision', 'deny', '--max', '1']);
  onTestFinished(() => void child.kill());
  const outcome = outcomeOf(child);
  await new Promise<void>((resolve) =>
    child.stderr!.on('data', (part: string) => part.includes('looking at 1 proxy') && resolve()),
  );
  expect((await ask('/closed', { token: await tokenOf('guest') })).status).toBe(403);
  expect((await outcome).stdout).toMatch(/out +edge → payments +GET +\/closed +403 .*deny.* from outside by https\n/);
});

test('`postern proxy dump` shows what an identity of a gateway holds, by way of the control plane and on its own machine', async () => {
  const edge = await town.postern('proxy', 'dump', 'edge');
  expect(edge.stdout).toMatch(/^edge {3}\S+ {3}\S+ {3}serving\n/);
  expect(edge.stdout).toMatch(/ payments +\d+ +127\.0\.0\.1:\d+ +\S+ +- +1 +\d+ +healthy/);
  expect(edge.stdout).toMatch(/ shop +shop\.example\.com +secure +/);
  const { instance } = gateway.ready.services.find(({ service }) => service.endsWith('payments'))!;
  const group = JSON.parse((await town.postern('proxy', 'dump', instance, '-o', 'json')).stdout) as Dumps;
  expect(group.proxies).toMatchObject([{ instance, service: 'spiffe://example.org/payments' }]);
  const here = await town.postern('proxy', 'dump', '--admin', gateway.ready.admin, '-o', 'json');
  const local = (JSON.parse(here.stdout) as Dumps).proxies;
  expect(local.map(({ service }) => service)).toEqual(['spiffe://example.org/edge', 'spiffe://example.org/payments']);
  expect(local[1]!.instance).toBe(instance);
  const text = (await town.postern('proxy', 'dump', '--admin', gateway.ready.admin)).stdout;
  expect(text).toMatch(/^edge {3}[\s\S]*\n\npayments {3}/);
  expect(text + here.stdout).not.toContain('PRIVATE KEY');
});

test('`postern status` and `postern describe` know each identity of a gateway', async () => {
  const { stdout } = await town.postern('status', '--wait', '30s');
  expect(stdout).toMatch(/^edge +\S+ +synced/m);
  expect(stdout).toMatch(/^payments +\S+ +synced/m);
  const described = (await town.postern('describe', 'payments')).stdout;
  expect(described).toMatch(/called as +payments, shop\.example\.com|shop +shop\.example\.com/);
  expect(described).toMatch(/allow +payments\/clerks +edge/);
});

interface Dumps {
  readonly proxies: readonly { readonly instance: string; readonly service: string }[];
}
