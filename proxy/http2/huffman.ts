// The Huffman code of HPACK (RFC 7541 appendix B), read through a table of 4-bit steps. Never reads or writes outside the given ranges.

/** Length in bits of the code of each byte and of EOS, one base-36 digit each. The code is canonical, so the lengths say it all. */
const lengths =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777878djde6f56565666577666567655677777fbedskmkkmm' +
  'mnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmnqqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu';
const endOfString = 256;

/** One step: the state after it in the low byte, the byte it completes above, and three bits. */
const completes = 1 << 16;
const fails = 1 << 17;
/** The text may end here: all bits since the last whole code are ones, and fewer than eight. */
const mayEnd = 1 << 18;

/** Steps by state and nibble. A state is an inner node of the code's tree. */
const steps = stepTable();

/** Decodes `source[from, to)` into `target` from 0; returns the bytes written, or -1 for what is no valid encoding. */
export function decodeHuffman(source: Uint8Array, from: number, to: number, target: Uint8Array): number {
  let state = 0;
  let size = 0;
  let step = mayEnd;
  for (let at = from; at < to; at++) {
    const byte = source[at]!;
    step = steps[(state << 4) | (byte >> 4)]!;
    if (step & completes) target[size++] = step >> 8;
    else if (step & fails) return -1;
    state = step & 255;
    step = steps[(state << 4) | (byte & 15)]!;
    if (step & completes) target[size++] = step >> 8;
    else if (step & fails) return -1;
    state = step & 255;
  }
  return step & mayEnd ? size : -1;
}

/** Bytes that a text of `size` encoded bytes can have at most: the shortest code has five bits. */
export function mostDecoded(size: number): number {
  return Math.ceil((size * 8) / 5);
}

function stepTable(): Uint32Array {
  // The tree: inner nodes are 0 and up, a leaf is -1 - symbol.
  const children: [number, number][] = [[0, 0]];
  const ones: number[] = [0];
  for (const { symbol, code, length } of canonicalCodes()) {
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const side = (code >> bit) & 1;
      if (children[node]![side] === 0) {
        children[node]![side] = children.push([0, 0]) - 1;
        ones.push(side === 1 && ones[node] !== -1 ? ones[node]! + 1 : -1);
      }
      node = children[node]![side]!;
    }
    children[node]![code & 1] = -1 - symbol;
  }
  const table = new Uint32Array(children.length * 16);
  for (let state = 0; state < children.length; state++)
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let flags = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const next = children[node]![(nibble >> bit) & 1]!;
        if (next === -1 - endOfString) flags |= fails;
        else if (next < 0) flags |= completes | ((-1 - next) << 8);
        node = Math.max(next, 0);
      }
      if (ones[node]! >= 0 && ones[node]! < 8) flags |= mayEnd;
      table[(state << 4) | nibble] = flags | node;
    }
  return table;
}

function canonicalCodes(): { symbol: number; code: number; length: number }[] {
  const symbols = [...lengths].map((digit, symbol) => ({ symbol, length: Number.parseInt(digit, 36) }));
  let code = 0;
  let last = 0;
  return symbols
    .sort((a, b) => a.length - b.length || a.symbol - b.symbol)
    .map(({ symbol, length }) => {
      code <<= length - last;
      last = length;
      return { symbol, length, code: code++ };
    });
}
