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
import { basename, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { canonicalJson, createRecordLog, type RecordLog, type RecordLogOptions } from '#audit';
import { silentLog } from '#base/log';
import { check } from '#base/schema';
import { type DecisionRecord, decisionRecord } from '#wire';
import { verifyLog } from '../../audit/verify-log.ts';
import { createClock } from '../helpers/clock.ts';
import { createFaultyDisk } from '../helpers/faulty-disk.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { entriesIn, logKeyOf } from '../helpers/log-folder.ts';
import { recordOf } from '../helpers/record.ts';

const clock = createClock();

function openLog(folder: string, options: Partial<RecordLogOptions> = {}): RecordLog {
  const log = createRecordLog({ folder, clock, log: silentLog, writer: 'this-thread', ...options });
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
const growing = (folder: string, half: 'entries' | 'clear', bundle = 0): string =>
  join(folder, 'growing', `${bundle}.${half}`);
const everything = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).map((found) => ({
    path: join(found.parentPath, found.name),
    isFolder: found.isDirectory(),
  }));
const bytesIn = (folder: string): number =>
  everything(folder).reduce((sum, { path, isFolder }) => sum + (isFolder ? 0 : statSync(path).size), 0);
const verify = (folder: string) => verifyLog({ folder, key: logKeyOf(folder) });
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
    const { salts, ...kept } = records[41]!;
    expect(kept).toEqual({ ...recordOf({ id: 'd-42' }), v: 1, seq: 42, index: 41 });
    expect(Object.keys(salts!)).toEqual(['host', 'path', 'remote']);
  });

  test('append returns before anything is written, and listeners hear of it once it is durable', async () => {
    const folder = temporaryFolder();
    const log = openLog(folder);
    const heard = new Promise<void>((resolve) => log.onAppend(resolve));
    log.append(recordOf());
    expect(entriesIn(folder)).toEqual([]);
    expect(await log.read(1, 10)).toEqual([]);
    clock.advance(1_000);
    await heard;
    expect(seqs(await log.read(1, 10))).toEqual([1]);
  });

  test('files are 0600 in 0700 folders; entries are canonical JSON that only commits to what may have to be erased', async () => {
    const folder = join(temporaryFolder(), 'records');
    const log = openLog(folder);
    appendMany(log, 300);
    await log.close();
    for (const { path, isFolder } of everything(folder)) {
      expect([path, statSync(path).mode & 0o777]).toEqual([path, isFolder ? 0o700 : 0o600]);
    }
    const entries = entriesIn(folder);
    expect(entries).toHaveLength(300);
    for (const entry of entries) {
      expect(entry).toBe(canonicalJson(JSON.parse(entry)));
      expect(entry).not.toContain('/charges');
      expect(Object.keys(JSON.parse(entry) as object)).not.toContain('remote');
    }
  });

  test('at the size limit released bundles go, and nothing is lost', async () => {
    const folder = temporaryFolder();
    const log = openLog(folder, { maxBytes: 500_000 });
    for (let i = 0; i < 6; i++) {
      appendMany(log, 256);
      await log.flush();
      log.release(log.lastSeq);
    }
    expect(log.lost).toBe(0);
    expect(bytesIn(folder)).toBeLessThan(700_000);
    await log.close();
    expect(verify(folder)).toMatchObject({ size: 1_536, faults: [] });
    expect(verify(folder).checked).toBeLessThan(1_536);
  });

  test('past their age released bundles go; the root stays valid', async () => {
    const folder = temporaryFolder();
    const own = createClock();
    const log = openLog(folder, { clock: own, maxAgeMs: 1 });
    appendMany(log, 600);
    await log.flush();
    const before = log.prover.checkpoint();
    log.release(300);
    own.step(Date.parse('2100-01-01') - own.now());
    const signed = new Promise<void>((resolve) => log.onCheckpoint(resolve));
    own.advance(100_000);
    await signed;
    await log.flush();
    await new Promise(setImmediate);
    expect(before).toBeUndefined();
    expect(verify(folder)).toMatchObject({ size: 600, checked: 344, faults: [] });
    appendMany(log, 600);
    await log.close();
    expect(verify(folder)).toMatchObject({ size: 1_200, faults: [] });
  });

  test('reading goes from bundle to bundle, with any limit, and leaves out what was released', async () => {
    const folder = temporaryFolder();
    const first = openLog(folder);
    appendMany(first, 700);
    await first.flush();
    first.release(100);
    await first.close();
    const read = seqs(await readAll(openLog(folder), 7));
    expect(read).toEqual(Array.from({ length: 600 }, (_, index) => index + 101));
  });
});

