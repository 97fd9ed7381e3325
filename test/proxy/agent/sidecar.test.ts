// The life of a whole sidecar against a scripted control plane: how it starts, goes on alone, refuses and ends.

import { writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type Clock, systemClock } from '#base/clock';
import { createLog } from '#base/log';
import { type Sidecar, type SidecarConfig, startSidecar } from '#proxy';
import {
  createTestCa,
  type FakeControl,
  snapshotFor,
  startFakeControl,
  type TestCa,
  until,
} from '../../helpers/fake-control.ts';
import { temporaryFolder } from '../../helpers/folder.ts';

interface Answered {
  readonly status: number;
  readonly body: string;
}

function ask(
  address: string,
  o: { path?: string; method?: string; headers?: Record<string, string> } = {},
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const { path = '/', method = 'GET', headers = {} } = o;
    const request = httpRequest(
      `http://${address}${path}`,
      { method, headers, agent: false },
      (response: IncomingMessage) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (text: string) => {
          body += text;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
        response.on('error', reject);
      },
    );
    request.on('error', reject);
    request.end();
  });
}

const lines: { level: string; message: string }[] = [];
const log = createLog({ level: 'info', write: (line) => void lines.push(JSON.parse(line)), now: Date.now });

function configure(home: string, more: Partial<SidecarConfig> = {}): SidecarConfig {
  return {
    home,
    app: '127.0.0.1:9',
    inbound: '127.0.0.1:0',
    outbound: '127.0.0.1:0',
    upstreams: {},
    admin: '127.0.0.1:0',
    metrics: '127.0.0.1:0',
    labels: { version: 'v1' },
    drainMs: 2_000,
    ...more,
  };
}

async function start(home: string, more: Partial<SidecarConfig> = {}, clock: Clock = systemClock): Promise<Sidecar> {
  const sidecar = await startSidecar(configure(home, more), { clock, log });
  onTestFinished(() => sidecar.close());
  return sidecar;
}

const codeOf = (work: Promise<unknown>): Promise<{ code?: string; message: string; hint?: string }> =>
  work.then(
    () => ({ message: 'it did not fail' }),
    (thrown) => thrown as { code?: string; message: string; hint?: string },
  );

async function mesh(o: { ttlMs?: number; now?: () => number } = {}) {
  const ca: TestCa = await createTestCa();
  const control: FakeControl = await startFakeControl({ ca, service: 'shop/payments', ...o });
  return { ca, control, home: temporaryFolder(), token: ca.token({ service: 'shop/payments', url: control.url }) };
}

test('a token is all that a first start needs: enrolled, configured, ready, reported with its real address', async () => {
  const { control, home, token } = await mesh();
  const sidecar = await start(home, { token });
  expect(sidecar.service).toBe('spiffe://example.org/shop/payments');
  expect(await ask(sidecar.addresses.metrics, { path: '/readyz' })).toEqual({ status: 200, body: 'ok\n' });
  const report = await control.saw(({ path }) => path === '/v1/proxy/report');
  expect(report).toMatchObject({
    version: 1,
    revision: 1,
    state: 'serving',
    facts: { advertise: sidecar.addresses.inbound, appPort: 9, labels: { version: 'v1' } },
  });
  const status = JSON.parse((await ask(sidecar.addresses.admin, { path: '/status' })).body);
  expect(status).toMatchObject({ ready: true, state: 'serving', revision: 1, controlPlane: { connected: true } });
});

test('the admin listener is read-only, local by name and by address, and shows no key', async () => {
  const { home, token } = await mesh();
  const { addresses } = await start(home, { token });
  const pages = ['/', '/status', '/config', '/policy', '/identity', '/connections', '/metrics'];
  const answers = await Promise.all(pages.map((path) => ask(addresses.admin, { path })));
  expect(answers.map(({ status }) => status)).toEqual(pages.map(() => 200));
  for (const { body } of answers) expect(body).not.toContain('PRIVATE KEY');
  const host = (name: string) => ask(addresses.admin, { path: '/status', headers: { host: name } });
  const names = [
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '[::2]',
    'LOCALHOST:1',
    '[::1]:15000',
  ];
  expect((await Promise.all(names.map(host))).map(({ status }) => status)).toEqual([403, 403, 403, 403, 200, 200]);
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    expect((await ask(addresses.admin, { path: '/status', method })).status).toBe(405);
  }
  expect((await ask(addresses.admin, { path: '/__proto__' })).status).toBe(404);
});

