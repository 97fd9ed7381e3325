// Every way to change a log that lies on a disk is found by `verifyLog`, which names the first record that is not what was signed.
import { generateKeyPairSync } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  checkReceipt,
  createRecordLog,
  findRecord,
  formatVerifierKey,
  type LogVerdict,
  maskLog,
  receiptOf,
  verifyLog,
} from '#audit';
import { silentLog } from '#base/log';
import { signCheckpoint } from '../../audit/merkle/checkpoint.ts';
import { leafHash, perfectRoot } from '../../audit/merkle/hash.ts';
import { rawPublicKey } from '../../audit/merkle/note.ts';
import { createClock } from '../helpers/clock.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { logKeyOf } from '../helpers/log-folder.ts';
import { recordOf } from '../helpers/record.ts';
import { referenceVerify } from '../helpers/reference-log.ts';

let root: string;
let whole: string;
let other: string;
let older: string;

async function writeLog(folder: string, count: number): Promise<void> {
  const log = createRecordLog({
    folder,
    clock: createClock(),
    log: silentLog,
    writer: 'this-thread',
    origin: 'example.org/payments/i-1',
  });
  for (let i = 0; i < count; i++) log.append(recordOf({ id: `d-${log.lastSeq}`, path: `/charges/${log.lastSeq}` }));
  await log.close();
}

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'postern-test-'));
  [whole, other, older] = [join(root, 'whole'), join(root, 'other'), join(root, 'older')];
  await writeLog(whole, 300);
  cpSync(whole, older, { recursive: true });
  await writeLog(whole, 300);
  await writeLog(other, 600);
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A copy of the whole log, after `damage`. */
function damaged(damage: (folder: string) => void): { verdict: LogVerdict; folder: string } {
  const folder = join(temporaryFolder(), 'log');
  cpSync(whole, folder, { recursive: true });
  const key = logKeyOf(folder);
  damage(folder);
  return { folder, verdict: verifyLog({ folder, key }) };
}

const bundle = (folder: string, name = '001'): string => join(folder, 'tile', 'entries', name);
const split = (path: string): Buffer[] => {
  const bytes = readFileSync(path);
  const entries: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 2 + bytes.readUInt16BE(at))
    entries.push(bytes.subarray(at, at + 2 + bytes.readUInt16BE(at)));
  return entries;
};
const rewrite = (path: string, change: (entries: Buffer[]) => Buffer[]): void =>
  writeFileSync(path, Buffer.concat(change(split(path))));
const edited = (entry: Buffer): Buffer =>
  Buffer.from(entry.toString('latin1').replace('"decision":"allow"', '"decision":"deny!"'), 'latin1');

test('a log that nobody touched is whole, all of it', () => {
  const { verdict } = damaged(() => undefined);
  expect(verdict).toMatchObject({ size: 600, checked: 600, unsigned: 0, masked: 0, faults: [] });
});

