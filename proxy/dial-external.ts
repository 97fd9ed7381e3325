// Opens one connection to an endpoint outside the mesh: plaintext, or TLS to a server whose certificate has the name that is meant, issued by
// whom the cluster trusts. No byte of a request leaves before that is known, and no identity of the mesh is shown to it.

import type { X509Certificate } from 'node:crypto';
import { connect as connectTcp, isIP, type LookupFunction, type NetConnectOpts } from 'node:net';
import type { ConnectionOptions, SecureContext } from 'node:tls';
import { messageOf, type PosternError } from '#base/error';
import { formatHostPort, type HostPort } from '#base/host-port';
import { connectTls } from '#spiffe';
import type { ExternalLink, ExternalTls } from './cluster-link.ts';
import { type Dialled, type DialOptions, isCertificateFault, opened, reasonOf } from './dial.ts';
import { fail } from './errors.ts';

export interface DialExternalOptions extends DialOptions {
  /** Of endpoints that are known by name. */
  readonly lookup: LookupFunction;
  /** What is spoken over TLS, the better one first; none for TCP. */
  readonly alpn: readonly ('h2' | 'http/1.1')[];
  /** Trust and certificate for this connection; throws when they cannot be had. */
  readonly context: (tls: ExternalTls) => SecureContext;
}

/** Throws `UPSTREAM_CONNECT_FAILED`, `UPSTREAM_IDENTITY_WRONG` or `UPSTREAM_CLIENT_CERTIFICATE`. */
export async function dialExternal(to: HostPort, link: ExternalLink, o: DialExternalOptions): Promise<Dialled> {
  const endpoint = formatHostPort(to);
  const failed = (reason: string, cause?: unknown): PosternError =>
    fail('UPSTREAM_CONNECT_FAILED', { service: link.name, endpoint, reason }, { cause });
  const onTimeout = (): PosternError => failed(`no connection within ${o.connectMs} ms`);
  if (!link.tls) {
    const socket = connectTcp({ host: to.host, port: to.port, lookup: o.lookup, allowHalfOpen: true });
    await opened(socket, 'connect', { ...o, onTimeout, onError: (error) => failed(reasonOf(error), error) });
    return { socket, peer: undefined, protocol: link.protocol === 'h2c' ? 'h2' : 'http/1.1' };
  }
  const name = link.tls.serverName ?? to.host;
  const wrong = (error: Error): PosternError =>
    fail('UPSTREAM_IDENTITY_WRONG', { endpoint, service: name, reason: certificateReason(error) }, { cause: error });
  const options: ConnectionOptions & NetConnectOpts = {
    host: to.host,
    port: to.port,
    lookup: o.lookup,
    secureContext: o.context(link.tls),
    // RFC 6066 section 3: an address is no server name.
    servername: isIP(name) ? '' : name,
    ALPNProtocols: [...o.alpn],
    allowHalfOpen: true,
    rejectUnauthorized: true,
    checkServerIdentity: (_, certificate) => nameFault(certificate as unknown as X509Certificate, name),
  };
  const socket = connectTls(options);
  await opened(socket, 'secureConnect', {
    ...o,
    onTimeout,
    onError: (error) => (isCertificateFault(error) ? wrong(error) : failed(reasonOf(error), error)),
  });
  const fault = finished(socket.authorized, socket.getPeerX509Certificate(), name);
  if (fault) {
    socket.destroy();
    throw wrong(fault);
  }
  const { alpnProtocol } = socket;
  if (link.protocol === 'h2c' && alpnProtocol !== 'h2') {
    socket.destroy();
    throw failed('it does not speak HTTP/2 over TLS');
  }
  return { socket, peer: undefined, protocol: alpnProtocol === 'h2' ? 'h2' : 'http/1.1' };
}

/** Read once more from the finished handshake, so that nothing rests on one callback alone. */
function finished(isAuthorized: boolean, certificate: X509Certificate | undefined, name: string): Error | undefined {
  if (!isAuthorized || !certificate) return new TypeError('it showed no certificate that is trusted');
  return nameFault(certificate, name);
}

/** RFC 9525: only subject alternative names count, an asterisk stands for one whole label. */
function nameFault(certificate: X509Certificate, name: string): Error | undefined {
  const isNamed = isIP(name)
    ? certificate.checkIP(name) !== undefined
    : certificate.checkHost(name, { subject: 'never', partialWildcards: false }) !== undefined;
  if (isNamed) return undefined;
  const names = (certificate.subjectAltName ?? 'no name').slice(0, 200);
  return Object.assign(new Error(`its certificate is not for ${name} but has ${names}`), { code: 'CERT_NAME_WRONG' });
}

function certificateReason(error: NodeJS.ErrnoException): string {
  return certificateWords[error.code ?? ''] ?? messageOf(error);
}
const certificateWords: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed, and tls.ca of the cluster does not hold it',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is issued by a CA that tls.ca of the cluster does not hold',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate is issued by a CA that is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is issued by a CA that is not trusted here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is issued by a CA that is not trusted here',
  CERT_REVOKED: 'its certificate is revoked',
  INVALID_PURPOSE: 'its certificate is not for servers',
};
