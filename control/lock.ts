// Who may serve a home: one process at a time. The lock is an open SQLite transaction, so the operating system drops it with the process,
// however that dies; it must never be judged by a pid in a file.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { diskReason } from '#base/database';
import { messageOf } from '#base/error';
import { makePrivateFile, removeTemporaries } from '#base/files';
import { fail } from './errors.ts';

export interface HomeLock {
  /** Gives the home back; safe to call twice. */
  release(): void;
}

/** Takes the home for this process; throws SERVER_RUNNING with the holder's pid and url, or SERVER_HOME_UNUSABLE. */
export function lockHome(home: string): HomeLock {
  let sql: DatabaseSync | undefined;
  try {
    const path = join(home, 'server.lock.db');
    makePrivateFile(path);
    sql = new DatabaseSync(path, { timeout: 0 });
    sql.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    sql?.close();
    if (isBusy(cause)) throw fail('SERVER_RUNNING', { home, who: holderOf(home) }, { cause });
    throw fail('SERVER_HOME_UNUSABLE', { home, reason: diskReason(cause) ?? messageOf(cause) }, { cause });
  }
  // Left behind by a killed server; from here on server.json means that the holder of the lock has written it.
  removeTemporaries(home);
  rmSync(join(home, 'server.json'), { force: true });
  let held: DatabaseSync | undefined = sql;
  return {
    release() {
      held?.close();
      held = undefined;
    },
  };
}

function holderOf(home: string): string {
  try {
    const { pid, url } = JSON.parse(readFileSync(join(home, 'server.json'), 'utf8')) as Record<string, unknown>;
    return `pid ${Number(pid)} at ${String(url).slice(0, 300)}`;
  } catch {
    return 'it is just starting or stopping';
  }
}

/** SQLITE_BUSY (5) and SQLITE_LOCKED (6). */
function isBusy(thrown: unknown): boolean {
  const code = (thrown as { errcode?: number }).errcode ?? 0;
  return (code & 0xff) === 5 || (code & 0xff) === 6;
}
