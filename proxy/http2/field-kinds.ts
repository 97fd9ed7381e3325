// Header names and values as HTTP/2 sees them: which names mean something to this codec, and which bytes may stand where
// (RFC 9113 sections 8.2 and 8.3, RFC 9110 section 5). Looked up once when a name enters a table, not once for each request.

/** What a field is to the codec; everything else is `ordinary` and passed on. */
export const fieldKind = {
  ordinary: 0,
  method: 1,
  scheme: 2,
  authority: 3,
  path: 4,
  protocol: 5,
  status: 6,
  /** A pseudo-header field that nobody has defined. */
  pseudo: 7,
  host: 8,
  contentLength: 9,
  te: 10,
  cookie: 11,
  expect: 12,
  authorization: 13,
  /** Means something on one HTTP/1.1 connection only; a message that has it is malformed (section 8.2.2). */
  connection: 14,
  /** Concerns the next hop only and is not passed on. */
  hop: 15,
} as const;

/** The highest kind of a pseudo-header field. */
export const lastPseudo = fieldKind.pseudo;

const kinds: ReadonlyMap<string, number> = new Map<string, number>([
  [':method', fieldKind.method],
  [':scheme', fieldKind.scheme],
  [':authority', fieldKind.authority],
  [':path', fieldKind.path],
  [':protocol', fieldKind.protocol],
  [':status', fieldKind.status],
  ['host', fieldKind.host],
  ['content-length', fieldKind.contentLength],
  ['te', fieldKind.te],
  ['cookie', fieldKind.cookie],
  ['expect', fieldKind.expect],
  ['authorization', fieldKind.authorization],
  ['connection', fieldKind.connection],
  ['proxy-connection', fieldKind.connection],
  ['keep-alive', fieldKind.connection],
  ['transfer-encoding', fieldKind.connection],
  ['upgrade', fieldKind.connection],
  ['http2-settings', fieldKind.hop],
  ['trailer', fieldKind.hop],
  ['proxy-authorization', fieldKind.hop],
  ['proxy-authenticate', fieldKind.hop],
  // Made anew on each HTTP/1.1 connection, and nowhere else (RFC 8441 section 5).
  ['sec-websocket-key', fieldKind.hop],
  ['sec-websocket-accept', fieldKind.hop],
]);

export function kindOf(name: string): number {
  return kinds.get(name) ?? (name.charCodeAt(0) === 58 ? fieldKind.pseudo : fieldKind.ordinary);
}

/** What is wrong with the bytes of a field; bits, so that those of a whole block can be joined. */
export const fieldFault = {
  none: 0,
  /** Empty, upper case, or not a token. */
  name: 1,
  /** A control character. */
  control: 2,
  /** A byte above 0x7F, which requests may not have here. */
  high: 4,
  /** White space at an end. */
  edge: 8,
} as const;

/** For each byte: bit 0 when it may stand in a lower-case token, the faults it brings to a value above. */
const classes = byteClasses();

/** Faults of a name: `bytes[from, to)`. A colon may stand first. */
export function nameFault(bytes: Uint8Array, from: number, to: number): number {
  if (to > from && bytes[from] === 58) from++;
  if (from === to) return fieldFault.name;
  for (let at = from; at < to; at++) if ((classes[bytes[at]!]! & 1) === 0) return fieldFault.name;
  return fieldFault.none;
}

/** Faults of a value: `bytes[from, to)`. */
export function valueFault(bytes: Uint8Array, from: number, to: number): number {
  if (from === to) return fieldFault.none;
  let fault = 0;
  for (let at = from; at < to; at++) fault |= classes[bytes[at]!]!;
  fault &= fieldFault.control | fieldFault.high;
  return isBlank(bytes[from]!) || isBlank(bytes[to - 1]!) ? fault | fieldFault.edge : fault;
}

const isBlank = (byte: number): boolean => byte === 32 || byte === 9;

function byteClasses(): Uint8Array {
  const table = new Uint8Array(256);
  for (let byte = 0; byte < 256; byte++) {
    if (/[!#$%&'*+.^_`|~0-9a-z-]/.test(String.fromCharCode(byte))) table[byte] = 1;
    if ((byte < 32 && byte !== 9) || byte === 127) table[byte] = fieldFault.control;
    if (byte > 127) table[byte] = fieldFault.high;
  }
  return table;
}
