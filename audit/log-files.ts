// The files of a log's folder: where they are and how bundles of entries, and the clear values beside them, are read. Never writes.
//   checkpoint, tile/...     as c2sp.org/tlog-tiles has them
//   clear/<N>                the values that entries only commit to: line i belongs to entry i of bundle N
//   growing/<N>.*            the bundle that is being filled; moved to its place when it is full
//   spare/                   files of bundles that are gone, for those that come next
//   key.pem, state.json, released, witnessed
import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundlePath, numberPath, parseNumberPath } from './merkle/tile-path.ts';

/** No entry is longer than this in bytes (c2sp.org/tlog-tiles: a length is a uint16). */
export const longestEntry = 65_535;

export const logFile = {
  checkpoint: (folder: string): string => join(folder, 'checkpoint'),
  /** The last checkpoint that the witness cosigned. */
  witnessed: (folder: string): string => join(folder, 'witnessed'),
  state: (folder: string): string => join(folder, 'state.json'),
  released: (folder: string): string => join(folder, 'released'),
  key: (folder: string): string => join(folder, 'key.pem'),
  growing: (folder: string): string => join(folder, 'growing'),
  growingEntries: (folder: string, bundle: number): string => join(folder, 'growing', `${bundle}.entries`),
  growingClear: (folder: string, bundle: number): string => join(folder, 'growing', `${bundle}.clear`),
  spare: (folder: string): string => join(folder, 'spare', 'files'),
  spareTiles: (folder: string): string => join(folder, 'spare', 'tiles'),
  bundle: (folder: string, bundle: number): string => join(folder, bundlePath(bundle)),
  clear: (folder: string, bundle: number): string => join(folder, 'clear', numberPath(bundle)),
} as const;

/** The complete entries at the beginning of a bundle, and how many bytes they take. */
export function splitBundle(bytes: Buffer): { readonly entries: Buffer[]; readonly bytes: number } {
  const entries: Buffer[] = [];
  let at = 0;
  while (at + 2 <= bytes.length) {
    const end = at + 2 + bytes.readUInt16BE(at);
    if (end > bytes.length) break;
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return { entries, bytes: at };
}

/** Complete lines, without their line feeds. */
export function splitLines(bytes: Buffer): string[] {
  return bytes.toString('utf8').split('\n').slice(0, -1);
}

/** `undefined` when there is no such file. */
export function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw thrown;
  }
}

/** Numbers of the full bundles in a folder, lowest first. */
export function listBundles(folder: string): number[] {
  return listNumbers(join(folder, 'tile', 'entries'));
}

export function listNumbers(folder: string): number[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map(parseNumberPath)
      .filter((index) => index !== undefined)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

/** Numbers of the bundles that have a file among the growing ones. */
export function listGrowing(folder: string): number[] {
  const names = readdirSync(logFile.growing(folder));
  const numbers = names.flatMap((name) => /^([0-9]+)\.(entries|clear)$/.exec(name)?.[1] ?? []).map(Number);
  return [...new Set(numbers)].sort((a, b) => a - b);
}

export function closeQuietly(file: number | undefined): void {
  try {
    if (file !== undefined) closeSync(file);
  } catch {
    // It is gone already.
  }
}
