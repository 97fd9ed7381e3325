// Files that must survive a crash and files that nobody else may read. Nothing here ever widens a permission.
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
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

/** What a write is called until it is whole: its process is in the name, so that nobody removes the file of one that still writes. */
const temporaryName = /\.([0-9]+)\.[0-9a-f]{12}\.tmp$/;

/**
 * Replaces a file whole: on return the new content is durable (file and folder synced), and at every moment before that
 * the old content is intact. A kill may leave a temporary file beside it, see `removeTemporaries`.
 */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o600): void {
  const temporary = `${path}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`;
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

/**
 * Removes what kills left of atomic writes in this folder; call it when the folder's owner starts. Never throws: a folder that is
 * missing or refuses is dealt with by whoever writes in it.
 */
export function removeTemporaries(folder: string): void {
  try {
    for (const name of readdirSync(folder)) {
      const pid = Number(temporaryName.exec(name)?.[1] ?? Number.NaN);
      // A write is one synchronous step, so whatever has this process's own number is of an earlier one that had it too.
      if (pid === process.pid || (pid > 0 && !isRunning(pid))) rmSync(join(folder, name), { force: true });
    }
  } catch {}
}

/**
 * Makes an empty file that only its owner may read, where there is none, and narrows one that is there. Never opens that one: closing it
 * would drop the locks that this process holds on it. Never throws: whoever opens the file next says what is wrong with it.
 */
export function makePrivateFile(path: string): void {
  try {
    const there = statSync(path, { throwIfNoEntry: false });
    if (!there) closeSync(openSync(path, 'wx', 0o600));
    else if (there.isFile() && there.mode & 0o077) chmodSync(path, 0o600);
  } catch {}
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

/** Makes a folder (and its parents) that only its owner may enter; an existing one is narrowed to that. Throws FILE_UNWRITABLE. */
export function makePrivateFolder(path: string): void {
  makeFolder(path, 0o700);
  try {
    if (statSync(path).mode & 0o077) chmodSync(path, 0o700);
  } catch (cause) {
    throw fail('FILE_UNWRITABLE', { path, reason: reasonOf(cause) }, { cause });
  }
}

/** Makes a folder and its parents, where they are missing; throws FILE_UNWRITABLE. */
export function makeFolder(path: string, mode = 0o777): void {
  try {
    makeFolders(path, mode);
  } catch (cause) {
    const isFixed = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw fail(
      'FILE_UNWRITABLE',
      { path, reason: isFixed ? 'no folder can be made there' : reasonOf(cause) },
      { cause },
    );
  }
}

/** One by one: Node's own recursive mkdir never returns where a file system has no room for names, as below /proc. */
function makeFolders(path: string, mode: number): void {
  if (isFolder(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeFolders(parent, mode);
  try {
    mkdirSync(path, { mode });
  } catch (thrown) {
    // Somebody else may have made it meanwhile.
    if (!isFolder(path)) throw thrown;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Whether there is such a process, as far as this one can see. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
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
    EEXIST: 'part of the path is not a folder',
    ENOTDIR: 'part of the path is not a folder',
  };
  return (code && words[code]) ?? code ?? String(thrown);
}
