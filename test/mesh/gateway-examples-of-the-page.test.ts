// docs/gateway.md: its files start a real gateway and its resources are applied as they stand; only addresses are put in place of those of somebody's network.
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseGateway } from '#config/gateway';
import { ask, portOf, startTown, type Town } from '../helpers/gateway.ts';
import { startApp } from '../helpers/mesh.ts';
import { createOutsideCa } from '../helpers/outside-server.ts';
import { eventually } from '../helpers/until.ts';

const page = readFileSync(new URL('../../docs/gateway.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text!);
const files = blocks.filter((text) => text.startsWith('services:'));
const blockOf = (what: string): string => blocks.find((text) => text.includes(what))!;
const ca = createOutsideCa();
let town: Town & { end(): Promise<void> };
beforeAll(async () => {
  town = await startTown();
  const names = { shop: ['shop.example.com', '*.shop.example.com'], bank: ['bank.example.com'] };
  for (const [name, hosts] of Object.entries(names)) {
    const { cert, key } = ca.issue(hosts);
    town.write(`${name}.crt`, cert, 0o644);
    town.write(`${name}.key`, key);
  }
}, 60_000);
afterAll(() => town.end());

/** A file of the page with its own ports on this machine, and these words in place of others. */
function here(text: string, words: Readonly<Record<string, string>> = {}): string {
  let changed = text;
  for (const [word, other] of Object.entries(words)) {
    expect(changed).toContain(word);
    changed = changed.replaceAll(word, other);
  }
  return `admin: 127.0.0.1:0\nmetrics: 127.0.0.1:0\n${changed.replaceAll(/0\.0\.0\.0:\d+/g, '127.0.0.1:0')}`;
}

test('every file of the page would be taken as it stands', () => {
  expect(files.length).toBeGreaterThan(4);
  for (const text of files) {
    const loaded = parseGateway(text, `${town.folder}/page.yaml`, { now: Date.now(), tokens: new Map() });
    expect(loaded.problems, text).toEqual([]);
    expect(loaded.config).toBeDefined();
  }
});

test('the edge of the page redirects, ends TLS and lets visitors in; clerks by their token', async () => {
  const app = await startApp((request, response) => response.end(`${request.method} ${request.url}`));
  await town.sidecar('web', app.port);
  await town.apply(blockOf('name: shop\nservice: web'));
  const gateway = await town.gateway(here(blockOf('redirectToHttps: true')), ['edge']);
  const [plain, secure] = gateway.ready.services[0]!.listeners!.map(portOf);
  const led = await ask(plain!, ['GET /a HTTP/1.1', 'host: shop.example.com']);
  expect(led.head).toContain('location: https://shop.example.com/a');
  const status = (method: string, path: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port: secure!, servername: 'shop.example.com', ca: ca.pem, method, path };
      get({ ...options, headers: { host: 'shop.example.com' }, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      }).on('error', reject);
    });
  await eventually(
    () => status('GET', '/'),
    (found) => found === 200,
  );
  expect(await status('DELETE', '/')).toBe(403);
  await town.apply(blockOf('kind: JwtIssuer'));
  await eventually(
    () => status('POST', '/orders/1'),
    (found) => found === 401,
  );
});

test('the certificates of the page are shown by name', async () => {
  const gateway = await town.gateway(here(blockOf('certificates:')), ['edge']);
  const port = portOf(gateway.ready.services[0]!.listeners![0]);
  for (const name of ['shop.example.com', 'a.shop.example.com', 'bank.example.com']) {
    const socket = connectTls({ host: '127.0.0.1', port, servername: name, ca: ca.pem });
    await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    socket.destroy();
  }
});

test('the group of the page is called through the gateway, and calls through it', async () => {
  const answer = (request: { headers: object }) => JSON.stringify(request.headers);
  const [one, two] = [
    await startApp((request, response) => response.end(answer(request))),
    await startApp((request, response) => response.end(answer(request))),
  ];
  await town.apply('kind: Policy\nname: pay\nto: payments\nrules: [{ id: web, effect: allow, from: [web] }]\n');
  const file = here(blockOf('service: payments\n'), {
    '10.0.0.5:8080, 10.0.0.6:8080': `127.0.0.1:${one.port}, 127.0.0.1:${two.port}`,
    '10.0.0.1:15001': '127.0.0.1:0',
    '10.0.0.0/24': '127.0.0.0/8',
    '    advertise: gw.internal:15008\n': '',
  });
  const gateway = await town.gateway(file, ['payments']);
  const web = await town.sidecar('web', 1);
  const called = await eventually(
    () => ask(portOf(web.ready.outbound), ['GET / HTTP/1.1', 'host: payments']),
    ({ status }) => status === 200,
  );
  expect(JSON.parse(called.body)).toMatchObject({ 'x-postern-peer': 'spiffe://example.org/web' });
  const own = await ask(portOf(gateway.ready.services[0]!.outbound), ['GET / HTTP/1.1', 'host: web']);
  expect(own.status).toBe(403);
});

test('the way out of the page is taken by whom it lets', async () => {
  const api = await startApp((_, response) => response.end('charged'));
  await town.token('egress');
  const resources = blockOf('kind: Cluster\nname: stripe')
    .replace('{ dns: api.stripe.com:443 }', `{ static: [127.0.0.1:${api.port}] }`)
    .replace('tls: {}', 'plaintext: true');
  await town.apply(resources);
  await town.gateway(here(blockOf('egress: true')), ['egress']);
  const payments = await town.sidecar('payments', 1);
  const call = (line: string) =>
    ask(portOf(payments.ready.outbound), [line, 'host: api.stripe.com', 'content-length: 0']);
  const taken = await eventually(
    () => call('POST /v1/charges HTTP/1.1'),
    ({ status }) => status === 200,
  );
  expect(taken.body).toBe('charged');
  expect((await call('GET /v1/charges HTTP/1.1')).status).toBe(403);
});

test('the passthrough of the page is applied as it stands', async () => {
  await town.token('vault');
  await town.apply(blockOf('sni: [vault.example.com]'));
  await town.gateway(here(blockOf('passthrough: true')), ['edge']);
});
