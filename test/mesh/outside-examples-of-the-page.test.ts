// docs/traffic.md, "Services outside the mesh": its examples are applied as they stand, by files, to a real control plane with real sidecars. Only addresses and
// ports are put in place of those that are on the Internet.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '#base/clock';
import { loadResources } from '#config/resources';
import type { Sidecar, SidecarConfig } from '#proxy';
import type { StatusReply } from '#wire';
import { createMesh, type Mesh } from '../helpers/control-plane.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { type HttpAnswer, httpCall } from '../helpers/http-call.ts';
import { openRaw, startApp, startRawApp } from '../helpers/mesh.ts';
import { startNameServer } from '../helpers/name-server.ts';
import { createOutsideCa, startHttps } from '../helpers/outside-server.ts';
import { clientAuth, purposes } from '../helpers/pki.ts';
import { runSidecar } from '../helpers/sidecar.ts';
import { eventually } from '../helpers/until.ts';

const clock = { ...systemClock, advance: () => undefined, step: () => undefined };
const page = readFileSync(new URL('../../docs/traffic.md', import.meta.url), 'utf8');
const section = page.slice(page.indexOf('## Services outside the mesh')).split(/\n## (?!Services outside)/)[0]!;
const blocks = [...section.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text!);
const blockOf = (what: string): string => blocks.find((text) => text.includes(what))!;

const start = async (mesh: Mesh, service: string, more: Partial<SidecarConfig> = {}): Promise<Sidecar> =>
  runSidecar(temporaryFolder(), { token: await mesh.token(service), drainMs: 500, ...more });

/** Applies a block of the page from a file, with these words replaced and these files beside it. */
async function apply(
  mesh: Mesh,
  text: string,
  o: { words?: Record<string, string>; files?: Record<string, string> } = {},
) {
  const folder = temporaryFolder();
  let changed = text;
  for (const [word, other] of Object.entries(o.words ?? {})) {
    expect(changed).toContain(word);
    changed = changed.replaceAll(word, other);
  }
  writeFileSync(join(folder, 'page.yaml'), changed);
  for (const [name, content] of Object.entries(o.files ?? {})) writeFileSync(join(folder, name), content);
  const { resources, problems } = loadResources([join(folder, 'page.yaml')]);
  expect(problems).toEqual([]);
  const body = { version: 1, resources: resources.map(({ resource }) => ({ resource })) };
  await mesh.admin.call({ method: 'POST', path: '/v1/resources', body });
}

const call = (address: string, host: string, path = '/', method = 'GET') => httpCall(address, { method, path, host });

const becomes = (ask: () => Promise<HttpAnswer>, status: number): Promise<HttpAnswer> =>
  eventually(ask, (answer) => answer.status === status);

test('a service outside is called by its host and by a port of its own, by whom policy lets', async () => {
  const ca = createOutsideCa();
  const before = getCACertificates('default');
  setDefaultCACertificates([...before, ca.pem]);
  onTestFinished(() => setDefaultCACertificates(before));
  const server = await startHttps(ca.issue(['api.stripe.com']));
  const names = await startNameServer({ 'api.stripe.com': ['127.0.0.1'] });
  const mesh = await createMesh({ clock });
  const nameServers = [names.address];
  const checkout = await start(mesh, 'checkout', { nameServers, upstreams: { stripe: '127.0.0.1:0' } });
  const other = await start(mesh, 'other', { nameServers });
  await apply(mesh, blockOf('name: stripe'), { words: { ':443': `:${server.port}` } });

  const { outbound, upstreams } = checkout.addresses;
  const answer = await becomes(() => call(outbound, 'api.stripe.com', '/v1/charges', 'POST'), 200);
  expect(JSON.parse(answer.body)).toMatchObject({ host: 'api.stripe.com', tls: 'TLSv1.3', method: 'POST' });
  const own = await call(upstreams.stripe!, 'localhost', '/v1/charges', 'POST');
  expect(JSON.parse(own.body)).toMatchObject({ host: 'api.stripe.com' });
  const seen = server.handshakes();
  expect((await call(outbound, 'api.stripe.com', '/v1/refunds', 'POST')).status).toBe(403);
  expect((await call(other.addresses.outbound, 'api.stripe.com', '/v1/charges', 'POST')).status).toBe(403);
  expect(server.handshakes()).toBe(seen);
});

test('a partner gets a client certificate from the home of the proxy, a database bytes as they are', async () => {
  const [ca, clients] = [createOutsideCa('Partner'), createOutsideCa('Clients')];
  const partner = await startHttps({ ...ca.issue(['api.partner.example']), requestCert: true, ca: clients.pem });
  const database = await startRawApp((socket) => socket.on('data', (bytes) => socket.write(`row ${bytes}`)));
  const names = await startNameServer({
    '_postgresql._tcp.db.internal': [{ target: 'one.db.internal', port: database.port }],
    'one.db.internal': ['127.0.0.1'],
  });
  const mesh = await createMesh({ clock });
  const home = temporaryFolder();
  const upstreams = { 'orders-db': 'tcp://127.0.0.1:0' };
  const orders = await start(mesh, 'orders', { home, nameServers: [names.address], upstreams });
  const folder = join(home, 'sidecar', 'client-certificates');
  mkdirSync(folder);
  const { cert, key } = clients.issue(['orders.example'], { purposes: purposes([clientAuth]) });
  writeFileSync(join(folder, 'partner.crt'), cert);
  writeFileSync(join(folder, 'partner.key'), key, { mode: 0o600 });
  await apply(mesh, blockOf('name: partner'), {
    words: { '"192.0.2.10:8443", ': `"127.0.0.1:${partner.port}", `, '192.0.2.11:8443': `127.0.0.2:${partner.port}` },
    files: { 'partner-ca.pem': ca.pem },
  });

  const answer = await becomes(() => call(orders.addresses.outbound, 'api.partner.example'), 200);
  expect(JSON.parse(answer.body)).toMatchObject({ client: 'CN=orders.example', host: 'api.partner.example' });
  const client = await openRaw(Number(orders.addresses.upstreams['orders-db']!.split(':')[1]));
  client.send('select');
  await client.until(/row select/);
});

test('the application of an enrolled service is asked by its own proxy, and callers hear of it', async () => {
  let good = true;
  const app = await startApp((request, response) => {
    response.writeHead(request.url === '/healthz' && !good ? 500 : 200).end();
  });
  const mesh = await createMesh({ clock });
  await start(mesh, 'orders', { app: `127.0.0.1:${app.port}` });
  const healthOf = async () => {
    const { proxies } = await mesh.admin.call<StatusReply>({ method: 'GET', path: '/v1/status' });
    return (proxies.find(({ service }) => service === 'orders' || service.endsWith('/orders')) as { health?: string })
      .health;
  };
  await apply(mesh, blockOf('endpoints: enrolled'));
  await eventually(healthOf, (health) => health === 'healthy');
  good = false;
  await eventually(healthOf, (health) => health === 'unhealthy');
  good = true;
  await eventually(healthOf, (health) => health === 'healthy');
});

test('a mesh that allows any host passes on what nothing declares, but never to this machine', async () => {
  const names = await startNameServer({ 'www.example.org': ['127.0.0.1'] });
  const mesh = await createMesh({ clock });
  const web = await start(mesh, 'web', { nameServers: [names.address] });
  const codeNow = async () => JSON.parse((await call(web.addresses.outbound, 'www.example.org')).body).error.code;
  await eventually(codeNow, (code) => code === 'SERVICE_UNKNOWN');
  await apply(mesh, blockOf('kind: Mesh'));
  await eventually(codeNow, (code) => code === 'OUTSIDE_FORBIDDEN');
});

test('every example is applied by one of these tests', () => {
  expect(blocks).toHaveLength(4);
});
