// The sockets that callers connect to. The inbound listener hands on only connections whose peer is verified; every other one leaves one
// record (bounded in number) and one count with a stable reason.
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import { isPosternError, messageOf, type PosternError } from '#base/error';
import { createHandshakes } from '#base/handshakes';
import { formatHostPort, type HostPort } from '#base/host-port';
import type { Log } from '#base/log';
import { tlsServerPolicy } from '#spiffe';
import { Connection } from './connection.ts';
import { type LinkProtocol, linkProtocolOf } from './dial.ts';
import { fail } from './errors.ts';
import { noteFault, openRecord } from './exchange-record.ts';
import { lifeOf, Peer } from './identity.ts';
import { serveInbound } from './inbound.ts';
import { serveOutbound, type UpstreamPort } from './outbound.ts';
import type { Plane } from './plane.ts';
import { createShares } from './shares.ts';
import { handshakeFault } from './tls-faults.ts';

export interface Listener {
  readonly address: HostPort;
  /** Takes nothing new; resolves at once, open connections stay. */
  stop(): void;
}

export interface InboundListener extends Listener {
  /** For connections from now on. */
  useContext(context: SecureContextOptions): void;
}

export interface ListenOptions {
  readonly plane: Plane;
  readonly log: Log;
  readonly linkProtocols: readonly LinkProtocol[];
  readonly isDraining: () => boolean;
  /** Other threads of this process listen on the same ports: the first one makes sure that nobody else does. */
  readonly sharing?: 'first' | 'more' | undefined;
}

/** Plain loopback listener for the application's own calls; with `port`, the one of a declared upstream. */
export async function listenOutbound(
  at: HostPort,
  o: ListenOptions & { port?: Pick<UpstreamPort, 'name' | 'protocol'> },
): Promise<Listener> {
  const { plane } = o;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    if (plane.live.count('outbound') >= plane.limits.connections) return turnAway(plane, socket);
    const connection = connectionOn(plane, socket);
    plane.live.add(connection, 'outbound');
    plane.metrics.connection('outbound');
    serveOutbound({ plane, connection, port: o.port });
  });
  return opened(server, at, o);
}

/** The mutual TLS listener. Before `useContext` every connection is refused. */
export async function listenInbound(at: HostPort, o: ListenOptions): Promise<InboundListener> {
  const { plane } = o;
  const { limits } = plane;
  let isReady = false;
  const handshakes = createHandshakes<Socket>({ limit: limits.handshakes, monotonic: () => plane.clock.monotonic() });
  const shed = new WeakSet<Socket>();
  const shares = createShares({ most: limits.peerConnections });
  const note = createNote(plane);
  const refuse = (fault: PosternError, remote: string, id = plane.nextId()): void => {
    plane.metrics.refused(fault.code);
    note(fault, { id, remote, peer: undefined });
  };
  const tls = createTlsServer({
    ...tlsServerPolicy,
    handshakeTimeout: limits.handshakeMs,
    ALPNProtocols: [...o.linkProtocols],
  });
  // Not half-open: the end of a caller in its handshake would not be seen.
  const raw = createServer({ noDelay: true }, (socket) => {
    const remote = addressOf(socket);
    socket.on('error', () => undefined);
    const fault = cannotTake();
    if (fault) {
      socket.destroy();
      return refuse(fault, remote);
    }
    const full = handshakes.begin(socket);
    if (full.shed) turnOut(full.shed);
    if (full.shed === socket) return;
    socket.once('close', () => handshakes.end(socket));
    tls.emit('connection', socket);
  });
  const turnOut = (socket: Socket): void => {
    plane.metrics.limit('handshakes');
    refuse(fail('LIMIT_HANDSHAKES', { limit: limits.handshakes }), addressOf(socket));
    shed.add(socket);
    socket.destroy();
  };
  const cannotTake = (): PosternError | undefined => {
    const own = plane.identity();
    if (!isReady || !plane.view() || !own || own.notAfter <= plane.clock.now()) return fail('TLS_NOT_READY');
    if (plane.live.count('inbound') + handshakes.size >= limits.connections) {
      plane.metrics.limit('connections');
      return fail('LIMIT_CONNECTIONS', { limit: limits.connections });
    }
    return undefined;
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
    const connection = connectionOn(plane, socket);
    // Registered before it is checked, so that a ban or a new view meanwhile cannot miss it.
    plane.live.add(connection, 'inbound');
    try {
      const view = plane.view();
      const identity = plane.identity();
      const now = plane.clock.now();
      // A proxy that could not renew hears of no ban either: what it would decide is out of date.
      if (!view || !identity || identity.notAfter <= now) throw fail('TLS_NOT_READY');
      const caller = Peer.read(socket, { bundle: view.bundle, bans: view.bans, now });
      const protocol = linkProtocolOf(socket);
      if (!protocol) throw fail('TLS_ALPN_UNSUPPORTED');
      const giveBack = shares.take(caller.uri);
      if (!giveBack) {
        plane.metrics.limit('peer-connections');
        throw fail('LIMIT_CONNECTIONS', { limit: limits.peerConnections });
      }
      socket.once('close', giveBack);
      connection.peer = { id: caller.uri, serial: caller.serial };
      Object.assign(connection, lifeOf(now, caller, identity));
      plane.metrics.connection('inbound');
      const onFault = (fault: PosternError): void => {
        plane.metrics.linkFault('inbound', fault.code);
        note(fault, connection);
      };
      serveInbound({ plane, connection, caller, protocol, onFault });
      if (o.isDraining()) connection.retire();
    } catch (thrown) {
      const fault = isPosternError(thrown) ? thrown : fail('PROXY_FAULT', { reason: messageOf(thrown) });
      refuse(fault, connection.remote, connection.id);
      connection.cut();
    }
  });
  const listener = await opened(raw, at, o);
  return {
    ...listener,
    useContext(context) {
      tls.setSecureContext(context);
      isReady = true;
    },
  };
}

