// What a process that is gone has left half done, one case each; `power-cut.test.ts` looks for such cases by chance.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createRecordLog, type RecordLog, type RecordLogOptions } from '#audit';
import { createLog } from '#base/log';
import type { DecisionRecord } from '#wire';
import { verifyLog } from '../../audit/verify-log.ts';
import { createClock } from '../helpers/clock.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { logKeyOf } from '../helpers/log-folder.ts';
import { recordChanges, writeLeft } from '../helpers/power-cut.ts';
import { recordOf } from '../helpers/record.ts';

const said: string[] = [];
const log = createLog({ level: 'warn', now: () => 0, write: (line) => said.push(line) });

/** A log in this thread; that nobody closes it is a process that was killed. */
function openLog(folder: string, options: Partial<RecordLogOptions> = {}): RecordLog {
  said.length = 0;
  return createRecordLog({
    folder,
    clock: createClock(),
    log,
    writer: 'this-thread',
    origin: 'example.org/l',
    ...options,
  });
}

async function append(to: RecordLog, count: number): Promise<void> {
  for (let n = 0; n < count; n++) to.append(recordOf({ id: `d-${to.lastSeq + 1}` }));
  await to.flush();
}

const verify = (folder: string) => verifyLog({ folder, key: logKeyOf(folder) });
const gapsIn = (records: readonly DecisionRecord[]) =>
  records.filter(({ kind }) => kind === 'gap').map(({ lost, lostFrom, reason }) => ({ lost, lostFrom, reason }));
/** The power goes when everything was written and nothing more than was synced is kept. */
const nothingMore = (): number => 0;

test('bundles that were filled and dropped since the last checkpoint: the tree goes on, and nobody is accused', async () => {
  const folder = temporaryFolder();
  const killed = openLog(folder, { maxBytes: 500_000 });
  await append(killed, 256);
  await killed.sign();
  for (let n = 0; n < 6; n++) {
    killed.release(killed.lastSeq);
    await append(killed, 256);
  }
  const next = openLog(folder, { maxBytes: 500_000 });
  await append(next, 1);
  await next.close();
  expect(said).toEqual([]);
  expect(verify(folder)).toMatchObject({ origin: 'example.org/l', size: 7 * 256 + 1, faults: [] });
});

test('the last bundle stays when nothing is behind it, however old it is: it says where the log goes on', async () => {
  const folder = temporaryFolder();
  const clock = createClock();
  const first = openLog(folder, { clock, maxAgeMs: 1 });
  await append(first, 512);
  first.release(512);
  clock.step(Date.parse('2100-01-01') - clock.now());
  clock.advance(100_000);
  await new Promise(setImmediate);
  await first.close();
  const next = openLog(folder);
  await append(next, 1);
  await next.close();
  expect([said, next.lastSeq]).toEqual([[], 513]);
  expect(verify(folder)).toMatchObject({ size: 513, faults: [] });
});

describe('records that were dropped unreceived', () => {
  const maxBytes = 400_000;

  test('by a process that was killed before it could declare them are declared by the next one, and as dropped', async () => {
    const folder = temporaryFolder();
    const killed = openLog(folder, { maxBytes });
    while (killed.lost === 0) await append(killed, 256);
    expect(gapsIn(await killed.read(1, 10_000))).toEqual([]);
    const next = openLog(folder);
    await append(next, 1);
    await next.flush();
    const records = await next.read(1, 10_000);
    const first = records[0]!.seq;
    expect(gapsIn(records)).toEqual([{ lost: first - 1, lostFrom: 1, reason: 'AUDIT_RETENTION' }]);
    await next.close();
    // Once is enough.
    const last = openLog(folder);
    await append(last, 1);
    expect(gapsIn(await last.read(1, 10_000))).toHaveLength(1);
  });

  test('are declared again when the gap record that did so is dropped too', async () => {
    const folder = temporaryFolder();
    const killed = openLog(folder, { maxBytes });
    for (let n = 0; n < 12; n++) await append(killed, 200);
    await killed.flush();
    const records = await killed.read(1, 10_000);
    const present = new Set(records.map(({ seq }) => seq));
    for (const { lostFrom, lost } of gapsIn(records)) for (let n = 0; n < lost!; n++) present.add(lostFrom! + n);
    expect(killed.lost).toBeGreaterThan(1_000);
    expect(Array.from({ length: killed.lastSeq }, (_, at) => at + 1).filter((seq) => !present.has(seq))).toEqual([]);
  });
});

test('a record that is missing between a dropped bundle and the first that is kept, and declared there, was removed by nobody', async () => {
  const folder = temporaryFolder();
  const first = openLog(folder, { maxBytes: 400_000 });
  await append(first, 256);
  first.lose(1, 'AUDIT_THREAD_ENDED');
  await first.flush();
  first.release(256);
  for (let n = 0; n < 2; n++) await append(first, 256);
  await first.close();
  expect(existsSync(join(folder, 'tile', 'entries', '000'))).toBe(false);
  const next = openLog(folder);
  expect((await next.read(1, 10))[0]!.seq).toBe(258);
  expect([said, next.lost]).toEqual([[], 0]);
});

test('what was received is noted before its bundle goes, and no power cut takes that back', async () => {
  const folder = temporaryFolder();
  writeLeft(folder, new Map());
  const recording = recordChanges(folder);
  onTestFinished(recording.stop);
  const first = openLog(folder, { maxBytes: 400_000 });
  for (let n = 0; n < 5; n++) {
    await append(first, 256);
    first.release(first.lastSeq);
  }
  recording.stop();
  for (let at = 0; at <= recording.length; at += 3) {
    const copy = temporaryFolder();
    writeLeft(copy, recording.leftAt(at, nothingMore));
    openLog(copy);
    expect([at, said]).toEqual([at, []]);
  }
});

