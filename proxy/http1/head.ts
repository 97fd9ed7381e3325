// The bytes of an HTTP/1.1 head as values (RFC 9112 sections 2 to 6). One strict reading: what two implementations might read differently is
// refused, never repaired. Bytes are read as latin1, so each character is one byte.
import { fail } from '../errors.ts';
import type { RawHead } from '../request-head.ts';
import { unknownLength } from '../request-head.ts';
import type { Head, LineBytes } from './find-head.ts';

export interface HeadLimits {
  readonly headers: number;
  readonly uriBytes: number;
}

export interface Http1Request extends RawHead {
  readonly minor: 0 | 1;
  /** Whether the caller means to use the connection again. */
  readonly keepAlive: boolean;
  /** Of a WebSocket: what the answer must prove to have seen (RFC 6455 section 4.2.2). It concerns this connection only. */
  readonly webSocketKey: string | undefined;
}

export interface Http1Response {
  readonly status: number;
  readonly reason: string;
  readonly minor: 0 | 1;
  readonly keepAlive: boolean;
  /** Seconds for which the sender keeps an idle connection, when it says so. */
  readonly keepAliveSeconds: number | undefined;
  readonly fields: string[];
  /** The declared length; `unknownLength` with `chunked` or until the connection closes. */
  readonly length: number;
  readonly chunked: boolean;
  /** Of a 101: the protocol that follows, lower case. */
  readonly upgrade: string | undefined;
  readonly webSocketAccept: string | undefined;
}

/** What llhttp knows too; other tokens are answered 501. */
export const methods: ReadonlySet<string> = new Set(
  (
    'GET HEAD POST PUT DELETE PATCH OPTIONS ACL BIND CHECKOUT COPY LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY PROPFIND ' +
    'PROPPATCH PURGE QUERY REBIND REPORT SEARCH SUBSCRIBE UNBIND UNLINK UNLOCK UNSUBSCRIBE'
  ).split(' '),
);
/** Visible ASCII and tab. */
export const requestBytes = bytesThat(/[\t -~]/);
/** Responses may carry bytes above 0x7F in values (RFC 9110 section 5.5); applications do send them. */
export const responseBytes = bytesThat(/[\t -~\x80-\xff]/);
const token = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;

/** Parses a request head that was found among `requestBytes`; throws `HTTP_*`. */
export function parseRequestHead({ text, isClean }: Head, limits: HeadLimits): Http1Request {
  if (!isClean) refuse('it has a control character, a byte above 0x7F or a bare CR or LF');
  const end = lineEnd(text, 0);
  const line = text.slice(0, end);
  const afterMethod = line.indexOf(' ');
  const afterTarget = line.indexOf(' ', afterMethod + 1);
  const method = line.slice(0, afterMethod);
  const target = line.slice(afterMethod + 1, afterTarget);
  const version = line.slice(afterTarget + 1);
  if (afterTarget <= afterMethod || target === '' || version === '' || version.includes(' ') || line.includes('\t'))
    refuse('its request line is malformed');
  if (version !== 'HTTP/1.1' && version !== 'HTTP/1.0') {
    if (/^HTTP\/[0-9](\.[0-9])?$/.test(version)) throw fail('HTTP_VERSION_UNSUPPORTED');
    refuse('its version is malformed');
  }
  const isConnect = method === 'CONNECT';
  if (!isConnect && !methods.has(method)) refuseMethod(method);
  if (target.length > limits.uriBytes) throw fail('HTTP_URI_TOO_LONG', { limit: limits.uriBytes });
  const minor = version === 'HTTP/1.1' ? 1 : 0;
  const head = readFields(text, end + 2, limits.headers, refuse);
  if (head.host === undefined) refuse('it has no Host header');
  if (head.authorizations > 1) refuse('it has two Authorization headers');
  if (head.expect !== undefined && head.expect !== '100-continue') throw fail('HTTP_EXPECTATION_FAILED');
  if (head.coding !== undefined) {
    if (minor === 0) refuse('HTTP/1.0 has no transfer codings');
    if (head.length !== undefined) refuse('it has both Content-Length and Transfer-Encoding');
    if (head.coding !== 'chunked') {
      if (/^[a-z]+, *chunked$/.test(head.coding) && !head.coding.startsWith('chunked'))
        throw fail('HTTP_CODING_UNSUPPORTED');
      refuse('its transfer coding is malformed');
    }
  }
  if (isConnect) {
    const hasBody = head.length !== undefined || head.coding !== undefined || head.expect !== undefined;
    if (minor === 0 || hasBody || head.upgrade !== undefined)
      refuse('CONNECT has a body, an upgrade or the version 1.0');
    if (!/:[0-9]+$/.test(target)) refuse('CONNECT does not name HOST:PORT');
  }
  const isWebSocket = head.upgrade !== undefined && readUpgrade(method, minor, head);
  return {
    method,
    target,
    minor,
    host: head.host!,
    fields: head.fields,
    length: isConnect || isWebSocket || head.coding !== undefined ? unknownLength : (head.length ?? 0),
    expectsContinue: head.expect !== undefined && minor === 1,
    keepAlive: minor === 1 && !head.options.includes('close'),
    tunnel: isConnect ? 'connect' : isWebSocket ? 'websocket' : undefined,
    webSocketKey: isWebSocket ? head.webSocketKey : undefined,
  };
}

