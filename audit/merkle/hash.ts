// The hashes of an RFC 6962 tree (section 2.1): what a leaf and a node are. Leaves and nodes are hashed under different first bytes, so
// that neither can ever pass for the other.
import { hash } from 'node:crypto';

/** Bytes of a SHA-256 hash. */
export const hashBytes = 32;

/** MTH({}): the root of a tree without leaves. */
export const emptyRoot: Buffer = sha256('');

/** SHA-256(0x00 || entry). */
export function leafHash(entry: Uint8Array): Buffer {
  const input = Buffer.allocUnsafe(entry.length + 1);
  input[0] = 0;
  input.set(entry, 1);
  return sha256(input);
}

/** SHA-256 as latin1 text: a string costs the garbage collector less than a buffer. */
export function hashedText(input: Uint8Array): string {
  return hash('sha256', input, 'latin1');
}

const row = Buffer.alloc((256 * hashBytes) / 2);

/** The root over a full tile's 256 hashes, without an object for each. */
export function rootOfTile(tile: Buffer): Buffer {
  let from = tile;
  for (let width = 256; width > 1; width /= 2) {
    for (let at = 0; at < width; at += 2) {
      from.copy(pair, 1, at * hashBytes, (at + 2) * hashBytes);
      row.write(hashedText(pair), (at / 2) * hashBytes, 'latin1');
    }
    from = row;
  }
  return Buffer.from(row.subarray(0, hashBytes));
}

const pair = Buffer.alloc(1 + 2 * hashBytes, 1);

/** SHA-256(0x01 || left || right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  pair.set(left, 1);
  pair.set(right, 1 + hashBytes);
  return sha256(pair);
}

/** Of a tile's hashes `start` to `start + count`, a power of two: the root of the whole subtree over them. */
export function perfectRoot(hashes: readonly Uint8Array[], start: number, count: number): Uint8Array {
  if (count === 1) return hashes[start]!;
  const half = count / 2;
  return nodeHash(perfectRoot(hashes, start, half), perfectRoot(hashes, start + half, half));
}

/** A text answer copied into a buffer costs a third of a buffer answer. */
function sha256(input: string | Uint8Array): Buffer {
  return Buffer.from(hash('sha256', input, 'latin1'), 'latin1');
}
