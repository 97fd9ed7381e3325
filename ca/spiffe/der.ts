// What do these DER bytes say? A strict, bounded reader (X.690 section 10): definite and minimal lengths, one-byte tags, no trailing bytes,
// a depth cap. It never guesses: anything that two parsers could read differently is refused.
import { fail } from './errors.ts';

/** One value: its identifier byte, its content, and the bytes of the whole (header included). */
export interface DerValue {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly bytes: Uint8Array;
  /** Length of `bytes`. */
  readonly size: number;
  readonly depth: number;
}

export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Nesting deeper than this is refused; a certificate needs 8. */
const deepest = 24;

/** Reads bytes that must be exactly one value. Throws `IDENTITY_MALFORMED`. */
export function readDer(bytes: Uint8Array, expected?: number, depth = 0): DerValue {
  const value = readAt(bytes, 0, depth);
  if (value.size !== bytes.length) throw malformed('bytes follow the value');
  return expected === undefined ? value : expectTag(value, expected);
}

/** The values inside a constructed one, in order. */
export function readChildren(parent: DerValue, most = 1_000): DerValue[] {
  if (!(parent.tag & 0x20)) throw malformed('a primitive value stands where a constructed one belongs');
  if (parent.depth >= deepest) throw malformed(`values are nested deeper than ${deepest}`);
  const children: DerValue[] = [];
  const { content, depth } = parent;
  for (let at = 0; at < content.length; ) {
    if (children.length === most) throw malformed(`a value holds more than ${most} others`);
    const child = readAt(content, at, depth + 1);
    children.push(child);
    at += child.size;
  }
  return children;
}

/** Walks everything inside constructed values, without recursion, so that content nobody interprets is still well formed. */
export function assertWellFormed(root: DerValue, most = 5_000): void {
  const open = [root];
  for (let seen = 0, value = open.pop(); value; value = open.pop()) {
    if (++seen > most) throw malformed(`it holds more than ${most} values`);
    if (value.tag & 0x20) open.push(...readChildren(value));
  }
}

/** Returns the value when its tag is the expected one. */
export function expectTag(value: DerValue | undefined, expected: number): DerValue {
  if (!value) throw malformed('a value is missing');
  if (value.tag !== expected) throw malformed(`tag ${hex(value.tag)} stands where ${hex(expected)} belongs`);
  return value;
}

/** The content bytes of an INTEGER, two's complement, checked to be minimal. */
export function readInteger(value: DerValue | undefined): Uint8Array {
  const { content } = expectTag(value, tag.integer);
  const [first, second] = content;
  if (first === undefined) throw malformed('an integer is empty');
  if (second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)))
    throw malformed('an integer is not minimal');
  return content;
}

/** A non-negative INTEGER of at most four bytes. */
export function readSmallInteger(value: DerValue | undefined): number {
  const content = readInteger(value);
  if (content[0]! >= 0x80 || content.length > 4) throw malformed('an integer is out of range');
  return content.reduce((sum, byte) => sum * 256 + byte, 0);
}

export function readBoolean(value: DerValue | undefined): boolean {
  const { content } = expectTag(value, tag.boolean);
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) throw malformed('a boolean is not 00 or ff');
  return content[0] === 0xff;
}

/** An OBJECT IDENTIFIER in dotted form; arcs of at most 2^53. */
export function readOid(value: DerValue | undefined): string {
  const { content } = expectTag(value, tag.oid);
  if (content.length === 0 || content.length > 64 || content.at(-1)! & 0x80) throw malformed('an object identifier');
  const arcs: number[] = [];
  let arc = 0;
  for (const [index, byte] of content.entries()) {
    if (arc === 0 && byte === 0x80 && (index === 0 || !(content[index - 1]! & 0x80)))
      throw malformed('an object identifier is not minimal');
    arc = arc * 128 + (byte & 0x7f);
    if (!Number.isSafeInteger(arc)) throw malformed('an object identifier has a huge arc');
    if (byte & 0x80) continue;
    if (arcs.length === 0) arcs.push(Math.min(2, Math.floor(arc / 40)), arc - 40 * Math.min(2, Math.floor(arc / 40)));
    else arcs.push(arc);
    arc = 0;
  }
  return arcs.join('.');
}

