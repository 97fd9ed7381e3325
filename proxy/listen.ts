// What the listeners of a data plane have in common: a port that is opened or refused with the reason, the connections that came by it, and one
// record (bounded in number) for each that never became a request.
import { createServer, type Socket } from 'node:net';
import type { PosternError } from '#base/error';
import { formatHostPort, type HostPort } from '#base/host-port';
import type { Log } from '#base/log';
import { Connection } from './connection.ts';
import type { Hop } from './data-plane-metrics.ts';
import type { LinkProtocol } from './dial.ts';
import { fail } from './errors.ts';
import { noteFault, openRecord } from './exchange-record.ts';
import type { ConnectionKind } from './live.ts';
import type { Plane } from './plane.ts';

export interface Listener {
  readonly address: HostPort;
  /** Takes nothing new; resolves at once, open connections stay. */
  stop(): void;
  /** Its connections finish what they carry and close. */
  retire(): void;
}

export interface ListenOptions {
  readonly plane: Plane;
  readonly log: Log;
  readonly linkProtocols: readonly LinkProtocol[];
  readonly isDraining: () => boolean;
  /** Other threads of this process listen on the same ports: the first one makes sure that nobody else does. */
  readonly sharing?: 'first' | 'more' | undefined;
}

/** The connections of one listener. */
export interface Accepted {
  /** Registered from now on, before anything of it is checked. */
  add(socket: Socket): Connection;
  readonly all: Iterable<Connection>;
  retire(): void;
}

export function createAccepted(plane: Plane, kind: ConnectionKind): Accepted {
  const all = new Set<Connection>();
  return {
    all,
    add(socket) {
      const connection = new Connection({
        id: plane.nextId(),
        socket,
        turn: plane.turn,
        bufferBytes: plane.limits.bufferBytes,
      });
      plane.live.add(connection, kind);
      if (connection.isClosed) return connection;
      all.add(connection);
      socket.once('close', () => all.delete(connection));
      return connection;
    },
    retire() {
      for (const connection of [...all]) connection.retire();
    },
  };
}

/** There are too many already. */
export function turnAway(plane: Plane, socket: Socket): void {
  plane.metrics.limit('connections');
  socket.on('error', () => undefined);
  socket.destroy();
}

/** Where a connection came from and, once that is known, from whom. */
export type Noted = Pick<Connection, 'id' | 'remote' | 'peer'>;

/** Records what went wrong with connections, at most so many in one second. */
export function createNote(plane: Plane, hop: Hop): (fault: PosternError, connection: Noted) => void {
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
      hop,
      kind: 'connection',
      instance: plane.instance,
      service,
      time: plane.timeText(plane.clock.now()),
      connection: id,
      remote,
      to: hop === 'inbound' ? service : undefined,
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

export interface OpenedPort {
  readonly address: HostPort;
  stop(): void;
}

/** `take` gets each connection. Throws `PROXY_LISTEN_FAILED`. */
export async function openPort(
  at: HostPort,
  { log, sharing }: Pick<ListenOptions, 'log' | 'sharing'>,
  take: (socket: Socket) => void,
): Promise<OpenedPort> {
  if (sharing === 'first' && at.port !== 0) await assertFree(at);
  const server = createServer({ noDelay: true }, take);
  return new Promise((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException): void => reject(listenFailed(at, cause));
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
    probe.once('error', (cause: NodeJS.ErrnoException) => reject(listenFailed(at, cause)));
    probe.listen({ host: at.host, port: at.port }, resolve);
  });
  await new Promise((resolve) => probe.close(resolve));
}

function listenFailed(at: HostPort, cause: NodeJS.ErrnoException): Error {
  const address = formatHostPort(at);
  return fail('PROXY_LISTEN_FAILED', { address, reason: cause.code ?? cause.message }, { cause });
}
