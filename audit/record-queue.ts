// Records on their way to the disk, as bytes from the moment they are appended, and for a while after they are there. Holds no object for any of them:
// records that live until they are durable outlive a collection of young garbage, and at ten thousand a second that cost more than writing them.
import { Bytes, sharedBytes } from './bytes.ts';
import type { NewRecord } from './canonical.ts';
import { type MaskableField, splitRecord, textOfHalves } from './entry.ts';
import { splitBundle, splitLines } from './log-files.ts';
import type { Batch } from './log-writer.ts';

/** A record that is durable: its sequence, and its JSON as it is sent. */
export interface RecordLine {
  readonly seq: number;
  readonly text: string;
}

/** Records that are handed to the writer together. */
class Part {
  /** Shared with the writer's thread, so that nothing is copied on the way. */
  readonly rests = new Bytes('shared');
  readonly clear = new Bytes('shared');
  readonly #seqs = new Float64Array(new SharedArrayBuffer(mostInPart * Float64Array.BYTES_PER_ELEMENT));
  count = 0;
  /** Where the first one is in the log; unknown until the part was handed over, and nothing is added to it from then on. */
  index: number | undefined;

  get first(): number {
    return this.#seqs[0]!;
  }

  get last(): number {
    return this.count === 0 ? 0 : this.#seqs[this.count - 1]!;
  }

  /** How many of its records come before the first whose sequence is higher. */
  countThrough(seq: number): number {
    if (seq >= this.last) return this.count;
    let count = 0;
    while (this.#seqs[count]! <= seq) count++;
    return count;
  }

  /** Before its memory would have to grow, unless single records are very large. */
  get isFull(): boolean {
    return this.rests.length > mostBytes || this.clear.length > mostBytes || this.count === mostInPart;
  }

  add(record: NewRecord, seq: number, maskable: readonly MaskableField[]): void {
    const { rest, clear } = splitRecord(record, seq, maskable);
    this.rests.frame(rest);
    this.clear.add(`${clear}\n`);
    this.#seqs[this.count++] = seq;
  }

  /** What the writer gets: all but the records up to `durable`. */
  batch(durable: number): Batch {
    const seqs = this.#seqs.subarray(0, this.count);
    const batch = { rests: this.rests.from(0), clear: this.clear.from(0), seqs };
    const first = this.countThrough(durable);
    if (first === 0 || first === this.count) return batch;
    const from = splitBundle(batch.rests).entries[first]!.byteOffset - batch.rests.byteOffset - 2;
    const lines = splitLines(batch.clear).slice(0, first);
    const clearFrom = Buffer.byteLength(lines.join('\n')) + 1;
    return { rests: this.rests.from(from), clear: this.clear.from(clearFrom), seqs: seqs.subarray(first) };
  }

  /** Adds lines of what is in it, from one sequence to another. */
  read(lines: RecordLine[], o: { from: number; through: number; limit: number }): void {
    const rests = splitBundle(this.rests.from(0)).entries;
    const clears = splitLines(this.clear.from(0));
    const end = this.countThrough(o.through);
    for (let at = this.countThrough(o.from - 1); at < end && lines.length < o.limit; at++) {
      const halves = { rest: rests[at]!.toString(), clear: clears[at]! };
      lines.push({ seq: this.#seqs[at]!, text: textOfHalves(halves, this.index! + at) });
    }
  }

  empty(): void {
    this.rests.empty();
    this.clear.empty();
    this.count = 0;
    this.index = undefined;
  }
}

const mostInPart = 512;
const mostBytes = sharedBytes * 0.75;
/** Durable records stay readable from memory until there are so many, or so many parts of them. */
const recentRecords = 2_048;
const recentParts = 16;
/** As many as wait when a disk holds everything up, so that what has come to stand for that is used again and not left to the collector. */
const spareParts = 72;

export class RecordQueue {
  readonly #maskable: readonly MaskableField[];
  /** In order: durable ones, then those that the writer has, then those that it does not have. */
  readonly #parts: Part[] = [];
  readonly #spare: Part[] = [];
  #durable = 0;
  /** Where in the log the next record comes that is handed over. */
  #end = 0;
  /** Of records that are not durable. */
  #waiting = 0;

  constructor(maskable: readonly MaskableField[]) {
    this.#maskable = [...maskable].sort();
  }

  /** Of records that are not durable. */
  get length(): number {
    return this.#waiting;
  }

  /** The first sequence that is in memory. */
  get first(): number | undefined {
    return this.#parts[0]?.first;
  }

  add(record: NewRecord, seq: number): void {
    let part = this.#parts.at(-1);
    if (!part || part.index !== undefined || part.isFull) {
      part = this.#spare.pop() ?? new Part();
      this.#parts.push(part);
    }
    part.add(record, seq, this.#maskable);
    this.#waiting++;
  }

  /** What the writer does not have; once it was taken, it counts as handed over. */
  *handOver(): Generator<Batch> {
    for (const part of this.#parts) {
      if (part.index !== undefined) continue;
      const batch = part.batch(this.#durable);
      part.index = this.#end - (part.count - batch.seqs.length);
      this.#end += batch.seqs.length;
      yield batch;
    }
  }

  /** The writer begins with a log of so many entries: of what is not durable it has nothing. */
  begin(size: number): void {
    this.#end = size;
    for (const part of this.#parts) if (part.last > this.#durable) part.index = undefined;
  }

  /** Everything up to here is durable; how many records became so, and where in the log the last of them is. */
  settle(through: number): { readonly count: number; readonly lastIndex: number } {
    let [count, lastIndex] = [0, -1];
    for (const part of this.#parts) {
      if (part.last <= this.#durable || part.index === undefined) continue;
      const end = part.countThrough(through);
      const more = end - part.countThrough(this.#durable);
      if (more <= 0) continue;
      count += more;
      lastIndex = part.index + end - 1;
    }
    this.#durable = Math.max(this.#durable, through);
    this.#waiting -= count;
    this.#trim();
    return { count, lastIndex };
  }

  /** Nothing up to here will be read again. */
  release(through: number): void {
    while (this.#isDurable(0) && this.#parts[0]!.last <= through) this.#drop();
  }

  /** Durable records from this sequence on, of those that are in memory. */
  read(from: number, limit: number): RecordLine[] {
    const lines: RecordLine[] = [];
    for (const part of this.#parts) {
      if (part.last < from) continue;
      if (part.index === undefined || lines.length >= limit) break;
      part.read(lines, { from, through: this.#durable, limit });
    }
    return lines;
  }

  #isDurable(at: number): boolean {
    const part = this.#parts[at];
    return part !== undefined && part.index !== undefined && part.last <= this.#durable;
  }

  #trim(): void {
    let [parts, records] = [0, 0];
    for (; this.#isDurable(parts); parts++) records += this.#parts[parts]!.count;
    for (; parts > recentParts || records > recentRecords; parts--) records -= this.#drop();
  }

  #drop(): number {
    const part = this.#parts.shift()!;
    const { count } = part;
    part.empty();
    if (this.#spare.length < spareParts) this.#spare.push(part);
    return count;
  }
}
