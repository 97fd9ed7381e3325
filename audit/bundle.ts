// A bundle in memory: up to 256 entries as the bytes that its files get, and their hashes side by side. It holds no object for any of them: at ten
// thousand entries a second, collecting those costs more than hashing.
import { Bytes } from './bytes.ts';
import { hashBytes, hashedText } from './merkle/hash.ts';
import { tileWidth } from './merkle/tile-path.ts';

export interface NewEntry {
  /** The entry is this text and, behind it, these bytes. */
  readonly text: string;
  readonly bytes?: Buffer;
  readonly start?: number;
  readonly end?: number;
  readonly seq: number;
}

export class Bundle {
  readonly number: number;
  /** As they are framed in the bundle's file. */
  readonly entries: Bytes;
  /** Lines of clear values. */
  readonly clear: Bytes;
  /** As a tile of level 0 has them. */
  readonly #leaves: Buffer;
  #count = 0;
  #firstSeq = 0;
  #lastSeq = 0;

  /** `done`: one that is no longer needed, whose memory this one takes over. */
  constructor(number: number, done?: Bundle) {
    this.number = number;
    this.entries = done?.entries ?? new Bytes();
    this.clear = done?.clear ?? new Bytes();
    this.#leaves = done ? done.#leaves : Buffer.alloc(tileWidth * hashBytes);
    this.entries.empty();
    this.clear.empty();
  }

  /** Of entries. */
  get count(): number {
    return this.#count;
  }

  /** Sequences of the first and the last entry; 0 before the first. */
  get range(): { readonly first: number; readonly last: number } {
    return { first: this.#firstSeq, last: this.#lastSeq };
  }

  get isFull(): boolean {
    return this.#count === tileWidth;
  }

  get bytes(): number {
    return this.entries.length + this.clear.length;
  }

  /** The hashes of the entries from `start` on. */
  leavesFrom(start: number): Buffer {
    return this.#leaves.subarray(start * hashBytes, this.#count * hashBytes);
  }

  /** Its line of clear values is added by `addClear`. */
  add({ text, bytes, start, end, seq }: NewEntry): void {
    const entry = this.entries.frame(text, bytes, start, end);
    // A leaf is hashed with a zero byte before it (RFC 6962 section 2.1): the second byte of the length makes room for that.
    const leaf = this.entries.from(entry - 1);
    const kept = leaf[0]!;
    leaf[0] = 0;
    this.#leaves.write(hashedText(leaf), this.#count * hashBytes, 'latin1');
    leaf[0] = kept;
    if (this.#count++ === 0) this.#firstSeq = seq;
    this.#lastSeq = seq;
  }

  /** Lines of clear values, each with its line feed, of the entries that were added last. */
  addClear(lines: Uint8Array): void {
    this.clear.append(lines);
  }
}
