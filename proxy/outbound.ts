// A request that our application sends to another service, the mirror of inbound.ts: head -> service -> policy -> route -> endpoint -> record. The
// application reaches a service by HTTP_PROXY, by its name in the Host header, or by a port of its own.
import type { PosternError } from '#base/error';
import type { VirtualHost } from '#routing';
import { authorize } from './authorize.ts';
import type { Connection } from './connection.ts';
import type { LinkProtocol } from './dial.ts';
import { fail } from './errors.ts';
import type { Downstream, Exchange } from './exchange.ts';
import { type Facts, factsOf } from './facts.ts';
import { follow } from './follow.ts';
import { Http1Downstream } from './http1/downstream.ts';
import { Http2Downstream, type Http2DownstreamOptions } from './http2/server.ts';
import type { Peer } from './identity.ts';
import type { Plane, View } from './plane.ts';
import type { UpstreamPort } from './ports.ts';
import { readProtocol } from './read-protocol.ts';
import { canonicalHead, type FieldList, type RawHead } from './request-head.ts';
import { routeTo } from './route.ts';
import { admit, createExchange, denyUnknown, type Heard, type Running, refuseInvalid, serve } from './serve.ts';
import { TcpDownstream, tunnelTo } from './tcp.ts';
import { isUndeclared, passOn } from './undeclared.ts';
import { type Soon, whenThere } from './when-there.ts';

/** Serves every request of one local connection; on a declared upstream's port all of them are for that service. */
export function serveOutbound(o: { plane: Plane; connection: Connection; port?: ServedPort | undefined }): void {
  const { plane, connection, port } = o;
  // Read for each request: a local connection outlives certificates.
  const hear = (): Heard => ({ plane, connection, hop: 'outbound', caller: plane.local() });
  const begin = (raw: RawHead, downstream: Downstream): Begun => {
    const heard = hear();
    const head = canonicalHead(raw, plane);
    const exchange = createExchange(heard, { head, downstream, responseFields: unchanged });
    return { heard, exchange };
  };
  const work = (running: Running) => outbound(running, port?.name);
  const shared = {
    connection,
    limits: plane.limits,
    monotonic: () => plane.clock.monotonic(),
    onLimit: (limit: string) => plane.metrics.limit(limit),
  };
  if (port?.protocol === 'tcp') {
    const downstream = new TcpDownstream(shared);
    const { heard, exchange } = begin(tunnelTo(hostOf(port.name)), downstream);
    downstream.begin(exchange);
    return void serve(heard, exchange, work);
  }
  const codec = {
    ...shared,
    onRequest: (raw: RawHead, downstream: Downstream) => {
      const { heard, exchange } = begin(raw, downstream);
      void serve(heard, exchange, work);
      return exchange;
    },
    onInvalid: (fault: PosternError, downstream: Downstream) => refuseInvalid(hear(), fault, downstream),
    onClosed: () => undefined,
  };
  readProtocol(connection, shared, (protocol) => speak(protocol, codec, plane));
}

/** Begins to read the requests of a caller that speaks this. */
export function speak(
  protocol: LinkProtocol,
  codec: Omit<Http2DownstreamOptions, 'takesConnect' | 'onFault'>,
  plane: Plane,
): void {
  if (protocol === 'http/1.1') new Http1Downstream(codec);
  else
    new Http2Downstream({
      ...codec,
      takesConnect: true,
      onFault: (fault) => plane.metrics.linkFault('outbound', fault.code),
    });
}

type ServedPort = Pick<UpstreamPort, 'name' | 'protocol'>;
interface Begun {
  readonly heard: Heard;
  readonly exchange: Exchange;
}
const unchanged = (fields: FieldList): FieldList => fields;

/**
 * A service's name as a host name: only for the record, the port has said already which service is meant. Names may have more than hosts may: what a
 * host name cannot say is left out.
 */
function hostOf(service: string): string {
  const labels = service.toLowerCase().split('/').reverse().join('.').split('.');
  const plain = labels.map((label) => label.replace(/[^a-z0-9_-]/g, '').replace(/^-+|-+$/g, ''));
  const host = plain.filter((label) => label !== '').join('.');
  return host.slice(0, 253).replace(/[.-]+$/, '') || 'unnamed';
}

/** Sends one request on: to `service`, or to where its Host leads. */
export function outbound(running: Running, service: string | undefined): Soon<unknown> {
  const { exchange, record } = running;
  const { plane, caller } = running.heard;
  const view = plane.view();
  if (!view || !caller) throw fail('PROXY_NOT_READY');
  const name = service ?? exchange.head.host;
  const host = service === undefined ? view.routes.byHost(name) : view.routes.byName(name);
  if (!host) {
    if (service === undefined && isUndeclared(view, running)) return passOn(running, view);
    return refuseUnknown(running, view, name);
  }
  const to = host.id;
  record.to = to;
  const facts = factsOf({ plane, view, to, head: exchange.head, address: null });
  return whenThere(facts, (facts) => decide(running, { caller, host, facts }));
}

interface Known {
  readonly caller: Peer;
  readonly host: VirtualHost;
  readonly facts: Facts;
}

function decide(running: Running, { caller, host, facts }: Known): Soon<unknown> {
  const { exchange } = running;
  // Another policy may have come while a token was verified.
  const current = running.heard.plane.view();
  if (!current) throw fail('PROXY_NOT_READY');
  const { id: to, port } = host;
  const law = ({ program }: View) => authorize({ program, from: caller, to, port, head: exchange.head, facts });
  const permit = admit(running, law, current);
  if (!permit) return undefined;
  const { sni, isTls } = running.heard;
  const route = routeTo(permit, host, { head: exchange.head, from: caller.uri, sni, isTls });
  if (!route) throw noRoute(running, host.name);
  return follow(running, route);
}

function refuseUnknown(running: Running, view: View, name: string): void {
  const { caller } = running.heard;
  // The ID that a plain name would have, for the record.
  if (caller && /^[a-z0-9_-]+$/.test(name)) running.record.to = `spiffe://${caller.id.trustDomain}/${name}`;
  denyUnknown(running, view, name);
}

function noRoute({ exchange, heard }: Running, virtualService: string): PosternError {
  const { method, path, authority } = exchange.head;
  const url = `${heard.isTls ? 'https' : 'http'}://${authority}${path}`;
  return fail('ROUTE_UNMATCHED', { virtualService, method, path, from: heard.caller?.id.service ?? '', url });
}
