// What a route says of a permitted request: an answer of its own, a fault that somebody asked for, or the way on. What is sent on may differ from what was asked, in
// its path, its Host, its fields or the service that it goes to: then policy decides that too, so that no route widens what policy allows.
import { networkOf } from '#base/network';
import {
  type FaultPlan,
  type Forward,
  type HttpAction,
  type RetryPlan,
  type Target,
  type TunnelAction,
  usualRetries,
} from '#routing';
import { authorize } from './authorize.ts';
import { authorityFor, type ClusterLink } from './cluster-link.ts';
import type { Cluster } from './clusters.ts';
import { fail } from './errors.ts';
import { factsOf } from './facts.ts';
import { type Forwarding, forward, pause } from './forward.ts';
import { fieldsForPeer } from './headers.ts';
import { mirrorOf } from './mirror.ts';
import type { View } from './plane.ts';
import { answerWith } from './reply.ts';
import { clusterField, type FieldList, isGrpc, type RequestHead } from './request-head.ts';
import type { Route } from './route.ts';
import { holdLimits } from './route-limits.ts';
import { addressOf, admit, denyUnknown, type Heard, type Running, serve } from './serve.ts';
import { hashFor } from './sticky.ts';
import { type Soon, whenThere } from './when-there.ts';

export function follow(running: Running, { action, host }: Route): Soon<unknown> {
  const { record } = running;
  record.virtualService = host.name;
  record.route = action.route;
  if (!('kind' in action)) return sendOn(running, plainly(action));
  const preflight = action.cors?.preflight(running.exchange.head);
  if (preflight) return answerWith(running.exchange, { status: 204, fields: preflight, body: '' });
  shapeAnswer(running, action);
  const isAnswered = action.fault ? injectFault(running, action.fault) : false;
  return whenThere(isAnswered, (isAnswered) => isAnswered || act(running, action));
}

function act(running: Running, action: HttpAction): Soon<unknown> {
  if (action.kind === 'forward') return sendOn(running, action);
  const { authority, path, query } = running.exchange.head;
  if (running.heard.isPublic) holdLimits(running, action, peerOf(running.heard));
  if (action.kind === 'respond') return answerWith(running.exchange, action);
  const scheme = running.heard.isTls ? 'https' : 'http';
  const fields = ['location', action.location({ scheme, authority, path, query })];
  answerWith(running.exchange, { status: action.status, fields, body: '' });
}

/** What of a `Forward` sending needs. */
type Sending = Pick<Forward, 'target' | 'timeoutMs' | 'idleTimeoutMs' | 'retries'> &
  Partial<Pick<Forward, 'request' | 'rewritePath' | 'rewriteHost' | 'mirrors' | 'rateLimits' | 'maxBody'>>;

/** Of a tunnel nothing can be changed, and nothing is sent twice but what nobody has taken. */
function plainly({ target, idleTimeoutMs }: TunnelAction): Sending {
  return { target, timeoutMs: undefined, idleTimeoutMs, retries: usualRetries };
}

function sendOn(running: Running, action: Sending): Soon<unknown> {
  const { exchange, heard, record } = running;
  const target = action.target(heard.plane.random());
  const outgoing = rewritten(exchange.head, action, target);
  const way = wayTo(running, { target, outgoing, permitted: record.to });
  return whenThere(way, (way) => way && sendBy(running, way, { action, target, outgoing }));
}

