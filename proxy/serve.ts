// What both hops do alike with one exchange: its books (opened first, closed in `finally`, so exactly one record), its refusals, its running
// under a policy that may change, and the sending of a permitted request with the one retry that can do no harm.
import { isPosternError, messageOf, type PosternError } from '#base/error';
import type { Denial, Permit } from './authorize.ts';
import type { Connection } from './connection.ts';
import type { Hop } from './data-plane-metrics.ts';
import { fail } from './errors.ts';
import { type Downstream, Exchange, type ResponseHead } from './exchange.ts';
import { type Noted, noteDecision, noteEnd, noteFault, openRecord } from './exchange-record.ts';
import { isBanned, type Peer } from './identity.ts';
import type { Plane, View } from './plane.ts';
import type { Place, Pool } from './pool.ts';
import { replyTo } from './reply.ts';
import { type FieldList, valuesOf } from './request-head.ts';
import type { Trace } from './tracing/context.ts';
import type { Soon } from './when-there.ts';

type OpenRecord = ReturnType<typeof openRecord>;

/** Where a request was heard. */
export interface Heard {
  readonly plane: Plane;
  readonly hop: Hop;
  readonly connection: Connection;
  /** `undefined` on the outbound listener before this proxy has an identity. */
  readonly caller: Peer | undefined;
  /** Callers have no identity: they speak with this proxy's own, and are told nothing of the mesh. */
  readonly isPublic?: boolean;
  /** Who shares places with whom; by default the caller on the way in, and nobody on the way out: that has one caller, our own application. */
  readonly holder?: string;
  /** Where the caller is, when that is not the other end of the connection: proxies whose word is taken are between. */
  readonly address?: string;
  /** The server name of TLS that does not end here: routes of TLS count. */
  readonly sni?: string;
  /** Whether the caller has come by TLS, to us or to a proxy in front whose word is taken. */
  readonly isTls?: boolean;
}

/** One exchange while it runs. */
export interface Running {
  readonly heard: Heard;
  readonly exchange: Exchange;
  readonly record: OpenRecord;
  /** Its place in a trace, when this proxy takes part in those. */
  readonly trace?: Trace | undefined;
}

/** Of whoever calls, as far as it is known. */
export function addressOf({ address, connection }: Heard): string {
  return address ?? connection.remoteHost;
}

/** What is done for an exchange; a promise when that is not all at once. */
export type Work = (running: Running) => Soon<unknown>;

/** Runs `work` for one exchange and keeps its books. Never rejects. */
export async function serve(
  heard: Heard,
  exchange: Exchange,
  work: Work,
  trace = heard.plane.trace(exchange.head.fields, heard),
): Promise<void> {
  const { plane } = heard;
  const record = open(heard, exchange, trace);
  const holder = heard.holder ?? (heard.hop === 'inbound' ? heard.caller?.uri : undefined);
  const isTaken = plane.places.has(holder);
  if (isTaken) plane.places.take(holder);
  plane.live.exchanges.add(exchange);
  try {
    if (!isTaken) throw overloaded(plane);
    plane.assertRecording();
    await work({ heard, exchange, record, trace });
  } catch (thrown) {
    const fault = isPosternError(thrown)
      ? thrown
      : fail('PROXY_FAULT', { reason: messageOf(thrown) }, { cause: thrown });
    if (record.decision !== 'deny') noteFault(record, fault.code);
    answer(heard, exchange, fault, record);
  } finally {
    exchange.close();
    if (isTaken) plane.places.giveBack(holder);
    plane.live.exchanges.delete(exchange);
    close(heard, exchange, record);
  }
}

/** Shed before anything was done for it. */
function overloaded({ limits, metrics }: Plane): PosternError {
  metrics.limit('exchanges');
  return fail('LIMIT_EXCHANGES', { limit: limits.exchanges });
}