describe('across restarts', () => {
  test('what a kill left half-written is removed', async () => {
    const folder = temporaryFolder();
    const halfWritten = join(folder, `state.json.${process.pid}.0123456789ab.tmp`);
    writeFileSync(halfWritten, '{"version":');
    const log = openLog(folder);
    appendMany(log, 1);
    await log.flush();
    expect(readdirSync(folder)).not.toContain(basename(halfWritten));
  });

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

  test('the sequence continues when every record was released and pruned', async () => {
    const folder = temporaryFolder();
    const first = openLog(folder, { maxBytes: 1_000 });
    appendMany(first, 256);
    await first.flush();
    first.release(256);
    appendMany(first, 1);
    await first.flush();
    appendMany(first, 1);
    await first.close();
    expect(entriesIn(folder)).toHaveLength(2);
    const log = openLog(folder);
    appendMany(log, 1);
    expect(log.lastSeq).toBe(259);
  });

  test.each([
    ['half a length', Buffer.from([1])],
    ['half an entry', Buffer.concat([Buffer.from([0, 200]), Buffer.from('{"half":')])],
    ['an entry without a sequence', Buffer.concat([Buffer.from([0, 2]), Buffer.from('{}')])],
    ['zeros', Buffer.alloc(4_096)],
    ['rubbish', Buffer.alloc(200_000, 0x41)],
  ])('L5: a torn tail of %s is cut off and declared, earlier records are intact', async (_, tail) => {
    const folder = temporaryFolder();
    const first = openLog(folder);
    appendMany(first, 3);
    await first.close();
    const before = entriesIn(folder);
    appendFileSync(growing(folder, 'entries'), tail);
    const log = openLog(folder);
    await log.flush();
    expect(entriesIn(folder).slice(0, 3)).toEqual(before);
    const records = await log.read(1, 10);
    expect(seqs(records)).toEqual([1, 2, 3, 5]);
    expect(gapsIn(records)).toEqual([{ seq: 5, lost: 1, lostFrom: 4, reason: 'AUDIT_TAIL_TORN' }]);
    expect(log.lost).toBe(1);
    await log.close();
    expect(verify(folder).faults).toEqual([]);
  });

  test('L5: an entry whose clear values did not reach the disk is torn too', async () => {
    const folder = temporaryFolder();
    const first = openLog(folder);
    appendMany(first, 3);
    await first.flush();
    truncateSync(growing(folder, 'clear'), statSync(growing(folder, 'clear')).size - 5);
    const log = openLog(folder);
    await log.flush();
    expect(seqs(await log.read(1, 10))).toEqual([1, 2, 4]);
  });

  test('L5: nothing that a reader has seen is missing after a kill at any moment', async () => {
    const folder = temporaryFolder();
    const disk = createFaultyDisk();
    const first = createRecordLog({ folder, clock, log: silentLog, disk });
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

describe('L5: hashes that had their name and not their content when the power went', () => {
  const tile = (folder: string, bundle: number): string => join(folder, 'tile', '0', `00${bundle}`);
  const cut = (folder: string): void => {
    writeFileSync(tile(folder, 0), '');
    writeFileSync(tile(folder, 1), Buffer.alloc(8_192, 7));
  };

  test('are made of the entries again, and the log goes on as it was', async () => {
    const folder = temporaryFolder();
    const first = openLog(folder);
    appendMany(first, 600);
    await first.close();
    cut(folder);
    expect(verify(folder).faults).not.toEqual([]);
    const second = openLog(folder);
    appendMany(second, 1, 601);
    await second.close();
    expect(verify(folder)).toMatchObject({ size: 601, faults: [] });
    expect(readdirSync(folder)).not.toContain('set-aside-1');
  });

  test('are synced later, and from then on a start does not look at them again', async () => {
    const folder = temporaryFolder();
    const own = createClock();
    const first = openLog(folder, { clock: own });
    appendMany(first, 600);
    await first.flush();
    own.step(60_000);
    appendMany(first, 1, 601);
    await first.close();
    cut(folder);
    const second = openLog(folder, { clock: own });
    appendMany(second, 1, 602);
    await second.close();
    expect(verify(folder).faults).not.toEqual([]);
  });
});

describe('L4: when the disk does not follow', () => {
  test.each(['write', 'datasync', 'open'] as const)(
    'a failing %s loses nothing that the queue can hold, and leaves no half line or double',
    async (on) => {
      const folder = temporaryFolder();
      const disk = createFaultyDisk();
      const log = openLog(folder, { disk });
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
      expect(entriesIn(folder)).toHaveLength(kept + 300);
      await log.close();
      expect(verify(folder)).toMatchObject({ size: kept + 300, faults: [] });
    },
  );

  test('what of many bundles the disk has taken is not written again, whatever becomes of the next', async () => {
    const folder = temporaryFolder();
    const disk = createFaultyDisk();
    const log = openLog(folder, { disk });
    let opened = 0;
    const { open } = disk;
    disk.open = (path, ...rest) => {
      // Two files for each bundle: the third bundle has one of them.
      if (++opened === 6) throw Object.assign(new Error('EIO: injected'), { code: 'EIO' });
      return open(path, ...rest);
    };
    appendMany(log, 900);
    await log.flush();
    expect(entriesIn(folder)).toHaveLength(512);
    await log.flush();
    expect(seqs(await log.read(1, 1_000))).toHaveLength(900);
    expect(opened).toBe(10);
    expect(log.lost).toBe(0);
    await log.close();
    expect(verify(folder)).toMatchObject({ size: 900, faults: [] });
  });

  test('mode count keeps taking records, and declares how many are gone once it can write again', async () => {
    const disk = createFaultyDisk();
    const log = openLog(temporaryFolder(), { disk, maxQueued: 10 });
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
    const log = openLog(temporaryFolder(), { disk, maxQueued: 2 });
    disk.fail({ code: 'EIO', on: 'open' });
    appendMany(log, 3);
    await log.flush();
    disk.fail(undefined);
    await log.flush();
    await log.flush();
    expect(gapsIn(await log.read(1, 10))).toEqual([{ seq: 4, lost: 1, lostFrom: 3, reason: 'AUDIT_QUEUE_FULL' }]);
  });

  test('records that were lost before they were appended have sequences too, and a gap that says so', async () => {
    const folder = temporaryFolder();
    const log = openLog(folder);
    appendMany(log, 2);
    log.lose(0, 'AUDIT_THREAD_ENDED');
    log.lose(3, 'AUDIT_THREAD_ENDED');
    await log.flush();
    appendMany(log, 1, 6);
    await log.close();
    const records = await readAll(openLog(folder));
    expect(seqs(records)).toEqual([1, 2, 6, 7]);
    expect(gapsIn(records)).toEqual([{ seq: 6, lost: 3, lostFrom: 3, reason: 'AUDIT_THREAD_ENDED' }]);
    expect(log.lost).toBe(3);
    expect(verify(folder)).toMatchObject({ size: 4, faults: [] });
  });

  test('writing is tried again by itself', async () => {
    const own = createClock();
    const disk = createFaultyDisk();
    const log = openLog(temporaryFolder(), { disk, clock: own });
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
    const log = openLog(temporaryFolder(), { disk, mode: 'block' });
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
    const log = openLog(folder, { maxBytes: 500_000 });
    for (let i = 0; i < 6; i++) {
      appendMany(log, 256);
      await log.flush();
    }
    await log.flush();
    expect(bytesIn(folder)).toBeLessThan(700_000);
    expect(log.lost).toBeGreaterThan(0);
    await log.close();
    const records = await readAll(openLog(folder, { maxBytes: 500_000 }));
    const gaps = gapsIn(records);
    expect(gaps.length).toBeGreaterThan(0);
    expect(gaps.every(({ reason }) => reason === 'AUDIT_RETENTION')).toBe(true);
    expect(records[0]!.seq).toBe(gaps.at(-1)!.lostFrom! + gaps.at(-1)!.lost!);
    expect(verify(folder).faults).toEqual([]);
  });

  test('at its size limit mode block refuses until records are released', async () => {
    const log = openLog(temporaryFolder(), { maxBytes: 500_000, mode: 'block' });
    for (let i = 0; i < 6; i++) {
      appendMany(log, 256);
      await log.flush();
    }
    expect(log.accepting).toBe(false);
    expect(log.lost).toBe(0);
    log.release(1_000);
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
      const path = growing(folder, 'entries');
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

  test('the open file cut short: it is written again from memory', async () => {
    const folder = temporaryFolder();
    const log = openLog(folder);
    appendMany(log, 5);
    await log.flush();
    truncateSync(growing(folder, 'entries'), statSync(growing(folder, 'entries')).size - 10);
    appendMany(log, 1, 6);
    await log.flush();
    await log.close();
    expect(log.lost).toBe(0);
    expect(seqs(await openLog(folder).read(1, 100))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(verify(folder).faults).toEqual([]);
  });

  test('a full bundle removed: the loss is found when it is to be read, and declared', async () => {
    const folder = temporaryFolder();
    const first = openLog(folder);
    appendMany(first, 600);
    await first.close();
    rmSync(join(folder, 'tile', 'entries', '000'));
    const log = openLog(folder);
    expect(log.lost).toBe(256);
    expect((await log.read(1, 1))[0]!.seq).toBe(257);
    rmSync(join(folder, 'tile', 'entries', '001'));
    expect((await log.read(257, 1))[0]!.seq).toBe(513);
    log.append(recordOf());
    await log.flush();
    await log.flush();
    expect(gapsIn(await log.read(600, 10))).toEqual([
      { seq: 601, lost: 512, lostFrom: 1, reason: 'AUDIT_FILE_DAMAGED' },
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
    const entries = entriesIn(folder);
    expect(entries).toHaveLength(2);
    for (const line of [...entries, ...readFileSync(growing(folder, 'clear'), 'utf8').trimEnd().split('\n')]) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
      expect(line).not.toMatch(/[\u0000-\u001f]/);
    }
    for (const entry of entries) expect(Buffer.byteLength(entry)).toBeLessThanOrEqual(65_535);
    for (const record of await openLog(folder).read(1, 10)) expect(check(decisionRecord, record)).toEqual([]);
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

  test('L1: an entry that somebody made unreadable is left out, and those around it are read', async () => {
    const folder = temporaryFolder();
    const first = openLog(folder);
    appendMany(first, 257);
    await first.close();
    const path = join(folder, 'tile', 'entries', '000');
    const bytes = readFileSync(path);
    bytes.fill(0x41, bytes.indexOf('"id":"d-2"'), bytes.indexOf('"id":"d-2"') + 4);
    writeFileSync(path, bytes);
    expect(seqs(await openLog(folder).read(1, 3))).toEqual([1, 3, 4]);
  });

  test('L6: a query string never reaches the disk', async () => {
    const folder = temporaryFolder();
    const log = openLog(folder);
    log.append(recordOf({ path: '/login?password=hunter2' }));
    await log.close();
    for (const { path, isFolder } of everything(folder))
      if (!isFolder) expect(readFileSync(path, 'utf8')).not.toContain('hunter2');
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
