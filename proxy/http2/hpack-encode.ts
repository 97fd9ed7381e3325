// Fields as header blocks (RFC 7541), at the least cost: no Huffman, one look-up a field, and a dynamic table that takes only what has come twice
// in a row or has a name without an index. Secrets are never indexed (section 7.1.3). Bytes go straight into the output.
import type { Output } from '../output.ts';
import { entryOverhead, staticEntries, staticTable, tableBytes } from './hpack-table.ts';

/** What is known about a name on this connection. */
interface Name {
  /** Place in the static table, or 0. */
  readonly index: number;
  readonly isSecret: boolean;
  /** Value sent last without being indexed. */
  last: string | undefined;
  /** Value of the newest entry in the dynamic table, and the number of that entry. */
  indexed: string;
  entry: number;
}

/** Names remembered; when there are more, all are forgotten. */
const mostNames = 256;
/** Larger entries would drive too many others out. */
const largestEntry = tableBytes / 4;
const slots = tableBytes / entryOverhead;
/** Up to this length a loop beats the call into the runtime. */
const shortText = 16;
/** Most bytes of a field beside its name and value: three integers. */
export const fieldOverhead = 12;

const secrets = new Set(['authorization', 'proxy-authorization', 'cookie', 'set-cookie']);

export class HpackEncoder {
  readonly #names = new Map<string, Name>();
  #limit = tableBytes;
  /** The smallest limit since the last block, when a size update is due. */
  #lowest: number | undefined;
  /** Entries made so far and still alive; entry n weighs `#sizes[n % slots]`. */
  #made = 0;
  #alive = 0;
  #bytes = 0;
  readonly #sizes = new Uint16Array(slots);

  /** What the other side allows for its table (SETTINGS_HEADER_TABLE_SIZE). */
  setLimit(bytes: number): void {
    const limit = Math.min(bytes, tableBytes);
    if (limit === this.#limit) return;
    this.#lowest = Math.min(limit, this.#lowest ?? limit);
    this.#limit = limit;
    this.#evict(limit);
  }

  /** Begins a block. The output must have room for it all. */
  begin(out: Output): void {
    if (this.#lowest === undefined) return;
    if (this.#lowest < this.#limit) integer(out, 0x20, 0x1f, this.#lowest);
    integer(out, 0x20, 0x1f, this.#limit);
    this.#lowest = undefined;
  }

  field(out: Output, name: string, value: string): void {
    const known = this.#names.get(name) ?? this.#learn(name);
    const isAlive = known.entry > this.#made - this.#alive;
    if (isAlive && known.indexed === value) return integer(out, 0x80, 0x7f, this.#indexOf(known));
    const index = isAlive ? this.#indexOf(known) : 0;
    const best = known.index === 0 ? index : known.index;
    if (known.isSecret) literal(out, 0x10, 0x0f, best, name, value);
    else if ((value === known.last || best === 0) && this.#insert(known, name, value))
      literal(out, 0x40, 0x3f, best, name, value);
    else {
      known.last = value;
      literal(out, 0x00, 0x0f, best, name, value);
    }
  }

  fields(out: Output, fields: readonly string[]): void {
    for (let at = 0; at < fields.length; at += 2) this.field(out, fields[at]!, fields[at + 1]!);
  }

  #learn(name: string): Name {
    if (this.#names.size >= mostNames) this.#names.clear();
    const known = {
      index: staticNames.get(name) ?? 0,
      isSecret: secrets.has(name),
      last: undefined,
      indexed: '',
      entry: 0,
    };
    this.#names.set(name, known);
    return known;
  }

  #indexOf({ entry }: Name): number {
    return staticEntries + 1 + this.#made - entry;
  }

  #insert(known: Name, name: string, value: string): boolean {
    const size = name.length + value.length + entryOverhead;
    if (size > largestEntry || size > this.#limit) return false;
    this.#evict(this.#limit - size);
    this.#made++;
    this.#alive++;
    this.#bytes += size;
    this.#sizes[this.#made % slots] = size;
    known.indexed = value;
    known.entry = this.#made;
    return true;
  }

  #evict(most: number): void {
    while (this.#bytes > most) {
      this.#bytes -= this.#sizes[(this.#made - this.#alive + 1) % slots]!;
      this.#alive--;
    }
  }
}

/** A field that is in the static table as a whole. */
export function staticField(out: Output, index: number): void {
  out.bytes[out.at++] = 0x80 | index;
}

const staticNames: ReadonlyMap<string, number> = new Map(
  staticTable.flatMap((entry, index) => (entry ? [[entry.name, index] as const] : [])).reverse(),
);

function literal(out: Output, pattern: number, mask: number, index: number, name: string, value: string): void {
  integer(out, pattern, mask, index);
  if (index === 0) text(out, name);
  text(out, value);
}

function integer(out: Output, pattern: number, mask: number, value: number): void {
  const { bytes } = out;
  if (value < mask) {
    bytes[out.at++] = pattern | value;
    return;
  }
  bytes[out.at++] = pattern | mask;
  let left = value - mask;
  while (left > 127) {
    bytes[out.at++] = (left & 127) | 128;
    left >>>= 7;
  }
  bytes[out.at++] = left;
}

/** Texts are latin1: each character is one byte. */
function text(out: Output, value: string): void {
  const { length } = value;
  integer(out, 0, 0x7f, length);
  const { bytes, at } = out;
  if (length <= shortText) for (let index = 0; index < length; index++) bytes[at + index] = value.charCodeAt(index);
  else bytes.write(value, at, 'latin1');
  out.at = at + length;
}
