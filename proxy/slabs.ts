// Memory for bodies on their way through. What V8 must free itself costs: at a gigabyte a second it ran collections of the whole heap, a third of the
// CPU, for the sake of buffers that had been written out long before. So large pieces of memory go round instead, and whoever has one gives it back.
// Their sizes are powers of two: no more than half of one is of no use.

/** Less than this is left to Node, which cuts it from memory of its own. */
export const leastSlab = 16_384;
/** More than the bytes of a connection that may wait to be written (`bufferBytes`), so that they leave in one piece. */
export const mostSlab = 262_144;
/** Bytes kept of each size that nobody uses. */
const mostFree = 4_194_304;
const spoiled = Buffer.alloc(mostSlab, 0xdb);
const free: Buffer[][] = [];
let spoil = false;

/**
 * Memory that somebody has until it is given back. The next one to take the memory has a `Slab` of their own: whoever gives this one back again, or looks
 * for bytes in it, can take nothing from them.
 */
class Slab {
  #bytes: Buffer | undefined;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get bytes(): Buffer {
    if (!this.#bytes) throw new TypeError('this memory was given back');
    return this.#bytes;
  }

  /** Whoever gives it back has nothing of it in use, nor has anybody that it was shown to. A second time nothing happens, and tests fail. */
  giveBack(): void {
    const bytes = this.#bytes;
    this.#bytes = undefined;
    if (bytes) keep(bytes);
    else if (spoil) throw new TypeError('this memory was given back before');
  }
}

export type { Slab };

/** At least so many bytes, `mostSlab` at most. */
export function takeSlab(bytes: number): Slab {
  const order = 32 - Math.clz32(Math.max(bytes, leastSlab) - 1);
  const known = free[order]?.pop();
  if (spoil && known && spoiled.compare(known, 0, known.length, 0, known.length) !== 0)
    throw new TypeError('somebody wrote to memory that was given back');
  return new Slab(known ?? Buffer.allocUnsafeSlow(2 ** order));
}

function keep(bytes: Buffer): void {
  if (spoil) spoiled.copy(bytes);
  const order = 31 - Math.clz32(bytes.length);
  free[order] ??= [];
  const same = free[order];
  if ((same.length + 1) * bytes.length <= mostFree) same.push(bytes);
}

/**
 * For tests, before anything is taken: memory that is given back is written over, so that whoever reads it afterwards shows; whoever writes to it shows
 * when it is taken the next time.
 */
export function spoilSlabs(): void {
  spoil = true;
}
