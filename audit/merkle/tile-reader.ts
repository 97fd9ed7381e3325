// Hashes of a tree from the tiles in a folder. Believes nothing: whoever needs to know compares the root with a signed checkpoint.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hashBytes, perfectRoot } from './hash.ts';
import { tilePath, tileWidth, widthOf } from './tile-path.ts';
import type { HashAt } from './tree.ts';

/** At least `width` hashes of a tile, from the full tile or any partial one that is wide enough; `undefined` when there is none. */
export function readTile(
  folder: string,
  tile: { readonly level: number; readonly index: number; readonly width: number },
): Uint8Array[] | undefined {
  const { level, index, width } = tile;
  const full = join(folder, tilePath(level, index));
  const partials = (): string[] => {
    try {
      const widths = readdirSync(`${full}.p`).filter((name) => /^[0-9]{1,3}$/.test(name) && Number(name) >= width);
      return widths.sort((a, b) => Number(a) - Number(b)).map((name) => join(`${full}.p`, name));
    } catch {
      return [];
    }
  };
  for (const path of [full, ...partials()]) {
    try {
      const bytes = readFileSync(path);
      if (bytes.length >= width * hashBytes) return splitHashes(bytes);
    } catch {
      // The next one will do.
    }
  }
  return undefined;
}

/** Subtree roots of the tree that has `size` leaves. Keeps the tiles it has read; throws when one is missing. */
export function createTileReader(folder: string, size: number): HashAt {
  const kept = new Map<string, Uint8Array[]>();
  return (level, index) => {
    const tileLevel = Math.floor(level / 8);
    const count = 2 ** (level % 8);
    const tile = Math.floor((index * count) / tileWidth);
    const start = (index * count) % tileWidth;
    const width = widthOf({ level: tileLevel, index: tile, size });
    const key = `${tileLevel}/${tile}`;
    const hashes = kept.get(key) ?? readTile(folder, { level: tileLevel, index: tile, width });
    if (!hashes || start + count > hashes.length) throw new MissingTile(folder, tilePath(tileLevel, tile, width));
    kept.set(key, hashes);
    return perfectRoot(hashes, start, count);
  };
}

/** A proof needs hashes that are not there. */
export class MissingTile extends Error {
  readonly path: string;
  constructor(folder: string, path: string) {
    super(`${join(folder, path)} is missing`);
    this.path = path;
  }
}

export function splitHashes(bytes: Buffer): Uint8Array[] {
  return Array.from({ length: Math.floor(bytes.length / hashBytes) }, (_, at) =>
    bytes.subarray(at * hashBytes, (at + 1) * hashBytes),
  );
}
