// Memory for bodies on their way through. What V8 must free itself costs: at a gigabyte a second it ran collections of the whole heap, a third of the
// CPU, for the sake of buffers that had been written out long before. So large pieces of memory go round instead, and whoever has one gives it back.

/** As much as one write of a socket takes at once (`bufferBytes`): whole TLS records. */
export const slabBytes = 131_072;
/** Those kept that nobody uses. */
const mostFree = 32;
const free: Buffer[] = [];
let spoil = false;

export function takeSlab(): Buffer {
  return free.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
}

/** Whoever gives it back has nothing of it in use, nor has anybody that it was shown to. */
export function giveSlab(slab: Buffer): void {
  if (spoil) slab.fill(0xdb);
  if (free.length < mostFree) free.push(slab);
}

/** For tests: memory that is given back is written over, so that a use of it afterwards shows. */
export function spoilSlabs(): void {
  spoil = true;
}
