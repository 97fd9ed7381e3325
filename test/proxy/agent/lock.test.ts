// One sidecar to a home, and a lock that no kill can leave behind.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { lockFolder } from '../../../proxy/agent/lock.ts';
import { temporaryFolder } from '../../helpers/folder.ts';

const taken = expect.objectContaining({ code: 'SIDECAR_HOME_TAKEN', hint: expect.stringContaining('--home') });

test('a second sidecar in the same process is refused until the first gives the folder back', () => {
  const folder = temporaryFolder();
  const unlock = lockFolder(folder);
  expect(statSync(join(folder, 'lock')).mode & 0o777).toBe(0o600);
  expect(() => lockFolder(folder)).toThrowError(taken);
  unlock();
  lockFolder(folder)();
});

test('nobody else may read what the lock leaves in the folder, nor what an earlier version left there', () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'lock'), '', { mode: 0o644 });
  lockFolder(folder)();
  const modes = readdirSync(folder).map((name) => statSync(join(folder, name)).mode & 0o777);
  expect(modes).toEqual(modes.map(() => 0o600));
});

test('F5: kill -9 of the holder frees the folder at once, and what it was writing is removed', async () => {
  const folder = temporaryFolder();
  const holder = fork(new URL('./lock-holder.ts', import.meta.url), [folder], { execArgv: [] });
  await once(holder, 'message');
  expect(() => lockFolder(folder)).toThrowError(taken);
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  const halfWritten = join(folder, `snapshot.json.${holder.pid}.0123456789ab.tmp`);
  writeFileSync(halfWritten, '{"sha256":');
  lockFolder(folder)();
  expect(existsSync(halfWritten)).toBe(false);
});
