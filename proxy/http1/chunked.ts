// Reads a chunked body (RFC 9112 section 7.1) piece by piece from whatever bytes have come. Strict: CRLF only, no white space, bounded
// extensions and trailers. Never copies body bytes and never looks past the end of the body.
import { type FieldList, plainName } from '../request-head.ts';

/** A chunk-size line, its extensions included. */
const longestSizeLine = 256;
const sizeLine = /^([0-9a-fA-F]{1,12})(?:;[\w!#$%&'*+.^`|~-]+(?:=(?:[\w!#$%&'*+.^`|~-]+|"[\w !#-[\]-~]*"))?)*$/;
/** The blanks around the value are left to `trim`: to match them here would take a time cubic in their number. */
const trailerLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~]*)$/;
const mostTrailers = 32;

export interface ChunkedReader {
  /**
   * Reads one step from `bytes` at `from` and returns the position after it; the same position means that more bytes are needed.
   * A step may bring a piece of the body in `piece`, or set `done`.
   */
  step(bytes: Buffer, from: number): number;
  piece: Buffer | undefined;
  done: boolean;
  /** Known once `done`: lower-case names, those that may not be trailers dropped. */
  readonly trailers: FieldList;
}

export function createChunkedReader(o: { trailerBytes: number; refuse: (reason: string) => never }): ChunkedReader {
  let state: 'size' | 'data' | 'data-end' | 'trailers' = 'size';
  let left = 0;
  let trailerBytes = 0;
  const trailers: string[] = [];

  const line = (bytes: Buffer, from: number, most: number): string | undefined => {
    const end = bytes.indexOf(10, from);
    if ((end < 0 ? bytes.length : end) - from > most) o.refuse('a chunk or trailer line is too long');
    if (end < 0) return undefined;
    if (end === from || bytes[end - 1] !== 13) o.refuse('a line of its chunks ends in a bare LF');
    return bytes.toString('latin1', from, end - 1);
  };

  const reader: ChunkedReader = {
    piece: undefined,
    done: false,
    trailers,
    step(bytes, from) {
      reader.piece = undefined;
      if (from >= bytes.length) return from;
      if (state === 'data') {
        const to = Math.min(bytes.length, from + left);
        left -= to - from;
        if (left === 0) state = 'data-end';
        reader.piece = bytes.subarray(from, to);
        return to;
      }
      if (state === 'data-end') {
        if (bytes[from] !== 13 || (from + 1 < bytes.length && bytes[from + 1] !== 10))
          o.refuse('a chunk is longer than it says');
        if (from + 1 >= bytes.length) return from;
        state = 'size';
        return from + 2;
      }
      const text = line(bytes, from, state === 'size' ? longestSizeLine : o.trailerBytes);
      if (text === undefined) return from;
      if (state === 'size') {
        const size = sizeLine.exec(text)?.[1] ?? o.refuse('a chunk size is malformed');
        left = Number.parseInt(size, 16);
        state = left === 0 ? 'trailers' : 'data';
      } else if (text === '') reader.done = true;
      else {
        trailerBytes += text.length + 2;
        if (trailerBytes > o.trailerBytes) o.refuse('its trailers are too large');
        readTrailer(text);
      }
      return from + text.length + 2;
    },
  };

  let lines = 0;
  function readTrailer(text: string): void {
    const [, raw, value] = trailerLine.exec(text) ?? o.refuse('a trailer is malformed');
    if (++lines > mostTrailers) o.refuse('it has too many trailers');
    const name = raw!.toLowerCase();
    if (framing.test(name)) o.refuse(`it has ${name} in its trailers`);
    if (mayTrail(name)) trailers.push(name, value!.trim());
  }
  return reader;
}

/** Some parsers obey these in trailers too: what comes next would be read in two ways. */
const framing = /^(?:content-length|transfer-encoding|connection|proxy-connection)$/;
/** Fields that change framing, routing, identity, authorization or meaning (RFC 9110 section 6.5.1): nobody decided on them. */
const forbidden =
  /^(?:host|authorization|cookie|set-cookie|connection|keep-alive|te|trailer|upgrade|expect|range|age|date|location|vary|www-authenticate|max-forwards|cache-control|content-.*|if-.*|proxy-.*|forwarded|x-forwarded-.*|x-postern-.*)$/;

/** Whether a trailer of this lower-case name is passed on. */
export function mayTrail(name: string): boolean {
  return !forbidden.test(plainName(name));
}
