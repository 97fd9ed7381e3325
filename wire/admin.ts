// What operators and the control plane say to each other. Every route but these three needs a verified client certificate:
// POST /v1/enrol, GET /v1/bundle, GET /livez. Routes under /v1/ that are not `proxy` or `renew` need an admin's (`/postern/admin/NAME`).
import type { Problem } from '#base/error';
import { type Static, s } from '#base/schema';
import type { ControlEvent, DecisionRecord } from './record.ts';
import { type LocatedResource, originSchema, type Resource } from './resources.ts';
import { wireVersion } from './version.ts';

const version = s.literal(wireVersion);
const id = s.string({ minLength: 1, maxLength: 2_048 });

/** The body of every refusal. */
export interface ErrorReply {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly hint?: string;
    readonly problems?: readonly Problem[];
  };
}

/** GET /v1/bundle (public). */
export interface BundleReply {
  readonly trustDomain: string;
  readonly bundle: string;
}

/** The longest that a join token may wait to be used. */
export const longestTokenTtlMs = 7 * 86_400_000;

/** POST /v1/tokens; the service as a name or a full SPIFFE ID. */
export const tokenRequest = s.object({
  version,
  service: id,
  ttlMs: s.optional(s.integer({ minimum: 1_000, maximum: longestTokenTtlMs })),
});
export type TokenRequest = Static<typeof tokenRequest>;
export interface TokenReply {
  /** The JWT; shown once, kept nowhere. */
  readonly token: string;
  readonly id: string;
  readonly service: string;
  readonly expiresAt: number;
}
/** GET /v1/tokens: the newest first, without the tokens themselves. */
export interface TokenList {
  readonly tokens: readonly {
    readonly id: string;
    readonly service: string;
    readonly state: 'unused' | 'used' | 'expired';
    readonly createdBy: string;
    readonly createdAt: number;
    readonly expiresAt: number;
    readonly usedAt?: number;
    readonly instance?: string;
  }[];
}

/** POST /v1/resources: all or nothing. Each `resource` is checked against its kind's schema. */
export const applyRequest = s.object({
  version,
  dryRun: s.optional(s.boolean()),
  resources: s.array(
    s.object({ resource: s.unknown('a resource of a known kind'), origin: s.optional(originSchema) }),
    {
      minItems: 1,
      maxItems: 100_000,
    },
  ),
});
export type ApplyRequest = Static<typeof applyRequest>;
export interface ApplyReply {
  /** The policy revision in force after the change. */
  readonly revision: number;
  readonly changes: readonly {
    readonly kind: string;
    readonly name: string;
    readonly change: 'created' | 'updated' | 'unchanged' | 'deleted';
    /** What an updated one was and would be; with `dryRun` only. */
    readonly before?: Resource;
    readonly after?: Resource;
  }[];
}
/** GET /v1/resources?kind=&name= answers `{ resources: LocatedResource[] }`; DELETE /v1/resources/KIND/NAME answers an ApplyReply. */

/** GET /v1/policy answers the whole `PolicySet`, for the offline tools. */

/** GET /v1/status. */
export interface StatusReply {
  readonly server: {
    readonly version: string;
    readonly trustDomain: string;
    readonly startedAt: number;
    readonly revision: number;
  };
  readonly proxies: readonly ProxyStatus[];
}
export interface ProxyStatus {
  readonly instance: string;
  readonly service: string;
  readonly advertise: string;
  readonly version: string;
  readonly labels: Readonly<Record<string, string>>;
  /**
   * synced: it holds what it must. stale: it was sent, and is not yet acknowledged. not-sent: no stream is open on which to send it. refused: the proxy said
   * no. left: it said that it goes, and went. gone: nothing was heard of it for a lease.
   */
  readonly sync: 'synced' | 'stale' | 'not-sent' | 'refused' | 'left' | 'gone';
  readonly revision: number;
  readonly wanted: number;
  readonly refusal?: string;
  /** Its stream for configuration is open. */
  readonly connected: boolean;
  readonly state: 'serving' | 'draining' | 'unknown';
  /** What its checks say of the application beside it; absent: there are none. */
  readonly health?: 'healthy' | 'unhealthy';
  readonly zone?: string;
  readonly weight?: number;
  readonly appPort?: number;
  /** Its last word, which acknowledges `revision` and renews its lease. */
  readonly lastReportAt: number;
  readonly notAfter: number;
  readonly connections: { readonly inbound: number; readonly outbound: number };
  /** Its decision log as it is witnessed; absent before its first checkpoint. `alarm` is an AUDIT_ code. */
  readonly log?: { readonly size: number; readonly seenAt: number; readonly alarm?: string; readonly reason?: string };
}

/**
 * GET /v1/versions answers `{ versions: PolicyVersion[] }`, the newest first: every change of resources that is still kept.
 * GET /v1/versions/REVISION answers a `VersionReply`. POST /v1/rollback makes one of them the newest again and answers an `ApplyReply`.
 */
