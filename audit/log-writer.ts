// One log on one disk: takes records as they come, hashes them, makes them durable in groups, signs checkpoints and keeps to its limits.
// Runs where it holds nobody up (a worker, mostly). An entry that was called durable is never rewritten, only pruned with its whole bundle.
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { messageOf } from '#base/error';
import { makePrivateFolder, removeTemporaries, writeFileAtomic } from '#base/files';
import { Bundle } from './bundle.ts';
import { type Disk, moveIfThere, realDisk, syncFolder } from './disk.ts';
import { commitmentsOf } from './entry.ts';
import { createGrowingBundle, type GrowingBundle } from './growing-bundle.ts';
import { removeLeftovers } from './leftovers.ts';
import { listBundles, logFile, readIfThere, splitBundle, splitLines } from './log-files.ts';
import { gapIn, type LogState, parseEntry, type Recovered, readState, recoverLog } from './log-recovery.ts';
import { BrokenTree, keepLogKey, openLogKey, openLogTree } from './log-tree.ts';
import type { Loss } from './losses.ts';
import { formatVerifierKey, rawPublicKey } from './merkle/note.ts';
import { tilePath, tileWidth } from './merkle/tile-path.ts';
import { readReleased, writeReleased } from './released.ts';
import { openSpareFiles } from './spare-files.ts';

export interface LogSettings {
  readonly folder: string;
  /** The log's name in its checkpoints: no spaces, no plus. */
  readonly origin: string;
  /** Bytes of entries and of the values beside them. */
  readonly maxBytes: number;
  /** Bundles older than this go once they are released. */
  readonly maxAgeMs: number;
  /** Whether unreleased records may go when `maxBytes` is reached; otherwise committing fails until some are released. */
  readonly mayDrop: boolean;
}

/** Some records on their way into the log, good until they are durable. */
export interface Batch {
  /** The halves of each: what is not masked as a framed entry, the clear values on a line. */
  readonly rests: Buffer;
  readonly clear: Buffer;
  readonly seqs: ArrayLike<number>;
}

/** What the log's user must hear of. */
export type LogNotice =
  | { readonly what: 'loss'; readonly loss: Loss & { readonly path: string; readonly why: string } }
  /** A loss that was declared by a gap record which is gone before anybody received it. */
  | { readonly what: 'undeclared'; readonly loss: Loss }
  | { readonly what: 'notice'; readonly message: string };

export interface Standing {
  /** Everything up to this sequence is durable. */
  readonly durable: number;
  /** Durable entries, and the first bundle that is still kept. */
  readonly size: number;
  readonly firstBundle: number;
  readonly verifierKey: string;
  readonly origin: string;
}

/** What of a log need not be kept. */
export interface Release {
  /** Records up to this sequence are kept elsewhere. */
  readonly through: number;
  /** Those up to this one are kept elsewhere or declared missing by a gap record that is durable. */
  readonly settled: number;
}

export interface LogWriter {
  readonly standing: Standing;
  add(batch: Batch): void;
  /**
   * Makes everything added durable. Throws when the disk does not take it; call again to go on where it failed. `mayWait`: behind a bundle that was
   * filled, the beginning of the next one is left to the next commit, so that most bundles are synced once and not twice.
   */
  commit(o?: { readonly mayWait: boolean }): void;
  /** Signs and stores a checkpoint of what is durable; `undefined` when there is nothing new. */
  publish(): string | undefined;
  release(what: Release): void;
  /** Removes whole bundles that are past the limits. Never throws: what could not go goes later. */
  prune(): void;
  close(): void;
}

const lineFeed = 10;
const mostDone = 4;
const droppedAhead = 4_096;

