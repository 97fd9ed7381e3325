// How SVIDs are carried by TLS: 1.3 only, both sides authenticated, nothing resumed (T21 to T25), and the peer's identity read once per
// connection. TLS alone accepts two URI names, none, or a foreign trust domain, so a socket is nobody's until `verifyPeer` said who.
import { constants } from 'node:crypto';
import {
  type ConnectionOptions,
  connect,
  type DetailedPeerCertificate,
  type SecureContextOptions,
  type TLSSocket,
} from 'node:tls';
import { bundlePem, type TrustBundle, toPem } from './bundle.ts';
import { longestChain, verifyChain } from './chain.ts';
import { fail } from './errors.ts';
import type { SpiffeId } from './id.ts';
import type { Identity } from './identity.ts';
import type { Svid } from './svid.ts';

const protocol = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
} as const;

/** Spread into `tls.createServer` or `https.createServer` beside a `tlsContext`. Then call `verifyPeer` on each `secureConnection`. */
export const tlsServerPolicy = {
  ...protocol,
  requestCert: true,
  rejectUnauthorized: true,
  honorCipherOrder: true,
  handshakeTimeout: 10_000,
} as const;

/** Certificate, key and trusted roots for one side. Throws `IDENTITY_BUNDLE_INVALID` when the bundle trusts nothing (B-06). */
export function tlsContext(o: { readonly identity: Identity; readonly bundle: TrustBundle }): SecureContextOptions {
  return {
    ...protocol,
    ...trust(o.bundle),
    cert: o.identity.chain.map(toPem).join(''),
    key: o.identity.key.export({ format: 'pem', type: 'pkcs8' }),
  };
}

/**
 * Spread into the options of `connectTls` beside a `tlsContext` (or without one, where the client has no identity yet). The connection fails before
 * `secureConnect`, so before any byte is sent, unless the server proves to be `expect`.
 */
export function tlsClientPolicy(o: {
  readonly bundle: TrustBundle;
  readonly now: () => number;
  readonly expect: SpiffeId;
}): ConnectionOptions {
  return {
    ...protocol,
    ...trust(o.bundle),
    rejectUnauthorized: true,
    checkServerIdentity: (_, certificate) => refusalOf(() => verifyServer(chainOf(certificate), o)),
  };
}

/**
 * `tls.connect`, for use with `tlsClientPolicy`. Node hands `checkServerIdentity` a legacy rendering of the server's whole chain, which
 * is slow and, in Node 26.10, crashes the process on an EC key whose curve has no NIST name; this hands over the certificates themselves.
 */
export function connectTls(options: ConnectionOptions): TLSSocket {
  const socket = connect(options);
  const certificate = () => (socket.getPeerX509Certificate() ?? {}) as unknown as DetailedPeerCertificate;
  socket.getPeerCertificate = certificate;
  return socket;
}

/**
 * The verified identity of the other side; call it once, after `secureConnect` or `secureConnection`.
 * Throws `TLS_*` for a connection that TLS did not verify, `IDENTITY_*` for a certificate that breaks a rule.
 */
export function verifyPeer(socket: TLSSocket, o: { readonly bundle: TrustBundle; readonly now: number }): Svid {
  if (!socket.authorized)
    throw fail('TLS_UNVERIFIED', { reason: String(socket.authorizationError ?? 'not authorized') });
  if (socket.isSessionReused()) throw fail('TLS_RESUMED');
  if (socket.getProtocol() !== 'TLSv1.3') throw fail('TLS_UNVERIFIED', { reason: 'it is not TLS 1.3' });
  const leaf = socket.getPeerX509Certificate();
  if (!leaf) throw fail('TLS_UNVERIFIED', { reason: 'no certificate was presented' });
  return verifyChain({ ...o, chain: chainOf(leaf) });
}

/** Verifies a server's chain and that it is the expected one; throws `IDENTITY_*`. */
function verifyServer(
  chain: readonly Uint8Array[],
  o: { readonly bundle: TrustBundle; readonly now: () => number; readonly expect: SpiffeId },
): void {
  const { id } = verifyChain({ chain, bundle: o.bundle, now: o.now() });
  if (id.uri !== o.expect.uri) throw fail('IDENTITY_UNEXPECTED', { id: id.uri, expected: o.expect.uri });
}

function trust(bundle: TrustBundle): { ca: string } {
  if (bundle.roots.length === 0) throw fail('IDENTITY_BUNDLE_INVALID', { reason: 'it holds no roots' });
  return { ca: bundlePem(bundle) };
}

/** A certificate that knows the one above it, in either of Node's two shapes. */
interface Link {
  readonly raw?: Uint8Array | undefined;
  readonly issuerCertificate?: Link | undefined;
}

/** One certificate more than allowed is enough to see that the chain is too long. */
function chainOf(leaf: Link): Uint8Array[] {
  const chain: Uint8Array[] = [];
  for (let next: Link | undefined = leaf; next?.raw && chain.length <= longestChain; next = next.issuerCertificate) {
    chain.push(next.raw);
    if (next.issuerCertificate === next) break;
  }
  return chain;
}

function refusalOf(run: () => void): Error | undefined {
  try {
    run();
    return undefined;
  } catch (thrown) {
    return thrown as Error;
  }
}
