// Where other proxies connect: mutual TLS. Only connections whose peer is verified are handed on; every other one leaves one record (bounded in
// number) and one count with a stable reason.
import { createServer, type SecureContextOptions } from 'node:tls';
import { isPosternError, messageOf, type PosternError } from '#base/error';
import type { HostPort } from '#base/host-port';
import { tlsServerPolicy } from '#spiffe';
import { linkProtocolOf } from './dial.ts';
import { fail } from './errors.ts';
import { lifeOf, Peer } from './identity.ts';
import { serveInbound } from './inbound.ts';
import { createAccepted, createNote, type Listener, type ListenOptions, openPort } from './listen.ts';
import { createShares } from './shares.ts';
import { acceptTls } from './tls-accept.ts';

export interface InboundListener extends Listener {
  /** For connections from now on. */
  useContext(context: SecureContextOptions): void;
}

/** Before `useContext` every connection is refused. */
export async function listenInbound(at: HostPort, o: ListenOptions): Promise<InboundListener> {
  const { plane } = o;
  const { limits } = plane;
  let isReady = false;
  const accepted = createAccepted(plane, 'inbound');
  const shares = createShares({ most: limits.peerConnections });
  const note = createNote(plane, 'inbound');
  const refuse = (fault: PosternError, remote: string, id = plane.nextId()): void => {
    plane.metrics.refused(fault.code);
    note(fault, { id, remote, peer: undefined });
  };
  const tls = createServer({
    ...tlsServerPolicy,
    handshakeTimeout: limits.handshakeMs,
    ALPNProtocols: [...o.linkProtocols],
  });
  const accept = acceptTls({
    plane,
    tls,
    refuse,
    cannotTake(handshakes) {
      const own = plane.identity();
      if (!isReady || !plane.view() || !own || own.notAfter <= plane.clock.now()) return fail('TLS_NOT_READY');
      if (plane.live.count('inbound') + handshakes >= limits.connections) {
        plane.metrics.limit('connections');
        return fail('LIMIT_CONNECTIONS', { limit: limits.connections });
      }
      return undefined;
    },
    secured(socket) {
      // Registered before it is checked, so that a ban or a new view meanwhile cannot miss it.
      const connection = accepted.add(socket);
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
    },
  });
  const port = await openPort(at, o, accept);
  return {
    ...port,
    retire: accepted.retire,
    useContext(context) {
      tls.setSecureContext(context);
      isReady = true;
    },
  };
}
