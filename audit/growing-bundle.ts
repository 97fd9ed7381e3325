// The bundle that is being filled: in memory whole (at most 256 entries), on the disk as far as it was flushed. Trusts neither the disk nor
// the folder: after a failed write, or when somebody touched its files, everything is written again from memory.
import { fstatSync, renameSync, statSync } from 'node:fs';
import { makePrivateFolder } from '#base/files';
import { type Disk, moveIfThere, syncFolder } from './disk.ts';
import { closeQuietly, frameEntries, logFile } from './log-files.ts';
import { parseEntry } from './log-recovery.ts';
import { leafHashOfText } from './merkle/hash.ts';
import { tileWidth } from './merkle/tile-path.ts';

export interface Item {
  readonly entry: string;
  /** The line of clear values. */
  readonly clear: string;
  /** Its hash as latin1 text. */
  readonly leaf: string;
  readonly seq: number;
}

export interface GrowingBundle {
  readonly number: number;
  readonly items: readonly Item[];
  /** How many of the items are on the disk. */
  readonly durable: number;
  readonly bytes: number;
  readonly isFull: boolean;
  /** Takes what fits from the front of `items`. */
  fill(items: Item[]): void;
  /** Makes every item durable and returns those that were not before. Throws when the disk does not take them. */
  flush(): readonly Item[];
  /** Moves the full bundle to its place; safe to call again when it failed half way. */
  seal(): void;
  /** Sees whether its files are still its own. */
  inspect(): void;
  close(): void;
}

interface Options {
  readonly folder: string;
  readonly disk: Disk;
  readonly onNotice: (message: string) => void;
}

export function createGrowingBundle(
  { folder, disk, onNotice }: Options,
  { bundle, items, durable }: { readonly bundle: number; readonly items: Item[]; readonly durable: number },
): GrowingBundle {
  const kept = items.slice(0, durable);
  const files = [
    { path: logFile.growingEntries(folder, bundle), encode: encodeEntries },
    { path: logFile.growingClear(folder, bundle), encode: encodeClear },
  ].map(({ path, encode }) => ({
    ...{ path, encode, file: undefined as number | undefined, bytes: encode(kept).length },
  }));
  let isSuspect = false;
  let flushed = durable;

  const close = (): void => {
    for (const each of files) {
      closeQuietly(each.file);
      each.file = undefined;
    }
  };
  const distrust = (): void => {
    close();
    isSuspect = true;
    for (const each of files) each.bytes = 0;
  };
  const write = (fresh: readonly Item[]): void => {
    // What is durable stays where it is until all of it has been written again beside it.
    const isNew = isSuspect || flushed === 0;
    const nameOf = (path: string): string => (isSuspect ? `${path}.tmp` : path);
    for (const each of files) {
      const bytes = each.encode(fresh);
      each.file ??= disk.open(nameOf(each.path), isNew ? 'w+' : 'r+', 0o600);
      disk.write(each.file, bytes, each.bytes);
      each.bytes += bytes.length;
    }
    for (const { file } of files) disk.sync(file!);
    if (isSuspect) for (const { path } of files) renameSync(nameOf(path), path);
    if (isNew) syncFolder(logFile.growing(folder));
    isSuspect = false;
  };

  return {
    number: bundle,
    items,
    get durable() {
      return flushed;
    },
    get bytes() {
      return files.reduce((sum, { bytes }) => sum + bytes, 0);
    },
    get isFull() {
      return items.length === tileWidth;
    },
    fill(more) {
      items.push(...more.splice(0, tileWidth - items.length));
    },
    flush() {
      const fresh = items.slice(flushed);
      if (fresh.length === 0 && !isSuspect) return [];
      try {
        write(isSuspect ? items : fresh);
      } catch (thrown) {
        distrust();
        throw thrown;
      }
      flushed = items.length;
      return fresh;
    },
    seal() {
      close();
      // Their content is durable; a move that a power cut undoes is made again by the recovery.
      moveIfThere(logFile.growingEntries(folder, bundle), logFile.bundle(folder, bundle));
      moveIfThere(logFile.growingClear(folder, bundle), logFile.clear(folder, bundle));
    },
    inspect() {
      if (flushed === 0) makePrivateFolder(logFile.growing(folder));
      if (flushed === 0 || isSuspect) return;
      for (const { path, file, bytes } of files) {
        const found = statSync(path, { throwIfNoEntry: false });
        const isOurs = file === undefined || found?.ino === fstatSync(file).ino;
        if (found && isOurs && found.size >= bytes) continue;
        if (found && !isOurs) renameSync(path, `${path}.foreign`);
        onNotice(`${path} was changed or removed by somebody else and is written again`);
        makePrivateFolder(logFile.growing(folder));
        return distrust();
      }
    },
    close,
  };
}

const encodeEntries = (items: readonly Item[]): Buffer => frameEntries(items.map(({ entry }) => entry));
const encodeClear = (items: readonly Item[]): Buffer => Buffer.from(items.map(({ clear }) => `${clear}\n`).join(''));

/** The items of what was read from a disk. */
export function itemsOf({
  entries,
  clears,
}: {
  readonly entries: readonly string[];
  readonly clears: readonly string[];
}) {
  return entries.map((entry, at): Item => {
    const seq = parseEntry(entry)?.seq ?? 0;
    return { entry, clear: clears[at]!, leaf: leafHashOfText(entry), seq };
  });
}
