// Why a TLS handshake was refused, as one stable code whatever OpenSSL or Node call it.
import type { TLSSocket } from 'node:tls';
import type { PosternError } from '#base/error';
import { isPosternError } from '#base/error';
import { fail } from './errors.ts';

export function handshakeFault(error: NodeJS.ErrnoException, socket: TLSSocket, handshakeMs: number): PosternError {
  if (isPosternError(error)) return error;
  // Node reports a refused certificate as a reset; the reason is on the socket.
  const refusal = socket.authorizationError as unknown;
  const code = refusal ? String((refusal as { code?: string }).code ?? refusal) : (error.code ?? '');
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return fail('TLS_CERTIFICATE_EXPIRED');
    case 'CERT_NOT_YET_VALID':
      return fail('TLS_CERTIFICATE_NOT_YET_VALID');
    case 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE':
      return fail('TLS_CERTIFICATE_MISSING');
    case 'ERR_TLS_HANDSHAKE_TIMEOUT':
      return fail('TLS_HANDSHAKE_TIMEOUT', { ms: handshakeMs });
    case 'ERR_SSL_UNSUPPORTED_PROTOCOL':
    case 'ERR_SSL_WRONG_SSL_VERSION':
    case 'ERR_SSL_VERSION_TOO_LOW':
    case 'ERR_SSL_UNKNOWN_PROTOCOL':
      return fail('TLS_VERSION_UNSUPPORTED');
    case 'ERR_SSL_HTTP_REQUEST':
    case 'ERR_SSL_HTTPS_PROXY_REQUEST':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return fail('TLS_NOT_TLS');
    case 'ERR_SSL_NO_APPLICATION_PROTOCOL':
      return fail('TLS_ALPN_UNSUPPORTED');
    case 'ECONNRESET':
    case 'EPIPE':
      return fail('TLS_HANDSHAKE_CLOSED');
  }
  if (refusal) return fail('TLS_CERTIFICATE_UNTRUSTED', { reason: code.toLowerCase() });
  return fail('TLS_HANDSHAKE_FAILED', { reason: code.replace(/^ERR_SSL_/, '').toLowerCase() || 'unknown' });
}
