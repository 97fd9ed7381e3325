import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { createRecordLog } from '#audit';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import type { DecisionRecord } from '#wire';
import { temporaryFolder } from '../helpers/folder.ts';

const child = fileURLToPath(new URL('./record-log-child.ts', import.meta.url));

test('L5: kill -9 while writing, again and again: what was seen is there, sequences rise, every hole is declared', async () => {
  const folder = temporaryFolder();
  for (let round = 0; round < 5; round++) {
    const seen = await writeUntilKilled(folder, 3 + round);
    const log = createRecordLog({ folder, clock: systemClock, log: silentLog });
    await log.flush();
    const records = await readAll(log);
    await log.close();
    const present = new Set(records.map(({ seq }) => seq));
    const declared = records.filter(({ kind }) => kind === 'gap');
    const isDeclared = (seq: number): boolean =>
      declared.some(({ lost, lostFrom }) => seq >= lostFrom! && seq < lostFrom! + lost!);
    const missing: number[] = [];
    for (let seq = records[0]!.seq; seq < records.at(-1)!.seq; seq++) if (!present.has(seq)) missing.push(seq);
    expect(present.size).toBe(records.length);
    expect(missing.filter((seq) => !isDeclared(seq))).toEqual([]);
    expect(records.at(-1)!.seq).toBeGreaterThanOrEqual(seen);
  }
});

/** Resolves with the last sequence that the process had read back when it was killed, a few batches in. */
function writeUntilKilled(folder: string, batches: number): Promise<number> {
  const running = fork(child, [folder], { stdio: 'ignore', execArgv: [] });
  let seen = 0;
  let left = batches;
  running.on('message', (read) => {
    seen = Number(read);
    if (--left === 0) running.kill('SIGKILL');
  });
  return new Promise((resolve) => running.on('close', () => resolve(seen)));
}

async function readAll(log: {
  read(from: number, limit: number): Promise<DecisionRecord[]>;
}): Promise<DecisionRecord[]> {
  const records: DecisionRecord[] = [];
  for (;;) {
    const part = await log.read((records.at(-1)?.seq ?? 0) + 1, 5_000);
    if (part.length === 0) return records;
    records.push(...part);
  }
}
