// The proxy's decision log under everything that happens to a disk: no record is lost without being counted and declared.
import {
  appendFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createRecordLog, type RecordLog, type RecordLogOptions } from '#audit';
import { silentLog } from '#base/log';
import { check } from '#base/schema';
import { type DecisionRecord, decisionRecord } from '#wire';
import { createClock } from '../helpers/clock.ts';
import { createFaultyDisk } from '../helpers/faulty-disk.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { recordOf } from '../helpers/record.ts';

const clock = createClock();

function openLog(folder: string, options: Partial<RecordLogOptions> = {}): RecordLog {
  const log = createRecordLog({ folder, clock, log: silentLog, ...options });
  onTestFinished(() => log.close());
  return log;
}

function appendMany(log: RecordLog, count: number, first = 1): void {
  for (let i = 0; i < count; i++) log.append(recordOf({ id: `d-${first + i}` }));
}

async function readAll(log: RecordLog, limit = 1_000): Promise<DecisionRecord[]> {
  const records: DecisionRecord[] = [];
  for (;;) {
    const part = await log.read((records.at(-1)?.seq ?? 0) + 1, limit);
    if (part.length === 0) return records;
    records.push(...part);
  }
}

const seqs = (records: readonly DecisionRecord[]): number[] => records.map(({ seq }) => seq);
const files = (folder: string): string[] => readdirSync(folder).sort();
const gapsIn = (records: readonly DecisionRecord[]) =>
  records
    .filter(({ kind }) => kind === 'gap')
    .map(({ seq, lost, lostFrom, reason }) => ({ seq, lost, lostFrom, reason }));

describe('in good times', () => {
  test('records come back in order, each with the next sequence and valid against the wire schema', async () => {
    const log = openLog(temporaryFolder());
    appendMany(log, 600);
    expect(log.lastSeq).toBe(600);
    await log.flush();
    const records = await log.read(1, 1_000);
    expect(seqs(records)).toEqual(Array.from({ length: 600 }, (_, index) => index + 1));
    expect(check(decisionRecord, records[0])).toEqual([]);
    expect(records[41]).toEqual({ ...recordOf({ id: 'd-42' }), v: 1, seq: 42 });
  });

  test('append returns before anything is written, and listeners hear of it once it is durable', async () => {
    const folder = temporaryFolder();
    const log = openLog(folder);
    const heard = new Promise<void>((resolve) => log.onAppend(resolve));
    log.append(recordOf());
    expect(files(folder)).toEqual([]);
    expect(await log.read(1, 10)).toEqual([]);
    clock.advance(1_000);
    await heard;
    expect(seqs(await log.read(1, 10))).toEqual([1]);
  });

  test('files are 0600 in a 0700 folder, one canonical JSON line a record', async () => {
    const folder = join(temporaryFolder(), 'records');
    const log = openLog(folder);
    appendMany(log, 3);
    await log.flush();
    const [name] = files(folder);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, name!)).mode & 0o777).toBe(0o600);
    const lines = readFileSync(join(folder, name!), 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    const keys = Object.keys(JSON.parse(lines[0]!) as object);
    expect(keys).toEqual([...keys].sort());
  });

  test('files rotate by size and whole released ones are removed', async () => {
    const folder = temporaryFolder();
    const log = openLog(folder, { maxBytes: 160_000 });
    for (let i = 0; i < 4; i++) {
      appendMany(log, 60);
      await log.flush();
    }
    expect(files(folder).length).toBeGreaterThan(2);
    log.release(log.lastSeq);
    await log.close();
    expect(files(folder)).toHaveLength(1);
    expect(log.lost).toBe(0);
  });

  test('reading goes from file to file, with any limit', async () => {
    const folder = temporaryFolder();
    const first = openLog(folder, { maxBytes: 400_000 });
    appendMany(first, 500);
    await first.close();
    const log = openLog(folder, { maxBytes: 400_000 });
    const read = seqs(await readAll(log, 7));
    expect(read).toEqual(Array.from({ length: 500 }, (_, index) => index + 1));
  });
});

