// What the control plane has received, held against the log that it came from; and values erased from it for good.
import { describe, expect, onTestFinished, test } from 'vitest';
import { createComparer, createRecordLog, openRecordStore } from '#audit';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import type { DecisionRecord } from '#wire';
import { createClock } from '../helpers/clock.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { sentRecord } from '../helpers/record.ts';

async function logOf(count: number): Promise<{ folder: string; records: DecisionRecord[] }> {
  const folder = temporaryFolder();
  const log = createRecordLog({ folder, clock: systemClock, log: silentLog, writer: 'this-thread' });
  for (let n = 1; n <= count; n++) log.append(sentRecord(n, { path: `/x/${n}"\\\u00e9`, traceId: 'a'.repeat(32) }));
  await log.flush();
  const records = await log.read(1, count);
  await log.close();
  return { folder, records };
}

function storeOf(records: readonly DecisionRecord[]) {
  const store = openRecordStore({ path: ':memory:', clock: createClock() });
  onTestFinished(() => store.close());
  store.add('i-1', records);
  return store;
}

describe('comparing', () => {
  test('what was received as it is in the log is the same, over several bundles', async () => {
    const { folder, records } = await logOf(600);
    const comparer = createComparer(folder)!;
    const kept = storeOf(records).query({ after: 0, limit: 10_000 }).records;
    for (const record of kept) comparer.add(record);
    expect(comparer.result).toMatchObject({ same: 600, masked: 0, pruned: 0, different: [] });
  });

  test.each<[string, (record: DecisionRecord) => DecisionRecord, string]>([
    ['another decision', (record) => ({ ...record, decision: 'deny' }), 'entry 4 of the log is another one'],
    ['another path', (record) => ({ ...record, path: '/y' }), 'entry 4 of the log is another one'],
    ['another place', (record) => ({ ...record, index: 3 }), 'entry 3 of the log is another one'],
    ['a place that is not there', (record) => ({ ...record, index: 40 }), 'the log has no entry 40'],
    ['a record that was made up', ({ index: _, ...record }) => record, 'it does not say where in the log it is'],
  ])('%s is found and named', async (_, change, what) => {
    const { folder, records } = await logOf(10);
    const comparer = createComparer(folder)!;
    for (const record of records) comparer.add(record.seq === 5 ? change(record) : record);
    expect(comparer.result).toMatchObject({ same: 9, different: [{ seq: 5, what }] });
  });

  test('records whose values were erased are counted apart', async () => {
    const { folder, records } = await logOf(10);
    const store = storeOf(records);
    await store.mask({ fields: ['path'], id: records[2]!.id });
    const comparer = createComparer(folder)!;
    for (const record of store.query({ after: 0 }).records) comparer.add(record);
    expect(comparer.result).toMatchObject({ same: 9, masked: 1, different: [] });
  });
});

describe('erasing', () => {
  test('values are gone from answers, from what finds them and from the counts of whole hours', async () => {
    const old = { time: '2026-01-01T00:10:00.000Z', peer: 'spiffe://example.org/anna', path: '/secret' };
    const store = storeOf([
      ...Array.from({ length: 2_500 }, (_, n) =>
        sentRecord(n + 1, { ...old, decision: 'deny', reason: 'default-deny' }),
      ),
      sentRecord(2_501, { ...old, time: '2026-01-01T02:00:00.000Z' }),
    ]);
    const before = Date.parse('2026-01-01T01:00:00.000Z');
    expect(await store.mask({ fields: ['peer', 'path'], before })).toBe(5_000);
    expect(await store.mask({ fields: ['peer', 'path'], before })).toBe(0);
    const all = store.query({ limit: 10_000 }).records;
    expect(all.filter(({ peer, path }) => peer !== undefined || path !== undefined).map(({ seq }) => seq)).toEqual([
      2_501,
    ]);
    expect(store.query({ peer: old.peer }).records).toHaveLength(1);
    expect(store.query({ path: '/secret' }).records).toHaveLength(1);
    expect(store.tally({ by: 'denied-pairs' })).toMatchObject([{ peer: '', count: 2_500 }]);
  });
});
