// Loaded before a process (`node --import 'kill-at-write.ts?at=N'`) that is to die, as by `kill -9`, at its n-th step of writing: right before
// or right after a write to a file, a rename, a removal or a commit. A write that dies leaves half of its bytes behind.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { DatabaseSync, StatementSync } from 'node:sqlite';

const at = Number(new URL(import.meta.url).searchParams.get('at'));
let steps = 0;
let isInTransaction = false;

/** Does the write as two steps at either of which the process may end. */
function step<T>(write: () => T, beforehand: () => void = () => undefined): T {
  if (++steps === at) {
    beforehand();
    process.kill(process.pid, 'SIGKILL');
  }
  const result = write();
  if (++steps === at) process.kill(process.pid, 'SIGKILL');
  return result;
}

const { writeSync } = fs;
type Place = [offset?: number, length?: number, position?: number];
fs.writeSync = ((file: number, bytes: Uint8Array, ...[offset = 0, length = bytes.length - offset, position]: Place) =>
  step(
    () => writeSync(file, bytes, offset, length, position),
    () => void writeSync(file, bytes, offset, length >> 1, position),
  )) as typeof fs.writeSync;
for (const name of ['openSync', 'renameSync', 'rmSync', 'mkdirSync'] as const) {
  const real = fs[name] as (...given: unknown[]) => unknown;
  Object.assign(fs, {
    [name]: (...given: unknown[]) =>
      name === 'openSync' && given[1] === 'r' ? real.apply(fs, given) : step(() => real.apply(fs, given)),
  });
}
syncBuiltinESMExports();

const { exec } = DatabaseSync.prototype;
DatabaseSync.prototype.exec = function (sql) {
  if (/^(BEGIN|COMMIT|ROLLBACK)/.test(sql)) isInTransaction = sql.startsWith('BEGIN');
  if (sql !== 'COMMIT') return exec.call(this, sql);
  return step(() => exec.call(this, sql));
};
const run = StatementSync.prototype.run as (...given: unknown[]) => ReturnType<typeof StatementSync.prototype.run>;
StatementSync.prototype.run = function (this: StatementSync, ...given: unknown[]) {
  // Within a transaction the write is the commit.
  return isInTransaction ? run.apply(this, given) : step(() => run.apply(this, given));
};
