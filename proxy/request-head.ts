// The one canonical form of a request's head. It is made here only, once, whatever the protocol it came by; policy, router, record and upstream
// all use this value, so nobody can see another request than the one that was decided on.
import type { Authority } from './authority.ts';
import { canonicalPath } from './canonical-path.ts';
import { fail } from './errors.ts';

/** Field names and values alternating: name, value, name, value. Names are lower case; repeated fields keep their places. */
export type FieldList = readonly string[];

/** Length of a body that is not known before its end. */
export const unknownLength = -1;

export interface RequestHead {
  readonly method: string;
  /** `host` or `host:port`; see `Authority.text`. */
  readonly authority: string;
  readonly host: string;
  /** Canonical, without the query; `*` for `OPTIONS *`. */
  readonly path: string;
  /** Verbatim with its question mark; empty when there is none. */
  readonly query: string;
  /** End-to-end fields without Host, Content-Length and the hop-by-hop ones. */
  readonly fields: FieldList;
  /** Bytes of the body; 0 when there is none, `unknownLength` when only its end will tell. */
  readonly length: number;
  /** The caller waits for a 100 before it sends the body. */
  readonly expectsContinue: boolean;
}

/** What a codec has read, already valid in its own protocol. */
export interface RawHead {
  readonly method: string;
  readonly target: string;
  /** The Host field; HTTP/2's `:authority` when there is none. */
  readonly host: string;
  readonly fields: FieldList;
  readonly length: number;
  readonly expectsContinue: boolean;
}

export interface HeadOptions {
  readonly parseAuthority: (raw: string) => Authority;
}

/** Folds what may be folded and refuses the rest; throws `HTTP_TARGET_INVALID` or `HTTP_HEADER_REFUSED`. */
export function canonicalHead(raw: RawHead, { parseAuthority }: HeadOptions): RequestHead {
  const named = parseAuthority(raw.host);
  let target = raw.target;
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
  };
}

/** The values of every field that an application could take for this one: `x_env` and `x.env` too count as `x-env`. */
export function valuesOf(fields: FieldList, name: string): readonly string[] {
  let values: string[] | undefined;
  for (let at = 0; at < fields.length; at += 2) {
    const field = fields[at]!;
    if (field === name || (field.length === name.length && isAliased(field) && unaliased(field) === unaliased(name)))
      values = values ? [...values, fields[at + 1]!] : [fields[at + 1]!];
  }
  return values ?? none;
}
const none: readonly string[] = [];

/** Names that carry identity, routing or framing: an alias of one is an attempt on whoever folds `_` or `.` into `-` (CGI, WSGI, PHP). */
const guarded =
  /^(?:x-postern-.*|x-forwarded-.*|forwarded|host|content-length|content-type|transfer-encoding|connection|authorization|proxy-.*|te|trailer|upgrade|expect)$/;

function refuseAliases(fields: FieldList): void {
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!;
    if (!isAliased(name)) continue;
    const plain = unaliased(name);
    if (guarded.test(plain)) throw fail('HTTP_HEADER_REFUSED', { name, reason: `it reads as ${plain}` });
    for (let other = 0; other < fields.length; other += 2)
      if (fields[other] !== name && unaliased(fields[other]!) === plain)
        throw fail('HTTP_HEADER_REFUSED', { name, reason: `it comes with its twin ${fields[other]}` });
  }
}

const isAliased = (name: string): boolean => name.includes('_') || name.includes('.');
const unaliased = (name: string): string => name.replace(/[_.]/g, '-');

function refuse(reason: string): never {
  throw fail('HTTP_TARGET_INVALID', { reason });
}
