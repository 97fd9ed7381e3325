// The one canonical form of a request's head. It is made here only, once, whatever the protocol it came by; policy, router, record and upstream
// all use this value, so nobody can see another request than the one that was decided on.
import type { Authority } from './authority.ts';
import { canonicalPath } from './canonical-path.ts';
import { fail } from './errors.ts';

/** Field names and values alternating: name, value, name, value. Names are lower case; repeated fields keep their places. */
export type FieldList = readonly string[];

/** Length of a body that is not known before its end. */
export const unknownLength = -1;

/**
 * What follows a positive answer is no body but bytes both ways, each way ending by itself: a plain tunnel (CONNECT, RFC 9110 section 9.3.6) or
 * the WebSocket protocol (RFC 6455 over HTTP/1.1, RFC 8441 over HTTP/2).
 */
export type Tunnel = 'connect' | 'websocket';

export interface RequestHead {
  /** `GET` for a WebSocket, whichever protocol asked for it; `CONNECT` for a plain tunnel. */
  readonly method: string;
  /** `host` or `host:port`; see `Authority.text`. */
  readonly authority: string;
  readonly host: string;
  /** Canonical, without the query; `*` for `OPTIONS *`, `/` for a plain tunnel, which has none. */
  readonly path: string;
  /** Verbatim with its question mark; empty when there is none. */
  readonly query: string;
  /** End-to-end fields without Host, Content-Length and the hop-by-hop ones. */
  readonly fields: FieldList;
  /** Bytes of the body; 0 when there is none, `unknownLength` when only its end will tell. */
  readonly length: number;
  /** The caller waits for a 100 before it sends the body. */
  readonly expectsContinue: boolean;
  /** Then `length` is `unknownLength`. */
  readonly tunnel: Tunnel | undefined;
}

/** What a codec has read, already valid in its own protocol. */
export interface RawHead {
  readonly method: string;
  /** Of CONNECT: the authority once more over HTTP/1.1, empty over HTTP/2. */
  readonly target: string;
  /** The Host field; HTTP/2's `:authority` when there is none. */
  readonly host: string;
  readonly fields: FieldList;
  readonly length: number;
  readonly expectsContinue: boolean;
  readonly tunnel: Tunnel | undefined;
}

export interface HeadOptions {
  readonly parseAuthority: (raw: string) => Authority;
}

/** Folds what may be folded and refuses the rest; throws `HTTP_TARGET_INVALID` or `HTTP_HEADER_REFUSED`. */
export function canonicalHead(raw: RawHead, { parseAuthority }: HeadOptions): RequestHead {
  const named = parseAuthority(raw.host);
  let target = raw.target;
  if (raw.tunnel === 'connect') {
    if (target !== '' && parseAuthority(target).text !== named.text) refuse('it is not the one of the Host header');
    target = '/';
  }
  if (target.charCodeAt(0) !== 47 && target !== '*') {
    const [, authority, rest] =
      /^http:\/\/([^/?]*)(.*)$/i.exec(target) ?? refuse('it is neither a path nor an http URL');
    // Two names for one request: which one counts differs from server to server (RFC 9112 section 3.2.2), so they must agree.
    if (parseAuthority(authority!).text !== named.text) refuse('its host is not the one of the Host header');
    target = rest!.startsWith('/') ? rest! : `/${rest}`;
  }
  if (target === '*' && raw.method !== 'OPTIONS') refuse('* is for OPTIONS only');
  const mark = target.indexOf('?');
  const query = mark < 0 ? '' : target.slice(mark);
  if (query.includes('#')) refuse('it has a fragment');
  const path = mark < 0 ? target : target.slice(0, mark);
  refuseAliases(raw.fields);
  return {
    method: raw.method,
    authority: named.text,
    host: named.host,
    path: path === '*' ? path : canonicalPath(path),
    query,
    fields: raw.fields,
    length: raw.length,
    expectsContinue: raw.expectsContinue,
    tunnel: raw.tunnel,
  };
}

/** The values of every field that an application could take for this one: `x_env` and `x.env` too count as `x-env`. */
export function valuesOf(fields: FieldList, name: string): readonly string[] {
  let values: string[] | undefined;
  for (let at = 0; at < fields.length; at += 2) {
    if (isReadAs(fields[at]!, name)) values = values ? [...values, fields[at + 1]!] : [fields[at + 1]!];
  }
  return values ?? none;
}
const none: readonly string[] = [];

/** From proxy to egress gateway: for which cluster a request is. Which host it names is no word on that, once a route has led it there. */
export const clusterField = 'x-postern-cluster';

/** Whether a message is one of gRPC; gRPC-Web is not, and reads the status of HTTP. */
export function isGrpc(fields: FieldList): boolean {
  for (let at = 0; at < fields.length; at += 2)
    if (fields[at] === 'content-type') return /^application\/grpc(?:[+; \t]|$)/.test(fields[at + 1]!);
  return false;
}

/**
 * The name that an application may make of this one: CGI, WSGI and PHP fold `_` and `.` into `-`, some servers every character that is
 * neither a letter nor a digit.
 */
export function plainName(name: string): string {
  return name.replace(/[^a-z0-9-]/g, '-');
}

/** Whether both names are the same once folded, without making the folded ones. */
function isReadAs(one: string, other: string): boolean {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  for (let at = 0; at < one.length; at++) {
    const [a, b] = [one.charCodeAt(at), other.charCodeAt(at)];
    if (a !== b && (isAlphanumeric(a) || isAlphanumeric(b))) return false;
  }
  return true;
}

/** Names that carry identity, routing or framing: an alias of one is an attempt on whoever folds names. */
const guarded =
  /^(?:x-postern-.*|x-forwarded-.*|forwarded|host|content-length|content-type|transfer-encoding|connection|authorization|proxy-.*|te|trailer|upgrade|expect)$/;
const isAliased = (name: string): boolean => /[^a-z0-9-]/.test(name);

function refuseAliases(fields: FieldList): void {
  if (!fields.some((text, at) => at % 2 === 0 && isAliased(text))) return;
  const first = new Map<string, string>();
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!;
    const plain = plainName(name);
    if (plain !== name && guarded.test(plain))
      throw fail('HTTP_HEADER_REFUSED', { name, reason: `it reads as ${plain}` });
    const twin = first.get(plain) ?? name;
    if (twin !== name) throw fail('HTTP_HEADER_REFUSED', { name, reason: `it comes with its twin ${twin}` });
    first.set(plain, name);
  }
}

function isAlphanumeric(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 48 && code <= 57);
}

function refuse(reason: string): never {
  throw fail('HTTP_TARGET_INVALID', { reason });
}
