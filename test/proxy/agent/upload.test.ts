// Decision records reach the control plane exactly once as far as it can tell, in order, and are let go only on receipt.
import { expect, onTestFinished, test } from 'vitest';
import { createRecordLog } from '#audit';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import type { DecisionRecord } from '#wire';
import { createChannel } from '#wire/channel';
import { startUploader } from '../../../proxy/agent/upload.ts';
import { createTestCa, reply, startFakeControl, until } from '../../helpers/fake-control.ts';
import { temporaryFolder } from '../../helpers/folder.ts';

const record = (path = '/a'): Omit<DecisionRecord, 'v' | 'seq'> => ({
  id: 'd',
  time: '2026-01-01T00:00:00.000Z',
  instance: 'instance-1',
  service: 'spiffe://example.org/shop/payments',
  hop: 'inbound',
  kind: 'exchange',
  connection: 'c',
  path,
  decision: 'allow',
  reason: 'allowed',
  bytesIn: 0,
  bytesOut: 0,
  ms: 1,
});

async function uploading(first = 0) {
  const ca = await createTestCa();
  const control = await startFakeControl({ ca, service: 'shop/payments' });
  const identity = await ca.issue({ service: 'shop/payments' });
  const shared = { clock: systemClock, log: silentLog };
  const records = createRecordLog({ ...shared, folder: temporaryFolder() });
  const channel = createChannel({
    url: control.url,
    identity: () => identity,
    bundle: () => ca.bundle,
    clock: systemClock,
  });
  for (let count = 0; count < first; count++) records.append(record());
  await records.flush();
  const uploader = startUploader({
    ...shared,
    records,
    channel,
    random: () => 0,
    metrics: createMetrics(),
    gatherMs: 5,
  });
  const close = () => uploader.close(AbortSignal.timeout(2_000));
  onTestFinished(async () => {
    await close();
    channel.close();
    await records.close();
  });
  const batches = () =>
    control.asked
      .filter(({ path }) => path === '/v1/proxy/records')
      .map(({ body }) => (body.records as DecisionRecord[]).map(({ seq }) => seq));
  return { control, records, batches, close };
}

test('records that waited and records that come are sent in order, once', async () => {
  const { records, batches } = await uploading(2_500);
  await until(() => batches().flat().length === 2_500);
  records.append(record());
  await until(() => batches().flat().length === 2_501);
  expect(batches().flat()).toEqual(Array.from({ length: 2_501 }, (_, index) => index + 1));
  expect(Math.max(...batches().map((batch) => batch.length))).toBeLessThanOrEqual(1_000);
});

test('a batch is bounded by its bytes too', async () => {
  const { records, batches } = await uploading();
  for (let count = 0; count < 300; count++) records.append(record(`/${'a'.repeat(8_000)}`));
  await until(() => batches().flat().length === 300);
  expect(batches().length).toBeGreaterThan(2);
});

test('what was not received is sent again, and a lost receipt only means once more', async () => {
  const { control, records, batches } = await uploading();
  let lost = 2;
  control.override.set('/v1/proxy/records', (request, response, body) => {
    if (lost-- > 0) return void request.socket.destroy();
    reply(response, 200, { through: (body as { records: DecisionRecord[] }).records.at(-1)!.seq });
  });
  records.append(record());
  await until(() => batches().length === 3);
  expect(batches()).toEqual([[1], [1], [1]]);
});

test('a receipt for part of a batch is followed by the rest; one for nothing is not believed', async () => {
  const { control, records, batches } = await uploading();
  const through = [2, 0, 3];
  control.override.set('/v1/proxy/records', (_, response) => reply(response, 200, { through: through.shift() ?? 99 }));
  for (let count = 0; count < 4; count++) records.append(record());
  await until(() => batches().at(-1)?.[0] === 4);
  expect(batches()).toEqual([[1, 2, 3, 4], [3, 4], [3, 4], [4]]);
});

test('a record that the control plane refuses is found by halving, and everything before it gets through', async () => {
  const { control, records, batches } = await uploading();
  control.override.set('/v1/proxy/records', (_, response, body) => {
    const seqs = (body as { records: DecisionRecord[] }).records.map(({ seq }) => seq);
    if (seqs.includes(6)) reply(response, 400, { error: { code: 'REQUEST_INVALID', message: 'no' } });
    else reply(response, 200, { through: seqs.at(-1)! });
  });
  for (let count = 0; count < 8; count++) records.append(record());
  await until(() => batches().filter((batch) => batch.length === 1 && batch[0] === 6).length > 0, 20_000);
  expect(batches().some((batch) => batch.at(-1) === 5)).toBe(true);
});

test('F3: closing sends what is there', async () => {
  const { records, batches, close } = await uploading();
  for (let count = 0; count < 50; count++) records.append(record());
  await records.flush();
  await close();
  expect(batches().flat().length).toBe(50);
});
