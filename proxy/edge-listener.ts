// Where callers from outside the mesh connect: plain, or by TLS with a certificate for the host that they name. What it takes and shows can be replaced
// while it listens; connections that are open go on under the new settings.
import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createSecureContext, createServer, type SecureContext, type TLSSocket } from 'node:tls';
import type { PosternError } from '#base/error';
import { networkOf } from '#base/network';
import { type Identity, toPem } from '#spiffe';
import type { Connection } from './connection.ts';
import { linkProtocolOf, linkProtocols } from './dial.ts';
import { type Edge, edgeOf, serveEdge } from './edge.ts';
import { fail } from './errors.ts';
import { createAccepted, createNote, type Listener, type ListenOptions, openPort, turnAway } from './listen.ts';
import { passThrough } from './passthrough.ts';
import type { EdgeCertificate, EdgePort } from './ports.ts';
import { createShares } from './shares.ts';
import { acceptTls, addressOf } from './tls-accept.ts';

export interface EdgeListener extends Listener {
  /** Checks everything and changes nothing; the result puts it in force and cannot fail. Throws what is wrong with it. */
  prepare(port: EdgePort): () => void;
  /** This proxy's own certificate was replaced. */
  renewed(): void;
}

/** As Mozilla's "intermediate" configuration has them; those of TLS 1.3 are OpenSSL's own. */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

export async function listenEdge(port: EdgePort, o: ListenOptions): Promise<EdgeListener> {
  const { plane } = o;
  const { limits } = plane;
  const accepted = createAccepted(plane, 'outbound');
  const shares = createShares({ most: limits.peerConnections });
  const note = createNote(plane, 'outbound');
  let edge = edgeOf(port);
  let contexts: readonly (SecureContext | undefined)[] = [];
  const refuse = (fault: PosternError, remote: string, id = plane.nextId()): void => {
    plane.metrics.refused(fault.code);
    note(fault, { id, remote, peer: undefined });
  };
  const tls = createServer({
    ciphers,
    honorCipherOrder: true,
    handshakeTimeout: limits.handshakeMs,
    ALPNProtocols: [...linkProtocols],
    SNICallback(name, done) {
      const context = contexts[certificateFor(edge, name) ?? -1];
      if (context) done(null, context);
      else done(fail('TLS_NAME_UNKNOWN', { name: name.slice(0, 253) }));
    },
  });
  /** Certificates and keys as OpenSSL will use them; throws when it would not. */
  const contextsOf = (next: EdgePort): (SecureContext | undefined)[] =>
    (next.tls?.certificates ?? []).map((one) => contextOf(one, next, plane.identity()));
  const useContexts = (next: EdgePort, made: readonly (SecureContext | undefined)[]): void => {
    contexts = made;
    const [first] = next.tls?.certificates ?? [];
    // For callers that name no host; without a certificate of its own yet there is none to show.
    if (first && made[0]) tls.setSecureContext({ ...pairOf(first, plane.identity()), ...protocolOf(next) });
  };
  useContexts(port, contextsOf(port));

  const cannotTake = (handshakes: number): PosternError | undefined => {
    if (contexts[0] === undefined) return fail('TLS_NOT_READY');
    if (plane.live.count('outbound') + handshakes < limits.connections) return undefined;
    plane.metrics.limit('connections');
    return fail('LIMIT_CONNECTIONS', { limit: limits.connections });
  };
  const take = (socket: Socket): Connection | undefined => {
    // A proxy that is trusted brings everybody's connections.
    const isShared = edge.trusted.has(socket.remoteAddress);
    const giveBack = isShared ? () => undefined : shares.take(networkOf(socket.remoteAddress ?? ''));
    if (!giveBack) {
      plane.metrics.limit('peer-connections');
      refuse(fail('LIMIT_CONNECTIONS', { limit: limits.peerConnections }), addressOf(socket));
      socket.destroy();
      return undefined;
    }
    socket.once('close', giveBack);
    const connection = accepted.add(socket);
    plane.metrics.connection('outbound');
    return connection;
  };
  const takeTls = acceptTls({
    plane,
    tls,
    refuse,
    cannotTake,
    secured(socket: TLSSocket) {
      const connection = take(socket);
      if (!connection) return;
      const serverName = typeof socket.servername === 'string' ? socket.servername.toLowerCase() : undefined;
      serve(connection, linkProtocolOf(socket) ?? 'http/1.1', serverName);
    },
  });
  const serve = (
    connection: Connection,
    protocol: 'h2' | 'http/1.1' | undefined,
    serverName: string | undefined,
  ): void => {
    serveEdge({ plane, connection, edge: () => edge, protocol, serverName });
    if (o.isDraining()) connection.retire();
  };
  const opened = await openPort(port.listen, o, (socket) => {
    if (edge.allowed && !edge.allowed.has(socket.remoteAddress)) {
      socket.on('error', () => undefined);
      refuse(fail('ADDRESS_REFUSED'), addressOf(socket));
      return void socket.destroy();
    }
    if (edge.port.tls) return takeTls(socket);
    if (plane.live.count('outbound') >= limits.connections) return turnAway(plane, socket);
    socket.on('error', () => undefined);
    socket.allowHalfOpen = true;
    const connection = take(socket);
    if (!connection) return;
    if (!edge.port.passthrough) return serve(connection, undefined, undefined);
    passThrough({ plane, connection, edge, refuse: (fault) => refuse(fault, connection.remote, connection.id) });
  });
  return {
    ...opened,
    retire: accepted.retire,
    prepare(next) {
      const made = contextsOf(next);
      const nextEdge = edgeOf(next);
      return () => {
        const isOtherKind = kindOf(next) !== kindOf(edge.port);
        useContexts(next, made);
        edge = nextEdge;
        // What is open was made for the other way to speak.
        if (isOtherKind) accepted.retire();
        const { allowed } = nextEdge;
        if (!allowed) return;
        for (const connection of [...accepted.all]) if (!allowed.has(connection.socket.remoteAddress)) connection.cut();
      };
    },
    renewed: () => useContexts(edge.port, contextsOf(edge.port)),
  };
}

function kindOf({ tls, passthrough }: EdgePort): string {
  return passthrough ? 'passthrough' : tls ? 'tls' : 'plain';
}

function certificateFor({ certificates, port }: Edge, name: string): number | undefined {
  const all = port.tls?.certificates ?? [];
  return certificates.find(name.toLowerCase().replace(/\.$/, '')) ?? (all.length === 1 ? 0 : undefined);
}

function contextOf(one: EdgeCertificate, port: EdgePort, identity: Identity | undefined): SecureContext | undefined {
  const pair = pairOf(one, identity);
  return pair && createSecureContext({ ...pair, ...protocolOf(port), ciphers, honorCipherOrder: true });
}

function pairOf({ own }: EdgeCertificate, identity: Identity | undefined): { cert: string; key: string } | undefined {
  if (own) return { ...own };
  if (!identity) return undefined;
  const key = identity.key.export({ format: 'pem', type: 'pkcs8' }) as string;
  return { cert: identity.chain.map(toPem).join(''), key };
}

function protocolOf({ tls }: EdgePort) {
  const secureOptions = constants.SSL_OP_NO_RENEGOTIATION;
  return { minVersion: tls?.minVersion ?? 'TLSv1.2', maxVersion: 'TLSv1.3', secureOptions } as const;
}
