// A request's header block as the head that the data plane works with, and back (RFC 9113 section 8.3.1). One strict reading: what two
// implementations might take differently, or what could not be said in HTTP/1.1, is refused before anybody decides on it.
import { fail } from '../errors.ts';
import { methods, refuseMethod } from '../http1/head.ts';
import { type FieldList, isGrpc, type RawHead, type RequestHead, type Tunnel, unknownLength } from '../request-head.ts';
import { fieldFault, fieldKind, lastPseudo } from './field-kinds.ts';
import { staticField } from './hpack-encode.ts';
import type { HeaderBlock } from './incoming.ts';
import type { Link } from './link.ts';

export interface RequestLimits {
  readonly headers: number;
  readonly headBytes: number;
  readonly uriBytes: number;
  /** Whether CONNECT may come, for a tunnel or a WebSocket. */
  readonly takesConnect: boolean;
}

/** Takes the block's fields over. Throws `HTTP_*`; `HTTP_REQUEST_INVALID` is what RFC 9113 calls malformed. */
export function readRequest(block: HeaderBlock, limits: RequestLimits): RawHead {
  const { fields, kinds } = block;
  if (block.isTooLarge)
    throw fail('HTTP_HEAD_TOO_LARGE', { limit: `${limits.headBytes} bytes or ${limits.headers} headers` });
  if (block.fault !== 0) refuseBytes(block.fault);
  let method: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let path: string | undefined;
  let protocol: string | undefined;
  let host: string | undefined;
  let length: number | undefined;
  let expect: string | undefined;
  let cookie = -1;
  let authorizations = 0;
  let kept = 0;
  let hasOrdinary = false;
  for (let at = 0; at < fields.length; at += 2) {
    const value = fields[at + 1]!;
    const kind = kinds[at >> 1]!;
    if (kind !== fieldKind.ordinary && kind <= lastPseudo) {
      if (hasOrdinary) refuse('a pseudo-header field comes after others');
      switch (kind) {
        case fieldKind.method:
          if (method !== undefined) refuse('it has two methods');
          method = value;
          continue;
        case fieldKind.scheme:
          if (scheme !== undefined) refuse('it has two schemes');
          scheme = value;
          continue;
        case fieldKind.authority:
          if (authority !== undefined) refuse('it has two authorities');
          authority = value;
          continue;
        case fieldKind.path:
          if (path !== undefined) refuse('it has two paths');
          path = value;
          continue;
        case fieldKind.protocol:
          if (protocol !== undefined) refuse('it has two protocols');
          protocol = value;
          continue;
        default:
          refuse('it has an unknown pseudo-header field');
      }
    }
    hasOrdinary = true;
    switch (kind) {
      case fieldKind.host:
        if (host !== undefined) refuse('it has two Host headers');
        host = value;
        continue;
      case fieldKind.contentLength:
        if (length !== undefined) refuse('it has two Content-Length headers');
        length = readLength(value) ?? refuse('its Content-Length is not a number');
        continue;
      case fieldKind.te:
        if (value.toLowerCase() !== 'trailers') refuse('its TE header has more than trailers');
        continue;
      case fieldKind.expect:
        if (expect !== undefined) refuse('it has two Expect headers');
        expect = value.toLowerCase();
        continue;
      case fieldKind.connection:
        refuse('it has a header for HTTP/1.1 connections');
        continue;
      case fieldKind.hop:
        continue;
      case fieldKind.cookie:
        // Split for compression only (section 8.2.3): one header again for everybody else.
        if (cookie >= 0) {
          fields[cookie] += `; ${value}`;
          continue;
        }
        cookie = kept + 1;
        break;
      case fieldKind.authorization:
        if (++authorizations > 1) refuse('it has two Authorization headers');
    }
    fields[kept++] = fields[at]!;
    fields[kept++] = value;
  }
  fields.length = kept;
  if (kept > limits.headers * 2) throw fail('HTTP_HEAD_TOO_LARGE', { limit: `${limits.headers} headers` });
  if (!method) refuse('it has no method');
  const isConnect = method === 'CONNECT';
  if (isConnect ? !limits.takesConnect : !methods.has(method!)) refuseMethod(method!);
  if (protocol !== undefined && (!isConnect || !/^[\w!#$%&'*+.^`|~-]+$/.test(protocol)))
    refuse('its protocol is malformed');
  if (isConnect && protocol === undefined) {
    if (scheme !== undefined || path !== undefined) refuse('CONNECT has a scheme or a path');
    if (!authority) refuse('CONNECT has no authority');
  } else {
    if (scheme !== 'https' && scheme !== 'http') refuse('its scheme is neither http nor https');
    if (!path || (path.charCodeAt(0) !== 47 && (path !== '*' || method !== 'OPTIONS')))
      refuse('its path does not begin with /');
    if (/[\t ]/.test(path!)) refuse('its path has white space');
    if (path!.length > limits.uriBytes) throw fail('HTTP_URI_TOO_LONG', { limit: limits.uriBytes });
  }
  const named = authority ?? host;
  if (!named) refuse('it names no host');
  if (authority !== undefined && host !== undefined && authority.toLowerCase() !== host.toLowerCase())
    refuse('its authority and its Host header differ');
  if (expect !== undefined && expect !== '100-continue') throw fail('HTTP_EXPECTATION_FAILED');
  if (isConnect && length !== undefined) refuse('CONNECT has a Content-Length');
  if (isConnect && (block.isLast || expect !== undefined)) refuse('CONNECT ends at once or waits for a 100');
  const tunnel = isConnect ? readTunnel(protocol) : undefined;
  if (block.isLast && length !== undefined && length > 0) refuse('it declares a body and has none');
  return {
    // Policy, router and record see the same request as over HTTP/1.1.
    method: tunnel === 'websocket' ? 'GET' : method!,
    target: path ?? '',
    host: named!,
    fields,
    length: block.isLast ? 0 : (length ?? unknownLength),
    expectsContinue: expect !== undefined && !block.isLast,
    tunnel,
  };
}

/** A plain CONNECT, or an extended one (RFC 8441) for the one protocol that has a meaning here. */
function readTunnel(protocol: string | undefined): Tunnel {
  if (protocol === undefined) return 'connect';
  if (protocol !== 'websocket') throw fail('HTTP_UPGRADE_REFUSED');
  return 'websocket';
}

/** Bytes of a Content-Length, or `undefined` for what is not a plain number. */
export function readLength(value: string): number | undefined {
  return /^[0-9]{1,15}$/.test(value) ? Number(value) : undefined;
}

const methodPost = 3;
const methodGet = 2;
const pathRoot = 4;
const schemes = { http: 6, https: 7 } as const;

/** Writes the block of a request whose stream is `id` into the link's output; returns where its frame begins. */
export function writeRequest(
  link: Link,
  o: { head: RequestHead; fields: FieldList; scheme: 'http' | 'https' },
): number {
  const { head, fields } = o;
  const { out, encoder } = link.outgoing;
  const { authority, path, query, tunnel } = head;
  const method = tunnel === undefined ? head.method : 'CONNECT';
  const start = link.outgoing.beginHeaders(fields, authority.length + path.length + query.length + method.length + 256);
  if (method === 'GET') staticField(out, methodGet);
  else if (method === 'POST') staticField(out, methodPost);
  else encoder.field(out, ':method', method);
  const target = query === '' ? path : path + query;
  if (tunnel !== 'connect') {
    staticField(out, schemes[o.scheme]);
    if (target === '/') staticField(out, pathRoot);
    else encoder.field(out, ':path', target);
  }
  if (tunnel === 'websocket') encoder.field(out, ':protocol', tunnel);
  encoder.field(out, ':authority', authority);
  if (head.length > 0 || (head.length === 0 && expectsBody.has(method)))
    encoder.field(out, 'content-length', String(head.length));
  if (head.expectsContinue) encoder.field(out, 'expect', '100-continue');
  encoder.fields(out, fields);
  // gRPC servers want to be told that trailers get through (and they do, whoever asked).
  if (isGrpc(fields)) encoder.field(out, 'te', 'trailers');
  return start;
}

/** Methods for which a missing Content-Length would leave some servers waiting (RFC 9110 section 8.6). */
const expectsBody = new Set(['POST', 'PUT', 'PATCH']);

function refuseBytes(fault: number): never {
  if (fault & fieldFault.name) refuse('a header name is malformed or not in lower case');
  if (fault & fieldFault.edge) refuse('a header value begins or ends with white space');
  return refuse('it has a control character or a byte above 0x7F');
}

function refuse(reason: string): never {
  throw fail('HTTP_REQUEST_INVALID', { reason });
}
