// Real sidecars and a real control plane: every log is witnessed as it grows, and what was done to one behind its back shows at the witness.
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { findLogs, keyBeside, parseVerifierKey, verifyLog } from '#audit';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { type Sidecar, startSidecar } from '#proxy';
import type { ControlEvent, IdentityStatus, StatusReply, WitnessReply } from '#wire';
import { cosignedAt } from '../../audit/merkle/checkpoint.ts';
import { createMesh, type Mesh } from '../helpers/control-plane.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { entriesIn } from '../helpers/log-folder.ts';

const clock = { ...systemClock, advance: () => undefined, step: () => undefined };

async function start(home: string, token?: string): Promise<Sidecar> {
  const any = '127.0.0.1:0';
  const addresses = { app: '127.0.0.1:9', inbound: any, outbound: any, admin: any, metrics: any };
  const sidecar = await startSidecar(
    { home, ...addresses, ...(token === undefined ? {} : { token }), upstreams: {}, labels: {}, drainMs: 500 },
    { clock: systemClock, log: silentLog },
  );
  onTestFinished(() => sidecar.close());
  return sidecar;
}

/** Calls that are refused, each of which is a record. */
async function callTimes(sidecar: Sidecar, count: number): Promise<void> {
  for (let i = 0; i < count; i++)
    await new Promise<void>((resolve, reject) => {
      const request = httpRequest(
        `http://${sidecar.addresses.outbound}/x`,
        { agent: false, headers: { host: 'nobody' } },
        (response) => void response.resume().on('end', () => resolve()),
      );
      request.on('error', reject).end();
    });
}

async function until<T>(read: () => Promise<T>, is: (value: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries++) {
    const value = await read();
    if (is(value)) return value;
    if (tries > 300) throw new Error(`still ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const logsOf = (mesh: Mesh) => mesh.admin.call<WitnessReply>({ method: 'GET', path: '/v1/logs' });

test('a log is cosigned as it grows, verifies with its key from the witness, and still after a restart', async () => {
  const mesh = await createMesh({ clock });
  const home = temporaryFolder();
  const first = await start(home, await mesh.token('checkout'));
  expect((await logsOf(mesh)).logs).toEqual([]);
  await callTimes(first, 5);
  const { witness, logs } = await until(
    () => logsOf(mesh),
    ({ logs: [log] }) => (log?.size ?? 0) >= 5,
  );
  expect(logs[0]!.origin).toBe(`example.org/checkout/${first.instance}`);
  expect(cosignedAt(logs[0]!.checkpoint, parseVerifierKey(witness)!)).toBeGreaterThan(1_700_000_000);
  await first.close();
  const again = await start(home);
  await callTimes(again, 5);
  const later = await until(
    () => logsOf(mesh),
    ({ logs: [log] }) => (log?.size ?? 0) >= 10,
  );
  expect(later.logs[0]).not.toHaveProperty('alarm');
  await again.close();
  const [folder] = findLogs(home);
  const key = parseVerifierKey(later.logs[0]!.verifierKey)!;
  expect(verifyLog({ folder: folder!, key, against: later.logs[0]!.checkpoint }).faults).toEqual([]);
  expect(readdirSync(folder!)).toContain('witnessed');
}, 60_000);

test('L2: a proxy whose folder was replaced by an older copy is caught by its witness: event, status and alarm', async () => {
  const mesh = await createMesh({ clock });
  const home = temporaryFolder();
  const first = await start(home, await mesh.token('checkout'));
  await callTimes(first, 3);
  await first.close();
  const records = join(home, 'sidecar', 'records');
  const copy = join(temporaryFolder(), 'records');
  cpSync(records, copy, { recursive: true });
  const second = await start(home);
  await callTimes(second, 6);
  await until(
    () => logsOf(mesh),
    ({ logs: [log] }) => (log?.size ?? 0) >= 9,
  );
  await second.close();

  rmSync(records, { recursive: true });
  cpSync(copy, records, { recursive: true });
  const third = await start(home);
  await callTimes(third, 1);
  const { logs } = await until(
    () => logsOf(mesh),
    ({ logs: [log] }) => log?.alarm !== undefined,
  );
  expect(logs[0]).toMatchObject({ alarm: 'AUDIT_LOG_ROLLED_BACK' });
  expect(logs[0]!.size).toBeGreaterThanOrEqual(9);
  const status = await mesh.admin.call<StatusReply>({ method: 'GET', path: '/v1/status' });
  expect(status.proxies[0]!.log).toMatchObject({ alarm: 'AUDIT_LOG_ROLLED_BACK' });
  const { events } = await mesh.admin.call<{ events: ControlEvent[] }>({
    method: 'GET',
    path: '/v1/events?action=log.witness',
  });
  expect(events).toMatchObject([{ subject: first.instance, reason: 'AUDIT_LOG_ROLLED_BACK', outcome: 'refused' }]);
}, 60_000);

test("the control plane's own events are a log of the same kind, which holds every issued certificate", async () => {
  const mesh = await createMesh({ clock });
  const home = temporaryFolder();
  const sidecar = await start(home, await mesh.token('checkout'));
  await sidecar.close();
  const { events } = await mesh.admin.call<{ events: ControlEvent[] }>({
    method: 'GET',
    path: '/v1/events?limit=1000',
  });
  const folder = join(mesh.home, 'events');
  await until(
    async () => entriesOf(folder).length,
    (count) => count >= events.length,
  );
  const verdict = await until(
    async () => verifyLog({ folder, key: keyBeside(folder)! }),
    ({ unsigned }) => unsigned === 0,
  );
  expect(verdict).toMatchObject({ origin: 'example.org/postern/events', faults: [] });
  const logged = entriesOf(folder).map((entry) => JSON.parse(entry) as ControlEvent);
  for (const { remote: _, ...event } of events) expect(logged[event.seq - 1]).toMatchObject(event);
  const { identities } = await mesh.admin.call<{ identities: IdentityStatus[] }>({
    method: 'GET',
    path: '/v1/identities',
  });
  const serials = identities.find(({ id }) => id.endsWith('/checkout'))!.certificates.map(({ serial }) => serial);
  const text = entriesOf(folder).join('\n');
  expect(serials.length).toBeGreaterThan(0);
  for (const serial of serials) expect(text).toContain(serial);
}, 60_000);

const entriesOf = (folder: string): string[] => (existsSync(join(folder, 'growing')) ? entriesIn(folder) : []);