export function openLogWriter(
  o: LogSettings & { readonly now: () => number; readonly notify: (notice: LogNotice) => void; readonly disk?: Disk },
): LogWriter {
  const { folder, notify, disk = realDisk } = o;
  makePrivateFolder(folder);
  const spares = { files: openSpareFiles(logFile.spare(folder)), tiles: openSpareFiles(logFile.spareTiles(folder)) };
  const options = {
    ...{ folder, disk, spares: spares.files },
    onNotice: (message: string) => notify({ what: 'notice', message }),
  };
  removeTemporaries(folder);
  let noted = readReleased(folder);
  /** What of it is known to be on the disk; nothing of what an earlier process wrote is. */
  let certain = 0;
  let released: Release = { through: noted.through, settled: noted.through };
  let dropped = noted.dropped;
  const key = openLogKey(folder);
  const { tree, origin, epoch, ...opened } = open();
  let { firstBundle, lastSeq } = opened;
  const verifierKey = formatVerifierKey({ name: origin, kind: 1, publicKey: rawPublicKey(key) });
  /** The growing bundle, and what does not fit into it; those of them that have been on their way to the disk. */
  const bundles = [opened.growing.bundle];
  const growing = [opened.growing];
  /** Bundles whose memory the next ones take over. */
  const done: Bundle[] = [];
  const bytesOf = new Map<number, number>();
  /** Up to here, those that were dropped unreceived were reported. */
  let lost = 0;
  /** Sequences of the bundles that were filled since the start. */
  const ranges = new Map<number, { readonly first: number; readonly last: number }>();
  for (const bundle of listBundles(folder)) bytesOf.set(bundle, sizeOfBundle(folder, bundle));
  removeLeftovers(folder, firstBundle);

  function open() {
    const attempt = (at: number) => {
      const found = recoverLog(folder);
      const name = at === 1 ? o.origin : `${o.origin}/${at}`;
      const { size, state } = found;
      if ((state?.size ?? 0) > size) throw new BrokenTree(`${state?.size} entries were signed and ${size} are there`);
      const bundle = bundleOf(found.growing);
      return {
        tree: openLogTree({ folder, origin: name, key, spares, found }),
        growing: createGrowingBundle({ ...options, bundle, isOnDisk: true }),
        ...{ origin: name, epoch: at, firstBundle: found.firstBundle, lastSeq: found.lastSeq },
      };
    };
    const at = readState(folder)?.epoch ?? 1;
    try {
      return attempt(at);
    } catch (thrown) {
      if (!(thrown instanceof BrokenTree)) throw thrown;
      const { lastSeq: last, state } = recoverLog(folder);
      const aside = setAside(folder, at);
      notify({ what: 'notice', message: `${folder} is not as it was signed: ${thrown.message}; kept in ${aside}` });
      const lostFrom = last + 1;
      const count = (state?.lastSeq ?? 0) - last;
      if (count > 0) {
        const loss = {
          reason: 'AUDIT_FILE_DAMAGED',
          from: lostFrom,
          count,
          path: folder,
          why: thrown.message,
        } as const;
        notify({ what: 'loss', loss });
      }
      const begun: LogState = { version: 1, size: 0, lastSeq: Math.max(last, state?.lastSeq ?? 0), epoch: at + 1 };
      writeFileAtomic(logFile.state(folder), `${JSON.stringify(begun)}\n`);
      return { ...attempt(at + 1), lastSeq: begun.lastSeq };
    }
  }

  /** The one that the next entry goes to. */
  const openBundle = (): Bundle => {
    const last = bundles.at(-1)!;
    if (!last.isFull) return last;
    const next = new Bundle(last.number + 1, done.pop());
    bundles.push(next);
    return next;
  };

  const growingOf = (bundle: Bundle): GrowingBundle => createGrowingBundle({ ...options, bundle, isOnDisk: false });

  /** A bundle that is on the disk is part of the log, and moved to its place when it is full. */
  const settle = (one: GrowingBundle): void => {
    const { bundle, durable: before } = one;
    one.settle();
    if (bundle.count > before) lastSeq = bundle.range.last;
    tree.add(bundle.leavesFrom(before));
    if (!bundle.isFull) return;
    tree.writeTiles(o.now());
    one.seal();
    bytesOf.set(bundle.number, bundle.bytes);
    ranges.set(bundle.number, bundle.range);
    bundles.shift();
    growing.shift();
    if (done.length < mostDone) done.push(bundle);
    if (bundles.length === 0) bundles.push(new Bundle(bundle.number + 1, done.pop()));
    growing[0] ??= growingOf(bundles[0]!);
  };

  /** Makes the first so many bundles durable, as far as the disk takes them; their names all at once. */
  const commit = (count: number): void => {
    const written: GrowingBundle[] = [];
    let hasNewNames = false;
    let fault: unknown;
    try {
      for (const [at, bundle] of bundles.slice(0, count).entries()) {
        growing[at] ??= growingOf(bundle);
        hasNewNames = growing[at]!.write() || hasNewNames;
        written.push(growing[at]!);
      }
    } catch (thrown) {
      fault = thrown;
    }
    try {
      if (hasNewNames) {
        // The journal of a file system keeps the order of names: with these, those of files that were moved away before are there for good.
        syncFolder(logFile.growing(folder));
        for (const each of [spares.files, spares.tiles]) each.settle();
      }
    } catch (thrown) {
      for (const one of written) one.distrust();
      throw thrown;
    }
    for (const one of written) settle(one);
    if (fault) throw fault;
  };

  const noteReleased = (): void => {
    const through = released.settled;
    if (noted.through === through && noted.dropped === dropped) return;
    try {
      writeReleased(folder, { through, dropped }, { isSynced: false });
      noted = { through, dropped };
    } catch (thrown) {
      notify({ what: 'notice', message: `what was received could not be noted: ${messageOf(thrown)}` });
    }
  };

  /** On return it is durable that records up to this one may be missing. Throws when the disk does not take it. */
  const noteGoing = (last: number): void => {
    const through = released.settled;
    if (last <= certain && through >= noted.through) return;
    // Of bundles to come too: a log that drops what nobody has received has enough to sync.
    if (through < last) dropped = last + droppedAhead;
    writeReleased(folder, { through, dropped }, { isSynced: true });
    noted = { through, dropped };
    certain = Math.max(through, dropped);
  };

  /** Sequences of a bundle, or nothing when it is not what was left there. */
  const rangeOf = (bundle: number): { first: number; last: number } | undefined => {
    const known = ranges.get(bundle);
    if (known) return known;
    const { entries } = splitBundle(readIfThere(logFile.bundle(folder, bundle)) ?? Buffer.alloc(0));
    const [first, last] = [parseEntry(entries[0]?.toString()), parseEntry(entries.at(-1)?.toString())];
    return first && last ? { first: first.seq, last: last.seq } : undefined;
  };

  /** What gap records of a bundle declare that nobody has received. */
  const gapsOf = (bundle: number): Loss[] => {
    const { entries } = splitBundle(readIfThere(logFile.bundle(folder, bundle)) ?? Buffer.alloc(0));
    return entries.flatMap((entry) => {
      const gap = gapIn(entry);
      return gap && gap.seq > released.through ? gap.loss : [];
    });
  };

  const drop = (bundle: number, range = rangeOf(bundle)): void => {
    // Before it goes: whoever opens the log next must not take it for lost, and must know where the hashes went on.
    if ((bundle + 1) * tileWidth > tree.published) writer.publish();
    noteGoing(range?.last ?? certain + 1);
    for (const path of [logFile.bundle(folder, bundle), logFile.clear(folder, bundle)]) spares.files.take(path);
    spares.tiles.take(`${folder}/${tilePath(0, bundle)}`);
    bytesOf.delete(bundle);
    ranges.delete(bundle);
    firstBundle = Math.max(firstBundle, bundle + 1);
  };

  /** The last one says where the log goes on, until something behind it is durable. */
  const isNeeded = (): boolean => bytesOf.size === 1 && growing[0]!.durable === 0;

  const makeRoom = (): void => {
    let used = bundles.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const bytes of bytesOf.values()) used += bytes;
    for (const [bundle, bytes] of bytesOf) {
      if (used <= o.maxBytes || isNeeded()) return;
      const range = rangeOf(bundle);
      const isLost = range && range.last > Math.max(released.through, lost);
      if (isLost) {
        if (!o.mayDrop) throw new Error(`its size limit of ${o.maxBytes} bytes is reached`);
        const from = Math.max(released.through + 1, range.first);
        const loss = { reason: 'AUDIT_RETENTION', from, count: range.last - from + 1 } as const;
        const gaps = gapsOf(bundle);
        const settled = Math.min(released.settled, ...gaps.map((gap) => gap.from - 1));
        released = { ...released, settled };
        noteGoing(range.last);
        for (const gap of gaps) notify({ what: 'undeclared', loss: gap });
        notify({ what: 'loss', loss: { ...loss, path: folder, why: 'the log is full' } });
        lost = range.last;
      }
      drop(bundle, range);
      used -= bytes;
    }
  };

  const dropOld = (): void => {
    const oldest = o.now() - o.maxAgeMs;
    for (const bundle of bytesOf.keys()) {
      const found = statIfThere(logFile.bundle(folder, bundle));
      if (found && found.mtimeMs >= oldest) return;
      const range = rangeOf(bundle);
      if ((range && range.last > released.through) || isNeeded()) return;
      drop(bundle, range);
    }
  };

  const writer: LogWriter = {
    get standing() {
      const size = bundles[0]!.number * tileWidth + growing[0]!.durable;
      return { durable: lastSeq, size, firstBundle, verifierKey, origin };
    },
    add({ rests, clear, seqs }) {
      const [bytes, clearBytes] = [asBuffer(rests), asBuffer(clear)];
      const lines = splitLines(clearBytes);
      let [start, clearFrom, clearEnd] = [2, 0, 0];
      for (let at = 0; at < seqs.length; at++) {
        const line = lines[at]!;
        const bundle = openBundle();
        const end = start + bytes.readUInt16BE(start - 2);
        // Of the rest all but its opening brace.
        bundle.add({ text: `{"blinded":{${commitmentsOf(line)}},`, bytes, start: start + 1, end, seq: seqs[at]! });
        start = end + 2;
        clearEnd = clearBytes.indexOf(lineFeed, clearEnd) + 1;
        if (!bundle.isFull && at < seqs.length - 1) continue;
        bundle.addClear(clearBytes.subarray(clearFrom, clearEnd));
        clearFrom = clearEnd;
      }
    },
    commit({ mayWait } = { mayWait: false }) {
      makeRoom();
      growing[0]!.inspect();
      keepLogKey(folder, key);
      const full = bundles.filter(({ isFull }) => isFull).length;
      commit(mayWait && full > 0 ? full : bundles.length);
    },
    publish() {
      const state: LogState = { version: 1, size: tree.size, lastSeq, epoch };
      noteReleased();
      const { durable, durableEntries: entries } = growing[0]!;
      // A full one that could not be moved to its place is no beginning of the next.
      const count = durable % tileWidth;
      return tree.publish({ growing: { count, entries }, state, now: o.now() });
    },
    release({ through, settled }) {
      released = { through: Math.max(released.through, through), settled };
    },
    prune() {
      try {
        dropOld();
      } catch (thrown) {
        notify({ what: 'notice', message: `what is past its age could not be dropped: ${messageOf(thrown)}` });
      }
      // A busy log has used them since; an idle one shall not keep what it has dropped.
      spares.files.erase();
    },
    close() {
      noteReleased();
      spares.files.erase();
      for (const one of growing) one.close();
    },
  };
  return writer;
}