/** Answers bytes that are no request at all, and records that. */
export function refuseInvalid(heard: Heard, fault: PosternError, downstream: Downstream): void {
  const { plane, hop } = heard;
  const record = open(heard, undefined);
  noteFault(record, fault.code);
  const { head, body } = replyTo(fault, { hop, decision: record.id, isVerified: isVerified(heard) });
  downstream.head(head);
  downstream.data(body);
  downstream.end([]);
  record.status = head.status;
  record.bytesOut = body.length;
  plane.metrics.exchange(record);
  plane.metrics.record();
  plane.record(record);
}

/**
 * Keeps a permitted exchange under the law: `decide` is asked again whenever policy or bans change, and what is now denied is cut.
 * True when the permit stands.
 */
export function admit(
  { heard, exchange, record }: Running,
  decide: (view: View) => Permit | Denial,
  view: View,
  sent: { readonly to?: string | undefined; readonly path: string } = { to: record.to, path: exchange.head.path },
): Permit | undefined {
  const verdict = decide(view);
  if (!verdict.isPermit) {
    const { decision } = verdict;
    const isToBeAsked = heard.isPublic && wantsToken(decision, exchange, view.program.asksToken(sent.to ?? ''));
    deny(
      { heard, exchange, record },
      decision,
      isToBeAsked ? fail('ACCESS_TOKEN_NEEDED') : deniedBy(heard, exchange, sent),
    );
    return undefined;
  }
  noteDecision(record, verdict.decision);
  const { plane } = heard;
  const { recheck } = exchange;
  // Has a name first, as whatever is set on an object here: a function written straight into a property is old for the collector at birth, and all
  // that it sees, which is the whole exchange, would outlive every young collection with it.
  const decideAgain = (): void => {
    recheck?.();
    const now = plane.view();
    if (!now || exchange.stopped) return;
    if (cutIfBanned({ heard, exchange, record }, now)) return;
    const again = decide(now);
    if (again.isPermit) return;
    noteDecision(record, again.decision);
    record.reason = 'policy-changed';
    plane.metrics.cut('policy-changed');
    plane.metrics.denial(heard.hop, 'policy-changed');
    exchange.cut(deniedBy(heard, exchange, sent));
  };
  exchange.recheck = decideAgain;
  return verdict;
}

export interface SendOptions {
  /** Shown the head of an answer before the caller is: true rejects it. */
  readonly judge?: ((head: ResponseHead) => boolean) | undefined;
  /** Waits for a place no longer than there is time. */
  readonly wait?: ((taken: Promise<Place>) => Promise<Place>) | undefined;
}

/** Sends the request over a connection of `pool`; when that has not taken it, once more over a new one. */
export async function send(
  { heard, exchange }: Running,
  pool: Pool,
  fields: FieldList,
  { judge, wait }: SendOptions = {},
): Promise<'done' | 'rejected'> {
  // Callers share the application's connections; the way out has one caller, our own application.
  const caller = heard.hop === 'inbound' ? heard.caller?.uri : undefined;
  const { tunnel } = exchange.head;
  let taken = pool.take({ caller, tunnel });
  for (;;) {
    const place = taken instanceof Promise ? await (wait ? wait(taken) : taken) : taken;
    const { stopped } = exchange;
    if (stopped) {
      place.release();
      throw stopped;
    }
    const sent = await exchange.relay((events) => place.start(events, fields), judge);
    if (sent !== 'again') return sent;
    heard.plane.metrics.retried(heard.hop);
    exchange.isLastTry = true;
    taken = pool.take({ fresh: true, caller, tunnel });
  }
}

/** Keeps an exchange that no policy decides on for as long as configuration lets it be, and its own identity is good. */
export function noteOutside(
  { heard, exchange, record }: Running,
  decision: Noted,
  isStill: (view: View) => boolean,
): void {
  noteDecision(record, decision);
  const { plane } = heard;
  plane.metrics.outsidePolicy();
  const decideAgain = (): void => {
    const now = plane.view();
    if (!now || exchange.stopped) return;
    if (cutIfBanned({ heard, exchange, record }, now) || isStill(now)) return;
    record.decision = 'deny';
    record.reason = 'policy-changed';
    plane.metrics.cut('policy-changed');
    exchange.cut(deniedBy(heard, exchange, exchange.head));
  };
  exchange.recheck = decideAgain;
}

