// A log's tree on its disk: loads the right edge after a restart, writes tiles as they fill, and publishes checkpoints. It never signs a
// tree that does not continue the one it signed before, and what a checkpoint speaks of is on the disk before the checkpoint is.
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readPrivateFile, writeFileAtomic } from '#base/files';
import { moveIfThere, realDisk, syncIfThere } from './disk.ts';
import { closeQuietly, logFile, readIfThere, splitBundle } from './log-files.ts';
import type { LogState, Recovered } from './log-recovery.ts';
import { readCheckpoint, signCheckpoint, verifyCheckpoint } from './merkle/checkpoint.ts';
import { leafHash, perfectRoot } from './merkle/hash.ts';
import { rawPublicKey } from './merkle/note.ts';
import { bundlePath, tilePath, tileWidth } from './merkle/tile-path.ts';
import { createTileReader, readTile } from './merkle/tile-reader.ts';
import { treeRoot } from './merkle/tree.ts';
import { createOpenTiles, type OpenTiles, type TileBytes } from './open-tiles.ts';
import type { SpareFiles } from './spare-files.ts';

export interface LogTree {
  readonly size: number;
  /** The size that was signed last. */
  readonly published: number;
  /** Adds leaves (their hashes, one after the other) within one bundle; never throws. */
  add(leaves: Uint8Array): void;
  /** Writes the tiles that are full. `now`: wall time in milliseconds, as for `publish`. */
  writeTiles(now: number): void;
  /** Signs what is there and returns the note; `undefined` when nothing was added since the last one. */
  publish(o: { readonly growing: Growing; readonly state: LogState; readonly now: number }): string | undefined;
}

/**
 * The hashes of a bundle are synced this long after they were written, when the kernel has written them anyway and the bundle may be gone already: a
 * sync is dear, and from the entries, which are durable, they can be made again. A start does that for all that were not synced.
 */
const syncAfterMs = 40_000;

/** What of a bundle that is not full is on the disk: entries as they are framed there. */
export interface Growing {
  readonly count: number;
  readonly entries: Uint8Array;
}

/** The log's signing key, made (0600) when there is none. */
export function openLogKey(folder: string): KeyObject {
  const path = logFile.key(folder);
  if (readIfThere(path)) return createPrivateKey(readPrivateFile(path));
  const { privateKey } = generateKeyPairSync('ed25519');
  keepLogKey(folder, privateKey);
  return privateKey;
}

/** Writes the key again when somebody removed its file. */
export function keepLogKey(folder: string, key: KeyObject): void {
  const path = logFile.key(folder);
  if (!existsSync(path)) writeFileAtomic(path, key.export({ type: 'pkcs8', format: 'pem' }));
}