function connectionOn(plane: Plane, socket: Socket): Connection {
  return new Connection({ id: plane.nextId(), socket, turn: plane.turn, bufferBytes: plane.limits.bufferBytes });
}

function turnAway(plane: Plane, socket: Socket): void {
  plane.metrics.limit('connections');
  socket.on('error', () => undefined);
  socket.destroy();
}

function addressOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? 'unknown'}:${remotePort ?? 0}`;
}

/** The TCP socket below, also of a TLS socket that is already being torn down. */
function rawOf(socket: TLSSocket): Socket | undefined {
  return (socket as TLSSocket & { _parent?: Socket })._parent;
}

/** Where a connection came from and, once that is known, from whom. */
type Noted = Pick<Connection, 'id' | 'remote' | 'peer'>;

/** Records what went wrong with connections, at most so many in one second. */
function createNote(plane: Plane): (fault: PosternError, connection: Noted) => void {
  let windowStart = 0;
  let inWindow = 0;
  return (fault, { id, remote, peer }) => {
    const now = plane.clock.monotonic();
    if (now - windowStart >= 1_000) {
      windowStart = now;
      inWindow = 0;
    }
    if (++inWindow > plane.limits.refusalsPerSecond) return plane.metrics.recordSuppressed();
    const service = plane.identity()?.id.uri ?? '';
    const record = openRecord({
      id: plane.nextId(),
      hop: 'inbound',
      kind: 'connection',
      instance: plane.instance,
      service,
      at: plane.clock.now(),
      connection: id,
      remote,
      to: service,
      peer: peer && { uri: peer.id, serial: peer.serial },
    });
    noteFault(record, fault.code);
    if (fault.code === 'PEER_BANNED') {
      record.decision = 'deny';
      if (typeof fault.details.id === 'string') record.peer = fault.details.id;
    }
    plane.metrics.record();
    plane.record(record);
  };
}

async function opened(server: Server, at: HostPort, { log, sharing }: ListenOptions): Promise<Listener> {
  if (sharing === 'first' && at.port !== 0) await assertFree(at);
  return new Promise((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException): void =>
      reject(
        fail('PROXY_LISTEN_FAILED', { address: formatHostPort(at), reason: cause.code ?? cause.message }, { cause }),
      );
    server.once('error', failed);
    server.listen({ host: at.host, port: at.port, backlog: 1_024, reusePort: sharing !== undefined }, () => {
      server.removeListener('error', failed);
      // Out of file descriptors, for one: what is open goes on, and the listener stays.
      server.on('error', (error) =>
        log.error('a listener failed', { address: formatHostPort(at), reason: error.message }),
      );
      const bound = server.address();
      const port = typeof bound === 'object' && bound ? bound.port : at.port;
      resolve({ address: { host: at.host, port }, stop: () => void server.close() });
    });
  });
}

/** A port that may be shared tells nobody that another process has it; one that may not does. */
async function assertFree(at: HostPort): Promise<void> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        fail('PROXY_LISTEN_FAILED', { address: formatHostPort(at), reason: cause.code ?? cause.message }, { cause }),
      ),
    );
    probe.listen({ host: at.host, port: at.port }, resolve);
  });
  await new Promise((resolve) => probe.close(resolve));
}