function sendBy(
  running: Running,
  way: Way,
  { action, target, outgoing }: { readonly action: Sending; readonly target: Target; readonly outgoing: RequestHead },
): Promise<void> {
  const { exchange, heard } = running;
  const isHostKept = action.rewriteHost === undefined;
  const { rateLimits = [], maxBody, mirrors = [] } = action;
  // The called side would not find the route again by what it gets, or has none.
  const isHeldThere = way.isMesh && way.service === running.record.to && outgoing === exchange.head;
  if (heard.isPublic || !isHeldThere) holdLimits(running, { rateLimits, maxBody }, peerOf(heard));
  const { responseFields } = exchange;
  const { response } = target;
  if (response) {
    const edited = (fields: FieldList): FieldList => response.apply(responseFields(fields));
    exchange.responseFields = edited;
  }
  exchange.outgoing = isHostKept ? addressedTo(way.link, outgoing) : outgoing;
  const fields = toward(way, target, fieldsForPeer(outgoing.fields, running.trace));
  if (mirrors.length > 0 && exchange.head.tunnel === undefined)
    for (const { target: copied, share } of mirrors)
      if (heard.plane.random() < share) mirror(running, copied, { outgoing, isHostKept });
  const { timeoutMs, idleTimeoutMs, retries } = action;
  return forward(running, { ...way, fields, timeoutMs, idleTimeoutMs, retries });
}

/** Whose part of a limit it is. Of IPv6 one caller has a whole network of addresses. */
function peerOf(heard: Heard): string {
  return heard.isPublic ? networkOf(addressOf(heard)) : (heard.caller?.uri ?? '');
}

type Way = Pick<Forwarding, 'service' | 'cluster' | 'subset' | 'hash' | 'pool' | 'isMesh'> & {
  readonly link: ClusterLink;
};

/**
 * The target's cluster, once policy allows what is sent to it: asked only when that is more than what is permitted already, the request as it came to the
 * service `permitted`. `undefined`: it does not, and the answer is given.
 */
function wayTo(
  running: Running,
  { target, outgoing, permitted }: { target: Target; outgoing: RequestHead; permitted: string | undefined },
): Soon<Way | undefined> {
  const { cluster: name, subset } = target;
  const { exchange, record, heard } = running;
  const { plane, caller } = heard;
  const view = plane.view();
  if (!view || !caller) throw fail('PROXY_NOT_READY');
  const cluster = plane.clusters.get(name);
  record.cluster = subset === undefined ? name : [name, subset].join('/');
  // What this proxy may not call it is not told of.
  if (!cluster) {
    denyUnknown(running, view, name);
    return undefined;
  }
  const isPermitted = (): Soon<boolean> =>
    (cluster.id === permitted && outgoing === exchange.head) || mayBeSent(running, cluster, outgoing, view);
  const isAllowed = cluster.warming ? cluster.warming.then(isPermitted) : isPermitted();
  return whenThere(isAllowed, (isAllowed) => (isAllowed ? wayOver(running, cluster, subset) : undefined));
}

function wayOver(running: Running, cluster: Cluster, subset: string | undefined): Way {
  const { record, heard } = running;
  record.security = cluster.link.kind === 'mesh' ? 'mtls' : cluster.link.tls ? 'tls' : 'none';
  return {
    service: cluster.id,
    cluster: cluster.live,
    subset,
    hash: hashFor(running, cluster.live),
    pool: (endpoint) => heard.plane.upstreams.pool(cluster, endpoint),
    isMesh: cluster.link.kind === 'mesh',
    link: cluster.link,
  };
}

function mayBeSent(running: Running, cluster: Cluster, head: RequestHead, view: View): Soon<boolean> {
  const { plane, caller } = running.heard;
  const to = cluster.id;
  return whenThere(factsOf({ plane, view, to, head, address: null }), (facts) => {
    const current = plane.view();
    if (!current || !caller) throw fail('PROXY_NOT_READY');
    const ports = current.routes.clusters.get(cluster.name)?.service?.ports ?? [];
    const port = ports.length === 1 ? ports[0] : undefined;
    const law = ({ program }: View) => authorize({ program, from: caller, to, port, head, facts });
    return admit(running, law, current, { to, path: head.path }) !== undefined;
  });
}

/** Outside the mesh a name of the cluster is what counts, whatever the application called it by. */
function addressedTo(link: ClusterLink, head: RequestHead): RequestHead {
  const authority = authorityFor(link, head);
  return authority === head.authority ? head : { ...head, authority };
}

