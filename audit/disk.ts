// The few calls through which log entries reach a disk, so that tests can make each of them fail in turn.
import { fdatasyncSync, fsyncSync, ftruncateSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { closeQuietly } from './log-files.ts';

export interface Disk {
  open(path: string, flags: string, mode: number): number;
  /** All of the bytes, or it throws. */
  write(file: number, bytes: Uint8Array, position: number): void;
  /** Makes a file end after so many bytes. */
  cut(file: number, bytes: number): void;
  /** On return what was written is on the disk. */
  sync(file: number): void;
}

export const realDisk: Disk = {
  open: openSync,
  write(file, bytes, position) {
    for (let done = 0; done < bytes.length; )
      done += writeSync(file, bytes, done, bytes.length - done, position + done);
  },
  cut: ftruncateSync,
  sync: fdatasyncSync,
};

/** Makes the names in a folder durable. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeQuietly(folder);
  }
}

/** What is in a file is on the disk on return; one that is not there is no error. */
export function syncIfThere(path: string): void {
  try {
    const file = realDisk.open(path, 'r', 0o600);
    try {
      realDisk.sync(file);
    } finally {
      closeQuietly(file);
    }
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
  }
}

/** Renames, with the folders that it needs; false when there is no such file (any more). */
export function moveIfThere(from: string, to: string): boolean {
  if (isMoved(from, to)) return true;
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  return isMoved(from, to);
}

/** False when the file or the folder that it goes to is not there. */
function isMoved(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
    return false;
  }
}