describe('across restarts', () => {
  test('the sequence continues', async () => {
    const folder = temporaryFolder();
    const first = openLog(folder);
    appendMany(first, 5);
    await first.close();
    const second = openLog(folder);
    appendMany(second, 1, 6);
    await second.flush();
    expect(seqs(await second.read(1, 100))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('the sequence continues when every record was released and only an empty file is left', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, '0000000000000100.jsonl'), '');
    const log = openLog(folder);
    appendMany(log, 1);
    expect(log.lastSeq).toBe(100);
  });

  test.each(['{"half":', '{"v":1,"seq":4}', '\0\0\0\0', 'x'.repeat(200_000)])(
    'L5: a torn tail (%#) is cut off and declared, earlier records are intact',
    async (tail) => {
      const folder = temporaryFolder();
      const first = openLog(folder);
      appendMany(first, 3);
      await first.close();
      const path = join(folder, files(folder)[0]!);
      const good = readFileSync(path, 'utf8');
      appendFileSync(path, tail);
      const log = openLog(folder);
      await log.flush();
      expect(readFileSync(path, 'utf8').startsWith(good)).toBe(true);
      const after = readFileSync(path, 'utf8').trimEnd().split('\n');
      expect(after.map((line) => (JSON.parse(line) as DecisionRecord).seq)).toEqual([1, 2, 3, 5]);
      const records = await log.read(1, 10);
      expect(seqs(records)).toEqual([1, 2, 3, 5]);
      expect(gapsIn(records)).toEqual([{ seq: 5, lost: 1, lostFrom: 4, reason: 'AUDIT_TAIL_TORN' }]);
      expect(log.lost).toBe(1);
    },
  );

  test('L5: a file without one readable line is set aside and its sequences are never used again', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, '0000000000000010.jsonl'), Buffer.alloc(300_000, 0x41));
    const log = openLog(folder);
    log.append(recordOf());
    await log.flush();
    expect(files(folder)).toContain('0000000000000010.jsonl.damaged');
    expect((await log.read(1, 10)).at(0)!.seq).toBeGreaterThan(1_500);
  });

  test('L5: nothing that a reader has seen is missing after a kill at any moment', async () => {
    const folder = temporaryFolder();
    const disk = createFaultyDisk();
    const first = createRecordLog({ folder, clock, log: silentLog, open: disk.open });
    appendMany(first, 10);
    await first.flush();
    disk.fail({ code: 'EIO', on: 'write', afterBytes: 700 });
    appendMany(first, 10, 11);
    await first.flush();
    const seen = await first.read(1, 100);
    const second = openLog(folder);
    expect(seqs(seen)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect((await second.read(1, 100)).slice(0, 10)).toEqual(seen);
  });
});

