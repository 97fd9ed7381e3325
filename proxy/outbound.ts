// A request that our application sends to another service, the mirror of inbound.ts: head -> service -> policy -> endpoint -> record. The
// application reaches a service by HTTP_PROXY, by its name in the Host header, or by a port of its own.
import { isPosternError, type PosternError } from '#base/error';
import type { Permit } from './authorize.ts';
import { authorize } from './authorize.ts';
import type { Connection } from './connection.ts';
import { fail } from './errors.ts';
import type { Downstream, Exchange } from './exchange.ts';
import { factsOf } from './facts.ts';
import { fieldsForPeer } from './headers.ts';
import { Http1Downstream } from './http1/downstream.ts';
import { Http2Downstream } from './http2/server.ts';
import type { Plane, View } from './plane.ts';
import type { UpstreamPort } from './ports.ts';
import { readProtocol } from './read-protocol.ts';
import { canonicalHead, type RawHead } from './request-head.ts';
import { type Destination, type Endpoint, routeTo } from './route.ts';
import { admit, createExchange, deny, type Heard, type Running, refuseInvalid, send, serve } from './serve.ts';
import { TcpDownstream, tunnelTo } from './tcp.ts';

/** Serves every request of one local connection; on a declared upstream's port all of them are for that service. */
export function serveOutbound(o: { plane: Plane; connection: Connection; port?: ServedPort | undefined }): void {
  const { plane, connection, port } = o;
  // Read for each request: a local connection outlives certificates.
  const hear = (): Heard => ({ plane, connection, hop: 'outbound', caller: plane.local() });
  const begin = (raw: RawHead, downstream: Downstream): Begun => {
    const heard = hear();
    const head = canonicalHead(raw, plane);
    const exchange = createExchange(heard, { head, downstream, responseFields: (fields) => fields });
    return { exchange, run: () => void serve(heard, exchange, (running) => outbound(running, port?.name)) };
  };
  const shared = {
    connection,
    limits: plane.limits,
    monotonic: () => plane.clock.monotonic(),
    onLimit: (limit: string) => plane.metrics.limit(limit),
  };
  if (port?.protocol === 'tcp') {
    const downstream = new TcpDownstream(shared);
    const { exchange, run } = begin(tunnelTo(hostOf(port.name)), downstream);
    downstream.begin(exchange);
    return run();
  }
  const codec = {
    ...shared,
    onRequest: (raw: RawHead, downstream: Downstream) => {
      const { exchange, run } = begin(raw, downstream);
      run();
      return exchange;
    },
    onInvalid: (fault: PosternError, downstream: Downstream) => refuseInvalid(hear(), fault, downstream),
    onClosed: () => undefined,
  };
  readProtocol(connection, shared, (protocol) => {
    if (protocol === 'http/1.1') new Http1Downstream(codec);
    else
      new Http2Downstream({
        ...codec,
        takesConnect: true,
        onFault: (fault) => plane.metrics.linkFault('outbound', fault.code),
      });
  });
}

type ServedPort = Pick<UpstreamPort, 'name' | 'protocol'>;
interface Begun {
  readonly exchange: Exchange;
  readonly run: () => void;
}

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
export async function outbound(running: Running, service: string | undefined): Promise<void> {
  const { exchange, record } = running;
  const { plane, caller } = running.heard;
  const view = plane.view();
  if (!view || !caller) throw fail('PROXY_NOT_READY');
  const name = service ?? exchange.head.host;
  const destination = service === undefined ? view.routes.byHost(name) : view.routes.byService(name);
  if (!destination) return denyUnknown(running, view, name);
  const to = destination.id.uri;
  record.to = to;
  const reading = factsOf({ plane, view, to, head: exchange.head, address: null });
  const facts = reading instanceof Promise ? await reading : reading;
  // Another policy may have come while a token was verified.
  const current = plane.view();
  if (!current) throw fail('PROXY_NOT_READY');
  const permit = admit(
    running,
    ({ program }) => authorize({ program, from: caller, to, port: destination.port, head: exchange.head, facts }),
    current,
  );
  if (permit) await sendToService(running, permit, destination);
}

/** Tries endpoints until one connects; once anything was sent there is no other try here. */
async function sendToService(running: Running, permit: Permit, destination: Destination): Promise<void> {
  const { plane } = running.heard;
  const { endpoints, id } = routeTo(permit, destination).destination;
  const fields = fieldsForPeer(running.exchange.head.fields);
  const tried = new Set<string>();
  let last: PosternError | undefined;
  for (;;) {
    const endpoint = plane.balancer.pick(endpoints, tried);
    if (!endpoint) throw last ?? fail('SERVICE_WITHOUT_ENDPOINTS', { service: id.uri });
    tried.add(endpoint.address);
    running.record.endpoint = endpoint.address;
    try {
      return await sendTo(running, destination, endpoint, fields);
    } catch (thrown) {
      if (!isUnreached(thrown)) throw thrown;
      if (thrown.code !== 'UPSTREAM_OVERLOADED') plane.balancer.failed(endpoint);
      last = thrown;
    }
  }
}

async function sendTo(
  running: Running,
  destination: Destination,
  endpoint: Endpoint,
  fields: readonly string[],
): Promise<void> {
  const { plane } = running.heard;
  const done = plane.balancer.begin(endpoint);
  try {
    await send(running, plane.upstreams.service(destination, endpoint), fields);
    plane.balancer.connected(endpoint);
  } finally {
    done();
  }
}

/** Faults that happen before anything of a request is sent. */
const unreached = new Set(['UPSTREAM_CONNECT_FAILED', 'UPSTREAM_IDENTITY_WRONG', 'UPSTREAM_OVERLOADED']);

function isUnreached(thrown: unknown): thrown is PosternError {
  return isPosternError(thrown) && unreached.has(thrown.code);
}

/** What this proxy may not call and what does not exist look alike: no rule admits either, and neither is told apart from the other. */
function denyUnknown(running: Running, { program, routes }: View, name: string): void {
  const { caller } = running.heard;
  const { method, path } = running.exchange.head;
  // The ID that a plain name would have, for the record.
  if (caller && /^[a-z0-9_-]+$/.test(name)) running.record.to = `spiffe://${caller.id.trustDomain}/${name}`;
  const nearest = routes.nearest(name);
  const suggestion = nearest ? `; did you mean ${nearest}?` : '';
  const fault = fail('SERVICE_UNKNOWN', { from: caller?.id.service, name, suggestion, method, path });
  deny(running, { ...defaultDeny, revision: program.revision }, fault);
}

const defaultDeny = { effect: 'deny', reason: 'default-deny', matched: [], shadow: [] } as const;
