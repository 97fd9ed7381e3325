// `postern audit verify`, `prove`, `verify-receipt` and `mask` as they are typed, on a home with logs and no server.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createRecordLog, formatVerifierKey } from '#audit';
import { silentLog } from '#base/log';
import { createClock } from '../helpers/clock.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { logKeyOf } from '../helpers/log-folder.ts';
import { runPostern } from '../helpers/postern.ts';
import { recordOf } from '../helpers/record.ts';

async function homeWithLog(count = 300): Promise<{ home: string; folder: string; key: string }> {
  const home = temporaryFolder();
  const folder = join(home, 'sidecar', 'records', 'i-1');
  const log = createRecordLog({
    folder,
    clock: createClock(),
    log: silentLog,
    writer: 'this-thread',
    origin: 'example.org/payments/i-1',
  });
  for (let i = 0; i < count; i++) log.append(recordOf({ id: `d-${i}` }));
  await log.close();
  return { home, folder, key: formatVerifierKey(logKeyOf(folder)) };
}

const edit = (folder: string): void => {
  const path = join(folder, 'tile', 'entries', '000');
  const bytes = readFileSync(path);
  bytes.write('500', bytes.indexOf('"status":200') + '"status":'.length);
  writeFileSync(path, bytes);
};

describe('postern audit', () => {
  test('L1: verify exits 0 on a whole log, and 1 with the first bad record on an edited one', async () => {
    const { home, folder, key } = await homeWithLog();
    const good = await runPostern(['audit', 'verify', '--home', home]);
    expect([good.code, good.stdout]).toEqual([
      0,
      expect.stringContaining('example.org/payments/i-1: 300 signed, 300 checked'),
    ]);
    expect((await runPostern(['audit', 'verify', folder, '--key', key])).code).toBe(0);
    edit(folder);
    const bad = await runPostern(['audit', 'verify', home, '-o', 'json']);
    expect(bad.code).toBe(1);
    expect(JSON.parse(bad.stdout)).toMatchObject({ whole: false, logs: [{ faults: [{ index: 0, seq: 1 }] }] });
    expect((await runPostern(['audit', 'verify', home])).stdout).toContain('record 0 (sequence 1): the record is not');
  }, 30_000);

  test('L3: verify with the key that is expected refuses a log of another, and 2 means wrong words', async () => {
    const [one, other] = [await homeWithLog(3), await homeWithLog(3)];
    expect((await runPostern(['audit', 'verify', one.folder, '--key', other.key])).code).toBe(1);
    expect((await runPostern(['audit', 'verify', one.folder, '--key', 'nonsense'])).code).toBe(2);
    expect((await runPostern(['audit', 'verify', join(one.home, 'nothing')])).code).toBe(4);
  }, 30_000);

  test('a receipt is made, checked by its key alone, and worth nothing changed; what is masked is gone from the next one', async () => {
    const { home, key } = await homeWithLog();
    const file = join(home, 'r.tlog-proof');
    const made = await runPostern(['audit', 'prove', 'd-7', '--home', home, '--out', file]);
    expect([made.code, made.stderr]).toEqual([0, expect.stringContaining('verify-receipt')]);
    const checked = await runPostern(['audit', 'verify-receipt', file, '--key', key, '-o', 'json']);
    expect(checked.code).toBe(0);
    expect(JSON.parse(checked.stdout)).toMatchObject({ good: true, index: 7, record: { id: 'd-7', path: '/charges' } });
    writeFileSync(file, readFileSync(file, 'utf8').replace('index 7', 'index 8'));
    expect((await runPostern(['audit', 'verify-receipt', file, '--key', key])).code).toBe(1);
    expect((await runPostern(['audit', 'prove', 'd-7777', '--home', home])).code).toBe(4);
    const masked = await runPostern(['audit', 'mask', home, '--field', 'path', '--id', 'd-7']);
    expect([masked.code, masked.stdout]).toEqual([0, '1 values erased\n']);
    const again = await runPostern(['audit', 'prove', 'd-7', '--home', home]);
    expect(Buffer.from(/^extra (.*)$/m.exec(again.stdout)![1]!, 'base64').toString()).not.toContain('/charges');
    expect((await runPostern(['audit', 'verify', home])).code).toBe(0);
  }, 30_000);
});
