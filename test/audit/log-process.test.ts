// The log in a process of its own, with its worker: killed at any moment, out of room, under load.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';
import { createRecordLog, verifyLog } from '#audit';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { temporaryFolder } from '../helpers/folder.ts';
import { entriesIn, logKeyOf } from '../helpers/log-folder.ts';
import { recordOf } from '../helpers/record.ts';

/** Runs the recording process on the folder, kills it after some lines, and gives the highest sequence that it called durable. */
async function recordAndKill(folder: string, lines: number): Promise<number> {
  const script = join(import.meta.dirname, '..', 'helpers', 'recording.ts');
  const child = spawn('node', [script, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  let durable = 0;
  let seen = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    durable = Math.max(durable, Number(line.split(' ')[0]));
    if (++seen === lines) child.kill('SIGKILL');
  }
  return durable;
}

test('L5: killed again and again at any moment, the log verifies, continues and holds everything that was durable', async () => {
  const folder = join(temporaryFolder(), 'log');
  let durable = 0;
  for (const lines of [2, 5, 3, 9, 14, 4, 7]) {
    durable = Math.max(durable, await recordAndKill(folder, lines));
    const log = createRecordLog({ folder, clock: systemClock, log: silentLog, origin: 'example.org/payments/i-1' });
    log.append(recordOf({ id: 'after' }));
    await log.close();
    const verdict = verifyLog({ folder, key: logKeyOf(folder) });
    expect(verdict.faults).toEqual([]);
    expect(verdict.origin).toBe('example.org/payments/i-1');
    const entries = entriesIn(folder).map((entry) => JSON.parse(entry) as { seq: number; kind: string; lost?: number });
    const seqs = new Set(entries.map(({ seq }) => seq));
    const declared = entries.reduce((sum, { lost = 0 }) => sum + lost, 0);
    const missing = Array.from({ length: durable }, (_, at) => at + 1).filter((seq) => !seqs.has(seq));
    expect(missing.length).toBeLessThanOrEqual(declared);
    expect(entries.at(-1)?.seq).toBeGreaterThan(durable);
  }
}, 60_000);

test('no thread is started before the first record, and one log has one', async () => {
  const { getActiveResourcesInfo } = process;
  const workers = (): number =>
    getActiveResourcesInfo().filter((name) => name === 'MessagePort' || name === 'Worker').length;
  const before = workers();
  const log = createRecordLog({ folder: join(temporaryFolder(), 'log'), clock: systemClock, log: silentLog });
  onTestFinished(() => log.close());
  expect(workers()).toBe(before);
  log.append(recordOf());
  await log.flush();
  expect((await log.read(1, 1))[0]).toMatchObject({ seq: 1, index: 0 });
});

test('L7: ten thousand decisions a second for two seconds: every one is there, in order, or declared', async () => {
  const folder = join(temporaryFolder(), 'log');
  const log = createRecordLog({ folder, clock: systemClock, log: silentLog });
  const started = performance.now();
  for (let made = 0; made < 20_000; ) {
    const due = Math.min(20_000, Math.floor((performance.now() - started) * 10));
    for (; made < due; made++) log.append(recordOf({ id: `d-${made}` }));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await log.close();
  const { size, faults } = verifyLog({ folder, key: logKeyOf(folder) });
  expect(faults).toEqual([]);
  const lost = log.lost;
  const gaps = entriesIn(folder).map((entry) => JSON.parse(entry) as { lost?: number });
  expect(gaps.reduce((sum, entry) => sum + (entry.lost ?? 0), 0)).toBe(lost);
  expect(size).toBeGreaterThanOrEqual(20_000 - lost);
  expect(log.queued).toBe(0);
}, 60_000);