describe('L4: when the disk does not follow', () => {
  test.each(['write', 'datasync', 'open'] as const)(
    'a failing %s loses nothing that the queue can hold, and leaves no half line or double',
    async (on) => {
      const folder = temporaryFolder();
      const disk = createFaultyDisk();
      const log = openLog(folder, { open: disk.open });
      if (on !== 'open') {
        appendMany(log, 5);
        await log.flush();
      }
      const kept = log.lastSeq;
      disk.fail({ code: 'ENOSPC', on, afterBytes: 333 });
      appendMany(log, 300);
      await log.flush();
      expect(log.lost).toBe(0);
      expect(seqs(await log.read(1, 1_000))).toHaveLength(kept);
      disk.fail(undefined);
      await log.flush();
      expect(seqs(await log.read(1, 1_000))).toEqual(Array.from({ length: kept + 300 }, (_, index) => index + 1));
      const lines = readFileSync(join(folder, files(folder)[0]!), 'utf8')
        .trimEnd()
        .split('\n');
      expect(lines.map((line) => (JSON.parse(line) as DecisionRecord).seq)).toHaveLength(kept + 300);
    },
  );

  test('mode count keeps taking records, and declares how many are gone once it can write again', async () => {
    const disk = createFaultyDisk();
    const log = openLog(temporaryFolder(), { open: disk.open, maxQueued: 10 });
    disk.fail({ code: 'ENOSPC', on: 'open' });
    appendMany(log, 25);
    await log.flush();
    expect(log.accepting).toBe(true);
    expect(log.lost).toBe(15);
    disk.fail(undefined);
    await log.flush();
    appendMany(log, 1, 26);
    await log.flush();
    const records = await log.read(1, 100);
    expect(seqs(records)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 26, 27]);
    expect(gapsIn(records)).toEqual([{ seq: 26, lost: 15, lostFrom: 11, reason: 'AUDIT_QUEUE_FULL' }]);
  });

  test('the gap is declared without waiting for another record', async () => {
    const disk = createFaultyDisk();
    const log = openLog(temporaryFolder(), { open: disk.open, maxQueued: 2 });
    disk.fail({ code: 'EIO', on: 'open' });
    appendMany(log, 3);
    await log.flush();
    disk.fail(undefined);
    await log.flush();
    await log.flush();
    expect(gapsIn(await log.read(1, 10))).toEqual([{ seq: 4, lost: 1, lostFrom: 3, reason: 'AUDIT_QUEUE_FULL' }]);
  });

  test('writing is tried again by itself', async () => {
    const own = createClock();
    const disk = createFaultyDisk();
    const log = openLog(temporaryFolder(), { open: disk.open, clock: own });
    disk.fail({ code: 'ENOSPC', on: 'open' });
    appendMany(log, 1);
    await log.flush();
    disk.fail(undefined);
    const heard = new Promise<void>((resolve) => log.onAppend(resolve));
    await new Promise(setImmediate);
    own.advance(10_000);
    await heard;
    expect(seqs(await log.read(1, 10))).toEqual([1]);
  });

  test('mode block refuses while it cannot write, says why, and accepts again afterwards', async () => {
    const disk = createFaultyDisk();
    const log = openLog(temporaryFolder(), { open: disk.open, mode: 'block' });
    expect(log.accepting).toBe(true);
    disk.fail({ code: 'ENOSPC', on: 'open' });
    appendMany(log, 1);
    await log.flush();
    expect(log.accepting).toBe(false);
    expect(log.refusal()).toMatchObject({
      code: 'AUDIT_BLOCKED',
      status: 503,
      message: expect.stringContaining('ENOSPC'),
    });
    disk.fail(undefined);
    await log.flush();
    expect(log.accepting).toBe(true);
    expect(log.lost).toBe(0);
  });

  test('mode block refuses when the queue is half full', () => {
    const log = openLog(temporaryFolder(), { mode: 'block', maxQueued: 10 });
    appendMany(log, 5);
    expect(log.accepting).toBe(false);
  });

  test('at its size limit mode count drops the oldest unreleased records and declares them', async () => {
    const folder = temporaryFolder();
    const log = openLog(folder, { maxBytes: 100_000 });
    for (let i = 0; i < 10; i++) {
      appendMany(log, 40);
      await log.flush();
    }
    await log.flush();
    const used = files(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    expect(used).toBeLessThanOrEqual(100_000);
    expect(log.lost).toBeGreaterThan(0);
    await log.close();
    const records = await readAll(openLog(folder, { maxBytes: 100_000 }));
    const gaps = gapsIn(records);
    expect(gaps.length).toBeGreaterThan(0);
    expect(gaps.every(({ reason }) => reason === 'AUDIT_RETENTION')).toBe(true);
    expect(records[0]!.seq).toBe(gaps.at(-1)!.lostFrom! + gaps.at(-1)!.lost!);
  });

  test('at its size limit mode block refuses until records are released', async () => {
    const log = openLog(temporaryFolder(), { maxBytes: 100_000, mode: 'block' });
    for (let i = 0; i < 10; i++) {
      appendMany(log, 40);
      await log.flush();
    }
    expect(log.accepting).toBe(false);
    expect(log.lost).toBe(0);
    log.release(200);
    await log.flush();
    await log.flush();
    expect(log.accepting).toBe(true);
    expect(log.lost).toBe(0);
  });
});

