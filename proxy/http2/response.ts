// A response's header blocks, trailers included, as values, and back (RFC 9113 sections 8.1 and 8.3.2). What is malformed is refused with a
// reason and never passed on in part.
import type { ResponseHead } from '../exchange.ts';
import { mayTrail } from '../http1/chunked.ts';
import type { FieldList } from '../request-head.ts';
import { unknownLength } from '../request-head.ts';
import { phraseOf } from '../status-phrases.ts';
import { fieldFault, fieldKind, lastPseudo } from './field-kinds.ts';
import { staticField } from './hpack-encode.ts';
import type { HeaderBlock } from './incoming.ts';
import type { Link } from './link.ts';
import { readLength } from './request.ts';

/** Why a message is malformed: words for the fault that the stream ends with. */
export class Malformed extends Error {}

/** Takes the block's fields over. Throws `Malformed`. */
export function readResponse(block: HeaderBlock): ResponseHead {
  const { fields, kinds } = block;
  if (block.isTooLarge) refuse('its head is too large');
  // Applications do send bytes above 0x7F in values (RFC 9110 section 5.5).
  if (block.fault & ~fieldFault.high) refuse('a header is malformed');
  let status = 0;
  let length: number | undefined;
  let kept = 0;
  for (let at = 0; at < fields.length; at += 2) {
    const value = fields[at + 1]!;
    const kind = kinds[at >> 1]!;
    switch (kind) {
      case fieldKind.status:
        if (at > 0) refuse('its status is not the first field');
        if (!/^[1-9][0-9]{2}$/.test(value)) refuse('its status is malformed');
        status = Number(value);
        continue;
      case fieldKind.contentLength:
        if (length !== undefined) refuse('it has two Content-Length headers');
        length = readLength(value) ?? refuse('its Content-Length is not a number');
        continue;
      case fieldKind.connection:
        refuse('it has a header for HTTP/1.1 connections');
        continue;
      case fieldKind.te:
        if (value.toLowerCase() !== 'trailers') refuse('its TE header has more than trailers');
        continue;
      case fieldKind.hop:
      case fieldKind.host:
      case fieldKind.expect:
        continue;
    }
    if (kind !== fieldKind.ordinary && kind <= lastPseudo)
      refuse('it has a pseudo-header field that responses do not have');
    fields[kept++] = fields[at]!;
    fields[kept++] = value;
  }
  fields.length = kept;
  if (status === 0) refuse('it has no status');
  if (status === 101) refuse('it switches protocols');
  if (status < 200 && block.isLast) refuse('it ends with an interim response');
  if ((status < 200 || status === 204) && length) refuse(`it declares a body with status ${status}`);
  return { status, reason: phraseOf(status), fields, length: length ?? unknownLength };
}

/** The trailers that may be passed on. Throws `Malformed`. `isRequest`: then no byte above 0x7F. */
export function readTrailers(block: HeaderBlock, isRequest: boolean): FieldList {
  const { fields, kinds } = block;
  if (!block.isLast) refuse('its trailers are not the last');
  if (block.isTooLarge) refuse('its trailers are too large');
  if (block.fault & (isRequest ? -1 : ~fieldFault.high)) refuse('a trailer is malformed');
  let kept = 0;
  for (let at = 0; at < fields.length; at += 2) {
    const kind = kinds[at >> 1]!;
    if (kind !== fieldKind.ordinary && kind <= lastPseudo) refuse('it has a pseudo-header field in its trailers');
    if (kind === fieldKind.connection || kind === fieldKind.contentLength)
      refuse(`it has ${fields[at]} in its trailers`);
    if (kind === fieldKind.te && fields[at + 1]!.toLowerCase() !== 'trailers')
      refuse('its TE trailer has more than trailers');
    if (!mayTrail(fields[at]!)) continue;
    fields[kept++] = fields[at]!;
    fields[kept++] = fields[at + 1]!;
  }
  fields.length = kept;
  return fields;
}

/** Writes the block of a response into the link's output; returns where its frame begins. */
export function writeResponse(link: Link, head: ResponseHead): number {
  const { out, encoder } = link.outgoing;
  const start = link.outgoing.beginHeaders(head.fields, 128);
  const index = statusIndex[head.status];
  if (index === undefined) encoder.field(out, ':status', String(head.status));
  else staticField(out, index);
  // 1xx and 204 never carry a length (RFC 9110 section 8.6).
  if (head.length !== unknownLength && head.status >= 200 && head.status !== 204)
    encoder.field(out, 'content-length', String(head.length));
  encoder.fields(out, head.fields);
  return start;
}

const statusIndex: Readonly<Record<number, number>> = { 200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14 };

function refuse(reason: string): never {
  throw new Malformed(reason);
}