/** The bundle of what was read from a disk. */
function bundleOf({ bundle: number, entries, clears }: Recovered['growing']): Bundle {
  const bundle = new Bundle(number);
  for (const entry of entries) bundle.add({ text: entry, seq: parseEntry(entry)?.seq ?? 0 });
  bundle.addClear(Buffer.from(clears.map((line) => `${line}\n`).join('')));
  return bundle;
}

/** Moves everything but the key out of the way, and gives where it is now. */
function setAside(folder: string, epoch: number): string {
  let aside = `${folder}/set-aside-${epoch}`;
  while (existsSync(aside)) aside += '-';
  mkdirSync(aside, { mode: 0o700 });
  for (const name of ['checkpoint', 'witnessed', 'tile', 'clear', 'growing', 'state.json'])
    moveIfThere(`${folder}/${name}`, `${aside}/${name}`);
  return aside;
}

/** What comes from another thread is no `Buffer` any more. */
function asBuffer({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}

function statIfThere(path: string) {
  return statSync(path, { throwIfNoEntry: false });
}

function sizeOfBundle(folder: string, bundle: number): number {
  return (
    (statIfThere(logFile.bundle(folder, bundle))?.size ?? 0) + (statIfThere(logFile.clear(folder, bundle))?.size ?? 0)
  );
}