describe('L1: a record', () => {
  test.each([
    ['edited', 10, (folder: string) => rewrite(bundle(folder), (all) => all.with(10, edited(all[10]!)))],
    ['deleted', 10, (folder: string) => rewrite(bundle(folder), (all) => all.toSpliced(10, 1))],
    [
      'swapped with the next',
      10,
      (folder: string) => rewrite(bundle(folder), (all) => all.with(10, all[11]!).with(11, all[10]!)),
    ],
    ['duplicated', 11, (folder: string) => rewrite(bundle(folder), (all) => all.toSpliced(11, 0, all[10]!))],
    [
      'spliced from another log',
      10,
      (folder: string) => rewrite(bundle(folder), (all) => all.with(10, split(bundle(other))[10]!)),
    ],
    ['removed with its whole bundle', 0, (folder: string) => rmSync(bundle(folder))],
  ])('%s is named', (_, at, damage) => {
    const { verdict } = damaged(damage);
    expect(verdict.faults[0]).toMatchObject({ index: 256 + at, what: expect.stringContaining('record') });
  });

  test('edited in the bundle that is not full is named, in either of its copies', () => {
    const copies = (folder: string) => [
      join(folder, 'growing', '2.entries'),
      join(folder, 'tile', 'entries', '002.p', '88'),
    ];
    for (const copy of [0, 1]) {
      const { verdict } = damaged((folder) => rewrite(copies(folder)[copy]!, (all) => all.with(5, edited(all[5]!))));
      expect(verdict.faults[0]).toMatchObject({ index: 517, seq: 518 });
    }
  });

  test('edited together with its hash is found in the level above', () => {
    const { verdict } = damaged((folder) => {
      rewrite(bundle(folder), (all) => all.with(10, edited(all[10]!)));
      writeFileSync(
        join(folder, 'tile', '0', '001'),
        Buffer.concat(split(bundle(folder)).map((entry) => leafHash(entry.subarray(2)))),
      );
    });
    expect(verdict.faults[0]).toMatchObject({ index: 256, what: expect.stringContaining('hashes were changed') });
  });

  test('edited together with every hash above it is not what was signed', () => {
    const { verdict } = damaged((folder) => {
      rewrite(bundle(folder), (all) => all.with(10, edited(all[10]!)));
      const leaves = split(bundle(folder)).map((entry) => leafHash(entry.subarray(2)));
      writeFileSync(join(folder, 'tile', '0', '001'), Buffer.concat(leaves));
      const above = join(folder, 'tile', '1', '000.p', '2');
      const hashes = readFileSync(above);
      Buffer.from(perfectRoot(leaves, 0, 256)).copy(hashes, 32);
      writeFileSync(above, hashes);
    });
    expect(verdict.faults[0]).toMatchObject({ what: expect.stringContaining('root that was signed') });
  });

  test('whose path was changed beside the entry is named, and erasing the path is no change', () => {
    const clear = (folder: string) => join(folder, 'clear', '001');
    const { verdict } = damaged((folder) =>
      writeFileSync(clear(folder), readFileSync(clear(folder), 'utf8').replace('"/charges/266"', '"/charges/999"')),
    );
    expect(verdict.faults).toMatchObject([{ index: 266, seq: 267, what: expect.stringContaining('path') }]);
    const masked = damaged((folder) => maskLog({ folder, fields: ['path', 'remote'], id: 'd-266', isStopped: false }));
    expect(masked.verdict).toMatchObject({ faults: [], masked: 2 });
    expect(readFileSync(clear(masked.folder), 'utf8')).not.toContain('/charges/266');
  });
});

describe('L2: a tail', () => {
  const witnessed = (): string => readFileSync(join(whole, 'checkpoint'), 'utf8');

  test('cut from the files is found in the log itself, which was signed with it', () => {
    const { verdict } = damaged((folder) => {
      for (const name of ['entries', 'clear']) rmSync(join(folder, 'growing', `2.${name}`));
      rmSync(join(folder, 'tile', 'entries', '002.p'), { recursive: true });
    });
    expect(verdict.faults[0]).toMatchObject({ index: 512, what: 'the record is gone' });
  });

  test('cut by putting an older copy of everything in place is found by a checkpoint kept elsewhere', () => {
    expect(verifyLog({ folder: older, key: logKeyOf(older) }).faults).toEqual([]);
    const { faults } = verifyLog({ folder: older, key: logKeyOf(older), against: witnessed() });
    expect(faults).toMatchObject([{ index: 300, what: expect.stringContaining('300 records at the end are gone') }]);
  });

  test('kept whole contains every earlier checkpoint', () => {
    const against = readFileSync(join(older, 'checkpoint'), 'utf8');
    expect(verifyLog({ folder: whole, key: logKeyOf(whole), against }).faults).toEqual([]);
  });

  test('cut while the proxy was stopped is declared by the proxy, which begins a new log and keeps the old one', async () => {
    const folder = join(temporaryFolder(), 'log');
    cpSync(whole, folder, { recursive: true });
    for (const name of ['entries', 'clear']) rmSync(join(folder, 'growing', `2.${name}`));
    await writeLog(folder, 3);
    const verdict = verifyLog({ folder, key: logKeyOf(folder) });
    expect(verdict).toMatchObject({ origin: 'example.org/payments/i-1/2', size: 4 });
    expect(verdict.faults).toMatchObject([{ what: expect.stringContaining('set aside') }]);
    expect(readdirSync(folder)).toContain('set-aside-1');
    await writeLog(folder, 3);
    expect(verifyLog({ folder, key: logKeyOf(folder) })).toMatchObject({
      origin: 'example.org/payments/i-1/2',
      size: 7,
    });
    expect(findRecord(folder, 'd-600')).toBeDefined();
  });
});