/** Throws `BrokenTree` when what is on the disk is not what was signed last. */
export function openLogTree(o: {
  readonly folder: string;
  readonly origin: string;
  readonly key: KeyObject;
  readonly spares: { readonly files: SpareFiles; readonly tiles: SpareFiles };
  readonly found: Pick<Recovered, 'size' | 'firstBundle' | 'growing' | 'state'>;
}): LogTree {
  const { folder, origin, key, spares } = o;
  const { size, firstBundle, growing: grown, state: before } = o.found;
  const signed = readSigned(folder, { origin, key });
  if (signed.size > size) throw new BrokenTree(`${signed.size} entries were signed and ${size} are there`);
  const bundles = Math.floor(size / tileWidth);
  for (let bundle = Math.max(firstBundle, before ? (before.tiles ?? bundles) : 0); bundle < bundles; bundle++)
    restoreTile(folder, bundle);
  const open = loadEdge(folder, size, grown.entries);
  if (signed.note !== undefined) {
    const root = Buffer.from(treeRoot(signed.size, createTileReader(folder, signed.size)));
    if (!root.equals(signed.root)) throw new BrokenTree('its hashes are not those that were signed');
  }
  let published = signed.size;
  let partials: string[] = [];
  let older = listPartials(folder);

  const full: TileBytes[] = [];
  /** Tiles of the lowest level that are not synced, in order, and when they were written. */
  const unsynced: { readonly bundle: number; readonly at: number; isSuspect?: boolean }[] = [];
  let synced = bundles;
  const writeTiles = (now: number): void => {
    for (; full.length > 0; full.shift()) {
      const { level, index, bytes } = full[0]!;
      const isLowest = level === 0;
      writeFileIn(folder, tilePath(level, index), bytes, { spares: spares.tiles, isSynced: !isLowest });
      if (isLowest) unsynced.push({ bundle: index, at: now });
    }
  };
  const syncTiles = (now: number): void => {
    // A clock that steps, either way, only has them synced earlier.
    for (; unsynced.length > 0 && Math.abs(now - unsynced[0]!.at) >= syncAfterMs; unsynced.shift()) {
      const one = unsynced[0]!;
      const { bundle } = one;
      const path = tilePath(0, bundle);
      try {
        if (!one.isSuspect) syncIfThere(join(folder, path));
      } catch {
        one.isSuspect = true;
      }
      // What a sync has failed for is written again: the next sync would succeed without it.
      const bytes = one.isSuspect ? readIfThere(join(folder, path)) : undefined;
      if (bytes) writeFileIn(folder, path, bytes);
      synced = bundle + 1;
    }
  };
  const writePartial = ({ level, index, width, bytes }: TileBytes): string => {
    const path = tilePath(level, index, width);
    writeFileIn(folder, path, bytes, { spares: spares.files });
    return path;
  };

  return {
    get size() {
      return open.size;
    },
    get published() {
      return published;
    },
    add(leaves) {
      full.push(...open.add(leaves));
    },
    writeTiles,
    publish({ growing, state, now }) {
      if (open.size === published || open.size !== state.size) return undefined;
      writeTiles(now);
      syncTiles(now);
      const written = open.partial().map(writePartial);
      if (growing.count > 0) {
        const path = bundlePath(Math.floor(open.size / tileWidth), growing.count);
        writeFileIn(folder, path, growing.entries, { spares: spares.files });
        written.push(path);
      }
      writeFileAtomic(logFile.state(folder), `${JSON.stringify({ ...state, tiles: synced })}\n`);
      const note = signCheckpoint({ origin, size: open.size, root: open.root() }, key);
      writeFileAtomic(logFile.checkpoint(folder), note);
      published = open.size;
      // Whoever is reading the checkpoint before this one still finds its tiles.
      for (const path of older)
        if (!written.includes(path) && !partials.includes(path)) removePartial(join(folder, path), spares.files);
      [older, partials] = [partials, written];
      return note;
    },
  };
}

/** Makes a tile of the lowest level again when it is not what its entries say. Nothing when they are not there: whoever needs it finds that. */
function restoreTile(folder: string, bundle: number): void {
  const { entries } = splitBundle(readIfThere(logFile.bundle(folder, bundle)) ?? Buffer.alloc(0));
  if (entries.length !== tileWidth) return;
  const hashes = Buffer.concat(entries.map(leafHash));
  const path = tilePath(0, bundle);
  // As it should be in memory, it may still not be so on the disk: the process that wrote it was killed.
  try {
    if (readIfThere(join(folder, path))?.equals(hashes)) return syncIfThere(join(folder, path));
  } catch {
    // The next sync would succeed without what this one has lost.
    rmSync(join(folder, path), { force: true });
  }
  writeFileIn(folder, path, hashes);
}

/** The log on the disk does not continue what was signed: entries are gone, or tiles or the key were changed. */
export class BrokenTree extends Error {}

