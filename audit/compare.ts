// Are the records that somebody received those that are in the log? Each is made into an entry again and compared with the one at its place; the log itself is
// checked by `verifyLog`. Reads only.
import { existsSync } from 'node:fs';
import type { DecisionRecord } from '#wire';
import { entryOfRecord, type MaskableField } from './entry.ts';
import { listBundles, listGrowing, logFile, readIfThere, splitBundle } from './log-files.ts';
import { parseEntry } from './log-recovery.ts';
import { tileWidth } from './merkle/tile-path.ts';

export interface Comparison {
  readonly folder: string;
  readonly instance: string;
  same: number;
  /** Values of theirs were erased, so that they cannot be made again. */
  masked: number;
  /** Their bundle is no longer kept. */
  pruned: number;
  readonly different: { readonly id: string; readonly seq: number; readonly what: string }[];
}

export interface Comparer {
  readonly result: Comparison;
  /** Records of other instances are passed over. */
  add(record: DecisionRecord): void;
}

const mostTold = 1_000;

/** `undefined` for a log without any entry, which says nothing about whose it is. */
export function createComparer(folder: string): Comparer | undefined {
  let held = { bundle: -1, entries: [] as readonly string[] };
  const entriesOf = (bundle: number): readonly string[] => {
    if (held.bundle === bundle) return held.entries;
    const bytes = readIfThere(logFile.bundle(folder, bundle)) ?? readIfThere(logFile.growingEntries(folder, bundle));
    held = { bundle, entries: splitBundle(bytes ?? Buffer.alloc(0)).entries.map(String) };
    return held.entries;
  };
  const instance = authorOf(folder);
  if (instance === undefined) return undefined;
  const result: Comparison = { folder, instance, same: 0, masked: 0, pruned: 0, different: [] };
  const differs = ({ id, seq }: DecisionRecord, what: string): void => {
    if (result.different.length < mostTold) result.different.push({ id, seq, what });
  };
  return {
    result,
    add(record) {
      if (record.instance !== instance) return;
      const { index, salts } = record;
      if (index === undefined || salts === undefined) return differs(record, 'it does not say where in the log it is');
      if (Object.keys(salts).some((field) => record[field as MaskableField] === undefined)) {
        result.masked++;
        return;
      }
      const entries = entriesOf(Math.floor(index / tileWidth));
      const entry = entries[index % tileWidth];
      if (entries.length === 0) result.pruned++;
      else if (entry === undefined) differs(record, `the log has no entry ${index}`);
      else if (hidesMore(entry, salts)) result.masked++;
      else if (entry !== entryOfRecord(record)) differs(record, `entry ${index} of the log is another one`);
      else result.same++;
    },
  };
}

/** Values that had been erased in the log before the record was sent. */
function hidesMore(entry: string, salts: Readonly<Record<string, string>>): boolean {
  try {
    const { blinded = {} } = JSON.parse(entry) as { blinded?: object };
    return Object.keys(blinded).some((field) => !(field in salts));
  } catch {
    return false;
  }
}

/** Who wrote the log. */
function authorOf(folder: string): string | undefined {
  for (const bundle of [...listBundles(folder), ...(existsSync(logFile.growing(folder)) ? listGrowing(folder) : [])]) {
    const bytes = readIfThere(logFile.bundle(folder, bundle)) ?? readIfThere(logFile.growingEntries(folder, bundle));
    const [first] = splitBundle(bytes ?? Buffer.alloc(0)).entries;
    const author = first && parseEntry(String(first))?.instance;
    if (author) return author;
  }
  return undefined;
}
