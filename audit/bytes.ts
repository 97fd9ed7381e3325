// Bytes that are added to at their end, in memory that is used again. Entries among them are framed as tlog-tiles has it: each with its length
// before it, as a big-endian uint16.
import { longestEntry } from './log-files.ts';

const usualBytes = 128 * 1024;
/** Threads are told less often of larger pieces; what of them was never written to takes no memory. */
export const sharedBytes = 4 * usualBytes;
const none: Buffer = Buffer.alloc(0);

export class Bytes {
  readonly #isShared: boolean;
  readonly #usual: number;
  #memory: Buffer;
  #length = 0;

  /** `shared`: in memory that other threads may read, which must not begin anew before they have. Such memory does not hasten its own collection. */
  constructor(sharing?: 'shared') {
    this.#isShared = sharing === 'shared';
    this.#usual = this.#isShared ? sharedBytes : usualBytes;
    this.#memory = this.#allocate(this.#usual);
  }

  get length(): number {
    return this.#length;
  }

  /** Good until more is added. */
  from(start: number, end = this.#length): Buffer {
    return this.#memory.subarray(start, end);
  }

  /** Begins anew; room for what was unusually much is given back. */
  empty(): void {
    if (this.#memory.length > 4 * this.#usual) this.#memory = this.#allocate(this.#usual);
    this.#length = 0;
  }

  add(text: string): void {
    this.#reserve(3 * text.length);
    this.#length += this.#memory.write(text, this.#length);
  }

  append(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#memory.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Adds an entry of a text and of bytes behind it; returns where it begins. */
  frame(text: string, bytes = none, start = 0, end = bytes.length): number {
    this.#reserve(2 + 3 * text.length + end - start);
    const entry = this.#length + 2;
    const split = entry + this.#memory.write(text, entry);
    const length = split + bytes.copy(this.#memory, split, start, end) - entry;
    if (length > longestEntry) throw new RangeError(`an entry of ${length} bytes is too long`);
    this.#memory.writeUInt16BE(length, entry - 2);
    this.#length = entry + length;
    return entry;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#memory.length) return;
    const larger = this.#allocate(Math.max(this.#memory.length * 2, needed));
    larger.set(this.from(0));
    this.#memory = larger;
  }

  #allocate(bytes: number): Buffer {
    return this.#isShared ? Buffer.from(new SharedArrayBuffer(bytes)) : Buffer.allocUnsafeSlow(bytes);
  }
}
