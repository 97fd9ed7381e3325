// What a request is hashed on, and the hash: stable across processes, machines and versions, so that all proxies send a key to one place.
import type { HashOn } from '#wire';

/** What of a request can be hashed. */
export interface Hashable {
  /** Names (lower case) and values alternating. */
  readonly fields: readonly string[];
  /** Verbatim with its question mark; empty when there is none. */
  readonly query: string;
  /** SPIFFE ID of the caller. */
  readonly identity: string;
  /** IP address of the caller, without its port. */
  readonly address: string;
}

/** A key that a table is asked for, and which members may have it. */
export interface Sought {
  /** 32 bits. */
  readonly hash: number;
  /** Of standings. */
  readonly mask: number;
  /** Addresses that may not. */
  readonly tried: ReadonlySet<string>;
}

/** 32 bits; `undefined` when the request has nothing to be hashed on. */
export function hashOf(hashOn: HashOn, asked: Hashable): number | undefined {
  const text = textOf(hashOn, asked);
  return text === undefined ? undefined : mix(fnv1a(text));
}

/** FNV-1a of 32 bits (draft-eastlake-fnv) over the UTF-8 of a text. */
export function fnv1a(text: string, seed = 0x811c9dc5): number {
  let hash = seed;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code > 0x7f) return fnv1aBytes(Buffer.from(text.slice(at)), hash);
    hash = Math.imul(hash ^ code, 0x01000193);
  }
  return hash >>> 0;
}

function fnv1aBytes(bytes: Uint8Array, seed: number): number {
  let hash = seed;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** The finalizer of MurmurHash3: every bit of the input changes half of the output's, which FNV alone does not do. */
export function mix(hash: number): number {
  let mixed = hash;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function textOf(hashOn: HashOn, asked: Hashable): string | undefined {
  if ('header' in hashOn) return fieldOf(asked.fields, hashOn.header);
  if ('cookie' in hashOn) return cookieOf(asked.fields, hashOn.cookie);
  if ('query' in hashOn) return parameterOf(asked.query, hashOn.query);
  return hashOn.source === 'identity' ? asked.identity : asked.address;
}

function fieldOf(fields: readonly string[], name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1];
  return undefined;
}

/** HTTP/2 may send each cookie in a field of its own (RFC 9113 section 8.2.3). */
function cookieOf(fields: readonly string[], name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== 'cookie') continue;
    const value = pairOf({ text: fields[at + 1]!, from: 0, separator: ';', name });
    if (value !== undefined) return value;
  }
  return undefined;
}

function parameterOf(query: string, name: string): string | undefined {
  return pairOf({ text: query, from: 1, separator: '&', name });
}

/** The value of the first `name=value`, verbatim. */
function pairOf(o: { text: string; from: number; separator: string; name: string }): string | undefined {
  const { text, separator, name } = o;
  let begin = o.from;
  while (begin < text.length) {
    while (text.charCodeAt(begin) === 0x20) begin++;
    const next = text.indexOf(separator, begin);
    const end = next === -1 ? text.length : next;
    if (text.startsWith(name, begin) && text.charCodeAt(begin + name.length) === 0x3d)
      return text.slice(begin + name.length + 1, end);
    begin = end + 1;
  }
  return undefined;
}