export interface PolicyVersion {
  readonly revision: number;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly by: string;
  /** As KIND/NAME, at most a hundred of each; `more`: how many are left out. */
  readonly changes: { readonly put: readonly string[]; readonly removed: readonly string[]; readonly more: number };
}
export interface VersionReply {
  readonly revision: number;
  readonly resources: readonly LocatedResource[];
}
export const rollbackRequest = s.object({
  version,
  revision: s.integer({ minimum: 1 }),
  dryRun: s.optional(s.boolean()),
});
export type RollbackRequest = Static<typeof rollbackRequest>;

/** GET /v1/identities answers `{ identities: IdentityStatus[] }`, one for each SPIFFE ID ever issued. */
export interface IdentityStatus {
  readonly id: string;
  readonly banned: boolean;
  readonly instances: number;
  /** Newest certificates first, at most 50 for each identity. */
  readonly certificates: readonly {
    readonly serial: string;
    readonly instance: string;
    readonly notBefore: number;
    readonly notAfter: number;
    readonly banned: boolean;
  }[];
}

/**
 * POST /v1/bans and POST /v1/unbans: exactly one of `id` and `serial`; a serial means also what was renewed from it. Both answer
 * `{ bans: Ban[] }`; so does GET /v1/bans.
 */
export const banRequest = s.object({
  version,
  id: s.optional(id),
  serial: s.optional(s.string({ pattern: '^[0-9a-f]{2,64}$', title: 'a serial in lower-case hex' })),
  reason: s.optional(s.string({ maxLength: 1_024 })),
});
export type BanRequest = Static<typeof banRequest>;
export interface Ban {
  readonly id?: string;
  readonly serial?: string;
  readonly by: string;
  readonly at: number;
  readonly reason?: string;
}

/** POST /v1/ca/rotate answers the `CaStatus`; so does GET /v1/ca. */
export const rotateRequest = s.object({ version, what: s.enum(['issuing', 'root']) });
export type RotateRequest = Static<typeof rotateRequest>;
export interface CaStatus {
  readonly trustDomain: string;
  readonly roots: readonly CaCertificate[];
  readonly issuing: readonly CaCertificate[];
  readonly rootRotation: {
    readonly phase: 'stable' | 'prepared' | 'retiring';
    readonly since: number;
    /** In words, what the next step waits for. */
    readonly waitingFor?: string;
  };
  readonly settings: {
    readonly svidTtlMs: number;
    readonly issuingTtlMs: number;
    readonly rootTtlMs: number;
    readonly adminTtlMs: number;
  };
  readonly rootKey: 'present' | 'encrypted' | 'offline';
  /** Alarms in words, such as an issuing CA past 80 % of its life that cannot be replaced. */
  readonly warnings: readonly string[];
}
export interface CaCertificate {
  readonly fingerprint: string;
  readonly subject: string;
  readonly serial: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly state: 'prepared' | 'active' | 'retiring';
  readonly pem: string;
}

/**
 * GET /v1/records and GET /v1/events take these as query parameters, all optional; times in epoch milliseconds.
 * GET /v1/records/tail streams one JSON object a line from now on. `path` and `peer` may end in `*`.
 */
export const recordQuery = s.object({
  since: s.optional(s.integer()),
  until: s.optional(s.integer()),
  peer: s.optional(s.string({ maxLength: 2_048 })),
  service: s.optional(s.string({ maxLength: 2_048, description: 'the called service' })),
  decision: s.optional(s.enum(['allow', 'deny', 'error'])),
  hop: s.optional(s.enum(['inbound', 'outbound'])),
  rule: s.optional(s.string({ maxLength: 260 })),
  reason: s.optional(s.string({ maxLength: 64 })),
  path: s.optional(s.string({ maxLength: 8_192 })),
  id: s.optional(s.string({ maxLength: 64 })),
  cluster: s.optional(s.string({ maxLength: 257, description: 'with /SUBSET, or * at the end for a prefix' })),
  trace: s.optional(s.string({ maxLength: 32, description: 'every hop of one trace' })),
  action: s.optional(s.string({ maxLength: 64, description: 'events only' })),
  after: s.optional(
    s.integer({
      minimum: 0,
      description: 'records only: the oldest first, from where `next` of the answer before left off',
    }),
  ),
  limit: s.optional(s.integer({ minimum: 1, maximum: 10_000 })),
});
export type RecordQuery = Static<typeof recordQuery>;
export interface RecordReply {
  /** Newest last; `more` when the limit cut the answer. */
  readonly records: readonly DecisionRecord[];
  readonly more: boolean;
  /** With `after`: what to ask after next. */
  readonly next?: number;
}
export interface EventReply {
  readonly events: readonly ControlEvent[];
  readonly more: boolean;
}