describe('L4: when somebody meddles with the files', () => {
  test.each(['removed', 'moved away', 'replaced', 'its folder removed'])(
    'the open file %s: it is written again and nothing is lost',
    async (deed) => {
      const folder = join(temporaryFolder(), 'records');
      const log = openLog(folder);
      appendMany(log, 5);
      await log.flush();
      const path = join(folder, files(folder)[0]!);
      if (deed === 'removed') rmSync(path);
      if (deed === 'moved away' || deed === 'replaced') renameSync(path, `${path}.1`);
      if (deed === 'replaced') writeFileSync(path, 'not ours\n');
      if (deed === 'its folder removed') rmSync(folder, { recursive: true });
      appendMany(log, 5, 6);
      await log.flush();
      await log.close();
      const again = openLog(folder);
      expect(seqs(await again.read(1, 100))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      expect(log.lost).toBe(0);
      if (deed === 'replaced') expect(readFileSync(`${path}.foreign`, 'utf8')).toBe('not ours\n');
    },
  );

  test('the open file cut short: the loss is declared, what is left stays readable', async () => {
    const folder = temporaryFolder();
    const log = openLog(folder);
    appendMany(log, 5);
    await log.flush();
    const path = join(folder, files(folder)[0]!);
    truncateSync(path, statSync(path).size - 10);
    appendMany(log, 1, 6);
    await log.flush();
    await log.flush();
    expect(log.lost).toBe(1);
    await log.close();
    const again = await openLog(folder).read(1, 100);
    expect(seqs(again)).toEqual([1, 2, 3, 4, 6, 7]);
    expect(gapsIn(again)).toEqual([{ seq: 7, lost: 1, lostFrom: 5, reason: 'AUDIT_FILE_DAMAGED' }]);
  });

  test('a closed file removed: the loss is found when it is to be read, and declared', async () => {
    const folder = temporaryFolder();
    const first = openLog(folder, { maxBytes: 130_000 });
    for (let i = 0; i < 3; i++) {
      appendMany(first, 40);
      await first.flush();
    }
    await first.close();
    const log = openLog(folder, { maxBytes: 130_000 });
    rmSync(join(folder, files(folder)[0]!));
    const [oldest] = await log.read(1, 1);
    expect(log.lost).toBe(oldest!.seq - 1);
    await log.flush();
    expect(gapsIn(await readAll(log))).toEqual([
      { seq: 121, lost: oldest!.seq - 1, lostFrom: 1, reason: 'AUDIT_FILE_DAMAGED' },
    ]);
  });
});

describe('what a record may hold', () => {
  test('L6: newlines, escapes and a megabyte of path stay on one line within the limits', async () => {
    const folder = temporaryFolder();
    const log = openLog(folder);
    log.append(recordOf({ path: `/a\n\u001b[31m"\\${'x'.repeat(1_000_000)}`, host: 'h\r\n'.repeat(1_000) }));
    log.append(
      recordOf({ path: '\u0001'.repeat(8_192), matched: Array.from({ length: 9_999 }, () => 'ü'.repeat(300)) }),
    );
    await log.flush();
    await log.close();
    const lines = readFileSync(join(folder, files(folder)[0]!), 'utf8').split('\n');
    expect(lines).toHaveLength(3);
    for (const line of lines.slice(0, 2)) {
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(65_535);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
      expect(line).not.toMatch(/[\u0000-\u001f]/);
      expect(check(decisionRecord, JSON.parse(line))).toEqual([]);
    }
  });

  test('what is read from memory is what is read from the disk, and the wire schema takes it', async () => {
    const folder = temporaryFolder();
    const first = openLog(folder);
    first.append(
      recordOf({
        path: 'x'.repeat(20_000),
        method: 'M'.repeat(99),
        status: 0,
        bytesIn: -1,
        bytesOut: Number.NaN,
        ms: -5,
      }),
    );
    await first.flush();
    const [fromMemory] = await first.read(1, 1);
    await first.close();
    const [fromDisk] = await openLog(folder).read(1, 1);
    expect(JSON.parse(JSON.stringify(fromMemory))).toEqual(fromDisk);
    expect(check(decisionRecord, fromMemory)).toEqual([]);
  });

  test('L1: a line that somebody made unreadable or invalid is left out, and those around it are read', async () => {
    const folder = temporaryFolder();
    const first = openLog(folder);
    appendMany(first, 5);
    await first.close();
    const path = join(folder, files(folder)[0]!);
    const lines = readFileSync(path, 'utf8').split('\n');
    lines[1] = lines[1]!.replace('"hop":"inbound"', '"hop":"no-such"');
    lines[3] = 'x'.repeat(700_000);
    writeFileSync(path, lines.join('\n'));
    expect(seqs(await readAll(openLog(folder)))).toEqual([1, 3, 5]);
  });

  test('L6: a query string never reaches the file', async () => {
    const folder = temporaryFolder();
    const log = openLog(folder);
    log.append(recordOf({ path: '/login?password=hunter2' }));
    await log.flush();
    expect(readFileSync(join(folder, files(folder)[0]!), 'utf8')).not.toContain('hunter2');
  });

  test('L8: the sequence rises although the clock steps back', async () => {
    const own = createClock();
    const log = openLog(temporaryFolder(), { clock: own });
    for (let i = 0; i < 3; i++) {
      log.append(recordOf({ time: new Date(own.now()).toISOString() }));
      own.step(-3_600_000);
    }
    await log.flush();
    expect(seqs(await log.read(1, 10))).toEqual([1, 2, 3]);
  });

  test('F5: a folder that cannot be made is a named error', () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'file'), '');
    expect(() => openLog(join(folder, 'file', 'records'))).toThrow(
      expect.objectContaining({ code: 'FILE_UNWRITABLE', message: expect.stringContaining('not a folder') }),
    );
  });

  test('a record after close is passed over, not thrown', async () => {
    const log = openLog(temporaryFolder());
    await log.close();
    expect(() => log.append(recordOf())).not.toThrow();
  });
});