test('an admin address that others can reach is refused before anything starts', async () => {
  const { home, token } = await mesh();
  expect((await codeOf(start(home, { token, admin: '0.0.0.0:0' }))).code).toBe('SIDECAR_ADMIN_EXPOSED');
  await start(home, { admin: '0.0.0.0:0', unsafeAdminNonLoopback: true });
});

test('K1: control plane gone at boot: the stored identity and configuration serve', async () => {
  const { control, home, token } = await mesh();
  await (await start(home, { token })).close();
  await control.close();
  const sidecar = await start(home);
  expect((await ask(sidecar.addresses.metrics, { path: '/readyz' })).status).toBe(200);
  const status = JSON.parse((await ask(sidecar.addresses.admin, { path: '/status' })).body);
  expect(status).toMatchObject({ ready: true, revision: 1, controlPlane: { connected: false } });
});

test('K1: control plane gone in flight: it goes on, and follows again when it is back', async () => {
  const { ca, control, home, token } = await mesh();
  const sidecar = await start(home, { token });
  await control.close();
  await until(() => lines.some(({ message }) => message.includes('the configuration in force stays')));
  expect((await ask(sidecar.addresses.metrics, { path: '/readyz' })).status).toBe(200);
  const snapshot = () => snapshotFor(ca, 'shop/payments', { revision: 2 });
  const back = await startFakeControl({ ca, service: 'shop/payments', port: control.port, snapshot });
  const report = await back.saw(({ path, body }) => path === '/v1/proxy/report' && body.revision === 2);
  expect(report.state).toBe('serving');
});

test('K1: control plane gone for longer than the certificate lives: not ready, and refuses, at expiry', async () => {
  const { control, home, token } = await mesh({ ttlMs: 2_500 });
  const sidecar = await start(home, { token });
  control.override.set('/v1/renew', (request) => request.socket.destroy());
  expect((await ask(sidecar.addresses.metrics, { path: '/readyz' })).status).toBe(200);
  await new Promise((resolve) => setTimeout(resolve, 2_700));
  const ready = await ask(sidecar.addresses.metrics, { path: '/readyz' });
  expect([ready.status, ready.body]).toEqual([503, expect.stringContaining('the certificate expired')]);
  expect((await ask(sidecar.addresses.metrics, { path: '/livez' })).status).toBe(200);
  await sidecar.close();
  expect((await codeOf(start(home))).code).toBe('SIDECAR_IDENTITY_EXPIRED');
});

test('certificates are renewed and swapped while it runs', async () => {
  // Half of it is what a crowded machine may take for a renewal before the certificate is over.
  const { control, home, token } = await mesh({ ttlMs: 5_000 });
  const sidecar = await start(home, { token });
  const serial = async () =>
    JSON.parse((await ask(sidecar.addresses.admin, { path: '/identity' })).body).serial as string;
  const first = await serial();
  const renewals = () => control.asked.filter(({ path }) => path === '/v1/renew').length;
  const before = renewals();
  await until(() => renewals() > before + 1);
  expect(await serial()).not.toBe(first);
  await until(() => control.asked.filter(({ path }) => path === '/v1/proxy/watch').length > 2);
  await until(() => control.watchers.size === 1);
});

test('K5: a configuration that cannot be put in force is reported, and the old one serves', async () => {
  const { ca, control, home, token } = await mesh();
  const sidecar = await start(home, { token });
  const broken = snapshotFor(ca, 'shop/payments', { revision: 2, bundle: '{"keys":[]}' });
  control.push({ type: 'snapshot', snapshot: broken });
  const report = await control.saw(({ path, body }) => path === '/v1/proxy/report' && 'refused' in body);
  expect(report).toMatchObject({ revision: 1, refused: { revision: 2, reason: expect.stringContaining('bundle') } });
  expect((await ask(sidecar.addresses.metrics, { path: '/readyz' })).status).toBe(200);
});