/** The one upgrade there is: a WebSocket, asked for as RFC 6455 section 4.1 says. Everything else could make of the rest what it likes. */
function readUpgrade(method: string, minor: 0 | 1, head: ReadFields): boolean {
  const isAsked = head.upgrade!.toLowerCase() === 'websocket' && head.options.includes('upgrade');
  const hasBody = (head.length ?? 0) > 0 || head.coding !== undefined || head.expect !== undefined;
  if (!isAsked || method !== 'GET' || minor === 0 || hasBody) throw fail('HTTP_UPGRADE_REFUSED');
  if (!/^[A-Za-z0-9+/]{22}==$/.test(head.webSocketKey ?? '')) refuse('its Sec-WebSocket-Key is malformed');
  return true;
}

/** Parses a response head that was found among `responseBytes`; throws with the given reason. */
export function parseResponseHead(
  { text, isClean }: Head,
  limits: HeadLimits,
  refuse: (reason: string) => never,
): Http1Response {
  if (!isClean) refuse('it has a control character or a bare CR or LF');
  const end = lineEnd(text, 0);
  const [, minorDigit, digits, reason] =
    /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: (.*))?$/.exec(text.slice(0, end)) ?? refuse('its status line is malformed');
  const minor = minorDigit === '1' ? 1 : 0;
  const head = readFields(text, end + 2, limits.headers, refuse);
  if (head.coding !== undefined) {
    if (minor === 0) refuse('HTTP/1.0 has no transfer codings');
    if (head.length !== undefined) refuse('it has both Content-Length and Transfer-Encoding');
    if (head.coding !== 'chunked') refuse('its transfer coding is not chunked');
  }
  return {
    status: Number(digits),
    reason: /^[\t -~]*$/.test(reason ?? '') ? (reason ?? '') : '',
    minor,
    keepAlive: minor === 1 && !head.options.includes('close'),
    keepAliveSeconds: head.keepAliveSeconds,
    fields: head.fields,
    length: head.length ?? unknownLength,
    chunked: head.coding !== undefined,
    upgrade: head.options.includes('upgrade') ? head.upgrade?.toLowerCase() : undefined,
    webSocketAccept: head.webSocketAccept,
  };
}

interface ReadFields {
  readonly fields: string[];
  host: string | undefined;
  length: number | undefined;
  coding: string | undefined;
  expect: string | undefined;
  upgrade: string | undefined;
  webSocketKey: string | undefined;
  webSocketAccept: string | undefined;
  authorizations: number;
  /** Tokens of the Connection header, lower case. */
  options: string[];
  keepAliveSeconds: number | undefined;
}

