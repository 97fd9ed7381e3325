// A request that another service sends to ours: identity -> head -> policy -> route -> application -> record. This decision is the one that
// counts, whatever the calling side has decided. Nothing is sent to the application before it.

import type { PosternError } from '#base/error';
import { parseSpiffeId } from '#spiffe';
import type { Permit } from './authorize.ts';
import { authorize } from './authorize.ts';
import type { Behind } from './behind.ts';
import type { Connection } from './connection.ts';
import type { LinkProtocol } from './dial.ts';
import { fail } from './errors.ts';
import type { Downstream } from './exchange.ts';
import { type Facts, factsOf } from './facts.ts';
import { fieldsFromApp } from './headers.ts';
import { Http1Downstream } from './http1/downstream.ts';
import { failLink } from './http2/errors.ts';
import { Http2Downstream } from './http2/server.ts';
import type { Peer } from './identity.ts';
import type { Plane, View } from './plane.ts';
import { canonicalHead, type RawHead, type RequestHead } from './request-head.ts';
import { portOf } from './route.ts';
import { holdLimits, type RouteLimits } from './route-limits.ts';
import { admit, createExchange, denyUnknown, type Heard, type Running, refuseInvalid, serve } from './serve.ts';
import { type Soon, whenThere } from './when-there.ts';

export interface InboundOptions {
  readonly plane: Plane;
  readonly connection: Connection;
  readonly caller: Peer;
  readonly protocol: LinkProtocol;
  /** The caller breaks the protocol or a bound of the connection, or is silent; called once at most. */
  readonly onFault: (fault: PosternError) => void;
}

/** Serves every request that comes over one verified connection. */
export function serveInbound({ plane, connection, caller, protocol, onFault }: InboundOptions): void {
  const heard: Heard = { plane, connection, caller, hop: 'inbound' };
  const shared = {
    connection,
    limits: plane.limits,
    monotonic: () => plane.clock.monotonic(),
    onRequest(raw: RawHead, downstream: Downstream) {
      const head = canonicalHead(raw, plane);
      const exchange = createExchange(heard, { head, downstream, responseFields: fieldsFromApp });
      void serve(heard, exchange, inbound);
      return exchange;
    },
    onInvalid: (fault: PosternError, downstream: Downstream) => refuseInvalid(heard, fault, downstream),
    onClosed: () => undefined,
    onLimit: (limit: string) => plane.metrics.limit(limit),
  };
  if (protocol === 'http/1.1') {
    new Http1Downstream(shared);
    return;
  }
  let isTold = false;
  const tell = (fault: PosternError): void => {
    if (!isTold) onFault(fault);
    isTold = true;
  };
  new Http2Downstream({
    ...shared,
    takesConnect: true,
    onLimit(limit) {
      plane.metrics.limit(limit);
      if (limit === 'http2-streams') tell(failLink('HTTP2_FLOOD', { reason: 'it opens too many streams at a time' }));
    },
    onFault: tell,
  });
}

function inbound(running: Running): Soon<unknown> {
  const { exchange, record } = running;
  const { plane, caller } = running.heard;
  const own = plane.identity();
  const view = plane.view();
  if (!own || !view || !caller) throw fail('PROXY_NOT_READY');
  const behind = plane.behind();
  record.security = 'mtls';
  const to = behind.idOf(exchange.head, own.id.uri, view);
  if (to === undefined) return denyUnknown(running, view, exchange.head.host);
  record.to = to;
  const address = running.heard.connection.socket.remoteAddress;
  const facts = factsOf({ plane, view, to, head: exchange.head, address });
  return whenThere(facts, (facts) => decide(running, { caller, own: own.id.uri, behind, to, facts }));
}

interface Known {
  readonly caller: Peer;
  /** SPIFFE ID of this proxy. */
  readonly own: string;
  readonly behind: Behind;
  readonly to: string;
  readonly facts: Facts;
}

function decide(running: Running, { caller, own, behind, to, facts }: Known): Soon<unknown> {
  const { exchange } = running;
  // Another policy may have come while a token was verified.
  const current = running.heard.plane.view();
  if (!current) throw fail('PROXY_NOT_READY');
  const permit = admit(
    running,
    ({ program }) =>
      authorize({
        program,
        from: caller,
        to,
        port: behind.port,
        head: exchange.head,
        facts,
      }),
    current,
  );
  if (!permit) return undefined;
  const limits = limitsOf(permit, current, exchange.head, caller.uri);
  if (limits) holdLimits(running, limits, caller.uri);
  return behind.send(running, permit, own);
}

/** What the service's own routes hold here, where all of its callers meet. */
function limitsOf(
  { to }: Permit,
  { routes, isLimited }: View,
  head: RequestHead,
  from: string,
): RouteLimits | undefined {
  if (!isLimited || head.tunnel === 'connect') return undefined;
  const named = routes.byHost(head.host);
  const host = named?.id === to ? named : routes.byName(parseSpiffeId(to).service);
  const { method, path, query, fields } = head;
  return host?.http({ method, port: portOf(head), path, query, fields, from });
}
