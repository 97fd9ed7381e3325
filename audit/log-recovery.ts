// What a log's folder holds after whatever happened to it: finishes a move that a crash interrupted, cuts a torn tail, and says where the
// sequence goes on. Never removes a complete entry.
import { existsSync, mkdirSync, truncateSync } from 'node:fs';
import { makePrivateFolder, writeFileAtomic } from '#base/files';
import { check, type Static, s } from '#base/schema';
import { moveIfThere, syncFolder, syncIfThere } from './disk.ts';
import { listBundles, listGrowing, logFile, readIfThere, splitBundle, splitLines } from './log-files.ts';
import type { Loss, LossReason } from './losses.ts';
import { tileWidth } from './merkle/tile-path.ts';

/** What is written before each checkpoint. */
export const logState = s.object({
  version: s.literal(1),
  size: s.integer({ minimum: 0 }),
  lastSeq: s.integer({ minimum: 0 }),
  /** How often the log had to begin anew. */
  epoch: s.integer({ minimum: 1 }),
  /** The hashes of so many bundles are known to be on the disk; of all when it is not said. */
  tiles: s.optional(s.integer({ minimum: 0 })),
});
export type LogState = Static<typeof logState>;

export interface Recovered {
  /** Entries that are whole, those no longer kept included. */
  readonly size: number;
  /** The lowest bundle that is kept. */
  readonly firstBundle: number;
  /** The bundle that is being filled. */
  readonly growing: { readonly bundle: number; readonly entries: string[]; readonly clears: string[] };
  /** Of the last entry; 0 when there is none. */
  readonly lastSeq: number;
  /** Who wrote the last entry. */
  readonly author: { readonly instance: string; readonly service: string } | undefined;
  /** The last entry was half written, and has been cut off. */
  readonly torn: boolean;
  readonly state: LogState | undefined;
}

/** `isLenient`: does not throw when a disk that fails or is full does not take again what is on it; the writer does, and tries again. */
export function recoverLog(folder: string, { isLenient } = { isLenient: false }): Recovered {
  makePrivateFolder(folder);
  mkdirSync(logFile.growing(folder), { recursive: true, mode: 0o700 });
  try {
    writeGrowing(folder);
  } catch (thrown) {
    if (!isLenient) throw thrown;
  }
  finishMoves(folder);
  const bundles = listBundles(folder);
  const last = bundles.at(-1);
  const next = last === undefined ? (listGrowing(folder)[0] ?? 0) : last + 1;
  const { torn, ...growing } = readGrowing(folder, next);
  const lastEntry = parseEntry(growing.entries.at(-1) ?? lastEntryOf(folder, last));
  return {
    size: next * tileWidth + growing.entries.length,
    firstBundle: bundles[0] ?? next,
    growing: { bundle: next, ...growing },
    lastSeq: lastEntry?.seq ?? 0,
    author: lastEntry,
    torn,
    state: readState(folder),
  };
}

/** The number that the last complete entry of a text says, and who wrote it; what it declares when it is a gap record. */
export function parseEntry(
  text: string | undefined,
): { seq: number; instance: string; service: string; gap?: Loss } | undefined {
  try {
    const { seq, instance, service, kind, reason, lost, lostFrom } = JSON.parse(text ?? '') as Record<string, unknown>;
    if (!Number.isSafeInteger(seq)) return undefined;
    const author = { seq: seq as number, instance: String(instance ?? ''), service: String(service ?? '') };
    if (kind !== 'gap') return author;
    return { ...author, gap: { reason: reason as LossReason, from: Number(lostFrom), count: Number(lost) } };
  } catch {
    return undefined;
  }
}

/** What an entry declares missing, when it is a gap record; few are, so most are not parsed. */
export function gapIn(entry: Buffer): { readonly seq: number; readonly loss: Loss } | undefined {
  const parsed = entry.includes('"kind":"gap"') ? parseEntry(entry.toString()) : undefined;
  return parsed?.gap && { seq: parsed.seq, loss: parsed.gap };
}

export function readState(folder: string): LogState | undefined {
  try {
    const value: unknown = JSON.parse(String(readIfThere(logFile.state(folder)) ?? ''));
    return check(logState, value).length === 0 ? (value as LogState) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * What a process wrote that was killed before it could sync is read as part of the log, and must be on the disk before anybody counts on that. It is
 * written again and not only synced: when a sync has failed, then or now, the next one succeeds without what the first one lost.
 */
function writeGrowing(folder: string): void {
  for (const bundle of listGrowing(folder))
    for (const path of [logFile.growingEntries(folder, bundle), logFile.growingClear(folder, bundle)]) {
      const bytes = readIfThere(path);
      if (!bytes) continue;
      try {
        writeFileAtomic(path, bytes);
      } catch {
        // No room for a second copy.
        syncIfThere(path);
        syncFolder(logFile.growing(folder));
      }
    }
}

function finishMoves(folder: string): void {
  for (const bundle of listGrowing(folder)) {
    const entries = readIfThere(logFile.growingEntries(folder, bundle));
    const isMoved = !entries && existsSync(logFile.bundle(folder, bundle));
    const clear = readIfThere(logFile.growingClear(folder, bundle));
    // What comes behind one that is not full was never durable.
    if (!isMoved && splitBundle(entries ?? Buffer.alloc(0)).entries.length < tileWidth) return;
    if (clear ? splitLines(clear).length < tileWidth : !isMoved) return;
    moveIfThere(logFile.growingEntries(folder, bundle), logFile.bundle(folder, bundle));
    moveIfThere(logFile.growingClear(folder, bundle), logFile.clear(folder, bundle));
  }
}

/** An entry counts when it and the line beside it are whole: they become durable together. */
function readGrowing(folder: string, bundle: number): { entries: string[]; clears: string[]; torn: boolean } {
  const [entriesPath, clearPath] = [logFile.growingEntries(folder, bundle), logFile.growingClear(folder, bundle)];
  const entriesBytes = readIfThere(entriesPath) ?? Buffer.alloc(0);
  const clearBytes = readIfThere(clearPath) ?? Buffer.alloc(0);
  const lines = splitLines(clearBytes);
  const texts = splitBundle(entriesBytes).entries.slice(0, tileWidth).map(String);
  const bad = texts.findIndex((text, at) => !parseEntry(text) || !isObject(lines[at]));
  const count = bad < 0 ? texts.length : bad;
  const [entries, clears] = [texts.slice(0, count), lines.slice(0, count)];
  const wholeEntries = entries.reduce((sum, entry) => sum + 2 + Buffer.byteLength(entry), 0);
  const wholeClear = clears.reduce((sum, line) => sum + 1 + Buffer.byteLength(line), 0);
  if (wholeEntries < entriesBytes.length) truncateSync(entriesPath, wholeEntries);
  if (wholeClear < clearBytes.length) truncateSync(clearPath, wholeClear);
  return { entries, clears, torn: wholeEntries < entriesBytes.length || wholeClear < clearBytes.length };
}

function lastEntryOf(folder: string, bundle: number | undefined): string | undefined {
  if (bundle === undefined) return undefined;
  return splitBundle(readIfThere(logFile.bundle(folder, bundle)) ?? Buffer.alloc(0))
    .entries.at(-1)
    ?.toString();
}

function isObject(line: string | undefined): boolean {
  try {
    return typeof JSON.parse(line ?? '') === 'object';
  } catch {
    return false;
  }
}
