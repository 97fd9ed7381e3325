// The bundle that is being filled, on the disk as far as it was written. Trusts neither the disk nor the folder: after a failed write, or when
// somebody touched its files, everything is written again from memory.
import { fstatSync, renameSync, rmSync, statSync } from 'node:fs';
import { makePrivateFolder } from '#base/files';
import type { Bundle } from './bundle.ts';
import { type Disk, moveIfThere } from './disk.ts';
import { closeQuietly, logFile } from './log-files.ts';
import { tileWidth } from './merkle/tile-path.ts';
import type { SpareFiles } from './spare-files.ts';

export interface GrowingBundle {
  readonly bundle: Bundle;
  /** How many of its entries are on the disk for good, and their bytes as they are there. */
  readonly durable: number;
  readonly durableEntries: Buffer;
  /** Brings every entry to the disk. Throws when the disk does not take them. True when its files have new names, which are not durable yet. */
  write(): boolean;
  /** What was written is durable: its names are too. */
  settle(): void;
  /** What was written may not be there. */
  distrust(): void;
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
  /** Beside its place, where what is durable stays until all of it has been written again. */
  const writeWhole = (): void => {
    close();
    const besides: string[] = [];
    try {
      for (const each of files) {
        const spare = spares.use();
        const beside = spare ?? `${each.path}.tmp`;
        besides.push(beside);
        each.file = disk.open(beside, spare ? 'r+' : 'w+', 0o600);
        disk.write(each.file, each.bytes.from(0), 0);
        if (spare) disk.cut(each.file, each.bytes.length);
      }
      for (const { file } of files) disk.sync(file!);
      for (const [at, { path }] of files.entries()) renameSync(besides[at]!, path);
    } catch (thrown) {
      for (const beside of besides) rmSync(beside, { force: true });
      throw thrown;
    }
  };
  const writeMore = (): void => {
    for (const each of files) {
      each.file ??= disk.open(each.path, 'r+', 0o600);
      disk.write(each.file, each.bytes.from(each.flushed), each.flushed);
    }
    for (const { file } of files) disk.sync(file!);
  };

  return {
    bundle,
    get durable() {
      return durable;
    },
    get durableEntries() {
      return bundle.entries.from(0, files[0]!.flushed);
    },
    write() {
      const isWhole = isSuspect || durable === 0;
      if (bundle.count === durable && !isSuspect) return false;
      try {
        if (isWhole) writeWhole();
        else writeMore();
      } catch (thrown) {
        distrust();
        throw thrown;
      }
      isSuspect = false;
      return isWhole;
    },
    settle() {
      durable = bundle.count;
      for (const each of files) each.flushed = each.bytes.length;
    },
    distrust,
    seal() {
      close();
      // Their content is durable; a move that a power cut undoes is made again by the recovery.
      moveIfThere(logFile.growingEntries(folder, bundle.number), logFile.bundle(folder, bundle.number));
      moveIfThere(logFile.growingClear(folder, bundle.number), logFile.clear(folder, bundle.number));
    },
    inspect() {
      if (durable === 0) makePrivateFolder(logFile.growing(folder));
      // A full one may be in its place already, and the other half not.
      if (durable === 0 || durable === tileWidth || isSuspect) return;
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
