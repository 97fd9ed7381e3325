// Bytes that a codec has not read yet, always in one piece. They are lent by the connection for the time of one call; what is left of them afterwards is
// copied, a lot of it into a slab, and stands at the front of what comes next.
import { leastSlab, mostSlab, type Slab, takeSlab } from './slabs.ts';

const nothing = Buffer.alloc(0);

export class Unread {
  bytes: Buffer = nothing;
  #isLent = false;
  #slab: Slab | undefined;

  /** What has just come. Until `settle` it is not copied. */
  lend(bytes: Buffer): void {
    if (this.bytes.length === 0) {
      this.bytes = bytes;
      this.#isLent = true;
    } else this.#append(bytes);
  }

  /** Those are read; what was shown of them is still there until `settle`. */
  drop(count: number): void {
    this.bytes = this.bytes.subarray(count);
  }

  /** Copies what is still lent, and lets go of memory that is not needed: nobody looks at what was shown any more. */
  settle(): void {
    const { bytes } = this;
    if (bytes.length === 0) return this.clear();
    if (!this.#isLent) return;
    this.#isLent = false;
    this.bytes = this.#own(bytes, nothing);
  }

  clear(): void {
    this.bytes = nothing;
    this.#isLent = false;
    this.#giveBack();
  }

  #append(more: Buffer): void {
    this.#isLent = false;
    this.bytes = this.#own(this.bytes, more);
  }

  /** Both in memory of this object, one after the other: what it has, when there is room. */
  #own(bytes: Buffer, more: Buffer): Buffer {
    const size = bytes.length + more.length;
    let slab = this.#slab;
    if (!slab || slab.bytes.length < size) {
      if (size < leastSlab || size > mostSlab) {
        const all = Buffer.concat([bytes, more]);
        this.#giveBack();
        return all;
      }
      slab = takeSlab(size);
    }
    const memory = slab.bytes;
    if (bytes.buffer !== memory.buffer || bytes.byteOffset !== memory.byteOffset) bytes.copy(memory);
    more.copy(memory, bytes.length);
    if (this.#slab !== slab) this.#giveBack();
    this.#slab = slab;
    return memory.subarray(0, size);
  }

  #giveBack(): void {
    this.#slab?.giveBack();
    this.#slab = undefined;
  }
}
