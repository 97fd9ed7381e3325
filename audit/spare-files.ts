// Files that a log no longer needs, kept empty for those that it needs next. A log at its size limit removes three files and makes three for every 256
// entries, and on ext4 making one walks over every inode that was freed in the last minutes: that cost more than all hashing.
import { mkdirSync, renameSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';

export interface SpareFiles {
  /** Takes a file out of its place, content and all; removed when there are enough. One that is not there is no error. */
  take(path: string): void;
  /** Puts an empty file at `path` if there is one to spare; whoever opens the path makes it otherwise. */
  give(path: string): void;
}

const most = 16;

/** What an earlier process kept in the folder is removed: a kill may have left content in it. */
export function openSpareFiles(folder: string): SpareFiles {
  rmSync(folder, { recursive: true, force: true });
  const spare: string[] = [];
  let made = 0;
  return {
    take(path) {
      if (spare.length === most) return rmSync(path, { force: true });
      try {
        mkdirSync(folder, { recursive: true, mode: 0o700 });
        const kept = join(folder, String(made++));
        renameSync(path, kept);
        truncateSync(kept);
        spare.push(kept);
      } catch {
        rmSync(path, { force: true });
      }
    },
    give(path) {
      const kept = spare.pop();
      try {
        if (kept) renameSync(kept, path);
      } catch {
        // Somebody removed it; a file is made.
      }
    },
  };
}
