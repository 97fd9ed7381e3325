// Which host does the first message of a TLS connection ask for? Read without ending the TLS: a few lengths and one extension (RFC 8446 section 4.1.2,
// RFC 6066 section 3). Never throws, looks at a bounded number of bytes, and believes no length that goes past what is there.

export type Hello =
  /** Not all of it has come. */
  | { readonly kind: 'more' }
  /** Lower case, no dot at its end; `undefined` when it names none. */
  | { readonly kind: 'read'; readonly serverName: string | undefined }
  | { readonly kind: 'refused'; readonly reason: string };

/** One with post-quantum key shares takes an eighth of it. All of it is read again with each piece that comes, so neither may be much more. */
export const longestHello = 16_384;
const mostRecords = 64;

const more: Hello = { kind: 'more' };
const refused = (reason: string): Hello => ({ kind: 'refused', reason });

/** Of everything that has come so far on the connection. */
export function readClientHello(bytes: Buffer): Hello {
  const message = handshakeIn(bytes);
  if (!Buffer.isBuffer(message)) return message;
  if (message.length < 4) return more;
  if (message[0] !== 1) return refused('its first message is no ClientHello');
  const size = message.readUIntBE(1, 3);
  if (size > longestHello) return refused('its ClientHello is too long');
  if (message.length < 4 + size) return more;
  return serverNameIn(message.subarray(4, 4 + size));
}

/** The fragments of the handshake, which may be spread over several records. */
function handshakeIn(bytes: Buffer): Buffer | Hello {
  const fragments: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== 22) return refused('it is not TLS');
    if (bytes.length > at + 1 && bytes[at + 1] !== 3) return refused('it is not TLS');
    if (bytes.length < at + 5) break;
    if (fragments.length === mostRecords) return refused('its ClientHello is in too many pieces');
    const size = bytes.readUInt16BE(at + 3);
    if (size === 0 || size > 16_384) return refused('a TLS record has a length that none has');
    fragments.push(bytes.subarray(at + 5, at + 5 + size));
    at += 5 + size;
  }
  return fragments.length === 1 ? fragments[0]! : Buffer.concat(fragments);
}

function serverNameIn(body: Buffer): Hello {
  const broken = refused('its ClientHello is broken');
  // Version and random.
  let at = 2 + 32;
  // Session id, cipher suites, compression methods: each with its length before it.
  for (const width of [1, 2, 1]) {
    if (at + width > body.length) return broken;
    at += width + body.readUIntBE(at, width);
  }
  if (at === body.length) return { kind: 'read', serverName: undefined };
  if (at + 2 > body.length || at + 2 + body.readUInt16BE(at) !== body.length) return broken;
  at += 2;
  let found: Buffer | undefined;
  while (at < body.length) {
    if (at + 4 > body.length) return broken;
    const [type, size] = [body.readUInt16BE(at), body.readUInt16BE(at + 2)];
    if (at + 4 + size > body.length) return broken;
    if (type === 0 && found) return broken;
    if (type === 0) found = body.subarray(at + 4, at + 4 + size);
    at += 4 + size;
  }
  return found ? nameIn(found) : { kind: 'read', serverName: undefined };
}

/** A list with exactly one host name: nobody sends more, and which of two counts would be anybody's guess. */
function nameIn(list: Buffer): Hello {
  const broken = refused('its server name is broken');
  if (list.length < 5 || list.readUInt16BE(0) !== list.length - 2 || list[2] !== 0) return broken;
  const size = list.readUInt16BE(3);
  if (size === 0 || size !== list.length - 5) return broken;
  const name = list.toString('latin1', 5).toLowerCase();
  if (
    name.length > 253 ||
    !/^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?$/.test(name)
  )
    return broken;
  return { kind: 'read', serverName: name.replace(/\.$/, '') };
}
