// Whether a log's folder is what was signed: every entry against its hash, every hash against the root, the root against the signature,
// every clear value against its commitment. Reads only, needs nobody's help, and names the first thing that is wrong.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ClearValues, commitmentOf } from './entry.ts';
import { listBundles, listGrowing, logFile, readIfThere, splitBundle, splitLines } from './log-files.ts';
import { type Checkpoint, readCheckpoint, verifyCheckpoint } from './merkle/checkpoint.ts';
import { leafHash, perfectRoot } from './merkle/hash.ts';
import type { NoteKey } from './merkle/note.ts';
import { bundlePath, tileWidth, widthOf } from './merkle/tile-path.ts';
import { createTileReader, readTile } from './merkle/tile-reader.ts';
import { treeRoot } from './merkle/tree.ts';

export interface LogFault {
  /** Place in the log, from 0; absent when the fault is not about one record. */
  readonly index?: number;
  readonly seq?: number;
  readonly what: string;
}

export interface LogVerdict {
  readonly folder: string;
  readonly origin: string | undefined;
  /** Records that are signed. */
  readonly size: number;
  /** Records whose entries are still kept and were checked. */
  readonly checked: number;
  /** Records written after the last checkpoint, which nobody has signed yet. */
  readonly unsigned: number;
  /** Values that were erased on purpose. */
  readonly masked: number;
  /** What is wrong, the first record first; empty when the log is whole. */
  readonly faults: readonly LogFault[];
}

export interface VerifyOptions {
  readonly folder: string;
  readonly key: NoteKey;
  /** A checkpoint that somebody else kept: the log must contain its tree. */
  readonly against?: string | undefined;
}

const mostFaults = 1_000;

export function verifyLog({ folder, key, against }: VerifyOptions): LogVerdict {
  const faults: LogFault[] = [];
  const fault = (what: string, at: { index?: number; seq?: number } = {}): void => {
    if (faults.length < mostFaults) faults.push({ ...at, what });
  };
  const note = readIfThere(logFile.checkpoint(folder))?.toString();
  const checkpoint = note === undefined ? undefined : verifyCheckpoint(note, key);
  if (note === undefined && existsSync(logFile.state(folder))) fault('its checkpoint is gone');
  if (note !== undefined && !checkpoint)
    fault(`its checkpoint is not signed by ${key.name} with the key that was given`);
  for (const name of readdirSync(folder))
    if (/^set-aside-/.test(name)) fault(`the log before this one was broken and set aside in ${join(folder, name)}`);

  const size = checkpoint?.size ?? 0;
  const entries = checkEntries({ folder, size, fault });
  if (checkpoint) checkRoot({ folder, checkpoint, fault });
  // What a power cut leaves of it when it was being replaced is empty, or zeros.
  const kept = readIfThere(logFile.witnessed(folder))?.toString().replaceAll('\0', '') || undefined;
  for (const [name, other] of [
    ['the checkpoint to compare with', against],
    ['the witnessed checkpoint', kept],
  ] as const)
    if (other !== undefined && checkpoint) checkEarlier({ folder, name, checkpoint, earlier: other, key, fault });
  faults.sort((a, b) => (a.index ?? -1) - (b.index ?? -1));
  const firstNamed = faults.findIndex(({ index }) => index !== undefined);
  if (firstNamed > 0) faults.unshift(...faults.splice(firstNamed, 1));
  return { folder, origin: checkpoint?.origin ?? readCheckpoint(note ?? '')?.origin, size, ...entries, faults };
}

type Report = (what: string, at?: { index?: number; seq?: number }) => void;

function checkRoot(o: { folder: string; checkpoint: Checkpoint; fault: Report }): void {
  const { size, root } = o.checkpoint;
  try {
    const found = treeRoot(size, createTileReader(o.folder, size));
    if (Buffer.compare(found, root) !== 0) o.fault('its hashes do not add up to the root that was signed');
  } catch (thrown) {
    o.fault((thrown as Error).message);
  }
}

function checkEarlier(o: {
  folder: string;
  name: string;
  checkpoint: Checkpoint;
  earlier: string;
  key: NoteKey;
  fault: Report;
}): void {
  const { folder, name, checkpoint, fault } = o;
  const earlier = verifyCheckpoint(o.earlier, o.key);
  if (!earlier) return fault(`${name} is not one of this log, or not signed by its key`);
  if (earlier.size > checkpoint.size)
    return fault(`${earlier.size - checkpoint.size} records at the end are gone: ${name} has ${earlier.size}`, {
      index: checkpoint.size,
    });
  try {
    const found = treeRoot(earlier.size, createTileReader(folder, earlier.size));
    if (Buffer.compare(found, earlier.root) !== 0) fault(`${name} is of another history: records were changed since`);
  } catch (thrown) {
    fault((thrown as Error).message);
  }
}