test('Z1: without any configuration it starts, denies, and is not ready', async () => {
  const ca = await createTestCa();
  const control = await startFakeControl({ ca, service: 'shop/payments', snapshot: () => undefined });
  const token = ca.token({ service: 'shop/payments', url: control.url });
  const sidecar = await start(temporaryFolder(), { token });
  const ready = await ask(sidecar.addresses.metrics, { path: '/readyz' });
  expect([ready.status, ready.body]).toEqual([503, expect.stringContaining('everything is denied')]);
  expect((await ask(sidecar.addresses.outbound, { headers: { host: 'payments' } })).status).toBe(503);
});

test('C14: a torn configuration on disk is not used: not ready, and said so', async () => {
  const { control, home, token } = await mesh();
  await (await start(home, { token })).close();
  await control.close();
  writeFileSync(join(home, 'sidecar', 'snapshot.json'), '{"sha256":"00');
  const sidecar = await start(home);
  expect((await ask(sidecar.addresses.metrics, { path: '/readyz' })).status).toBe(503);
  expect(lines.some(({ message }) => message.includes('the configuration on disk cannot be used'))).toBe(true);
});

test('one sidecar to a home', async () => {
  const { home, token } = await mesh();
  const first = await start(home, { token });
  expect(await codeOf(start(home))).toMatchObject({ code: 'SIDECAR_HOME_TAKEN' });
  await first.close();
  await start(home);
});

test.each(['inbound', 'outbound', 'admin', 'metrics'] as const)(
  'F5: a %s port that is taken is named, and nothing is left half-started',
  async (listener) => {
    const { home, token } = await mesh();
    const taken = createTcpServer().listen(0, '127.0.0.1');
    onTestFinished(() => void taken.close());
    await new Promise((resolve) => taken.once('listening', resolve));
    const address = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
    const failed = await codeOf(start(home, { token, [listener]: address }));
    expect([failed.code, failed.message]).toEqual([
      expect.stringMatching(/LISTEN_FAILED/),
      expect.stringContaining(address),
    ]);
    // The folder is free again and the identity is kept, so the next start needs no token.
    await start(home);
  },
);

test('F5: a home that cannot be written is a named error', async () => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, '');
  for (const home of [join(file, 'home'), '/sys/postern']) {
    const failed = await codeOf(start(home, { token: 'x' }));
    expect([failed.code, failed.message]).toEqual(['FILE_UNWRITABLE', expect.stringContaining('cannot be written')]);
  }
});

test.each([
  ['app', '127.0.0.1'],
  ['app', '127.0.0.1:0'],
  ['inbound', '127.0.0.1:99999'],
  ['metrics', 'http://127.0.0.1:1'],
])('a wrong --%s is refused before anything starts: %s', async (option, value) => {
  const failed = await codeOf(start(temporaryFolder(), { [option]: value }));
  expect([failed.code, failed.message]).toEqual(['SIDECAR_ADDRESS_INVALID', expect.stringContaining(`--${option}`)]);
});

test('F3: closing says draining first, ends once, and gives everything back', async () => {
  const { control, home, token } = await mesh();
  const sidecar = await start(home, { token });
  await control.saw(({ path }) => path === '/v1/proxy/report');
  const closing = sidecar.close();
  expect(sidecar.close()).toBe(closing);
  await closing;
  expect(control.asked.filter(({ path }) => path === '/v1/proxy/report').at(-1)?.body.state).toBe('draining');
  for (const address of [sidecar.addresses.inbound, sidecar.addresses.admin, sidecar.addresses.metrics]) {
    await expect(ask(address)).rejects.toThrow(/ECONNREFUSED/);
  }
  await until(() => control.watchers.size === 0);
});

test('F3: closing while the control plane is away is not held up by it', async () => {
  const { control, home, token } = await mesh();
  const sidecar = await start(home, { token });
  for (const path of ['/v1/proxy/report', '/v1/proxy/records']) control.override.set(path, () => undefined);
  const began = performance.now();
  await sidecar.close();
  expect(performance.now() - began).toBeLessThan(4_000);
});