function readSigned(folder: string, o: { origin: string; key: KeyObject }) {
  const note = readIfThere(logFile.checkpoint(folder))?.toString();
  if (note === undefined) return { size: 0, root: Buffer.alloc(0), note };
  const own = verifyCheckpoint(note, { name: o.origin, kind: 1, publicKey: rawPublicKey(o.key) });
  if (!own) {
    const found = readCheckpoint(note)?.origin ?? 'nobody';
    throw new BrokenTree(`its checkpoint is not signed by this log's key (it is of ${found})`);
  }
  return { ...own, root: Buffer.from(own.root), note };
}

/** Tiles are made of entries and of the tiles below them: those that a crash kept from the disk are made again. */
function loadEdge(folder: string, size: number, growing: readonly string[]): OpenTiles {
  const rootOf = (level: number, index: number): Uint8Array => {
    const kept = readTile(folder, { level, index, width: tileWidth });
    if (kept) return perfectRoot(kept, 0, tileWidth);
    const hashes = hashesBelow(level, index * tileWidth, tileWidth);
    writeFileIn(folder, tilePath(level, index), Buffer.concat(hashes));
    return perfectRoot(hashes, 0, tileWidth);
  };
  const hashesBelow = (level: number, start: number, count: number): Uint8Array[] => {
    if (level > 0) return Array.from({ length: count }, (_, at) => rootOf(level - 1, start + at));
    const bundle = Math.floor(start / tileWidth);
    const { entries } = splitBundle(readIfThere(logFile.bundle(folder, bundle)) ?? Buffer.alloc(0));
    if (entries.length < count) throw new BrokenTree(`the entries of bundle ${bundle} and their hashes are gone`);
    return entries.slice(0, count).map(leafHash);
  };
  const levels: Uint8Array[][] = [growing.map((entry) => leafHash(Buffer.from(entry)))];
  for (let level = 1; size >= tileWidth ** level; level++) {
    const total = Math.floor(size / tileWidth ** level);
    const width = total % tileWidth;
    const known = knownHashes(folder, { level, total, width });
    const start = total - width + known.length;
    levels.push([...known, ...hashesBelow(level, start, width - known.length)]);
    if (width === 0) rootOf(level, total / tileWidth - 1);
  }
  return createOpenTiles(size, levels);
}

/** What of the open tile of an upper level was published: of bundles that were dropped since, nothing else says the hashes. */
function knownHashes(folder: string, o: { level: number; total: number; width: number }): Uint8Array[] {
  const index = Math.floor(o.total / tileWidth);
  for (let width = o.width; width > 0; width--) {
    const found = readTile(folder, { level: o.level, index, width });
    if (found) return found.slice(0, o.width);
  }
  return [];
}

/** Whole, and synced if it is to be, before it has its name; a name that a power cut takes back is written again from what it was made of. */
function writeFileIn(
  folder: string,
  path: string,
  bytes: Uint8Array,
  { spares, isSynced = true }: { readonly spares?: SpareFiles; readonly isSynced?: boolean } = {},
): void {
  const place = join(folder, path);
  const spare = spares?.use();
  const beside = spare ?? `${place}.tmp`;
  if (!spare) mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
  const file = realDisk.open(beside, spare ? 'r+' : 'w', 0o600);
  try {
    realDisk.write(file, bytes, 0);
    if (spare) realDisk.cut(file, bytes.length);
    if (isSynced) realDisk.sync(file);
  } finally {
    closeQuietly(file);
  }
  moveIfThere(beside, place);
}

/** Removes a tile that was left partial, and its folder when nothing else is in it. */
function removePartial(path: string, spares: SpareFiles): void {
  spares.take(path);
  try {
    rmdirSync(dirname(path));
  } catch {
    // Another width is still there.
  }
}

function listPartials(folder: string): string[] {
  try {
    const names = readdirSync(join(folder, 'tile'), { recursive: true, encoding: 'utf8' });
    return names.filter((name) => /\.p\/[0-9]+$/.test(name)).map((name) => `tile/${name}`);
  } catch {
    return [];
  }
}
