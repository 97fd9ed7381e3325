// The bundle that is being filled, on the disk as far as it was flushed. Trusts neither the disk nor the folder: after a failed write, or when
// somebody touched its files, everything is written again from memory.
import { fstatSync, renameSync, statSync } from 'node:fs';
import { makePrivateFolder } from '#base/files';
import type { Bundle } from './bundle.ts';
import { type Disk, moveIfThere, syncFolder } from './disk.ts';
import { closeQuietly, logFile } from './log-files.ts';
import type { SpareFiles } from './spare-files.ts';

export interface GrowingBundle {
  /** How many of its entries are on the disk, and their bytes as they are there. */
  readonly durable: number;
  readonly durableEntries: Buffer;
  /** Makes every entry durable. Throws when the disk does not take them. */
  flush(): void;
  /** Moves the full bundle to its place; safe to call again when it failed half way. */
  seal(): void;
  /** Sees whether its files are still its own. */
  inspect(): void;
  close(): void;
}

interface Options {
  readonly folder: string;
  readonly disk: Disk;
  readonly spares: SpareFiles;
  readonly onNotice: (message: string) => void;
  readonly bundle: Bundle;
  /** What the bundle holds was read from the disk. */
  readonly isOnDisk: boolean;
}

export function createGrowingBundle({ folder, disk, spares, onNotice, bundle, isOnDisk }: Options): GrowingBundle {
  const files = [
    { path: logFile.growingEntries(folder, bundle.number), bytes: bundle.entries },
    { path: logFile.growingClear(folder, bundle.number), bytes: bundle.clear },
  ].map((each) => ({ ...each, file: undefined as number | undefined, flushed: isOnDisk ? each.bytes.length : 0 }));
  let isSuspect = false;
  let durable = isOnDisk ? bundle.count : 0;

  const close = (): void => {
    for (const each of files) {
      closeQuietly(each.file);
      each.file = undefined;
    }
  };
  const distrust = (): void => {
    close();
    isSuspect = true;
  };
  const write = (): void => {
    // What is durable stays where it is until all of it has been written again beside it.
    const isNew = isSuspect || durable === 0;
    const nameOf = (path: string): string => (isSuspect ? `${path}.tmp` : path);
    for (const each of files) {
      const start = isSuspect ? 0 : each.flushed;
      if (isNew && !isSuspect) spares.give(each.path);
      each.file ??= disk.open(nameOf(each.path), isNew ? 'w+' : 'r+', 0o600);
      disk.write(each.file, each.bytes.from(start), start);
    }
    for (const { file } of files) disk.sync(file!);
    if (isSuspect) for (const { path } of files) renameSync(nameOf(path), path);
    if (isNew) syncFolder(logFile.growing(folder));
    isSuspect = false;
  };

  return {
    get durable() {
      return durable;
    },
    get durableEntries() {
      return bundle.entries.from(0, files[0]!.flushed);
    },
    flush() {
      if (bundle.count === durable && !isSuspect) return;
      try {
        write();
      } catch (thrown) {
        distrust();
        throw thrown;
      }
      durable = bundle.count;
      for (const each of files) each.flushed = each.bytes.length;
    },
    seal() {
      close();
      // Their content is durable; a move that a power cut undoes is made again by the recovery.
      moveIfThere(logFile.growingEntries(folder, bundle.number), logFile.bundle(folder, bundle.number));
      moveIfThere(logFile.growingClear(folder, bundle.number), logFile.clear(folder, bundle.number));
    },
    inspect() {
      if (durable === 0) makePrivateFolder(logFile.growing(folder));
      if (durable === 0 || isSuspect) return;
      for (const { path, file, flushed } of files) {
        const found = statSync(path, { throwIfNoEntry: false });
        const isOurs = file === undefined || found?.ino === fstatSync(file).ino;
        if (found && isOurs && found.size >= flushed) continue;
        if (found && !isOurs) renameSync(path, `${path}.foreign`);
        onNotice(`${path} was changed or removed by somebody else and is written again`);
        makePrivateFolder(logFile.growing(folder));
        return distrust();
      }
    },
    close,
  };
}
