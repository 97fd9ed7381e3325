// Which addresses are meant by a list of them and of blocks, such as 10.0.0.0/24.
import { inSpans, parseAddress, readBlock, type Span } from '#policy';

export interface AddressSet {
  /** False for what is no address. */
  has(address: string | undefined): boolean;
}

/** Throws on what is neither an address nor a block. */
export function addressSet(blocks: readonly string[]): AddressSet {
  const spans: Span[] = blocks.map((text) => {
    const span = readBlock(text);
    if (typeof span === 'string') throw new TypeError(`${text}: ${span}`);
    return span;
  });
  return {
    has(address) {
      if (spans.length === 0 || address === undefined) return false;
      const number = parseAddress(address);
      return number !== undefined && inSpans(spans, number);
    },
  };
}
