// One decision record: what happened to one exchange, connection or control-plane action at one hop. Plain fields, no type of any other folder.
import { type Static, s } from '#base/schema';
import { wireVersion } from './version.ts';

const short = (maxLength: number, description?: string) =>
  s.string(description ? { maxLength, description } : { maxLength });

/** Written by proxies: an `exchange` for each request at each hop, a `connection` for one that never became a request, a `gap` for loss, a `heartbeat` now and then when nothing happens. */
export const decisionRecord = s.object({
  v: s.literal(wireVersion),
  id: short(64, 'decision id, the one in the 403'),
  seq: s.integer({ minimum: 1, description: 'rises by one with each record of one instance' }),
  time: s.string({ maxLength: 32, description: 'RFC 3339, UTC, milliseconds: when the exchange began' }),
  instance: short(64, 'the proxy that wrote it'),
  service: short(2_048, 'SPIFFE ID of that proxy'),
  hop: s.enum(['inbound', 'outbound']),
  kind: s.enum(['exchange', 'connection', 'gap', 'heartbeat']),
  connection: short(64, 'id of the downstream connection'),
  remote: s.optional(short(300, 'address of the downstream')),
  edge: s.optional(
    s.enum(['http', 'https', 'tls'], { description: 'of a caller from outside, at a gateway: what it came by' }),
  ),
  peer: s.optional(short(2_048, 'verified SPIFFE ID of the caller')),
  serial: s.optional(short(64, 'serial of its certificate, lower-case hex')),
  to: s.optional(short(2_048, 'SPIFFE ID of the called service')),
  method: s.optional(short(32)),
  host: s.optional(short(300)),
  path: s.optional(short(8_192, 'canonical, without the query')),
  decision: s.enum(['allow', 'deny', 'error'], {
    description: 'error: refused before or after the decision by a fault',
  }),
  reason: short(64, 'allowed, denied-by-rule, default-deny, or an error code'),
  rule: s.optional(short(260, 'policy/rule that decided')),
  matched: s.optional(s.array(short(260), { description: 'every other matching rule' })),
  shadow: s.optional(s.array(short(260), { description: 'matching shadow rules, never enforced' })),
  policyRevision: s.optional(s.integer()),
  virtualService: s.optional(short(128, 'whose route was taken')),
  route: s.optional(short(128, 'of it: its name, or its place from 0')),
  cluster: s.optional(short(257, 'where the route led to, with /SUBSET when it named one')),
  endpoint: s.optional(short(300, 'address the request was sent to, the last one when there were several')),
  tries: s.optional(s.integer({ minimum: 2, description: 'how often it was sent, when more than once' })),
  fault: s.optional(s.enum(['delay', 'abort', 'delay-abort'], { description: 'what the route injected' })),
  mirrored: s.optional(s.literal(true)),
  protocol: s.optional(s.enum(['grpc', 'websocket', 'tcp'], { description: 'HTTP when absent' })),
  security: s.optional(
    s.enum(['mtls', 'tls', 'none'], { description: 'of the connection between caller and called, when there was one' }),
  ),
  status: s.optional(s.integer({ minimum: 100, maximum: 999 })),
  grpcStatus: s.optional(s.integer({ minimum: 0, maximum: 16 })),
  bytesIn: s.integer({ minimum: 0, description: 'body bytes from the downstream' }),
  bytesOut: s.integer({ minimum: 0, description: 'body bytes to the downstream' }),
  ms: s.number({ minimum: 0, description: 'from head to end of the exchange' }),
  upstreamMs: s.optional(s.number({ minimum: 0, description: 'from the request sent to the response head' })),
  traceId: s.optional(short(32)),
  spanId: s.optional(short(16, 'of this hop in the trace; only with tracing')),
  parentSpanId: s.optional(short(16, 'who called in the trace')),
  sampled: s.optional(s.literal(true)),
  lost: s.optional(s.integer({ minimum: 1, description: 'in a gap: how many records are missing' })),
  lostFrom: s.optional(s.integer({ minimum: 1, description: 'in a gap: the first missing sequence' })),
  index: s.optional(s.integer({ minimum: 0, description: "its place in the proxy's Merkle log" })),
  salts: s.optional(
    s.record(short(64), {
      maxProperties: 8,
      description: 'of the fields that the log only commits to: what opens the commitments',
    }),
  ),
});
export type DecisionRecord = Static<typeof decisionRecord>;

/** POST /v1/proxy/records over mTLS; safe to send again: records are known by instance and sequence. */
export const recordBatch = s.object({
  version: s.literal(wireVersion),
  records: s.array(decisionRecord, { minItems: 1, maxItems: 5_000 }),
});
/** The reply: every record up to this sequence is kept; the proxy may drop them. */
export interface RecordReceipt {
  readonly through: number;
}

/** Written by the control plane: enrolments, issuances, refusals, bans, configuration changes, admin actions. */
const controlEvent = s.object({
  v: s.literal(wireVersion),
  seq: s.integer({ minimum: 1 }),
  time: short(32),
  action: short(64, 'enrol, renew, token.create, ban, unban, apply, delete, rotate, admin.issue, ...'),
  outcome: s.enum(['done', 'refused', 'failed']),
  actor: short(2_048, 'SPIFFE ID of who did it, or local, or unauthenticated'),
  subject: s.optional(short(2_048, 'what it was done to')),
  reason: s.optional(short(64, 'error code of a refusal')),
  remote: s.optional(short(300)),
  details: s.optional(
    s.record(s.anyOf(s.string({ maxLength: 4_096 }), s.number(), s.boolean()), { maxProperties: 32 }),
  ),
});
export type ControlEvent = Static<typeof controlEvent>;
