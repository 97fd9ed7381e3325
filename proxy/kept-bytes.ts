// Bytes that wait, first come first out, in memory of its own. They cost about what they are; a lot of them lies in slabs, which go round. Nobody keeps
// what is shown of it.
import { leastSlab, type Slab, takeSlab } from './slabs.ts';

interface Block {
  readonly bytes: Buffer;
  readonly slab: Slab | undefined;
  from: number;
  to: number;
}

/** The first block is as large as what comes first; the next ones as all before them, up to this. */
const mostBlock = 65_536;

export class KeptBytes {
  length = 0;
  #blocks: Block[] = [];
  #shown: Block[] | undefined;

  /** Copies them. */
  add(bytes: Buffer): void {
    for (let from = 0; from < bytes.length; ) {
      let block = this.#blocks.at(-1);
      if (!block || block.to === block.bytes.length) {
        block = this.#block(bytes.length - from);
        this.#blocks.push(block);
      }
      const size = bytes.copy(block.bytes, block.to, from);
      block.to += size;
      from += size;
      this.length += size;
    }
  }

  /** The oldest ones, `most` at most; they stay. */
  first(most: number): Buffer {
    const { bytes, from, to } = this.#blocks[0]!;
    return bytes.subarray(from, Math.min(to, from + most));
  }

  /** Removes so many of what `first` has shown. */
  drop(count: number): void {
    const block = this.#blocks[0]!;
    block.from += count;
    this.length -= count;
    if (block.from === block.to) this.#blocks.shift()!.slab?.giveBack();
  }

  /** Removes a block of the oldest ones, shows it to `use` and lets go of its memory. */
  shift(use: (bytes: Buffer) => void): void {
    const block = this.#blocks.shift()!;
    this.length -= block.to - block.from;
    use(block.bytes.subarray(block.from, block.to));
    block.slab?.giveBack();
  }

  /** Shows all of them, in order; they stay. Ends early when `use` clears them. */
  each(use: (bytes: Buffer) => void): void {
    const blocks = this.#blocks;
    this.#shown = blocks;
    for (const { bytes, from, to } of blocks) if (blocks === this.#blocks) use(bytes.subarray(from, to));
    this.#shown = undefined;
    if (blocks !== this.#blocks) giveBack(blocks);
  }

  clear(): void {
    // Who is being shown them may still look.
    if (this.#blocks !== this.#shown) giveBack(this.#blocks);
    this.#blocks = [];
    this.length = 0;
  }

  #block(size: number): Block {
    const wanted = Math.min(mostBlock, Math.max(size, this.length));
    const slab = wanted < leastSlab ? undefined : takeSlab(wanted);
    return { bytes: slab?.bytes ?? Buffer.allocUnsafe(wanted), slab, from: 0, to: 0 };
  }
}

function giveBack(blocks: readonly Block[]): void {
  for (const { slab } of blocks) slab?.giveBack();
}
