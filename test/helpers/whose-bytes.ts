// Bytes that say whose they are: of each exchange and direction others, at each place others. Whoever gets some looks whether they are the right ones.
import { createHash } from 'node:crypto';

/** A prime, so that no power of two of bytes is off by a whole number of them. */
const period = 65_521;
const mostRemembered = 400;

export type Direction = 'up' | 'down';

export class WhoseBytes {
  /** What came to somebody who should not have got it, or did not come. */
  readonly faults: string[] = [];
  /** Exchanges whose caller went away. Node's HTTP/2 client then says of half a body that it is the whole: nobody can tell. */
  readonly left = new Set<number>();
  /** By exchange: bodies that ended in good order and too soon. */
  readonly short = new Map<number, string>();
  /** Bytes that were looked at. */
  checked = 0;
  readonly #blocks = new Map<string, Buffer>();

  /** The bytes of this exchange in this direction, from `at`. */
  part(id: number, direction: Direction, at: number, size: number): Buffer {
    const block = this.#block(`${id} ${direction}`);
    const part = Buffer.allocUnsafe(size);
    for (let done = 0; done < size; ) done += block.copy(part, done, (at + done) % period);
    return part;
  }

  /** Takes what comes of them, in order. */
  reader(id: number, direction: Direction, where: string): { take(bytes: Buffer): void; readonly count: number } {
    const block = this.#block(`${id} ${direction}`);
    const { faults } = this;
    let count = 0;
    let isWrong = false;
    return {
      take: (bytes) => {
        this.checked += bytes.length;
        for (let done = 0; done < bytes.length && !isWrong; ) {
          const from = (count + done) % period;
          const size = Math.min(bytes.length - done, period - from);
          if (block.compare(bytes, done, done + size, from, from + size) !== 0) {
            isWrong = true;
            let first = 0;
            while (bytes[done + first] === block[from + first]) first++;
            const wrong = bytes.subarray(done + first, done + first + 24);
            faults.push(`${where} ${id} ${direction}, byte ${count + done + first}: ${this.#whose(wrong)}`);
          }
          done += size;
        }
        count += bytes.length;
      },
      get count() {
        return count;
      },
    };
  }

  /** Everything that is wrong, once all is over. */
  get problems(): string[] {
    return [...this.faults, ...[...this.short].flatMap(([id, what]) => (this.left.has(id) ? [] : [what]))];
  }

  #block(name: string): Buffer {
    const known = this.#blocks.get(name);
    if (known) return known;
    const made = createHash('shake256', { outputLength: period }).update(name).digest();
    this.#blocks.set(name, made);
    if (this.#blocks.size > mostRemembered) this.#blocks.delete(this.#blocks.keys().next().value!);
    return made;
  }

  #whose(wrong: Buffer): string {
    const hex = wrong.toString('hex');
    for (const [name, block] of this.#blocks) {
      const at = block.indexOf(wrong.subarray(0, 12));
      if (at >= 0) return `${hex} is byte ${at} of ${name}`;
    }
    return hex;
  }
}
