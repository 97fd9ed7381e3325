// From a TCP connection to one whose TLS handshake has ended, whatever the TLS is for: how many handshakes run, who makes room when there are too
// many, and what is said of those that fail.
import type { Socket } from 'node:net';
import type { TLSSocket, Server as TlsServer } from 'node:tls';
import type { PosternError } from '#base/error';
import { createHandshakes } from '#base/handshakes';
import { fail } from './errors.ts';
import type { Plane } from './plane.ts';
import { handshakeFault } from './tls-faults.ts';

export interface TlsAcceptOptions {
  readonly plane: Plane;
  /** Listens on nothing itself. */
  readonly tls: TlsServer;
  /** Why no connection is taken now, given so many handshakes in progress. */
  readonly cannotTake: (handshakes: number) => PosternError | undefined;
  readonly refuse: (fault: PosternError, remote: string) => void;
  readonly secured: (socket: TLSSocket) => void;
}

/** Takes one TCP connection, which must not be half-open: the end of a caller in its handshake would not be seen. */
export function acceptTls({ plane, tls, cannotTake, refuse, secured }: TlsAcceptOptions): (socket: Socket) => void {
  const { limits } = plane;
  const handshakes = createHandshakes<Socket>({ limit: limits.handshakes, monotonic: () => plane.clock.monotonic() });
  const shed = new WeakSet<Socket>();
  const turnOut = (socket: Socket): void => {
    plane.metrics.limit('handshakes');
    refuse(fail('LIMIT_HANDSHAKES', { limit: limits.handshakes }), addressOf(socket));
    shed.add(socket);
    socket.destroy();
  };
  tls.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    const raw = rawOf(socket);
    if (raw) handshakes.end(raw);
    // Whoever was turned out is on record already.
    if (!raw || !shed.has(raw)) refuse(handshakeFault(error, socket, limits.handshakeMs), addressOf(socket));
    socket.destroy();
  });
  tls.on('secureConnection', (socket) => {
    const raw = rawOf(socket);
    if (raw) handshakes.end(raw);
    // After the handshake each side may end by itself: over HTTP/1.1 tunnels do.
    socket.allowHalfOpen = true;
    secured(socket);
  });
  return (socket) => {
    const remote = addressOf(socket);
    socket.on('error', () => undefined);
    const fault = cannotTake(handshakes.size);
    if (fault) {
      socket.destroy();
      return refuse(fault, remote);
    }
    const full = handshakes.begin(socket);
    if (full.shed) turnOut(full.shed);
    if (full.shed === socket) return;
    socket.once('close', () => handshakes.end(socket));
    tls.emit('connection', socket);
  };
}

export function addressOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? 'unknown'}:${remotePort ?? 0}`;
}

/** The TCP socket below, also of a TLS socket that is already being torn down. */
function rawOf(socket: TLSSocket): Socket | undefined {
  return (socket as TLSSocket & { _parent?: Socket })._parent;
}
