// The bytes of a record: canonical JSON (RFC 8785: keys in order of UTF-16 units, no spaces), one line, within the schema's limits.
// What is written here is what a Merkle leaf will hash, so it must never depend on who built the object or in which order.
import { type DecisionRecord, wireVersion } from '#wire';
import { longestEntry } from './log-files.ts';

/** A record before the log gave it a number. */
export type NewRecord = Omit<DecisionRecord, 'v' | 'seq'> & { readonly v?: DecisionRecord['v'] };

/** The line of a record, line feed included: at most `longestEntry` bytes and one, whatever the record holds. */
export function encodeRecord(record: DecisionRecord): string {
  const line = JSON.stringify(fitRecord(record, record.seq));
  if (line.length * 3 <= longestEntry || Buffer.byteLength(line) <= longestEntry) return `${line}\n`;
  return `${JSON.stringify(fitRecord(record, record.seq, tightBounds))}\n`;
}

/** Canonical JSON of any JSON value; keys whose value is undefined are left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`;
}

interface Bounds {
  readonly longestPath: number;
  readonly mostRules: number;
}
const usualBounds: Bounds = { longestPath: 8_192, mostRules: 64 };
/** With these no record is longer than an entry may be. */
export const tightBounds: Bounds = { longestPath: 1_024, mostRules: 8 };

/**
 * The record as the wire schema takes it, keys in canonical order: over-long fields cut, a query that got into the path left out, numbers
 * that cannot be made harmless. A single record that the control plane had to refuse would hold up all that follow it.
 * Written out rather than sorted at run time, which costs three times as much.
 */
export function fitRecord(r: NewRecord, seq: number, { longestPath, mostRules } = usualBounds): DecisionRecord {
  return {
    bytesIn: count(r.bytesIn),
    bytesOut: count(r.bytesOut),
    cluster: cut(r.cluster, 257),
    connection: cut(r.connection, 64),
    decision: r.decision,
    edge: r.edge,
    endpoint: cut(r.endpoint, 300),
    fault: r.fault,
    grpcStatus: within(r.grpcStatus, 0, 16),
    hop: r.hop,
    host: cut(r.host, 300),
    id: cut(r.id, 64),
    index: r.index,
    instance: cut(r.instance, 64),
    kind: r.kind,
    lost: r.lost,
    lostFrom: r.lostFrom,
    matched: cutList(r.matched, mostRules),
    method: cut(r.method, 32),
    mirrored: r.mirrored,
    ms: time(r.ms),
    parentSpanId: cut(r.parentSpanId, 16),
    path: cut(withoutQuery(r.path), longestPath),
    peer: cut(r.peer, 2_048),
    policyRevision: r.policyRevision,
    protocol: r.protocol,
    reason: cut(r.reason, 64),
    remote: cut(r.remote, 300),
    route: cut(r.route, 128),
    rule: cut(r.rule, 260),
    salts: r.salts,
    sampled: r.sampled,
    security: r.security,
    seq,
    serial: cut(r.serial, 64),
    service: cut(r.service, 2_048),
    shadow: cutList(r.shadow, mostRules),
    spanId: cut(r.spanId, 16),
    status: within(r.status, 100, 999),
    time: cut(r.time, 32),
    to: cut(r.to, 2_048),
    traceId: cut(r.traceId, 32),
    tries: within(r.tries, 2, Number.MAX_SAFE_INTEGER),
    upstreamMs: r.upstreamMs === undefined ? undefined : time(r.upstreamMs),
    v: r.v ?? wireVersion,
    virtualService: cut(r.virtualService, 128),
  } as DecisionRecord;
}

function within(value: number | undefined, least: number, most: number): number | undefined {
  return value !== undefined && value >= least && value <= most ? value : undefined;
}

function count(value: number): number {
  return Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

function time(value: number): number {
  return value >= 0 && value < Number.POSITIVE_INFINITY ? value : 0;
}

function cut<T extends string | undefined>(text: T, longest: number): T {
  return text === undefined || text.length <= longest ? text : (`${text.slice(0, longest - 3)}...` as T);
}

function cutList(list: readonly string[] | undefined, most: number): readonly string[] | undefined {
  if (list === undefined || list.length === 0) return undefined;
  const kept = list.length > most ? list.slice(0, most) : list;
  return kept.some((text) => text.length > 260) ? kept.map((text) => cut(text, 260)) : kept;
}

function withoutQuery(path: string | undefined): string | undefined {
  const query = path === undefined ? -1 : path.indexOf('?');
  return query < 0 ? path : path!.slice(0, query);
}
