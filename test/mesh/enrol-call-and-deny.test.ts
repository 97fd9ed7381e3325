// A mesh from nothing, all of it real and in one process: CA and control plane, two sidecars enrolled with tokens, an application behind
// one of them. Calls are allowed and denied by policy, recorded at both hops, go on while the control plane is away, and end with a ban.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '#base/clock';
import type { Sidecar } from '#proxy';
import type { DecisionRecord, StatusReply } from '#wire';
import { createMesh, type Mesh } from '../helpers/control-plane.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { httpCall } from '../helpers/http-call.ts';
import { runSidecar } from '../helpers/sidecar.ts';

const clock = { ...systemClock, advance: () => undefined, step: () => undefined };

async function startApp(): Promise<{ address: string; seen: { path: string; headers: Record<string, unknown> }[] }> {
  const seen: { path: string; headers: Record<string, unknown> }[] = [];
  const server = createServer((request, response) => {
    seen.push({ path: request.url ?? '', headers: request.headers });
    request.resume().on('end', () => response.end('charged\n'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

const call = (sidecar: Sidecar, method: string, path: string) =>
  httpCall(sidecar.addresses.outbound, { method, path, host: 'payments' });

const policy = (methods: readonly string[]) => ({
  kind: 'Policy',
  name: 'payments-access',
  to: 'payments',
  rules: [{ id: 'checkout-charges', effect: 'allow', from: ['checkout'], methods, paths: ['/charges/**', '/charges'] }],
});

const apply = (mesh: Mesh, resource: unknown) =>
  mesh.admin.call({ method: 'POST', path: '/v1/resources', body: { version: 1, resources: [{ resource }] } });

const statusOf = (mesh: Mesh) => mesh.admin.call<StatusReply>({ method: 'GET', path: '/v1/status' });

async function untilSynced(mesh: Mesh, count: number): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { proxies } = await statusOf(mesh);
    if (proxies.filter(({ sync }) => sync === 'synced').length === count) return;
    if (tries > 400) throw new Error(`not synced: ${JSON.stringify(proxies)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function untilStatus(sidecar: Sidecar, method: string, path: string, status: number): Promise<string> {
  for (let tries = 0; ; tries++) {
    const answer = await call(sidecar, method, path);
    if (answer.status === status) return answer.body;
    if (tries > 400) throw new Error(`still ${answer.status}, not ${status}: ${answer.body}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function build() {
  const mesh = await createMesh({ clock });
  const app = await startApp();
  const homes = { checkout: temporaryFolder(), payments: temporaryFolder() };
  const payments = await runSidecar(homes.payments, { token: await mesh.token('payments'), app: app.address });
  const checkout = await runSidecar(homes.checkout, { token: await mesh.token('checkout') });
  return { mesh, app, payments, checkout, homes };
}

test('enrolled by token, default deny, allowed by policy, changed under a live mesh, recorded at both hops', async () => {
  const { mesh, app, checkout } = await build();
  expect([403, 404]).toContain((await call(checkout, 'POST', '/charges')).status);
  expect(app.seen).toEqual([]);

  await apply(mesh, policy(['POST']));
  expect(await untilStatus(checkout, 'POST', '/charges', 200)).toBe('charged\n');
  expect(app.seen[0]?.headers['x-forwarded-client-cert']).toContain('spiffe://example.org/checkout');
  const denied = await call(checkout, 'DELETE', '/charges/1');
  expect(denied.status).toBe(403);
  expect(app.seen.every(({ path }) => path === '/charges')).toBe(true);
  await untilSynced(mesh, 2);

  await apply(mesh, policy(['GET']));
  await untilStatus(checkout, 'POST', '/charges', 403);
  await untilStatus(checkout, 'GET', '/charges', 200);

  const query = () =>
    mesh.admin.call<{ records: DecisionRecord[] }>({ method: 'GET', path: '/v1/records?path=/charges&limit=1000' });
  for (let tries = 0; ; tries++) {
    const { records } = await query();
    const allowed = records.filter(({ decision, method }) => decision === 'allow' && method === 'GET');
    if (new Set(allowed.map(({ hop }) => hop)).size === 2) {
      expect(allowed.every(({ rule }) => rule === 'payments-access/checkout-charges')).toBe(true);
      break;
    }
    if (tries > 200) throw new Error(`records missing: ${JSON.stringify(records)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

test('K1: calls go on while the control plane is away, through restarted sidecars too', async () => {
  const { mesh, app, checkout, payments, homes } = await build();
  await apply(mesh, policy(['POST']));
  await untilStatus(checkout, 'POST', '/charges', 200);
  await untilSynced(mesh, 2);
  await mesh.server.close();
  expect((await call(checkout, 'POST', '/charges')).status).toBe(200);
  await checkout.close();
  await payments.close();
  // On the address that peers were told: nobody can tell them another one now.
  await runSidecar(homes.payments, { app: app.address, inbound: payments.addresses.inbound });
  const again = await runSidecar(homes.checkout, {});
  expect((await call(again, 'POST', '/charges')).status).toBe(200);
});

test('T26: a ban cuts the banned service off within a second', async () => {
  const { mesh, checkout } = await build();
  await apply(mesh, policy(['POST']));
  await untilStatus(checkout, 'POST', '/charges', 200);
  const id = 'spiffe://example.org/checkout';
  const began = performance.now();
  await mesh.admin.call({ method: 'POST', path: '/v1/bans', body: { version: 1, id } });
  let last = 200;
  while (last === 200) last = (await call(checkout, 'POST', '/charges')).status;
  expect(performance.now() - began).toBeLessThan(1_000);
  expect(last).not.toBe(200);
});

test('F3: a sidecar that stops leaves discovery before its lease runs out', async () => {
  const { mesh, payments, checkout } = await build();
  await apply(mesh, policy(['POST']));
  await untilStatus(checkout, 'POST', '/charges', 200);
  await payments.close();
  const began = performance.now();
  const told = await untilStatus(checkout, 'POST', '/charges', 503);
  expect(told).toContain('no instance');
  expect(performance.now() - began).toBeLessThan(3_000);
});

test('F3: no call fails while the called sidecar is told to stop under load, until it has drained', async () => {
  const { mesh, app, payments, checkout } = await build();
  await apply(mesh, policy(['POST']));
  await untilStatus(checkout, 'POST', '/charges', 200);
  const second = await runSidecar(temporaryFolder(), { token: await mesh.token('payments'), app: app.address });
  await untilSynced(mesh, 3);
  const failures: unknown[] = [];
  let calls = 0;
  let stop = false;
  const worker = async (): Promise<void> => {
    while (!stop) {
      calls++;
      const answer = await call(checkout, 'POST', '/charges').catch((error: Error) => ({
        status: 0,
        body: error.message,
      }));
      if (answer.status !== 200) failures.push(answer);
    }
  };
  const workers = Array.from({ length: 8 }, worker);
  await new Promise((resolve) => setTimeout(resolve, 200));
  await payments.close();
  await new Promise((resolve) => setTimeout(resolve, 200));
  stop = true;
  await Promise.all(workers);
  expect(failures).toEqual([]);
  expect(calls).toBeGreaterThan(50);
  await second.close();
});
