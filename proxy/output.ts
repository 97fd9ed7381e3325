// What a connection will write at the end of this turn, one after the other in as few pieces of memory as it takes: one write of one buffer is cheaper
// than a gathering one, and TLS makes its records of it without a gap. Memory once handed over is never written to again.
import { leastSlab, mostSlab, type Slab, takeSlab } from './slabs.ts';

/** A part of the output; `slab` when its memory has to be given back after it was written. */
export interface Piece {
  readonly bytes: Buffer;
  readonly slab: Slab | undefined;
}

const leastBlock = 2_048;
const nothing = Buffer.alloc(0);

export class Output {
  /** Where frames are written: `bytes` from `at`, after `room`. */
  bytes: Buffer = nothing;
  at = 0;
  /** Counts hand-overs: what was written under the same number can still be changed. */
  generation = 0;
  #from = 0;
  #slab: Slab | undefined;
  #pieces: Piece[] = [];
  #pieceBytes = 0;
  #lastTurn = 0;

  /** Bytes that wait. */
  get queued(): number {
    return this.#pieceBytes + this.at - this.#from;
  }

  /** Makes sure that `size` bytes can be written at `at`. */
  room(size: number): void {
    if (this.bytes.length - this.at >= size) return;
    this.#close();
    const likely = Math.max(leastBlock, Math.min(mostSlab, Math.max(this.#lastTurn, this.queued) * 2), size);
    this.#slab = likely >= leastSlab && likely <= mostSlab ? takeSlab(likely) : undefined;
    this.bytes = this.#slab?.bytes ?? Buffer.allocUnsafe(likely);
    this.at = this.#from = 0;
  }

  /** Adds a copy of these bytes, or of this latin1 text. */
  add(piece: Buffer | string): void {
    for (let from = 0; from < piece.length; ) {
      if (this.at === this.bytes.length) this.room(Math.min(piece.length - from, mostSlab));
      const size = Math.min(piece.length - from, this.bytes.length - this.at);
      if (typeof piece !== 'string') piece.copy(this.bytes, this.at, from, from + size);
      else this.bytes.write(size === piece.length ? piece : piece.slice(from, from + size), this.at, 'latin1');
      this.at += size;
      from += size;
    }
  }

  /** Adds a part of another output, which is not copied. */
  give(piece: Piece): void {
    this.#close();
    this.#pieces.push(piece);
    this.#pieceBytes += piece.bytes.length;
  }

  /** Hands everything over, in order; false when the last one said so. */
  take(write: (piece: Piece) => boolean): boolean {
    this.#lastTurn = this.queued;
    this.#close();
    this.generation++;
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#pieceBytes = 0;
    let more = true;
    for (const piece of pieces) more = write(piece);
    return more;
  }

  /** Lets go of memory that an idle connection does not need. */
  release(): void {
    if (this.queued > 0) return;
    this.bytes = nothing;
    this.at = this.#from = 0;
  }

  /** Ends the piece that is being written. A slab goes with it, so that it belongs to one piece only. */
  #close(): void {
    const slab = this.#slab;
    if (this.at > this.#from) {
      this.#pieces.push({ bytes: this.bytes.subarray(this.#from, this.at), slab });
      this.#pieceBytes += this.at - this.#from;
      this.#from = this.at;
    } else slab?.giveBack();
    if (!slab) return;
    this.#slab = undefined;
    this.bytes = nothing;
    this.at = this.#from = 0;
  }
}