function checkEntries({ folder, size, fault }: { folder: string; size: number; fault: Report }) {
  const bundles = listBundles(folder);
  const first = bundles[0] ?? Math.floor(size / tileWidth);
  const last = Math.max(bundles.at(-1) ?? 0, ...growingOf(folder), Math.ceil(size / tileWidth) - 1);
  let [checked, unsigned, masked] = [0, 0, 0];
  const order = createOrder(fault);
  for (let bundle = first; bundle <= last; bundle++) {
    const start = bundle * tileWidth;
    const signed = Math.max(0, Math.min(tileWidth, size - start));
    const copies = readCopies(folder, bundle, signed);
    const entries = copies[0] ?? [];
    const hashes = signed === 0 ? [] : readTile(folder, { level: 0, index: bundle, width: signed });
    if (!hashes) fault(`the hashes of records ${start} to ${start + signed - 1} are gone`, { index: start });
    else if (signed > 0) checkTile({ folder, bundle, size, hashes, fault });
    for (const copy of copies)
      for (let at = 0; at < signed && hashes; at++) {
        const entry = copy[at];
        const seq = entry && seqOf(entry);
        const where = { index: start + at, ...(seq ? { seq } : {}) };
        if (!entry) fault('the record is gone', where);
        else if (Buffer.compare(leafHash(entry), hashes[at]!) !== 0)
          fault('the record is not the one that was logged', where);
        else continue;
        break;
      }
    masked += checkClear({ folder, bundle, entries, fault });
    for (const [at, entry] of entries.entries()) order.note(start + at, entry);
    checked += Math.min(entries.length, signed);
    unsigned += Math.max(0, entries.length - signed);
  }
  return { checked, unsigned, masked };
}

/** The level above knows the root of every full tile, so that a tile changed along with its entries is found too. */
function checkTile(o: {
  folder: string;
  bundle: number;
  size: number;
  hashes: readonly Uint8Array[];
  fault: Report;
}): void {
  const { folder, bundle, size, hashes, fault } = o;
  const index = Math.floor(bundle / tileWidth);
  const width = widthOf({ level: 1, index, size });
  if (bundle % tileWidth >= width) return;
  const above = readTile(folder, { level: 1, index, width });
  if (above && Buffer.compare(perfectRoot(hashes, 0, tileWidth), above[bundle % tileWidth]!) !== 0)
    fault('records of this bundle and their hashes were changed', { index: bundle * tileWidth });
}

/** Each place where entries of a bundle are: its file, or the growing one and the part that was published of it. */
function readCopies(folder: string, bundle: number, signed: number): Buffer[][] {
  const full = readIfThere(logFile.bundle(folder, bundle));
  if (full) return [splitBundle(full).entries];
  const paths = [logFile.growingEntries(folder, bundle), join(folder, bundlePath(bundle, Math.max(1, signed)))];
  const found = paths.flatMap((path) => readIfThere(path) ?? []);
  return found.length > 0 ? found.map((bytes) => splitBundle(bytes).entries) : [[]];
}

/** Returns how many values were erased. */
function checkClear(o: { folder: string; bundle: number; entries: readonly Buffer[]; fault: Report }): number {
  const { folder, bundle, entries, fault } = o;
  const bytes = readIfThere(logFile.clear(folder, bundle)) ?? readIfThere(logFile.growingClear(folder, bundle));
  const lines = splitLines(bytes ?? Buffer.alloc(0));
  let masked = 0;
  for (const [at, entry] of entries.entries()) {
    const where = { index: bundle * tileWidth + at, seq: seqOf(entry) ?? 0 };
    const { blinded } = parse<{ blinded: Record<string, string> }>(entry.toString()) ?? {};
    if (!blinded) continue;
    const values = parse<ClearValues>(lines[at] ?? '');
    if (!values) {
      fault('the values beside the record are gone', where);
      continue;
    }
    for (const [field, commitment] of Object.entries(blinded)) {
      const pair = values[field];
      if (pair === null) masked++;
      else if (pair === undefined || commitmentOf(pair) !== commitment)
        fault(`its ${field} is not the one that was logged`, where);
    }
  }
  return masked;
}

/** Sequences rise, whatever the clock did. */
function createOrder(fault: Report) {
  let last = 0;
  return {
    note(index: number, entry: Buffer): void {
      const seq = seqOf(entry);
      if (seq === undefined) return;
      if (seq <= last) fault(`its sequence ${seq} does not follow ${last}`, { index, seq });
      last = Math.max(last, seq);
    },
  };
}

function growingOf(folder: string): number[] {
  try {
    return listGrowing(folder);
  } catch {
    return [];
  }
}

function seqOf(entry: Buffer): number | undefined {
  const seq = parse<{ seq?: number }>(entry.toString())?.seq;
  return Number.isSafeInteger(seq) ? seq : undefined;
}

function parse<T>(text: string): T | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as T) : undefined;
  } catch {
    return undefined;
  }
}
