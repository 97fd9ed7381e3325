// What a connection will write at the end of this turn. Small frames are put one after the other into one piece of memory; large bodies go by
// reference. Memory once handed over is never written to again.

/** Bodies up to this many bytes are copied: one write of one buffer is cheaper than a gathering one. */
const copyLimit = 4_096;
const leastSlab = 2_048;
const mostSlab = 32_768;
const nothing = Buffer.alloc(0);

export class Output {
  /** Where frames are written: `bytes` from `at`, after `room`. */
  bytes: Buffer = nothing;
  at = 0;
  /** Counts hand-overs: what was written under the same number can still be changed. */
  generation = 0;
  #from = 0;
  #pieces: Buffer[] = [];
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
    this.bytes = Buffer.allocUnsafe(Math.max(size, leastSlab, Math.min(mostSlab, this.#lastTurn * 2)));
    this.at = this.#from = 0;
  }

  /** Adds bytes that nobody changes any more. */
  add(bytes: Buffer): void {
    if (bytes.length > copyLimit) {
      this.#close();
      this.#pieces.push(bytes);
      this.#pieceBytes += bytes.length;
      return;
    }
    this.room(bytes.length);
    bytes.copy(this.bytes, this.at);
    this.at += bytes.length;
  }

  /** Hands everything over, in order; false when the last one said so. */
  take(write: (piece: Buffer) => boolean): boolean {
    this.#lastTurn = this.queued;
    this.#close();
    this.generation++;
    const pieces = this.#pieces;
    let more = true;
    if (pieces.length === 1) {
      const only = pieces[0]!;
      pieces.length = 0;
      this.#pieceBytes = 0;
      return write(only);
    }
    this.#pieces = [];
    this.#pieceBytes = 0;
    for (const piece of pieces) more = write(piece);
    return more;
  }

  /** Lets go of memory that an idle connection does not need. */
  release(): void {
    if (this.queued > 0) return;
    this.bytes = nothing;
    this.at = this.#from = 0;
  }

  #close(): void {
    if (this.at === this.#from) return;
    this.#pieces.push(this.bytes.subarray(this.#from, this.at));
    this.#pieceBytes += this.at - this.#from;
    this.#from = this.at;
  }
}
