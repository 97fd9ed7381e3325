// Files that are used again: never more than a few, never at the cost of a file that is needed, and what was in them does not stay.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createRecordLog, maskLog } from '#audit';
import { silentLog } from '#base/log';
import { openSpareFiles } from '../../audit/spare-files.ts';
import { verifyLog } from '../../audit/verify-log.ts';
import { createClock } from '../helpers/clock.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { logKeyOf } from '../helpers/log-folder.ts';
import { recordOf } from '../helpers/record.ts';

test('a file that was taken is lent as it is, and erased when nothing needed it', () => {
  const folder = temporaryFolder();
  const [one, other] = [join(folder, 'one'), join(folder, 'other')];
  const spares = openSpareFiles(join(folder, 'spare'));
  for (const path of [one, other]) writeFileSync(path, 'dropped', { mode: 0o600 });
  const { ino } = statSync(other);
  spares.take(one);
  spares.take(other);
  expect(readdirSync(folder)).toEqual(['spare']);
  // A power cut could still bring them back to their places.
  expect(spares.use()).toBeUndefined();
  spares.settle();
  const used = spares.use()!;
  expect([statSync(used).ino, readFileSync(used, 'utf8')]).toEqual([ino, 'dropped']);
  spares.erase();
  expect(readFileSync(spares.use()!, 'utf8')).toBe('');
  expect(spares.use()).toBeUndefined();
});

test('what is more than a few is removed, and so is whatever an earlier process left', () => {
  const folder = temporaryFolder();
  const spares = openSpareFiles(join(folder, 'spare'));
  for (let n = 0; n < 40; n++) {
    writeFileSync(join(folder, String(n)), 'x');
    spares.take(join(folder, String(n)));
  }
  expect(readdirSync(folder)).toEqual(['spare']);
  expect(readdirSync(join(folder, 'spare')).length).toBeLessThan(20);
  openSpareFiles(join(folder, 'spare'));
  expect(readdirSync(folder)).toEqual([]);
});

test('nothing to take, nothing to use and a folder that somebody removed are no errors', () => {
  const folder = temporaryFolder();
  const spares = openSpareFiles(join(folder, 'spare'));
  spares.take(join(folder, 'missing'));
  expect(spares.use()).toBeUndefined();
  writeFileSync(join(folder, 'old'), 'x');
  spares.take(join(folder, 'old'));
  rmSync(join(folder, 'spare'), { recursive: true });
  spares.settle();
  spares.erase();
  expect(spares.use()).toBeUndefined();
});

test('a log at its size limit makes no further files: those of the oldest bundles become those of the next', async () => {
  const folder = join(temporaryFolder(), 'log');
  const log = createRecordLog({
    ...{ folder, clock: createClock(), log: silentLog, writer: 'this-thread', maxBytes: 700_000 },
    origin: 'example.org/payments/i-1',
  });
  const inodes = (): number[] =>
    readdirSync(join(folder, 'tile', 'entries'), { withFileTypes: true })
      .filter((each) => each.isFile())
      .map(({ name }) => statSync(join(folder, 'tile', 'entries', name)).ino);
  const append = async (): Promise<void> => {
    for (let n = 0; n < 256; n++) log.append(recordOf({ id: `d-${log.lastSeq + 1}` }));
    await log.flush();
    log.release(log.lastSeq);
  };
  for (let n = 0; n < 12; n++) await append();
  const before = new Set([
    ...inodes(),
    ...readdirSync(join(folder, 'clear')).map((name) => statSync(join(folder, 'clear', name)).ino),
  ]);
  for (let n = 0; n < 4; n++) await append();
  expect(inodes().length).toBeGreaterThan(0);
  expect(log.lost).toBe(0);
  await log.close();
  expect(inodes().filter((ino) => before.has(ino)).length).toBeGreaterThan(0);
  expect(verifyLog({ folder, key: logKeyOf(folder) }).faults).toEqual([]);
});

test('a log that drops bundles has nothing left of them in its folder once it was pruned, closed or masked', async () => {
  const folder = join(temporaryFolder(), 'log');
  const log = createRecordLog({
    ...{ folder, clock: createClock(), log: silentLog, writer: 'this-thread', maxBytes: 300_000 },
    origin: 'example.org/payments/i-1',
  });
  for (let n = 0; n < 1_500; n++) log.append(recordOf({ id: `d-${n}`, path: '/secret' }));
  await log.flush();
  log.release(log.lastSeq);
  for (let n = 0; n < 300; n++) log.append(recordOf({ id: `e-${n}` }));
  await log.flush();
  const left = (): string =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((each) => each.isFile() && each.parentPath.includes('spare'))
      .map((each) => readFileSync(join(each.parentPath, each.name), 'latin1'))
      .join();
  const whileOpen = left();
  await log.close();
  expect([whileOpen.includes('/secret'), left().includes('/secret')]).toEqual([true, false]);
  writeFileSync(join(folder, 'spare', 'files', '99'), '/secret of a process that was killed');
  maskLog({ folder, fields: ['path'], isStopped: true });
  expect(left()).toBe('');
});
