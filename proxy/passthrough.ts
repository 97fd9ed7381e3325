// TLS that does not end here: the host that its first message names says which service it is a call to, policy decides, and the bytes go there as they
// come. What is inside is nobody's business on the way.
import { networkOf } from '#base/network';
import { longestHello, readClientHello } from './client-hello.ts';
import { type Connection, idle } from './connection.ts';
import type { Edge } from './edge.ts';
import { fail } from './errors.ts';
import { outbound } from './outbound.ts';
import type { Plane } from './plane.ts';
import { canonicalHead } from './request-head.ts';
import { createExchange, type Heard, type Running, serve } from './serve.ts';
import { TcpDownstream, tunnelTo } from './tcp.ts';

export interface PassthroughOptions {
  readonly plane: Plane;
  readonly connection: Connection;
  readonly edge: Edge;
  /** It never became a call: why, by code. */
  readonly refuse: (fault: ReturnType<typeof fail>) => void;
}

/** Reads the first message of a connection, in the time that a TLS handshake has, and makes a tunnel of the rest. */
export function passThrough(o: PassthroughOptions): void {
  const { plane, connection } = o;
  const { limits, clock } = plane;
  let bytes: Buffer = Buffer.alloc(0);
  const end = (fault: ReturnType<typeof fail>): void => {
    connection.handler = idle;
    o.refuse(fault);
    connection.cut();
  };
  connection.deadline = clock.monotonic() + limits.handshakeMs;
  connection.handler = {
    ...idle,
    read(chunk) {
      bytes = Buffer.concat([bytes, chunk]);
      const hello = readClientHello(bytes);
      if (hello.kind === 'refused') return end(fail('TLS_HELLO_INVALID', { reason: hello.reason }));
      if (hello.kind === 'read') return begin(o, hello.serverName, bytes);
      if (bytes.length > longestHello) end(fail('TLS_HELLO_INVALID', { reason: 'its ClientHello is too long' }));
    },
    ended: () => end(fail('TLS_HANDSHAKE_CLOSED')),
    expired: () => end(fail('TLS_HANDSHAKE_TIMEOUT', { ms: limits.handshakeMs })),
    retire: () => connection.cut(),
    get held() {
      return bytes.length;
    },
  };
}

function begin({ plane, connection, edge, refuse }: PassthroughOptions, sni: string | undefined, rest: Buffer): void {
  connection.deadline = 0;
  if (sni === undefined) {
    connection.handler = idle;
    refuse(fail('TLS_HELLO_INVALID', { reason: 'it names no host' }));
    return connection.cut();
  }
  const heard: Heard = {
    plane,
    connection,
    hop: 'outbound',
    caller: plane.local(),
    isPublic: true,
    isTls: true,
    holder: networkOf(connection.remoteHost),
    sni,
  };
  const downstream = new TcpDownstream({
    connection,
    limits: plane.limits,
    monotonic: () => plane.clock.monotonic(),
    onLimit: (limit) => plane.metrics.limit(limit),
  });
  const head = canonicalHead(tunnelTo(`${sni}:${connection.socket.localPort ?? 443}`), plane);
  const exchange = createExchange(heard, { head, downstream, responseFields: (fields) => fields });
  downstream.begin(exchange, rest);
  void serve(heard, exchange, (running) => toward(running, edge, sni));
}

async function toward(running: Running, edge: Edge, sni: string): Promise<void> {
  const view = running.heard.plane.view();
  if (!view) throw fail('PROXY_NOT_READY');
  if (!edge.hosts.find(sni) || !view.routes.byHost(sni)) throw fail('EDGE_HOST_UNKNOWN', { host: sni });
  await outbound(running, undefined);
}
