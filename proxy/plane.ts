// What both hops share while they serve: the view that is in force, the means to go on, and the books. The view is replaced by one assignment
// and never changed, so a request sees either all of a snapshot or none of it.
import type { Clock } from '#base/clock';
import type { Program, TokenVerifier } from '#policy';
import type { Routes } from '#routing';
import type { Identity, TrustBundle } from '#spiffe';
import type { Authority } from './authority.ts';
import type { Behind } from './behind.ts';
import type { Clusters } from './clusters.ts';
import type { Turn } from './connection.ts';
import type { DataPlaneMetrics } from './data-plane-metrics.ts';
import type { Keeping } from './exchange.ts';
import type { RecordDraft } from './exchange-record.ts';
import type { Bans, Peer } from './identity.ts';
import type { Limits } from './limits.ts';
import type { LiveConnections } from './live.ts';
import type { RateLimits } from './rate-limits.ts';
import type { FieldList } from './request-head.ts';
import type { Places } from './shares.ts';
import type { Trace, Tracing } from './tracing/context.ts';
import type { KnownNames } from './traffic-way.ts';
import type { Undeclared } from './undeclared.ts';
import type { Upstreams } from './upstreams.ts';

/** One snapshot, ready to be used. */
export interface View {
  readonly revision: number;
  readonly bundle: TrustBundle;
  readonly program: Program;
  /** Present when any rule may ask about tokens. */
  readonly tokens: TokenVerifier | undefined;
  readonly routes: Routes;
  /** Whether any route of the own service has limits to hold. */
  readonly isLimited: boolean;
  readonly bans: Bans;
  /** Hosts that nothing declares are passed on (`outboundPolicy: allow-any`). */
  readonly allowsAny: boolean;
  /** Present when this mesh traces. */
  readonly tracing: Tracing | undefined;
  /** What metrics may say. */
  readonly names: KnownNames;
}

export interface Plane {
  /** Where requests of peers go. */
  readonly behind: () => Behind;
  readonly instance: string;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly metrics: DataPlaneMetrics;
  readonly live: LiveConnections;
  readonly turn: Turn;
  readonly upstreams: Upstreams;
  /** What routes lead to, by name. */
  readonly clusters: Clusters;
  /** The way to hosts that nothing declares. */
  readonly undeclared: Undeclared;
  /** Of routes that hold them here. */
  readonly rateLimits: RateLimits;
  /** Bodies that may have to be sent again. */
  readonly keeping: Keeping;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Who has how many exchanges in progress. */
  readonly places: Places;
  readonly nextId: () => string;
  /** For records. */
  readonly timeText: (at: number) => string;
  /** The place in a trace of a request with these fields; `undefined` when this mesh does not trace. */
  readonly trace: (fields: FieldList, heard: { readonly isPublic?: boolean }) => Trace | undefined;
  /** Another place right under that one: of a copy. */
  readonly traceUnder: (trace: Trace) => Trace;
  readonly parseAuthority: (raw: string) => Authority;
  readonly record: (record: RecordDraft) => void;
  /** Throws `AUDIT_*` when nothing may be served because it could not be recorded. */
  readonly assertRecording: () => void;
  readonly identity: () => Identity | undefined;
  /** The application beside this proxy, which speaks with its identity. */
  readonly local: () => Peer | undefined;
  /** `undefined` before the first snapshot: everything is refused. */
  readonly view: () => View | undefined;
}
