// Opens one connection onward: plain to the application, or mutual TLS to another sidecar that has proved to be the expected service before
// a byte is sent to it. Every failure says which hop it was on and why.
import { connect as connectTcp, type LookupFunction, type NetConnectOpts, type Socket } from 'node:net';
import type { ConnectionOptions, SecureContext, TLSSocket } from 'node:tls';
import type { Clock } from '#base/clock';
import { isPosternError, messageOf, type PosternError } from '#base/error';
import { formatHostPort, type HostPort } from '#base/host-port';
import { connectTls, type Identity, type SpiffeId, type TrustBundle, tlsClientPolicy } from '#spiffe';
import { fail } from './errors.ts';
import { type Bans, Peer } from './identity.ts';

/** What the link may speak, the better one first. */
export const linkProtocols = ['h2', 'http/1.1'] as const;
export type LinkProtocol = (typeof linkProtocols)[number];

/** What both ends agreed on; `undefined` when they agreed on nothing of ours. */
export function linkProtocolOf({ alpnProtocol }: TLSSocket): LinkProtocol | undefined {
  return linkProtocols.find((protocol) => protocol === alpnProtocol);
}

export interface DialOptions {
  readonly clock: Clock;
  readonly connectMs: number;
}

export interface Dialled {
  readonly socket: Socket;
  readonly peer: Peer | undefined;
  readonly protocol: LinkProtocol;
}

/** Throws `APP_CONNECT_FAILED` or `APP_TIMEOUT`. */
export async function dialApp(app: HostPort, o: DialOptions): Promise<Dialled> {
  const endpoint = formatHostPort(app);
  const socket = connectTcp({ ...app, allowHalfOpen: true });
  await opened(socket, 'connect', {
    ...o,
    onTimeout: () => fail('APP_CONNECT_FAILED', { endpoint, reason: `no connection within ${o.connectMs} ms` }),
    onError: (error) => fail('APP_CONNECT_FAILED', { endpoint, reason: reasonOf(error) }, { cause: error }),
  });
  return { socket, peer: undefined, protocol: 'http/1.1' };
}

export interface DialServiceOptions extends DialOptions {
  readonly expect: SpiffeId;
  readonly protocols: readonly LinkProtocol[];
  readonly context: SecureContext;
  readonly identity: Identity;
  /** Of endpoints that are known by name. */
  readonly lookup: LookupFunction;
  readonly bundle: TrustBundle;
  /** Read when the handshake has ended. */
  readonly bans: () => Bans;
}

/** Throws `UPSTREAM_CONNECT_FAILED` or `UPSTREAM_IDENTITY_WRONG`. */
export async function dialService(to: HostPort, o: DialServiceOptions): Promise<Dialled> {
  const endpoint = formatHostPort(to);
  const service = o.expect.uri;
  const now = (): number => o.clock.now();
  const options: ConnectionOptions & NetConnectOpts = {
    ...tlsClientPolicy({ bundle: o.bundle, now, expect: o.expect }),
    ...to,
    lookup: o.lookup,
    secureContext: o.context,
    ALPNProtocols: [...o.protocols],
    servername: '',
    allowHalfOpen: true,
  };
  const socket = connectTls(options);
  const wrong = (thrown: unknown): PosternError =>
    fail('UPSTREAM_IDENTITY_WRONG', { endpoint, service, reason: messageOf(thrown) }, { cause: thrown });
  await opened(socket, 'secureConnect', {
    ...o,
    onTimeout: () =>
      fail('UPSTREAM_CONNECT_FAILED', { service, endpoint, reason: `no connection within ${o.connectMs} ms` }),
    onError: (error) =>
      isIdentityFault(error)
        ? wrong(error)
        : fail('UPSTREAM_CONNECT_FAILED', { service, endpoint, reason: reasonOf(error) }, { cause: error }),
  });
  try {
    return { socket, ...readServer(socket, o, now()) };
  } catch (thrown) {
    socket.destroy();
    throw wrong(thrown);
  }
}

/** Reads the identity once more from the finished handshake, so that nothing rests on one callback alone. */
function readServer(socket: TLSSocket, o: DialServiceOptions, now: number): Omit<Dialled, 'socket'> {
  const peer = Peer.read(socket, { bundle: o.bundle, bans: o.bans(), now });
  if (peer.uri !== o.expect.uri) throw new TypeError(`it is ${peer.uri}`);
  const protocol = linkProtocolOf(socket);
  if (!protocol) throw new TypeError('it speaks no protocol of the mesh');
  return { peer, protocol };
}

/** Waits for `event`, at most `connectMs`; a socket on which it does not come is destroyed. */
export function opened(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  o: DialOptions & { onTimeout: () => PosternError; onError: (error: NodeJS.ErrnoException) => PosternError },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (run: () => void): void => {
      cancel();
      socket.removeListener(event, ready);
      socket.removeListener('close', closed);
      run();
    };
    const ready = (): void =>
      settle(() => {
        socket.removeListener('error', failed);
        resolve();
      });
    const failed = (error: NodeJS.ErrnoException): void => {
      socket.destroy();
      settle(() => reject(o.onError(error)));
    };
    const closed = (): void => settle(() => reject(o.onError(new Error('it was closed during the handshake'))));
    const cancel = o.clock.after(o.connectMs, () => {
      socket.destroy();
      settle(() => reject(o.onTimeout()));
    });
    // The error handler stays after a failure: a dying socket may report a second one.
    socket.on('error', failed);
    socket.once(event, ready);
    socket.once('close', closed);
  });
}

const identityCodes =
  /^(?:CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|ERR_TLS_CERT_)/;

function isIdentityFault(error: NodeJS.ErrnoException): boolean {
  return isPosternError(error) || isCertificateFault(error);
}

/** Whether the handshake failed because of the certificate that the other end showed. */
export function isCertificateFault({ code = '' }: NodeJS.ErrnoException): boolean {
  return identityCodes.test(code);
}

/** In words. */
export function reasonOf(error: NodeJS.ErrnoException): string {
  const { code = '' } = error;
  return (
    words[code] ??
    (code.startsWith('ERR_SSL_') ? `the TLS handshake failed (${code.slice(8).toLowerCase()})` : code || error.message)
  );
}
const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was reset',
  ETIMEDOUT: 'it does not answer',
  EHOSTUNREACH: 'the host is unreachable',
  ENETUNREACH: 'the network is unreachable',
  ENOTFOUND: 'there is no such host name',
  EAI_AGAIN: 'the host name cannot be resolved now',
  EFORBIDDEN: 'no address of the host name may be called',
  EMFILE: 'this process has no file descriptors left',
};
