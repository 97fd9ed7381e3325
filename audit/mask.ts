// Erasing values that were recorded: the entry keeps its commitment, so every hash and proof stays valid. What is erased here is gone for good.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { writeFileAtomic } from '#base/files';
import type { ClearValues, MaskableField } from './entry.ts';
import { listBundles, listGrowing, logFile, readIfThere, splitBundle, splitLines } from './log-files.ts';

export interface MaskOptions {
  readonly folder: string;
  readonly fields: readonly MaskableField[];
  /** Records that began before then, epoch milliseconds. */
  readonly before?: number | undefined;
  readonly id?: string | undefined;
  /** Nothing writes this log now: its newest records, in the bundle that is not full, are masked too. */
  readonly isStopped: boolean;
}

/** Returns how many values were erased, and how many matching records were left because they are still being written. */
export function maskLog(o: MaskOptions): { readonly erased: number; readonly left: number } {
  const { folder, isStopped } = o;
  let [erased, left] = [0, 0];
  for (const bundle of listBundles(folder)) {
    const entries = splitBundle(readFileSync(logFile.bundle(folder, bundle))).entries;
    erased += maskLines(logFile.clear(folder, bundle), entries, o);
  }
  for (const bundle of existsSync(logFile.growing(folder)) ? listGrowing(folder) : []) {
    const bytes = readIfThere(logFile.growingEntries(folder, bundle)) ?? Buffer.alloc(0);
    const { entries } = splitBundle(bytes);
    if (isStopped) erased += maskLines(logFile.growingClear(folder, bundle), entries, o);
    else left += entries.filter((entry) => isMeant(entry, o)).length;
  }
  // Of bundles that were dropped; a running writer erases them by itself.
  if (isStopped)
    for (const spare of [logFile.spare(folder), logFile.spareTiles(folder)])
      rmSync(spare, { recursive: true, force: true });
  return { erased, left };
}

function maskLines(path: string, entries: readonly Buffer[], o: MaskOptions): number {
  let erased = 0;
  const lines = splitLines(readIfThere(path) ?? Buffer.alloc(0)).map((line, at) => {
    if (!entries[at] || !isMeant(entries[at], o)) return line;
    const values = { ...(JSON.parse(line) as ClearValues) } as Record<string, ClearValues[string]>;
    for (const field of o.fields) {
      if (!values[field]) continue;
      values[field] = null;
      erased++;
    }
    return JSON.stringify(values);
  });
  if (erased > 0) writeFileAtomic(path, lines.map((line) => `${line}\n`).join(''));
  return erased;
}

function isMeant(entry: Buffer, { before, id }: MaskOptions): boolean {
  const { time, id: found } = JSON.parse(entry.toString()) as { time: string; id?: string };
  return (before === undefined || Date.parse(time) < before) && (id === undefined || id === found);
}
