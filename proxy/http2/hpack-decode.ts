// Header blocks as fields (RFC 7541). Strict, and bounded whatever comes: a block that decodes to more than the limits is read to its end, so
// that the table stays right, but nothing of the excess is kept. Never looks outside the block.

import { fieldKind, kindOf, nameFault, valueFault } from './field-kinds.ts';
import type { Entry } from './hpack-table.ts';
import { DynamicTable, entryOverhead, staticEntries, staticTable, tableBytes } from './hpack-table.ts';
import { decodeHuffman, mostDecoded } from './huffman.ts';
import { errorCode, LinkError } from './link-error.ts';

export interface BlockLimits {
  /** Names, values and 32 bytes for each field, in all (RFC 9113 section 6.5.2). */
  readonly listBytes: number;
  readonly fields: number;
}

/** More than this many size updates at the start of a block serve no purpose (section 4.2 needs two). */
const mostUpdates = 2;

export class HpackDecoder {
  /** Of the block read last: the `fieldKind` of each field. */
  readonly kinds: Uint8Array;
  /** Of the block read last: the `fieldFault` bits of all its fields. */
  fault = 0;
  /** The block read last went over a limit, and its fields are not all here. */
  isTooLarge = false;

  readonly #limits: BlockLimits;
  readonly #table = new DynamicTable();
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  /** What the string read last is made of: a place in the block, or in the bytes that Huffman decoding gave. */
  #text: Buffer = this.#bytes;
  #textFrom = 0;
  #textTo = 0;
  #fields: string[] = [];
  #listBytes = 0;

  constructor(limits: BlockLimits) {
    this.#limits = limits;
    this.kinds = new Uint8Array(limits.fields);
  }

  /** The fields of the whole block `bytes[from, to)`: name, value, name, value. Throws `LinkError` COMPRESSION_ERROR. */
  decode(bytes: Buffer, from: number, to: number): string[] {
    const fields: string[] = [];
    this.#bytes = bytes;
    this.#at = from;
    this.#end = to;
    this.#fields = fields;
    this.#listBytes = 0;
    this.fault = 0;
    this.isTooLarge = false;
    this.#readUpdates();
    while (this.#at < to) this.#readField(bytes[this.#at]!);
    this.#bytes = this.#text = nothing;
    this.#fields = none;
    return fields;
  }

  #readUpdates(): void {
    for (let count = 0; this.#at < this.#end && (this.#bytes[this.#at]! & 0xe0) === 0x20; count++) {
      const size = this.#integer(0x1f);
      if (size > tableBytes) refuse('a table size is above the one announced');
      if (count === mostUpdates) refuse('it has too many table size updates');
      this.#table.resize(size);
    }
  }

  #readField(first: number): void {
    if (first & 0x80) return this.#add(this.#entry(first < 0xff ? this.#short(first & 0x7f) : this.#integer(0x7f)));
    if (first & 0x40) {
      const entry = this.#literal(first < 0x7f ? this.#short(first & 0x3f) : this.#integer(0x3f));
      this.#table.insert(entry);
      return this.#add(entry);
    }
    if (first & 0x20) refuse('a table size update stands after a field');
    this.#literal((first & 0x0f) < 0x0f ? this.#short(first & 0x0f) : this.#integer(0x0f), true);
  }

  /** A field with a literal value; `passing` ones enter no table and are added here. */
  #literal(index: number, passing = false): Entry {
    let name: string;
    let kind: number;
    let fault: number;
    if (index === 0) {
      this.#string();
      fault = nameFault(this.#text, this.#textFrom, this.#textTo);
      name = this.#text.toString('latin1', this.#textFrom, this.#textTo);
      kind = kindOf(name);
    } else {
      const named = this.#entry(index);
      name = named.name;
      kind = named.kind;
      fault = named.nameFault;
    }
    this.#string();
    const whole = fault | valueFault(this.#text, this.#textFrom, this.#textTo);
    if (!passing || this.#fits(name.length + this.#textTo - this.#textFrom)) {
      const value = this.#text.toString('latin1', this.#textFrom, this.#textTo);
      if (!passing) return { name, value, kind, fault: whole, nameFault: fault };
      this.#push(name, value, kind, whole);
    }
    return unused;
  }

  #add(entry: Entry): void {
    if (this.#fits(entry.name.length + entry.value.length))
      this.#push(entry.name, entry.value, entry.kind, entry.fault);
  }

  #push(name: string, value: string, kind: number, fault: number): void {
    this.kinds[this.#fields.length >> 1] = kind;
    this.#fields.push(name, value);
    this.fault |= fault;
  }

  #fits(size: number): boolean {
    this.#listBytes += size + entryOverhead;
    if (this.#listBytes > this.#limits.listBytes || this.#fields.length >= this.#limits.fields * 2)
      this.isTooLarge = true;
    return !this.isTooLarge;
  }

  #entry(index: number): Entry {
    return (
      (index <= staticEntries ? staticTable[index] : this.#table.at(index - staticEntries - 1)) ??
      refuse('an index is outside the tables')
    );
  }

  /** An integer that fits its prefix. */
  #short(value: number): number {
    this.#at++;
    return value;
  }

  /** An integer with the prefix `mask` (section 5.1); at most four more bytes. */
  #integer(mask: number): number {
    let value = this.#bytes[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      if (this.#at >= this.#end) refuse('it ends inside an integer');
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return refuse('an integer is too large');
  }

  /** A string (section 5.2), left as a range of bytes. */
  #string(): void {
    if (this.#at >= this.#end) refuse('it ends before a string');
    const isHuffman = this.#bytes[this.#at]! >= 0x80;
    const size = this.#integer(0x7f);
    const from = this.#at;
    if (size > this.#end - from) refuse('it ends inside a string');
    this.#at = from + size;
    if (!isHuffman) {
      this.#text = this.#bytes;
      this.#textFrom = from;
      this.#textTo = from + size;
      return;
    }
    this.#text = Buffer.allocUnsafe(mostDecoded(size));
    this.#textFrom = 0;
    this.#textTo = decodeHuffman(this.#bytes, from, from + size, this.#text);
    if (this.#textTo < 0) refuse('a string is no valid Huffman code');
  }
}

const nothing = Buffer.alloc(0);
const none: string[] = [];
const unused: Entry = { name: '', value: '', kind: fieldKind.ordinary, fault: 0, nameFault: 0 };

function refuse(reason: string): never {
  throw new LinkError(errorCode.compression, `a header block is invalid: ${reason}`);
}
