// One stream to the control plane, whatever happens to it: never two, never a storm, never deaf for long.
import { expect, onTestFinished, test } from 'vitest';
import { type Clock, systemClock } from '#base/clock';
import { createLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { createChannel } from '#wire/channel';
import { createLargeSnapshots } from '../../../proxy/agent/large-snapshot.ts';
import { startWatch } from '../../../proxy/agent/watch.ts';
import { createTestCa, reply, startFakeControl, until } from '../../helpers/fake-control.ts';

async function watching(clock: Clock = systemClock, silenceMs?: number, random = () => 0.1) {
  const ca = await createTestCa();
  const control = await startFakeControl({ ca, service: 'shop/payments' });
  const identity = await ca.issue({ service: 'shop/payments' });
  const metrics = createMetrics();
  const lines: { level: string; message: string }[] = [];
  const log = createLog({ level: 'info', write: (line) => void lines.push(JSON.parse(line)), now: Date.now });
  const channel = createChannel({
    url: control.url,
    identity: () => identity,
    bundle: () => ca.bundle,
    clock: systemClock,
  });
  const seen: unknown[] = [];
  let renewals = 0;
  const large = createLargeSnapshots();
  const watch = startWatch({
    channel,
    clock,
    random,
    log,
    metrics,
    revision: () => seen.length,
    readLarge: (line) => large.read(line),
    onSnapshot: (snapshot) => void seen.push(snapshot),
    onChange: (change) => seen.push(change) > 0 && change !== 'unfit',
    onRenew: () => void renewals++,
    onLook: () => undefined,
    ...(silenceMs === undefined ? {} : { silenceMs }),
  });
  onTestFinished(() => {
    watch.close();
    channel.close();
  });
  const opened = () => control.asked.filter(({ path }) => path === '/v1/proxy/watch');
  return { control, watch, seen, lines, opened, renewals: () => renewals };
}

test('snapshots and the word to renew are handed on; unknown events are only noted', async () => {
  const { control, watch, seen, lines, renewals } = await watching();
  await until(() => seen.length === 1);
  control.push({ type: 'renew' });
  control.push({ type: 'party' });
  control.push(null);
  control.push({ type: 'snapshot', snapshot: { revision: 2 } });
  await until(() => seen.length === 2);
  expect([renewals(), watch.connected]).toEqual([1, true]);
  expect(lines.filter(({ message }) => message.includes('not known here'))).toHaveLength(2);
});

test('a stream that ends is opened again, telling the revision held', async () => {
  const { control, seen, opened } = await watching();
  await until(() => seen.length === 1);
  for (const response of control.watchers) response.destroy();
  await until(() => seen.length === 2);
  expect(opened().map(({ body }) => body.revision)).toEqual([0, 1]);
});

test('goodbye is followed by another try', async () => {
  const { control, seen } = await watching();
  await until(() => seen.length === 1);
  control.push({ type: 'goodbye' });
  await until(() => seen.length === 2);
});

test('K2: a silent stream is left for a new one, and there is never more than one', async () => {
  const { control, opened } = await watching(systemClock, 60);
  await until(() => opened().length === 3);
  await until(() => control.watchers.size <= 1);
});

test('K2: a control plane that flaps is knocked at with back-off and said once', async () => {
  const { control, opened, lines, watch } = await watching();
  await until(() => watch.connected);
  control.override.set('/v1/proxy/watch', (request) => request.socket.destroy());
  for (const response of control.watchers) response.destroy();
  const before = opened().length;
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(opened().length - before).toBeLessThan(12);
  expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  control.override.delete('/v1/proxy/watch');
  await until(() => watch.connected);
});

test('changes are handed on; one that does not fit is answered by asking for the whole', async () => {
  const { control, seen, lines, opened } = await watching();
  await until(() => seen.length === 1);
  expect(opened()[0]?.body.changes).toBe(true);
  control.push({ type: 'change', change: { from: 1, revision: 2 } });
  await until(() => seen.length === 2);
  expect(seen[1]).toEqual({ from: 1, revision: 2 });
  expect(opened()).toHaveLength(1);
  control.push({ type: 'change', change: 'unfit' });
  await until(() => opened().length === 2);
  await until(() => seen.length === 4);
  expect(lines.filter(({ message }) => message.includes('does not fit'))).toHaveLength(1);
});

test('reopen replaces the stream at once', async () => {
  const { control, watch, seen, opened } = await watching();
  await until(() => seen.length === 1);
  watch.reopen();
  await until(() => seen.length === 2);
  expect(opened()).toHaveLength(2);
  await until(() => control.watchers.size === 1);
});

test('a banned identity is back soon after a short ban, and knocks seldom during a long one', async () => {
  const waits: number[] = [];
  const clock: Clock = { ...systemClock, after: (ms, run) => systemClock.after(waits.push(ms) && 1, run) };
  const { control, watch, opened } = await watching(clock, undefined, () => 0.9);
  await until(() => watch.connected);
  const error = { code: 'IDENTITY_BANNED', message: 'banned' };
  control.override.set('/v1/proxy/watch', (_, response) => reply(response, 403, { error }));
  for (const response of control.watchers) response.destroy();
  await until(() => opened().length > 12);
  control.override.delete('/v1/proxy/watch');
  await until(() => watch.connected);
  expect(waits.slice(0, 7)).toEqual([180, 360, 720, 1_440, 2_880, 5_000, 5_000]);
  expect(Math.max(...waits)).toBe(5_000);
});

test('an event too large to be read here is read elsewhere, and what follows it is handed on after it', async () => {
  const { control, seen, watch } = await watching();
  await until(() => seen.length === 1);
  control.push({ type: 'snapshot', snapshot: { revision: 2, padding: 'x'.repeat(600_000) } });
  control.push({ type: 'snapshot', snapshot: { revision: 3 } });
  await until(() => seen.length === 3);
  expect(seen.slice(1).map((snapshot) => (snapshot as { revision: number }).revision)).toEqual([2, 3]);
  expect(watch.connected).toBe(true);
});