/** As the route and the target have it; the same when they change nothing. */
function rewritten(head: RequestHead, { request, rewritePath, rewriteHost }: Sending, target: Target): RequestHead {
  if (!request && !target.request && !rewritePath && rewriteHost === undefined) return head;
  const edited = request ? request.apply(head.fields) : head.fields;
  return {
    ...head,
    path: rewritePath && head.path !== '*' ? rewritePath(head.path) : head.path,
    host: rewriteHost ?? head.host,
    authority: rewriteHost ?? head.authority,
    fields: target.request ? target.request.apply(edited) : edited,
  };
}

/** An egress gateway is told which of the clusters behind it is meant. */
function toward({ service, link }: Way, { cluster }: Target, fields: FieldList): FieldList {
  return link.kind === 'mesh' && link.expect.uri !== service ? [...fields, clusterField, cluster] : fields;
}

/** A copy for another cluster; nobody waits for it, and policy has its say on it as on any other. */
function mirror(
  { exchange, heard, record, trace }: Running,
  target: Target,
  { outgoing, isHostKept }: { outgoing: RequestHead; isHostKept: boolean },
): void {
  const copy = mirrorOf(exchange, heard.plane);
  copy.outgoing = outgoing;
  exchange.mirrors = [...(exchange.mirrors ?? []), copy];
  const { to, virtualService, route } = record;
  const work = async (running: Running): Promise<void> => {
    Object.assign(running.record, { to, virtualService, route, mirrored: true });
    // The permit of the original is none for a copy.
    const way = await wayTo(running, { target, outgoing, permitted: undefined });
    if (!way) return;
    if (isHostKept) copy.outgoing = addressedTo(way.link, outgoing);
    const fields = toward(way, target, fieldsForPeer(outgoing.fields, running.trace));
    await forward(running, { ...way, fields, timeoutMs: undefined, idleTimeoutMs: undefined, retries: never });
  };
  void serve(heard, copy, work, trace && heard.plane.traceUnder(trace));
}
const never: RetryPlan = { ...usualRetries, attempts: 0, isWanted: () => false };

/** What the route changes in the answer, whoever gives it. */
function shapeAnswer({ exchange }: Running, { response, cors }: HttpAction): void {
  if (!response && !cors) return;
  const { responseFields, head } = exchange;
  const added = cors?.answer(head) ?? [];
  const shapedFields = (fields: FieldList): FieldList => {
    const given = responseFields(fields);
    const shaped = response ? response.apply(given) : given;
    return added.length > 0 ? withoutCors(shaped, added) : shaped;
  };
  exchange.responseFields = shapedFields;
}

/** The route's word on other origins counts, whatever the application says. */
function withoutCors(fields: FieldList, added: FieldList): FieldList {
  const kept: string[] = [];
  for (let at = 0; at < fields.length; at += 2)
    if (!fields[at]!.startsWith('access-control-')) kept.push(fields[at]!, fields[at + 1]!);
  return [...kept, ...added];
}

/** True when the answer is given. */
async function injectFault(running: Running, { delay, abort }: FaultPlan): Promise<boolean> {
  const { exchange, heard, record } = running;
  const { random } = heard.plane;
  const isDelayed = delay !== undefined && random() < delay.share;
  const isAborted = abort !== undefined && random() < abort.share;
  if (!isDelayed && !isAborted) return false;
  record.fault = isDelayed ? (isAborted ? 'delay-abort' : 'delay') : 'abort';
  if (isDelayed) await pause(running, delay.ms);
  if (!isAborted) return false;
  const { status, grpcStatus } = abort;
  if (grpcStatus !== undefined && isGrpc(exchange.head.fields))
    answerWith(exchange, {
      status: 200,
      fields: ['content-type', 'application/grpc', 'grpc-status', String(grpcStatus)],
      body: '',
    });
  else answerWith(exchange, { status, fields: [], body: '' });
  return true;
}
