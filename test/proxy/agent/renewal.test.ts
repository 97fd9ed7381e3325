// The certificate is renewed at half of its life for as long as anybody lives, and what goes wrong is said early.
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Clock } from '#base/clock';
import { createLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { type Channel, createChannel } from '#wire/channel';
import { openSidecarFolder } from '../../../proxy/agent/disk.ts';
import { obtainIdentity } from '../../../proxy/agent/enrol.ts';
import { startRenewal } from '../../../proxy/agent/renewal.ts';
import { createClock } from '../../helpers/clock.ts';
import { createTestCa, keyOfCsr, reply, startFakeControl, until } from '../../helpers/fake-control.ts';
import { temporaryFolder } from '../../helpers/folder.ts';

const hour = 3_600_000;

async function running(random = 0.5, lives: { ttlMs?: number; backdateMs?: number } = {}) {
  // One clock for both sides; only the handshakes' own clock is real, and the test CA's certificates outlive both.
  const clock = createClock(Math.floor(Date.now() / 1_000) * 1_000);
  const ca = await createTestCa();
  const control = await startFakeControl({ ca, service: 'shop/payments', now: clock.now, ttlMs: hour, ...lives });
  const lines: { level: string; message: string }[] = [];
  const log = createLog({ level: 'debug', write: (line) => void lines.push(JSON.parse(line)), now: clock.now });
  const folder = openSidecarFolder(temporaryFolder());
  const token = ca.token({ service: 'shop/payments', url: control.url });
  const facts = { advertise: '127.0.0.1:1', labels: {}, version: '0' };
  const start = { folder, token, facts, clock, log, random: () => random };
  let holding = await obtainIdentity(start);
  const serials = [holding.identity.serial];
  const metrics = createMetrics();
  const shared = { clock: clock as Clock, log, metrics, random: () => random };
  const channel = createChannel({
    url: control.url,
    identity: () => holding.identity,
    bundle: () => holding.bundle,
    clock,
  });
  let asking = 0;
  const counted: Channel = {
    ...channel,
    call: (request) => {
      asking++;
      return channel.call(request).finally(() => asking--);
    },
  };
  const renewal = startRenewal({
    ...shared,
    channel: counted,
    folder,
    holding: () => holding,
    adopt: (next) => {
      holding = next;
      serials.push(next.identity.serial);
    },
  });
  onTestFinished(() => {
    renewal.close();
    channel.close();
  });
  /** Moves time in steps shorter than any time-out, and stands still while an answer is awaited. */
  const pass = async (ms: number): Promise<void> => {
    for (let done = 0; done < ms; done += 5_000) {
      clock.advance(Math.min(5_000, ms - done));
      await new Promise((resolve) => setImmediate(resolve));
      await until(() => asking === 0);
    }
  };
  const renewals = () => control.asked.filter(({ path }) => path === '/v1/renew');
  const said = (level: string) => lines.filter((line) => line.level === level).map((line) => line.message);
  return { clock, pass, control, folder, renewal, serials, renewals, said, metrics, holding: () => holding };
}

test.each([
  [0, 0.4],
  [0.5, 0.5],
  [0.999, 0.6],
])(
  'renews at half-life, +-10 percent (random %d, so %d of the life), with a fresh key, durable before use',
  async (random, part) => {
    const { pass, folder, serials, renewals } = await running(random);
    await pass(hour * part - 60_000);
    expect(renewals()).toHaveLength(0);
    await pass(120_000);
    await until(() => serials.length === 2);
    expect(folder.readHolding()?.identity.serial).toBe(serials[1]);
  },
);

test('life begins when a certificate comes, however long before that its validity begins', async () => {
  const { pass, serials, renewals } = await running(0.5, { ttlMs: 40_000, backdateMs: 30_000 });
  await pass(15_000);
  expect(renewals()).toHaveLength(0);
  for (const count of [2, 3, 4]) {
    await pass(count === 2 ? 5_000 : 20_000);
    await until(() => serials.length === count);
  }
  expect(renewals()).toHaveLength(3);
});

test('every renewal has another key', async () => {
  const { pass, serials, renewals } = await running();
  for (const count of [2, 3, 4]) {
    await pass(hour / 2 + 60_000);
    await until(() => serials.length === count);
  }
  const keys = renewals().map(({ body }) => keyOfCsr(body.csr as string).export({ format: 'jwk' }).x);
  expect(new Set(keys).size).toBe(3);
});

test('the word to renew is followed within moments', async () => {
  const { clock, renewal, serials } = await running();
  renewal.renewSoon();
  clock.advance(5_000);
  await until(() => serials.length === 2);
});

test('K1: a control plane that is away is asked again with back-off, expiry is announced earlier, and it ends in expired', async () => {
  const { clock, pass, control, renewal, renewals, said, metrics, holding } = await running();
  control.override.set('/v1/renew', (request) => request.socket.destroy());
  await pass(hour / 2 + 30_000);
  await until(() => renewal.state === 'failing');
  expect(said('warn')).toContain('the certificate could not be renewed; trying again');
  expect(said('error')).toEqual([]);
  await pass(55 * 30_000);
  expect(said('error').some((line) => line.includes('about to expire'))).toBe(true);
  const asked = renewals().length;
  expect(asked).toBeGreaterThan(10);
  expect(asked).toBeLessThan(120);
  await pass(300_000);
  await until(() => renewal.state === 'expired');
  expect(said('error').at(-1)).toContain('expired: all traffic is refused');
  expect(metrics.render()).toMatch(/postern_identity_renewals_total\{outcome="expired"\} 1/);
  expect(holding().identity.notAfter).toBeLessThan(clock.now());
});

test('K1: renewal resumes when the control plane comes back before expiry', async () => {
  const { pass, control, renewal, serials, said } = await running();
  control.override.set('/v1/renew', (_, response) =>
    reply(response, 503, { error: { code: 'SERVER_STORE_FAILED', message: 'disk full' } }),
  );
  await pass(hour / 2 + 30_000);
  await until(() => renewal.state === 'failing');
  control.override.delete('/v1/renew');
  await pass(60_000);
  await until(() => serials.length === 2);
  expect([renewal.state, said('info').at(-1)]).toEqual(['current', 'the certificate could be renewed again']);
});

test('K1: one that comes back moments before expiry is found in time, whatever the pauses had grown to', async () => {
  const { pass, control, renewal, serials } = await running(0.999);
  control.override.set('/v1/renew', (request) => request.socket.destroy());
  await pass(hour - 25_000);
  expect(renewal.state).toBe('failing');
  control.override.delete('/v1/renew');
  await pass(20_000);
  await until(() => serials.length === 2);
  expect(renewal.state).toBe('current');
});

test('C9: a banned identity is told once and asks seldom', async () => {
  const { pass, control, renewal, renewals, said } = await running();
  const error = { code: 'IDENTITY_BANNED', message: 'it is banned' };
  control.override.set('/v1/renew', (_, response) => reply(response, 403, { error }));
  await pass(hour / 2 + 30_000);
  await until(() => renewal.state === 'banned');
  await pass(600_000);
  expect(renewals().length).toBeLessThanOrEqual(4);
  expect(said('error')).toHaveLength(1);
});

test('C12: a disk that refuses the new certificate costs no traffic: it is used, said once, and kept once there is room', async () => {
  const { pass, folder, serials, said, metrics, renewal } = await running();
  // A folder where a file should be refuses root too.
  mkdirSync(join(folder.path, 'state.json.away'));
  renameSync(join(folder.path, 'state.json'), join(folder.path, 'state.json.away', 'state.json'));
  mkdirSync(join(folder.path, 'state.json', 'x'), { recursive: true });
  await pass(hour / 2 + 60_000);
  await until(() => serials.length === 2);
  expect(renewal.state).toBe('current');
  expect(said('error')).toEqual([
    'the new certificate could not be kept on disk: it is used, and a restart would not have it',
  ]);
  expect(metrics.render()).toMatch(/postern_identity_renewals_total\{outcome="unkept"\} 1/);
  await pass(hour / 2 + 60_000);
  await until(() => serials.length === 3);
  rmSync(join(folder.path, 'state.json'), { recursive: true });
  renameSync(join(folder.path, 'state.json.away', 'state.json'), join(folder.path, 'state.json'));
  expect(folder.readHolding()?.identity.serial).toBe(serials[0]);
  await pass(60_000);
  expect(folder.readHolding()?.identity.serial).toBe(serials[2]);
  expect(said('error')).toHaveLength(1);
  expect(said('info').at(-1)).toBe('the certificate is kept on disk again');
});
