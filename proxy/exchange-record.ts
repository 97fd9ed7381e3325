// The decision record of one exchange or connection: opened first, closed exactly once, written after the exchange and never waited for.
import type { Decision } from '#policy';
import type { DecisionRecord } from '#wire';
import type { Hop } from './data-plane-metrics.ts';
import type { Exchange } from './exchange.ts';
import { isGrpc, type RequestHead } from './request-head.ts';
import { readTraceParent, sampled, type Trace } from './tracing/context.ts';

export type RecordDraft = Omit<DecisionRecord, 'v' | 'seq'>;
type Writable = { -readonly [K in keyof RecordDraft]: RecordDraft[K] };

export interface RecordOptions {
  readonly id: string;
  readonly hop: Hop;
  readonly kind: 'exchange' | 'connection';
  readonly instance: string;
  /** SPIFFE ID of this proxy. */
  readonly service: string;
  /** When it began, as `createTimes` writes it. */
  readonly time: string;
  readonly connection: string;
  readonly remote: string;
  readonly peer?: { readonly uri: string; readonly serial: string } | undefined;
  readonly to?: string | undefined;
  readonly edge?: RecordDraft['edge'] | undefined;
  readonly head?: RequestHead | undefined;
  /** Its place in a trace, when this proxy takes part in those. */
  readonly trace?: Trace | undefined;
}

export function openRecord(o: RecordOptions): Writable {
  const record: Writable = {
    id: o.id,
    time: o.time,
    instance: o.instance,
    service: o.service,
    hop: o.hop,
    kind: o.kind,
    connection: o.connection,
    remote: o.remote,
    decision: 'error',
    reason: 'PROXY_FAULT',
    bytesIn: 0,
    bytesOut: 0,
    ms: 0,
  };
  if (o.peer) {
    record.peer = o.peer.uri;
    record.serial = o.peer.serial;
  }
  if (o.edge) record.edge = o.edge;
  if (o.to !== undefined) record.to = o.to;
  if (o.head) {
    record.method = o.head.method;
    record.host = o.head.authority;
    record.path = o.head.path;
    const protocol = protocolOf(o.head);
    if (protocol) record.protocol = protocol;
    if (o.trace) noteTrace(record, o.trace);
    else {
      const parent = readTraceParent(o.head.fields);
      if (parent) record.traceId = parent.traceId;
    }
  }
  return record;
}

/** A decision of policy, or of something else that has a reason of its own. */
export type Noted = Omit<Decision, 'reason'> & { readonly reason: string };

export function noteDecision(record: Writable, decision: Noted): void {
  record.decision = decision.effect;
  record.reason = decision.reason;
  if (decision.rule !== undefined) record.rule = decision.rule;
  if (decision.matched.length > 0) record.matched = decision.matched;
  if (decision.shadow.length > 0) record.shadow = decision.shadow;
  record.policyRevision = decision.revision;
}

/** A fault after or instead of the decision; the rule that allowed stays in the record. */
export function noteFault(record: Writable, code: string): void {
  record.decision = 'error';
  record.reason = code;
}

/** Fills in what only the end knows. */
export function noteEnd(record: Writable, exchange: Exchange, ms: number): void {
  record.ms = toMicros(ms);
  record.bytesIn = exchange.bytesIn;
  record.bytesOut = exchange.bytesOut;
  if (exchange.status !== undefined) record.status = exchange.status;
  if (record.protocol === 'grpc' && exchange.grpcStatus !== undefined) record.grpcStatus = exchange.grpcStatus;
  if (exchange.sentAt !== undefined && exchange.answeredAt !== undefined)
    record.upstreamMs = toMicros(Math.max(0, exchange.answeredAt - exchange.sentAt));
}

/** Milliseconds to the microsecond: the digits behind it are noise of the clock, and writing them out costs more than the rest of a number. */
function toMicros(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}

function noteTrace(record: Writable, { traceId, spanId, parentSpanId, flags }: Trace): void {
  record.traceId = traceId;
  record.spanId = spanId;
  if (parentSpanId !== undefined) record.parentSpanId = parentSpanId;
  if (flags & sampled) record.sampled = true;
}

/** Nothing for plain HTTP. */
function protocolOf({ method, tunnel, fields }: RequestHead): RecordDraft['protocol'] {
  if (tunnel !== undefined) return tunnel === 'connect' ? 'tcp' : 'websocket';
  return method === 'POST' && isGrpc(fields) ? 'grpc' : undefined;
}

/** Epoch milliseconds as `toISOString` has them: most of it stays the same for a second, and making all of it each time costs half a microsecond. */
export function createTimes(): (at: number) => string {
  let [second, prefix] = [Number.NaN, ''];
  let [last, text] = [Number.NaN, ''];
  return (at) => {
    if (at === last) return text;
    last = at;
    const whole = Math.floor(at / 1_000);
    if (whole !== second) {
      second = whole;
      prefix = new Date(whole * 1_000).toISOString().slice(0, -4);
    }
    // Joined for the same reason as ids are.
    text = [prefix, String(Math.floor(at - whole * 1_000)).padStart(3, '0'), 'Z'].join('');
    return text;
  };
}

/** Decision ids: a random prefix for each process and a counter, so that they are unique and cost no cryptography. */
export function createIds(o: { readonly random: () => number; readonly now: number }): () => string {
  const part = (): string =>
    Math.floor(o.random() * 36 ** 4)
      .toString(36)
      .padStart(4, '0');
  const prefix = `${Math.floor(o.now / 1_000).toString(36)}${part()}${part()}`;
  let count = 0;
  // Joined, not concatenated: a string in one piece, or every record that holds it is written out at half the speed.
  return () => [prefix, (count++).toString(36)].join('-');
}
