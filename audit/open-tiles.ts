// The right edge of a growing tree: at each level the hashes of the tile that is not full yet. Enough to add leaves, to know the root and
// to say which tiles have become full; what is full goes to the disk and is forgotten here.
import { emptyRoot, nodeHash, perfectRoot } from './merkle/hash.ts';
import { tileWidth } from './merkle/tile-path.ts';

export interface FullTile {
  readonly level: number;
  readonly index: number;
  readonly hashes: readonly Uint8Array[];
}

export interface OpenTiles {
  /** Number of leaves. */
  readonly size: number;
  /** Adds leaves up to the end of the lowest tile at most; returns the tiles that are full now, lowest level first. */
  add(leaves: readonly Uint8Array[]): readonly FullTile[];
  root(): Uint8Array;
  /** The tiles that are not full, without empty ones. */
  partial(): readonly FullTile[];
}

/** `levels`: hashes of the open tile of each level, as they were left. */
export function createOpenTiles(start: number, levels: readonly (readonly Uint8Array[])[] = []): OpenTiles {
  let size = start;
  const open: Uint8Array[][] = levels.map((hashes) => [...hashes]);
  return {
    get size() {
      return size;
    },
    add(leaves) {
      if ((open[0]?.length ?? 0) + leaves.length > tileWidth) throw new RangeError('more leaves than the tile takes');
      const full: FullTile[] = [];
      open[0] ??= [];
      open[0].push(...leaves);
      size += leaves.length;
      for (let level = 0; open[level]?.length === tileWidth; level++) {
        const hashes = open[level]!;
        const index = Math.floor(size / tileWidth ** (level + 1)) - 1;
        full.push({ level, index, hashes });
        open[level] = [];
        open[level + 1] ??= [];
        open[level + 1]!.push(perfectRoot(hashes, 0, tileWidth));
      }
      return full;
    },
    root() {
      let root: Uint8Array | undefined;
      for (const hashes of open) {
        // Peaks from the right: the smallest subtree is the last one.
        for (let end = hashes.length, peak = 1; end > 0; peak *= 2) {
          if (end % (peak * 2) === 0) continue;
          const found = perfectRoot(hashes, end - peak, peak);
          root = root ? nodeHash(found, root) : found;
          end -= peak;
        }
      }
      return root ?? emptyRoot;
    },
    partial: () =>
      open.flatMap((hashes, level) =>
        hashes.length > 0 ? [{ level, index: Math.floor(size / tileWidth ** (level + 1)), hashes: [...hashes] }] : [],
      ),
  };
}