/** The bytes of a BIT STRING that is a whole number of bytes (keys, signatures). */
export function readBits(value: DerValue | undefined): Uint8Array {
  const { content } = expectTag(value, tag.bitString);
  if (content.length === 0 || content[0] !== 0) throw malformed('a bit string is not whole bytes');
  return content.subarray(1);
}

/** A named bit list (X.690 section 11.2.2: no trailing zero bits) of at most 16 bits; bit 0 is the highest of the result's 16. */
export function readNamedBits(value: DerValue | undefined): number {
  const { content } = expectTag(value, tag.bitString);
  const unused = content[0];
  const last = content.at(-1)!;
  if (unused === undefined || unused > 7 || content.length > 3 || content.length < 2)
    throw malformed('a named bit list has the wrong size');
  if (last & ((1 << unused) - 1) || !(last & (1 << unused))) throw malformed('a named bit list is not minimal');
  return (content[1]! << 8) | (content[2] ?? 0);
}

/** UTCTime to 2049 and GeneralizedTime from 2050, seconds, Z (RFC 5280 section 4.1.2.5). Epoch milliseconds. */
export function readTime(value: DerValue | undefined): number {
  const isUtc = value?.tag === tag.utcTime;
  if (!value || (!isUtc && value.tag !== tag.generalizedTime)) throw malformed('a time is missing');
  const { content } = value;
  const start = isUtc ? 2 : 4;
  if (content.length !== start + 11 || content[start + 10] !== 0x5a)
    throw malformed('a time is not whole seconds in Z');
  const written = isUtc ? twoDigits(content, 0) : twoDigits(content, 0) * 100 + twoDigits(content, 2);
  const year = isUtc ? written + (written < 50 ? 2000 : 1900) : written;
  if (!isUtc && year < 2050) throw malformed('a time before 2050 is not UTCTime');
  const [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map((at) => twoDigits(content, start + at)) as FiveNumbers;
  const time = Date.UTC(year, month - 1, day, hour, minute, second);
  if (month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59 || new Date(time).getUTCDate() !== day)
    throw malformed('a time that no calendar has');
  return time;
}

type FiveNumbers = [number, number, number, number, number];

function twoDigits(bytes: Uint8Array, at: number): number {
  const [tens, ones] = [bytes[at]! - 0x30, bytes[at + 1]! - 0x30];
  if (!(tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9)) throw malformed('a time is not digits');
  return tens * 10 + ones;
}

export function malformed(reason: string) {
  return fail('IDENTITY_MALFORMED', { reason });
}

/** Reads one value at an offset. Lengths above 2^24 are refused. */
function readAt(bytes: Uint8Array, at: number, depth: number): Slice {
  const identifier = bytes[at];
  const first = bytes[at + 1];
  if (identifier === undefined || first === undefined) throw malformed('it is cut short');
  if ((identifier & 0x1f) === 0x1f || identifier === 0) throw malformed('a tag that no certificate uses');
  if (
    identifier < 0x40 &&
    ((identifier & 0x20) !== 0) !== ((identifier & 0x1f) === 0x10 || (identifier & 0x1f) === 0x11)
  )
    throw malformed('a primitive value is written as constructed, or the reverse');
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 3) throw malformed('a length is indefinite or huge');
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + (bytes[start + i] ?? Number.NaN);
    start += count;
    if (!(length >= 0x80 && length >= 256 ** (count - 1))) throw malformed('a length is not minimal');
  }
  const end = start + length;
  if (end > bytes.length) throw malformed('it is cut short');
  return new Slice(bytes, at, start, end, identifier, depth);
}

/** A value as offsets into its source; views are made only of the parts that somebody looks at. */
class Slice implements DerValue {
  readonly tag: number;
  readonly depth: number;
  readonly #source: Uint8Array;
  readonly #at: number;
  readonly #start: number;
  readonly #end: number;

  constructor(source: Uint8Array, at: number, start: number, end: number, identifier: number, depth: number) {
    this.#source = source;
    this.#at = at;
    this.#start = start;
    this.#end = end;
    this.tag = identifier;
    this.depth = depth;
  }

  get content(): Uint8Array {
    return this.#source.subarray(this.#start, this.#end);
  }

  get bytes(): Uint8Array {
    return this.#source.subarray(this.#at, this.#end);
  }

  get size(): number {
    return this.#end - this.#at;
  }
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`;
}
