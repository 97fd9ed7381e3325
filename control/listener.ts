// Who gets as far as HTTP: TLS 1.3 connections whose client showed no certificate, or one that verified. The only file in which
// `rejectUnauthorized` is false (docs/design/enrolment-tls.md says why); the gate below does its work and nothing can pass beside it.
import { constants } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '#base/clock';
import { isPosternError } from '#base/error';
import { createHandshakes } from '#base/handshakes';
import { networkOf } from '#base/network';
import { type Identity, type Svid, type TrustBundle, tlsContext, tlsServerPolicy, verifyPeer } from '#spiffe';
import type { ControlLimits } from './limits.ts';

/** What the gate found at the other end of a connection: an identity, or nobody. */
export interface Peer {
  readonly svid: Svid | undefined;
  readonly remote: string;
}

export interface ListenerOptions {
  readonly identity: () => Identity;
  readonly bundle: () => TrustBundle;
  readonly clock: Clock;
  readonly limits: ControlLimits;
  readonly handler: RequestListener;
  /** Called for each connection that is turned away before HTTP. */
  readonly onRefused: (refusal: { readonly reason: string; readonly remote: string }) => void;
}

export interface Listener {
  /** Its sockets must only be taken through the gate; listening and closing are the caller's. */
  readonly server: Server;
  /** What the gate found; `undefined` for a socket that never passed it. */
  peerOf(socket: Socket): Peer | undefined;
  /** Serves new connections with the identity and bundle of now. */
  refresh(): void;
  /** Cuts every connection, those in the middle of a handshake too. */
  cutAll(): void;
  /** Cuts the live connections of the identities that `isWanted` picks. */
  cut(isWanted: (svid: Svid) => boolean): void;
  readonly counts: { readonly open: number; readonly refused: number };
}

export function createListener(options: ListenerOptions): Listener {
  const { identity, bundle, clock, limits, handler, onRefused } = options;
  const peers = new WeakMap<Socket, Peer>();
  const live = new Map<TLSSocket, Svid>();
  const open = new Set<Socket>();
  const perAddress = new Map<string, number>();
  const counts = { open: 0, refused: 0 };
  const handshakes = createHandshakes<Socket>({ limit: limits.handshakes, monotonic: () => clock.monotonic() });
  const server = createServer(
    {
      ...tlsServerPolicy,
      ...tlsContext({ identity: identity(), bundle: bundle() }),
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: limits.handshakeMs,
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
      ALPNProtocols: ['http/1.1'],
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: 1_000,
      insecureHTTPParser: false,
    },
    handler,
  );
  server.maxConnections = limits.connections;
  server.maxHeadersCount = 64;

  const refuse = (socket: Socket, reason: string, remote: string): void => {
    counts.refused++;
    onRefused({ reason, remote });
    socket.destroy();
  };

  // HTTP is taken off the server's own event and is reached only from the last line of the gate.
  const serve = server.listeners('secureConnection') as ((socket: TLSSocket) => void)[];
  server.removeAllListeners('secureConnection');
  server.on('secureConnection', (socket) => {
    handshakeEnded(socket);
    const remote = addressOf(socket);
    let svid: Svid | undefined;
    try {
      svid = admit(socket, { bundle: bundle(), now: clock.now() });
    } catch (thrown) {
      refuse(socket, isPosternError(thrown) ? thrown.code : 'SERVER_FAULT', remote);
      return;
    }
    peers.set(socket, { svid, remote });
    if (svid) endAtExpiry(socket, svid);
    for (const listener of serve) listener.call(server, socket);
  });

  /** No connection outlives the identity that opened it. */
  const endAtExpiry = (socket: TLSSocket, svid: Svid): void => {
    live.set(socket, svid);
    const disarm = clock.after(svid.notAfter - clock.now(), () => socket.destroy());
    socket.once('close', () => {
      disarm();
      live.delete(socket);
    });
  };

  server.on('connection', (socket: Socket) => {
    const address = networkOf(socket.remoteAddress ?? '');
    const fromHere = (perAddress.get(address) ?? 0) + 1;
    perAddress.set(address, fromHere);
    counts.open++;
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      handshakes.end(socket);
      counts.open--;
      open.delete(socket);
      const left = (perAddress.get(address) ?? 1) - 1;
      if (left > 0) perAddress.set(address, left);
      else perAddress.delete(address);
    });
    if (fromHere > limits.connectionsPerAddress) return refuse(socket, 'REQUEST_TOO_MANY', address);
    const { shed } = handshakes.begin(socket);
    if (shed) refuse(shed, 'REQUEST_TOO_MANY', addressOf(shed));
  });
  /** Called as soon as TLS is done with it, since the connection may go on for hours. */
  const handshakeEnded = (socket: TLSSocket): void => {
    const { _parent: raw } = socket as TLSSocket & { _parent?: Socket };
    if (raw) handshakes.end(raw);
  };
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    handshakeEnded(socket);
    // Someone who hangs up during the handshake was not refused.
    if (error.code === 'ECONNRESET' || error.code === 'EPIPE') return;
    refuse(socket, handshakeReason(error), addressOf(socket));
  });

  return {
    server,
    peerOf: (socket) => peers.get(socket),
    refresh: () => server.setSecureContext(tlsContext({ identity: identity(), bundle: bundle() })),
    cutAll() {
      for (const socket of live.keys()) socket.destroy();
      for (const socket of open) socket.destroy();
    },
    cut(isWanted) {
      for (const [socket, svid] of live) if (isWanted(svid)) socket.destroy();
    },
    counts,
  };
}

/**
 * The verified identity of the client, `undefined` when it showed no certificate; throws for everything else. A certificate is looked
 * for before the verdict: a resumed session reports `authorized` without any, so `authorized` alone proves nothing.
 */
function admit(socket: TLSSocket, now: { bundle: TrustBundle; now: number }): Svid | undefined {
  if (socket.getPeerX509Certificate() === undefined) return undefined;
  return verifyPeer(socket, now);
}

function handshakeReason(error: NodeJS.ErrnoException): string {
  return /^[A-Z0-9_]{1,64}$/.test(error.code ?? '') ? error.code! : 'TLS_HANDSHAKE_FAILED';
}

function addressOf(socket: Socket): string {
  return socket.remoteAddress === undefined ? 'unknown' : `${socket.remoteAddress}:${socket.remotePort}`;
}
