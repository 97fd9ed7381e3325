// Bytes that a codec has not read yet, always in one piece. They are lent by the connection for the time of one call; what is left of them afterwards is
// copied, a lot of it into a slab, and stands at the front of what comes next.
import { giveSlab, slabBytes, takeSlab } from './slabs.ts';

const nothing = Buffer.alloc(0);
/** Up to this many bytes have memory of their size. */
const mostSmall = 4_096;

export class Unread {
  bytes: Buffer = nothing;
  #isLent = false;
  #slab: Buffer | undefined;

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
    if (bytes.length > mostSmall && bytes.length <= slabBytes) this.#inSlab(bytes);
    else this.bytes = Buffer.from(bytes);
  }

  clear(): void {
    this.bytes = nothing;
    this.#isLent = false;
    if (this.#slab) giveSlab(this.#slab);
    this.#slab = undefined;
  }

  #append(more: Buffer): void {
    const { bytes } = this;
    this.#isLent = false;
    const size = bytes.length + more.length;
    if (size > slabBytes || (size <= mostSmall && !this.#slab)) {
      this.bytes = Buffer.concat([bytes, more]);
      if (this.#slab) giveSlab(this.#slab);
      this.#slab = undefined;
    } else {
      this.#inSlab(bytes);
      more.copy(this.#slab!, bytes.length);
      this.bytes = this.#slab!.subarray(0, size);
    }
  }

  /** To the front of the slab, where they may be already. */
  #inSlab(bytes: Buffer): void {
    const slab = this.#slab ?? takeSlab();
    this.#slab = slab;
    if (bytes.buffer !== slab.buffer || bytes.byteOffset !== slab.byteOffset) bytes.copy(slab);
    this.bytes = slab.subarray(0, bytes.length);
  }
}