/** True when the caller is banned now: then the exchange is over. */
function cutIfBanned({ heard: { plane, caller }, exchange, record }: Omit<Running, 'trace'>, { bans }: View): boolean {
  if (!caller || !isBanned(bans, { id: caller.uri, serial: caller.serial })) return false;
  record.decision = 'deny';
  record.reason = 'PEER_BANNED';
  plane.metrics.cut('banned');
  exchange.cut(fail('PEER_BANNED', { id: caller.uri }));
  return true;
}

/** Notes the denial and answers with it; nothing is opened upstream. */
export function deny({ heard, exchange, record }: Running, decision: Noted, fault: PosternError): void {
  noteDecision(record, decision);
  heard.plane.metrics.denial(heard.hop, decision.reason);
  answer(heard, exchange, fault, record);
}

/** What this proxy may not call and what does not exist look alike: no rule admits either, and neither is told apart from the other. */
export function denyUnknown(running: Running, { program, routes }: View, name: string): void {
  const { caller } = running.heard;
  const { method, path } = running.exchange.head;
  const nearest = routes.nearest(name);
  const suggestion = nearest ? `; did you mean ${nearest}?` : '';
  const fault = fail('SERVICE_UNKNOWN', { from: caller?.id.service, name, suggestion, method, path });
  deny(running, { ...defaultDeny, revision: program.revision }, fault);
}
const defaultDeny = { effect: 'deny', reason: 'default-deny', matched: [], shadow: [] } as const;

function deniedBy(
  { caller }: Heard,
  { head }: Exchange,
  sent: { to?: string | undefined; path: string },
): PosternError {
  const to = (sent.to ?? '').replace(/^spiffe:\/\/[^/]+\//, '');
  return fail('ACCESS_DENIED', { from: caller?.id.service ?? '', to, method: head.method, path: sent.path });
}

/** Whether a caller from outside would get further with a token, or another one. */
function wantsToken({ reason }: Denial['decision'], { head }: Exchange, isAsked: boolean): boolean {
  if (reason === 'token-refused') return true;
  return reason === 'default-deny' && isAsked && valuesOf(head.fields, 'authorization').length === 0;
}

const isVerified = ({ caller, isPublic }: Heard): boolean => caller !== undefined && isPublic !== true;

function answer(heard: Heard, exchange: Exchange, fault: PosternError, record: OpenRecord): void {
  const { reason, rule } = record.decision === 'deny' ? record : { reason: undefined, rule: undefined };
  const reply = replyTo(fault, {
    hop: heard.hop,
    decision: record.id,
    isVerified: isVerified(heard),
    request: exchange.head,
    reason,
    rule,
  });
  exchange.reply(reply.head, reply.body);
}

function open(
  { plane, hop, connection, caller, address, isPublic, isTls, sni }: Heard,
  exchange: Exchange | undefined,
  trace?: Trace,
): OpenRecord {
  return openRecord({
    id: plane.nextId(),
    hop,
    kind: 'exchange',
    instance: plane.instance,
    service: plane.identity()?.id.uri ?? '',
    time: plane.timeText(plane.clock.now()),
    connection: connection.id,
    remote: address ?? connection.remote,
    peer: caller,
    edge: isPublic ? (sni !== undefined ? 'tls' : isTls ? 'https' : 'http') : undefined,
    head: exchange?.head,
    trace,
  });
}

function close({ plane }: Heard, exchange: Exchange, record: OpenRecord): void {
  const ms = plane.clock.monotonic() - exchange.startedAt;
  noteEnd(record, exchange, ms);
  plane.metrics.exchange(record);
  plane.metrics.record();
  plane.record(record);
}

/** The exchange of one canonical request. */
export function createExchange(
  heard: Heard,
  o: { head: Exchange['head']; downstream: Downstream; responseFields: (fields: FieldList) => FieldList },
): Exchange {
  const { head, downstream, responseFields } = o;
  return new Exchange({ head, downstream, responseFields, clock: heard.plane.clock });
}
