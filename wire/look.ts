// Looking into running proxies from afar: exchanges as they end (tap), and what a proxy holds (dump). An admin asks, the question goes out on the watch
// streams, proxies answer with calls of their own. Bounded in number, size and time at each step; never a body, a header or a key.
import { type Static, s } from '#base/schema';
import { decisionRecord } from './record.ts';
import { wireVersion } from './version.ts';

const version = s.literal(wireVersion);
const id = s.string({ pattern: '^[A-Za-z0-9_-]{1,64}$', title: 'an id' });
const whom = s.string({
  minLength: 1,
  maxLength: 2_048,
  description: 'a SPIFFE ID, or spiffe://trust-domain/prefix/**',
});

/** The most exchanges and the longest time of one tap. */
export const mostTapped = 10_000;
export const longestTapMs = 600_000;

/** All must hold; nothing: every exchange. */
export const tapFilter = s.object({
  from: s.optional(whom),
  to: s.optional(whom),
  path: s.optional(s.string({ pattern: '^/', title: 'a path or a template', maxLength: 2_048 })),
  methods: s.optional(s.array(s.string({ minLength: 1, maxLength: 32 }), { minItems: 1, maxItems: 16 })),
  status: s.optional(
    s.string({ pattern: '^[1-9](xx|[0-9]{2})$', title: 'a status such as 503, or a class such as 5xx' }),
  ),
  decision: s.optional(s.enum(['allow', 'deny', 'error'])),
  hop: s.optional(s.enum(['inbound', 'outbound'])),
});
export type TapFilter = Static<typeof tapFilter>;

const bounds = {
  filter: tapFilter,
  limit: s.integer({ minimum: 1, maximum: mostTapped, description: 'it ends after so many' }),
  forMs: s.integer({ minimum: 100, maximum: longestTapMs, description: 'and after so long' }),
};

/** POST /v1/tap: one JSON object a line, a `TapLine` each, until it ends or the caller goes. */
export const tapRequest = s.object({
  version,
  /** Whose proxies: a service by name or SPIFFE ID, or one instance; everybody's when absent. */
  proxies: s.optional(s.string({ minLength: 1, maxLength: 2_048 })),
  ...bounds,
});
export type TapLine =
  /** How many proxies were asked. */
  | { readonly type: 'begin'; readonly proxies: number }
  /** `seq` counts the exchanges of this proxy in this tap. */
  | { readonly type: 'exchange'; readonly record: Static<typeof decisionRecord> }
  /** So many more of this proxy could not be shown: there, on the way, or because the reader was too slow. */
  | { readonly type: 'dropped'; readonly instance: string; readonly count: number }
  | { readonly type: 'end'; readonly why: 'limit' | 'time' | 'server'; readonly shown: number };

/** Watch events, beside the configuration. */
export const lookEvent = s.anyOf(
  s.object({ type: s.literal('tap'), id, ...bounds }),
  s.object({ type: s.literal('untap'), id }),
  s.object({ type: s.literal('dump'), id }),
);
export type LookEvent = Static<typeof lookEvent>;

/** POST /v1/proxy/tap over mTLS, answered with `TapReceipt`. */
export const tapBatch = s.object({
  version,
  id,
  records: s.array(decisionRecord, { maxItems: 500 }),
  dropped: s.integer({ minimum: 0, description: 'how many more matched since the last batch and are not in this one' }),
});
export type TapBatch = Static<typeof tapBatch>;
/** `more`: false when the tap is over, or was never. */
export const tapReceipt = s.object({ more: s.boolean() });
export type TapReceipt = Static<typeof tapReceipt>;

/** POST /v1/proxy/dump over mTLS, answered with `{}`. */
export const dumpAnswer = s.object({ version, id, dump: s.unknown('what the proxy says of itself') });
export type DumpAnswer = Static<typeof dumpAnswer>;
/** The longest dump, in bytes of JSON: a proxy leaves out its largest parts to stay within it. */
export const largestDump = 4 * 1024 * 1024;

/** GET /v1/dump?proxies=NAME, a service or an instance. */
export interface DumpReply {
  readonly proxies: readonly {
    readonly instance: string;
    readonly service: string;
    /** Absent when it did not answer, for this reason. */
    readonly dump?: unknown;
    readonly problem?: string;
  }[];
  /** How many more the service has: only so many are asked at once. */
  readonly more: number;
}
