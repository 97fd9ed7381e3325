// Files that a log no longer needs, kept for those that it needs next. A log at its size limit removes three files and makes three for every 256
// entries, and on ext4 making one walks over every inode that was freed in the last minutes: that cost more than all hashing.
import { existsSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { moveIfThere } from './disk.ts';

export interface SpareFiles {
  /** Takes a file out of its place; removed when there are enough. One that is not there is no error. */
  take(path: string): void;
  /** What was taken so far has left its place for good, and may be used: it must not be back there after a power cut with something else in it. */
  settle(): void;
  /** A file to write over, to cut to its new length and to move to its place, if there is one: writing over blocks is cheaper than giving them back and getting others. */
  use(): string | undefined;
  /** What was in the files is gone when this returns. */
  erase(): void;
}

const most = 16;

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // A disk that removes nothing; the next start tries again.
  }
}

/** What an earlier process kept in the folder is removed. */
export function openSpareFiles(folder: string): SpareFiles {
  rmSync(folder, { recursive: true, force: true });
  const taken: string[] = [];
  const spare: string[] = [];
  let made = 0;
  return {
    take(path) {
      const kept = join(folder, String(made++));
      try {
        if (taken.length + spare.length < most && moveIfThere(path, kept)) return void taken.push(kept);
      } catch {
        // It cannot be kept, so it goes.
      }
      rmSync(path, { force: true });
    },
    settle() {
      spare.push(...taken.splice(0));
    },
    use() {
      const kept = spare.pop();
      // Somebody may have removed it.
      return kept !== undefined && existsSync(kept) ? kept : undefined;
    },
    erase() {
      for (const kept of [...taken, ...spare])
        try {
          truncateSync(kept);
        } catch {
          removeQuietly(kept);
        }
    },
  };
}