describe('a process that was killed before it could sync', () => {
  test('entries that the next one found are on the disk before it counts on them', async () => {
    const folder = temporaryFolder();
    const written = openLog(folder);
    await append(written, 300);
    await written.close();
    const whole = readFileSync(join(folder, 'growing', '1.entries'));
    const recording = recordChanges(folder);
    onTestFinished(recording.stop);
    // Killed between its write and its sync.
    writeFileSync(join(folder, 'growing', '1.entries'), whole);
    expect(recording.leftAt(recording.length, () => 0.6).get('growing/1.entries')).not.toEqual(whole);
    openLog(folder);
    recording.stop();
    for (const dice of [0, 0.3, 0.6, 0.9])
      expect(recording.leftAt(recording.length, () => dice).get('growing/1.entries')).toEqual(whole);
  });

  test('and so are hashes', async () => {
    const folder = temporaryFolder();
    const recording = recordChanges(folder);
    onTestFinished(recording.stop);
    await append(openLog(folder), 300);
    const next = openLog(folder);
    await append(next, 300);
    await next.sign();
    recording.stop();
    const copy = temporaryFolder();
    writeLeft(
      copy,
      recording.leftAt(recording.length, () => 0.31),
    );
    const last = openLog(copy);
    await append(last, 1);
    await last.close();
    expect(verify(copy).faults).toEqual([]);
  });
});

test('a disk that takes nothing keeps no log from being opened, and what is on it from being read', async () => {
  const folder = temporaryFolder();
  const first = openLog(folder);
  await append(first, 10);
  await first.close();
  const recording = recordChanges(folder);
  onTestFinished(recording.stop);
  recording.fails = () => true;
  const next = openLog(folder);
  await append(next, 1);
  expect(await next.read(1, 100)).toHaveLength(10);
  recording.fails = () => false;
  await next.flush();
  expect(await next.read(1, 100)).toHaveLength(11);
});

test('what was left of a dropped bundle, or half written, is removed at the next start', async () => {
  const folder = temporaryFolder();
  const first = openLog(folder);
  await append(first, 600);
  first.release(600);
  await first.close();
  // Killed between the moves of a bundle's files.
  rmSync(join(folder, 'tile', 'entries', '000'));
  writeFileSync(join(folder, 'growing', '2.clear.tmp'), '{"path":["salt","/secret"]}');
  const next = openLog(folder);
  await append(next, 1);
  await next.close();
  expect(readdirSync(join(folder, 'clear'))).toEqual(['001']);
  expect(existsSync(join(folder, 'tile', '0', '000'))).toBe(false);
  expect(readdirSync(join(folder, 'growing')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  expect(verify(folder).faults).toEqual([]);
});

describe('a bundle that is full and cannot be moved to its place', () => {
  const fill = async (how: (recording: ReturnType<typeof recordChanges>) => void) => {
    const folder = temporaryFolder();
    const recording = recordChanges(folder);
    onTestFinished(recording.stop);
    const filled = openLog(folder);
    await append(filled, 200);
    how(recording);
    await append(filled, 56);
    recording.fails = () => false;
    return { folder, recording, filled };
  };

  test('is not published as the beginning of the next one', async () => {
    const { folder, filled } = await fill((recording) => {
      recording.fails = (call) => call === 'mkdirSync';
    });
    await filled.sign();
    expect(existsSync(join(folder, 'tile', 'entries', '001'))).toBe(false);
    // Killed here.
    const next = openLog(folder);
    await append(next, 1);
    await next.close();
    expect(verify(folder)).toMatchObject({ size: 257, faults: [] });
  });

  test('or only one half of it, is not said to have been changed by somebody else', async () => {
    const { folder, filled } = await fill((recording) => {
      let moves = 0;
      recording.fails = (call) => call === 'renameSync' && ++moves > 3;
    });
    said.length = 0;
    await append(filled, 1);
    await filled.close();
    expect(said.filter((line) => line.includes('somebody'))).toEqual([]);
    expect(verify(folder)).toMatchObject({ size: 257, faults: [] });
  });
});

test('bundles that wait for one that cannot be moved to its place are written again without keeping their files open', async () => {
  const folder = temporaryFolder();
  const recording = recordChanges(folder);
  onTestFinished(recording.stop);
  const stuck = openLog(folder);
  recording.fails = (call) => call === 'mkdirSync';
  const openFiles = (): number => readdirSync('/proc/self/fd').length;
  await append(stuck, 600);
  const before = openFiles();
  for (let n = 0; n < 20; n++) await stuck.flush();
  expect(openFiles()).toBeLessThan(before + 5);
});

test('a cosigned checkpoint that a power cut emptied is none, and one that is replaced is there all the time', async () => {
  const folder = temporaryFolder();
  const first = openLog(folder);
  await append(first, 10);
  await first.close();
  const note = readFileSync(join(folder, 'checkpoint'), 'utf8');
  const recording = recordChanges(folder);
  onTestFinished(recording.stop);
  first.prover.keepCosignature(note, '\u2014 witness AAAAAAAA\n');
  first.prover.keepCosignature(note, '\u2014 witness BBBBBBBB\n');
  const kept = first.prover.witnessed();
  recording.stop();
  expect(kept?.note).toContain('BBBB');
  const changes = Array.from({ length: recording.length + 1 }, (_, at) =>
    recording.leftAt(at, () => 0.9).get('witnessed'),
  );
  // All that was done is kept: it is the file of before, or of after.
  expect(changes.filter((content) => content?.length === 0)).toEqual([]);
  for (const left of [0, note.length]) {
    writeFileSync(join(folder, 'witnessed'), Buffer.alloc(left));
    expect(verify(folder).faults).toEqual([]);
  }
});
