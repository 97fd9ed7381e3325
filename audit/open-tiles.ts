// The right edge of a growing tree: at each level the hashes of the tile that is not full yet, side by side in one buffer, so that a leaf costs
// no object. Enough to add leaves, to know the root and to say which tiles are full; what is full goes to the disk and is forgotten here.
import { emptyRoot, hashBytes, nodeHash, perfectRoot, rootOfTile } from './merkle/hash.ts';
import { tileWidth } from './merkle/tile-path.ts';

export interface TileBytes {
  readonly level: number;
  readonly index: number;
  readonly width: number;
  readonly bytes: Buffer;
}

export interface OpenTiles {
  /** Number of leaves. */
  readonly size: number;
  /** Adds leaves (their hashes, one after the other) up to the end of the lowest tile; returns the tiles that are full now, lowest level first. */
  add(leaves: Uint8Array): readonly TileBytes[];
  root(): Uint8Array;
  /** The tiles that are not full, without empty ones. */
  partial(): readonly TileBytes[];
}

interface Level {
  bytes: Buffer;
  width: number;
}

const emptyLevel = (): Level => ({ bytes: Buffer.alloc(tileWidth * hashBytes), width: 0 });

/** `levels`: hashes of the open tile of each level, as they were left. */
export function createOpenTiles(start: number, levels: readonly (readonly Uint8Array[])[] = []): OpenTiles {
  let size = start;
  const open = levels.map((hashes): Level => {
    const level = emptyLevel();
    for (const [at, hash] of hashes.entries()) level.bytes.set(hash, at * hashBytes);
    level.width = hashes.length;
    return level;
  });
  const levelAt = (level: number): Level => {
    open[level] ??= emptyLevel();
    return open[level];
  };
  return {
    get size() {
      return size;
    },
    add(leaves) {
      const lowest = levelAt(0);
      const count = leaves.length / hashBytes;
      if (lowest.width + count > tileWidth) throw new RangeError('more leaves than the tile takes');
      lowest.bytes.set(leaves, lowest.width * hashBytes);
      lowest.width += count;
      size += count;
      const full: TileBytes[] = [];
      for (let level = 0; open[level]?.width === tileWidth; level++) {
        const { bytes } = open[level]!;
        full.push({ level, index: Math.floor(size / tileWidth ** (level + 1)) - 1, width: tileWidth, bytes });
        open[level] = emptyLevel();
        const above = levelAt(level + 1);
        above.bytes.set(rootOfTile(bytes), above.width++ * hashBytes);
      }
      return full;
    },
    root() {
      let root: Uint8Array | undefined;
      for (const { bytes, width } of open) {
        const hashes = Array.from({ length: width }, (_, at) => bytes.subarray(at * hashBytes, (at + 1) * hashBytes));
        // Peaks from the right: the smallest subtree is the last one.
        for (let end = width, peak = 1; end > 0; peak *= 2) {
          if (end % (peak * 2) === 0) continue;
          const found = perfectRoot(hashes, end - peak, peak);
          root = root ? nodeHash(found, root) : found;
          end -= peak;
        }
      }
      return root ?? emptyRoot;
    },
    partial: () =>
      open.flatMap(({ bytes, width }, level) => {
        const index = Math.floor(size / tileWidth ** (level + 1));
        return width > 0 ? [{ level, index, width, bytes: bytes.subarray(0, width * hashBytes) }] : [];
      }),
  };
}
