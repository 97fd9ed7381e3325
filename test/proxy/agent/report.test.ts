// The heartbeat: facts once, at once after a change, never two under way.
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { createChannel } from '#wire/channel';
import { startReporter } from '../../../proxy/agent/report.ts';
import { createTestCa, reply, startFakeControl, until } from '../../helpers/fake-control.ts';

async function reporting(everyMs: number) {
  const ca = await createTestCa();
  const control = await startFakeControl({ ca, service: 'shop/payments' });
  const identity = await ca.issue({ service: 'shop/payments' });
  const channel = createChannel({
    url: control.url,
    identity: () => identity,
    bundle: () => ca.bundle,
    clock: systemClock,
  });
  let revision = 1;
  const reporter = startReporter({
    channel,
    clock: systemClock,
    random: () => 0.5,
    log: silentLog,
    metrics: createMetrics(),
    report: () => ({ revision, notAfter: 1, connections: { inbound: 0, outbound: 0 }, state: 'serving' }),
    facts: () => ({ advertise: '127.0.0.1:1', labels: {}, version: '0' }),
    everyMs,
  });
  onTestFinished(async () => {
    await reporter.close();
    channel.close();
  });
  const bodies = () => control.asked.map(({ body }) => body);
  const set = (next: number): void => {
    revision = next;
  };
  return { control, reporter, bodies, set };
}

test('beats, with the facts in the first report only', async () => {
  const { bodies } = await reporting(20);
  await until(() => bodies().length >= 3);
  expect(bodies().map((body) => 'facts' in body)).toEqual([
    true,
    ...bodies()
      .slice(1)
      .map(() => false),
  ]);
});

test('after a failed report the facts are said again', async () => {
  const { control, bodies } = await reporting(20);
  await until(() => bodies().length === 2);
  control.override.set('/v1/proxy/report', (_, response) => {
    control.override.delete('/v1/proxy/report');
    reply(response, 503, { error: { code: 'SERVER_FAULT', message: 'x' } });
  });
  const count = bodies().length;
  await until(() =>
    bodies()
      .slice(count)
      .some((body) => 'facts' in body),
  );
});

test('a change is reported at once, and several during one report become one more', async () => {
  const { control, reporter, bodies, set } = await reporting(60_000);
  await until(() => bodies().length === 1);
  set(2);
  await reporter.reportNow();
  expect(bodies().at(-1)?.revision).toBe(2);
  const held: (() => void)[] = [];
  control.override.set('/v1/proxy/report', (_, response) => void held.push(() => reply(response, 200, {})));
  void reporter.reportNow();
  await until(() => held.length === 1);
  set(3);
  const all = Promise.all([reporter.reportNow(), reporter.reportNow(), reporter.reportNow()]);
  held.shift()!();
  await until(() => held.length === 1);
  held.shift()!();
  await all;
  control.override.delete('/v1/proxy/report');
  expect(bodies().map((body) => body.revision)).toEqual([1, 2, 2, 3]);
});
