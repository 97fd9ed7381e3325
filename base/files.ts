// Files that must survive a crash and files that nobody else may read. Nothing here ever widens a permission.
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { defineErrors } from './error.ts';

export const fileErrors = {
  FILE_EXPOSED: {
    message: '{path} can be read by others (mode {mode})',
    hint: 'run: chmod {wanted} {path}',
    status: 500,
    retryable: false,
  },
  FILE_UNREADABLE: {
    message: '{path} cannot be read: {reason}',
    hint: 'check that the file exists and that this user may read it',
    status: 500,
    retryable: false,
  },
  FILE_UNWRITABLE: {
    message: '{path} cannot be written: {reason}',
    hint: 'check free space and permissions; what was there before is unchanged',
    status: 500,
    retryable: true,
  },
} as const;
const fail = defineErrors(fileErrors);

/**
 * Replaces a file whole: on return the new content is durable (file and folder synced), and at every moment before that
 * the old content is intact.
 */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o600): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = openSync(temporary, 'wx', mode);
    try {
      const bytes = typeof content === 'string' ? Buffer.from(content) : content;
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw fail('FILE_UNWRITABLE', { path, reason: reasonOf(cause) }, { cause });
  }
}

/** Reads a secret; refuses one that its group or others can read. */
export function readPrivateFile(path: string): Buffer {
  let mode: number;
  try {
    mode = statSync(path).mode & 0o777;
  } catch (cause) {
    throw fail('FILE_UNREADABLE', { path, reason: reasonOf(cause) }, { cause });
  }
  if (mode & 0o077) throw fail('FILE_EXPOSED', { path, mode: `0${mode.toString(8)}`, wanted: '600' });
  return readFileOrFail(path);
}

/** Reads a file; a failure names the path and the reason. */
export function readFileOrFail(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw fail('FILE_UNREADABLE', { path, reason: reasonOf(cause) }, { cause });
  }
}

/** Makes a folder (and its parents) that only its owner may enter; an existing one is narrowed to that. */
export function makePrivateFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    if (statSync(path).mode & 0o077) chmodSync(path, 0o700);
  } catch (cause) {
    throw fail('FILE_UNWRITABLE', { path, reason: reasonOf(cause) }, { cause });
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function reasonOf(thrown: unknown): string {
  const code = (thrown as NodeJS.ErrnoException).code;
  const words: Readonly<Record<string, string>> = {
    ENOENT: 'there is no such file',
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    ENOSPC: 'the disk is full',
    EDQUOT: 'the quota of this user is used up',
    EFBIG: 'it may not grow further (a limit on the size of files)',
    EIO: 'the disk failed (I/O error)',
    EROFS: 'the file system is read-only',
    EISDIR: 'it is a folder',
    ENOTDIR: 'part of the path is not a folder',
  };
  return (code && words[code]) ?? code ?? String(thrown);
}
