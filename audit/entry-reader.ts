// Records read back from a log's folder, by sequence. Only what was durable when it was asked for; entries that are unreadable are left out
// (a hole in the sequence shows them), and a bundle that is gone is reported.

import { isValid } from '#base/schema';
import type { DecisionRecord } from '#wire';
import { decisionRecord } from '#wire';
import { recordOfEntry } from './entry.ts';
import { logFile, readIfThere, splitBundle, splitLines } from './log-files.ts';
import { gapIn, parseEntry } from './log-recovery.ts';
import { tileWidth } from './merkle/tile-path.ts';

export interface EntryReader {
  /** The lowest sequence that is kept, or that a gap record beside it declares missing; `undefined` when nothing is kept. */
  accountsFrom(): number | undefined;
  /** Records with `from <= seq <= through`, from one bundle; empty when there are none. */
  read(o: { readonly from: number; readonly through: number; readonly limit: number }): DecisionRecord[];
}

export interface EntryReaderOptions {
  readonly folder: string;
  /** The lowest bundle that is kept, and the number of durable entries. */
  readonly standing: () => { readonly firstBundle: number; readonly size: number };
  /** A bundle is not where it was left; sequences `from` to `to` were in it. */
  readonly onMissing: (o: { readonly from: number; readonly to: number; readonly path: string }) => void;
}

export function createEntryReader({ folder, standing, onMissing }: EntryReaderOptions): EntryReader {
  const firstSeqs = new Map<number, number>();
  const missing = new Set<number>();
  let cursor = { bundle: 0, seq: Number.POSITIVE_INFINITY };

  const entriesOf = (bundle: number): Buffer[] => {
    const bytes = readIfThere(logFile.bundle(folder, bundle)) ?? readIfThere(logFile.growingEntries(folder, bundle));
    return splitBundle(bytes ?? Buffer.alloc(0)).entries;
  };
  const firstSeqOf = (bundle: number): number | undefined => {
    const known = firstSeqs.get(bundle);
    if (known !== undefined) return known;
    const seq = entriesOf(bundle)
      .map((entry) => parseEntry(entry.toString())?.seq)
      .find((found) => found !== undefined);
    if (seq !== undefined) firstSeqs.set(bundle, seq);
    return seq;
  };

  /** From where on a bundle accounts for every sequence: its first one, or one before it that a gap record in it declares missing. */
  const accountsFrom = (bundle: number): number | undefined => {
    let first = firstSeqOf(bundle);
    if (first === undefined) return undefined;
    for (const entry of entriesOf(bundle)) {
      const gap = gapIn(entry)?.loss;
      if (gap && gap.from < first && gap.from + gap.count >= first) first = gap.from;
    }
    return first;
  };

  /** The first bundle that may hold `from`. */
  const bundleOf = (from: number, range: { low: number; high: number }): number => {
    if (from >= cursor.seq && cursor.bundle >= range.low) return Math.min(cursor.bundle, range.high);
    let { low, high } = range;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      // One that cannot be read tells nothing: look in all before it.
      if ((firstSeqOf(middle) ?? Number.POSITIVE_INFINITY) <= from) low = middle;
      else high = middle - 1;
    }
    return low;
  };

  const report = (bundle: number, next: number): void => {
    if (missing.has(bundle)) return;
    missing.add(bundle);
    const before = entriesOf(bundle - 1).at(-1);
    const from = (parseEntry(before?.toString())?.seq ?? 0) + 1;
    if (next > from) onMissing({ from, to: next - 1, path: logFile.bundle(folder, bundle) });
  };

  return {
    accountsFrom: () => accountsFrom(standing().firstBundle),
    read({ from, through, limit }) {
      const { firstBundle, size } = standing();
      const range = { low: firstBundle, high: Math.max(firstBundle, Math.ceil(size / tileWidth) - 1) };
      for (let bundle = bundleOf(from, range); bundle <= range.high; bundle++) {
        const count = Math.min(tileWidth, size - bundle * tileWidth);
        const entries = entriesOf(bundle);
        const clear = readIfThere(logFile.clear(folder, bundle)) ?? readIfThere(logFile.growingClear(folder, bundle));
        const lines = splitLines(clear ?? Buffer.alloc(0));
        if (entries.length === 0 && bundle < range.high) {
          const next = accountsFrom(bundle + 1);
          if (next !== undefined) report(bundle, next);
          continue;
        }
        const records = entries
          .slice(0, count)
          .map((entry, at) => recordOfEntry(entry.toString(), lines[at], bundle * tileWidth + at))
          .filter((record) => record !== undefined && isValid(decisionRecord, record))
          .filter((record) => record!.seq >= from && record!.seq <= through) as DecisionRecord[];
        if (records.length === 0) continue;
        const found = records.slice(0, limit);
        cursor = { bundle, seq: found.at(-1)!.seq };
        return found;
      }
      return [];
    },
  };
}
