// Memory for bodies on their way through. What V8 must free itself costs: at a gigabyte a second it ran collections of the whole heap, a third of the
// CPU, for the sake of buffers that had been written out long before. So large pieces of memory go round instead, and whoever has one gives it back.
// Their sizes are powers of two: no more than half of one is of no use.

/** Less than this is left to Node, which cuts it from memory of its own. */
export const leastSlab = 16_384;
/** More than the bytes of a connection that may wait to be written (`bufferBytes`), so that they leave in one piece. */
export const mostSlab = 262_144;
/** Bytes kept of each size that nobody uses. */
const mostFree = 4_194_304;
const free: Buffer[][] = [];
let spoil = false;

/** At least so many bytes, `mostSlab` at most. */
export function takeSlab(bytes: number): Buffer {
  const order = 32 - Math.clz32(Math.max(bytes, leastSlab) - 1);
  return free[order]?.pop() ?? Buffer.allocUnsafeSlow(2 ** order);
}

/** Whoever gives it back has nothing of it in use, nor has anybody that it was shown to. */
export function giveSlab(slab: Buffer): void {
  if (spoil) slab.fill(0xdb);
  const order = 31 - Math.clz32(slab.length);
  free[order] ??= [];
  const same = free[order];
  if ((same.length + 1) * slab.length <= mostFree) same.push(slab);
}

/** For tests: memory that is given back is written over, so that a use of it afterwards shows. */
export function spoilSlabs(): void {
  spoil = true;
}