describe('L3: a key', () => {
  test('of the checkpoint replaced: the signature does not hold', () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const { verdict } = damaged((folder) => {
      const [origin, size, root] = readFileSync(join(folder, 'checkpoint'), 'utf8').split('\n') as [
        string,
        string,
        string,
      ];
      writeFileSync(
        join(folder, 'checkpoint'),
        signCheckpoint({ origin, size: Number(size), root: Buffer.from(root, 'base64') }, privateKey),
      );
    });
    expect(verdict.faults[0]!.what).toContain('not signed');
  });

  test('and the whole log replaced by one of another key does not pass for the one that was asked for', () => {
    const key = logKeyOf(whole);
    const impostor = join(temporaryFolder(), 'log');
    cpSync(other, impostor, { recursive: true });
    expect(verifyLog({ folder: impostor, key }).faults[0]!.what).toContain('not signed');
    expect(Buffer.from(key.publicKey)).not.toEqual(Buffer.from(rawPublicKey(generateKeyPairSync('ed25519').publicKey)));
  });

  test('removed, or a checkpoint removed: said', () => {
    const { verdict } = damaged((folder) => rmSync(join(folder, 'checkpoint')));
    expect(verdict.faults[0]!.what).toContain('checkpoint is gone');
  });
});

describe('receipts', () => {
  test('of every kind of record verify here and with the reference implementation', async () => {
    const key = logKeyOf(whole);
    for (const id of ['d-0', 'd-255', 'd-256', 'd-511', 'd-512', 'd-599']) {
      const found = findRecord(whole, id)!;
      const receipt = receiptOf(found)!;
      expect(checkReceipt(receipt, { key })).toMatchObject({
        good: true,
        record: { id, path: `/charges/${id.slice(2)}` },
        hidden: [],
      });
      const entry = Buffer.from(found.entry);
      expect(await referenceVerify({ receipt, entry, vkey: formatVerifierKey(key) })).toMatchObject({ size: 600 });
    }
  });

  test('show what is not erased, and are worth nothing with a value changed', () => {
    const key = logKeyOf(whole);
    const folder = join(temporaryFolder(), 'log');
    cpSync(whole, folder, { recursive: true });
    maskLog({ folder, fields: ['path'], id: 'd-7', isStopped: false });
    const found = findRecord(folder, 'd-7')!;
    expect(checkReceipt(receiptOf(found)!, { key })).toMatchObject({ good: true, hidden: ['path'] });
    const [salt] = found.values.host!;
    const forged = receiptOf({ ...found, values: { ...found.values, host: [salt, 'elsewhere'] } })!;
    expect(checkReceipt(forged, { key })).toEqual({ good: false, why: 'its host is not the one that was logged' });
    const edited = receiptOf({ ...found, entry: found.entry.replace('"allow"', '"deny!"') })!;
    expect(checkReceipt(edited, { key })).toMatchObject({ good: false });
    for (const text of [
      '',
      'c2sp.org/tlog-proof@v1\nindex 0\n\n',
      receiptOf(found)!.replace(/^extra .*$/m, 'extra AAAA'),
    ])
      expect(checkReceipt(text, { key })).toMatchObject({ good: false });
  });
});