/** Reads the field lines; what concerns only this connection is taken out of the list (RFC 9110 section 7.6.1). */
function readFields(text: string, from: number, most: number, refuse: (reason: string) => never): ReadFields {
  const head: ReadFields = {
    fields: [],
    host: undefined,
    length: undefined,
    coding: undefined,
    expect: undefined,
    upgrade: undefined,
    webSocketKey: undefined,
    webSocketAccept: undefined,
    authorizations: 0,
    options: [],
    keepAliveSeconds: undefined,
  };
  const { fields } = head;
  let count = 0;
  for (let at = from; at < text.length; ) {
    const end = lineEnd(text, at);
    const colon = text.indexOf(':', at);
    if (colon < 0 || colon > end) refuse('a header line has no colon');
    const name = text.slice(at, colon).toLowerCase();
    if (!token.test(name)) refuse('a header name is malformed, or a header line is folded');
    if (++count > most) throw fail('HTTP_HEAD_TOO_LARGE', { limit: `${most} headers` });
    const value = trimmed(text, colon + 1, end);
    at = end + 2;
    switch (name) {
      case 'host':
        if (head.host !== undefined) refuse('it has two Host headers');
        head.host = value;
        break;
      case 'content-length':
        if (head.length !== undefined) refuse('it has two Content-Length headers');
        if (!/^[0-9]{1,15}$/.test(value)) refuse('its Content-Length is not a number');
        head.length = Number(value);
        break;
      case 'transfer-encoding':
        if (head.coding !== undefined) refuse('it has two Transfer-Encoding headers');
        // White space that others take for a part of the name of the coding.
        if (text.slice(colon, end).includes('\t')) refuse('its Transfer-Encoding has a tab');
        head.coding = value.toLowerCase();
        break;
      case 'connection':
        // What most servers say, and nothing new in HTTP/1.1.
        if (value === 'keep-alive') break;
        for (const option of value.toLowerCase().split(',')) {
          const named = option.trim();
          if (named !== '' && !token.test(named)) refuse('its Connection header is malformed');
          if (named !== '') head.options.push(named);
        }
        break;
      case 'expect':
        if (head.expect !== undefined) refuse('it has two Expect headers');
        head.expect = value.toLowerCase();
        break;
      case 'upgrade':
        head.upgrade = head.upgrade === undefined ? value : `${head.upgrade}, ${value}`;
        break;
      case 'sec-websocket-key':
        if (head.webSocketKey !== undefined) refuse('it has two Sec-WebSocket-Key headers');
        head.webSocketKey = value;
        break;
      case 'sec-websocket-accept':
        if (head.webSocketAccept !== undefined) refuse('it has two Sec-WebSocket-Accept headers');
        head.webSocketAccept = value;
        break;
      case 'keep-alive':
        head.keepAliveSeconds = Number(/timeout=([0-9]{1,6})/i.exec(value)?.[1] ?? Number.NaN);
        break;
      case 'proxy-connection':
        // Nobody should send it (RFC 9112 section 9.3); who does means to close, and some parsers do.
        if (/(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(value)) head.options.push('close');
        break;
      case 'te':
      case 'trailer':
      case 'http2-settings':
      case 'proxy-authorization':
      case 'proxy-authenticate':
        break;
      default:
        if (name === 'authorization') head.authorizations++;
        fields.push(name, value);
    }
  }
  if (head.options.length > 0) dropNamed(fields, head.options);
  return head;
}

/** Removes the fields that Connection names, except those that carry identity: they are removed or set by us, never at a caller's word. */
function dropNamed(fields: string[], options: readonly string[]): void {
  const named = options.filter((option) => !keptThroughHops.test(option));
  if (named.length === 0) return;
  let kept = 0;
  for (let at = 0; at < fields.length; at += 2) {
    if (named.includes(fields[at]!)) continue;
    fields[kept] = fields[at]!;
    fields[kept + 1] = fields[at + 1]!;
    kept += 2;
  }
  fields.length = kept;
}
const keptThroughHops =
  /^(?:close|keep-alive|x-postern-.*|x-forwarded-.*|forwarded|authorization|cookie|content-.*|traceparent)$/;

function bytesThat(may: RegExp): LineBytes {
  return Uint8Array.from({ length: 256 }, (_, byte) => (may.test(String.fromCharCode(byte)) ? 1 : 0));
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\r\n', from);
  return end < 0 ? text.length : end;
}

/** The value without optional white space around it (RFC 9110 section 5.5). */
function trimmed(text: string, from: number, end: number): string {
  while (from < end && isBlank(text.charCodeAt(from))) from++;
  while (end > from && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(from, end);
}
const isBlank = (code: number): boolean => code === 32 || code === 9;

/** Why a method that is not in `methods` is refused; throws `HTTP_METHOD_*`. */
export function refuseMethod(method: string): never {
  if (method === 'TRACE') throw fail('HTTP_METHOD_REFUSED', { method });
  if (/^[A-Za-z]{1,32}$/.test(method) || method === 'M-SEARCH') throw fail('HTTP_METHOD_UNSUPPORTED');
  refuse('its method is malformed');
}

function refuse(reason: string): never {
  throw fail('HTTP_REQUEST_INVALID', { reason });
}
