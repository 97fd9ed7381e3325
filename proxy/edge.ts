// A request from outside the mesh: origin -> canonical head -> host -> the outbound path, with this proxy's own identity. The caller has none: nothing
// that it says about itself is believed, and what goes wrong inside is not told to it.
import type { PosternError } from '#base/error';
import { networkOf } from '#base/network';
import { type AddressSet, addressSet } from './addresses.ts';
import type { Connection } from './connection.ts';
import type { LinkProtocol } from './dial.ts';
import { fieldsAtEdge, type Origin, originOf } from './edge-fields.ts';
import { EdgeDownstream, redirectReply } from './edge-reply.ts';
import { fail } from './errors.ts';
import type { Downstream } from './exchange.ts';
import { type HostMap, hostMap } from './host-set.ts';
import { outbound, speak } from './outbound.ts';
import type { Plane } from './plane.ts';
import type { EdgePort } from './ports.ts';
import { readProtocol } from './read-protocol.ts';
import { canonicalHead, type RawHead } from './request-head.ts';
import { createExchange, type Heard, type Running, refuseInvalid, serve } from './serve.ts';

/** The settings of a listener, ready to be used; replaced whole. */
export interface Edge {
  readonly port: EdgePort;
  readonly hosts: HostMap<true>;
  readonly trusted: AddressSet;
  readonly allowed: AddressSet | undefined;
  /** By host, which of the certificates is shown for it. */
  readonly certificates: HostMap<number>;
}

/** Throws on addresses that cannot be read. */
export function edgeOf(port: EdgePort): Edge {
  const { hosts, trustedProxies, from, tls } = port;
  return {
    port,
    hosts: hostMap(hosts.map((host) => [host, true])),
    trusted: addressSet(trustedProxies),
    allowed: from && addressSet(from),
    certificates: hostMap(
      (tls?.certificates ?? []).flatMap((one, index) => one.hosts.map((host) => [host, index] as const)),
    ),
  };
}

export interface EdgeOptions {
  readonly plane: Plane;
  readonly connection: Connection;
  /** Read for each request: a connection outlives settings. */
  readonly edge: () => Edge;
  /** Agreed on in the TLS handshake; on a plain connection the first bytes tell. */
  readonly protocol: LinkProtocol | undefined;
  /** The name that the TLS handshake was for. */
  readonly serverName: string | undefined;
}

/** Serves every request of one connection from outside. */
export function serveEdge(o: EdgeOptions): void {
  const { plane, connection } = o;
  const remote = plainAddress(connection.socket.remoteAddress ?? '');
  const scheme = 'encrypted' in connection.socket ? 'https' : 'http';
  const port = connection.socket.localPort ?? 0;
  const hear = ({ address, scheme }: Pick<Origin, 'address' | 'scheme'>): Heard => ({
    plane,
    connection,
    hop: 'outbound',
    caller: plane.local(),
    isPublic: true,
    isTls: scheme === 'https',
    holder: networkOf(address),
    ...(address === remote ? {} : { address }),
  });
  const shared = {
    connection,
    limits: plane.limits,
    monotonic: () => plane.clock.monotonic(),
    onLimit: (limit: string) => plane.metrics.limit(limit),
  };
  const codec = {
    ...shared,
    onRequest(raw: RawHead, downstream: Downstream) {
      const edge = o.edge();
      // No way through here to whatever a stranger names.
      if (raw.tunnel === 'connect') throw fail('HTTP_METHOD_REFUSED', { method: raw.method });
      const given = canonicalHead(raw, plane);
      const origin = originOf(given.fields, { remote, scheme, trusted: edge.trusted });
      const fields = fieldsAtEdge(given.fields, origin, { authority: given.authority, port });
      const heard = hear(origin);
      const exchange = createExchange(heard, {
        head: { ...given, fields },
        downstream: new EdgeDownstream(downstream, raw.method),
        responseFields: (answered) => answered,
      });
      void serve(heard, exchange, (running) => fromOutside(running, edge, o.serverName));
      return exchange;
    },
    onInvalid: (fault: PosternError, downstream: Downstream) =>
      refuseInvalid(hear({ address: remote, scheme }), fault, new EdgeDownstream(downstream, 'GET')),
    onClosed: () => undefined,
  };
  if (o.protocol) speak(o.protocol, codec, plane);
  else readProtocol(connection, shared, (protocol) => speak(protocol, codec, plane));
}

async function fromOutside(running: Running, edge: Edge, serverName: string | undefined): Promise<void> {
  const { exchange, heard, record } = running;
  const { host, path, query } = exchange.head;
  const { redirect, tls } = edge.port;
  if (!edge.hosts.find(host) && !(redirect && edge.port.hosts.length === 0)) throw fail('EDGE_HOST_UNKNOWN', { host });
  if (redirect) {
    const authority = host.includes(':') ? `[${host}]` : host;
    const at = redirect.port === 443 ? authority : `${authority}:${redirect.port}`;
    const { head, body } = redirectReply(redirect.status, `https://${at}${path === '*' ? '/' : path}${query}`);
    record.decision = 'allow';
    record.reason = 'redirected';
    return exchange.reply(head, body);
  }
  // A connection made for one certificate does not serve the hosts of another (RFC 9110 section 15.5.20).
  if (tls && serverName !== undefined && edge.certificates.find(host) !== edge.certificates.find(serverName))
    throw fail('EDGE_MISDIRECTED', { host, serverName });
  const view = heard.plane.view();
  if (!view) throw fail('PROXY_NOT_READY');
  if (!view.routes.byHost(host)) throw fail('EDGE_HOST_UNKNOWN', { host });
  await outbound(running, undefined);
}

/** An IPv4 address as such, also where the socket is one of IPv6. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}
