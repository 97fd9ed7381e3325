// What a proxy holds: one full snapshot, scoped to what its service needs. Pushed on the watch stream, kept on disk, acknowledged or refused.
import { type Schema, type Static, s } from '#base/schema';
import { clusterEntry } from './cluster.ts';
import { instanceFacts } from './enrolment.ts';
import type { LookEvent } from './look.ts';
import { meshEntry } from './mesh.ts';
import { casbinModelFields, condition } from './resources.ts';
import { wireVersion } from './version.ts';
import { virtualServiceEntry } from './virtual-service.ts';

/** One rule as proxies get it: `to` and `from` are SPIFFE IDs, prefixes (`spiffe://td/x/**`), `*` or `group:NAME`. */
const policyRule = s.object({
  policy: s.string({ maxLength: 128 }),
  id: s.string({ maxLength: 128 }),
  effect: s.enum(['allow', 'deny']),
  shadow: s.optional(s.boolean()),
  to: s.array(s.string({ maxLength: 2_048 }), { minItems: 1 }),
  from: s.array(s.string({ maxLength: 2_048 }), { minItems: 1 }),
  methods: s.optional(s.array(s.string({ maxLength: 32 }))),
  paths: s.optional(s.array(s.string({ maxLength: 2_048 }))),
  ports: s.optional(s.array(s.integer({ minimum: 1, maximum: 65_535 }))),
  when: s.optional(s.array(condition)),
  source: s.optional(s.object({ file: s.string({ maxLength: 4_096 }), line: s.integer(), column: s.integer() })),
});
export type PolicyRule = Static<typeof policyRule>;

/** A user's own Casbin model as proxies get it. */
const casbinModel = s.object({
  name: s.string({ maxLength: 128 }),
  to: s.array(s.string({ maxLength: 2_048 }), { minItems: 1 }),
  /** Whose services are called by their name alone in rows. */
  trustDomain: s.string({ maxLength: 256 }),
  ...casbinModelFields,
  source: s.optional(s.object({ file: s.string({ maxLength: 4_096 }), line: s.integer(), column: s.integer() })),
});
export type CasbinModel = Static<typeof casbinModel>;

/** A set of rules with the groups they name, flattened to SPIFFE IDs, prefixes and `*`. */
export const policySet = s.object({
  revision: s.integer({ minimum: 0, description: 'rises with every change of policies or groups' }),
  rules: s.array(policyRule),
  /** Of everything here but the revision, so that a proxy sees at once that it has built this policy before. */
  digest: s.optional(s.string({ maxLength: 64 })),
  groups: s.record(s.array(s.string({ maxLength: 2_048 }))),
  /** Whose tokens conditions on claims believe. */
  issuers: s.optional(
    s.array(
      s.object({
        issuer: s.string({ maxLength: 2_048 }),
        audiences: s.array(s.string({ maxLength: 2_048 }), { minItems: 1 }),
        keys: s.array(s.record(s.unknown()), { minItems: 1, description: 'public JWKs' }),
      }),
    ),
  ),
  /** What decides beside the rules. */
  models: s.optional(s.array(casbinModel)),
});
export type PolicySet = Static<typeof policySet>;

export const endpoint = s.object({
  instance: s.string({ maxLength: 64 }),
  address: s.string({ maxLength: 300, description: 'HOST:PORT of the inbound mTLS listener' }),
  labels: s.record(s.string({ maxLength: 256 })),
  zone: s.optional(s.string({ maxLength: 128 })),
  weight: s.optional(s.integer({ minimum: 0, maximum: 1_000, description: '1 when absent' })),
  /** The proxy beside the instance finds it unhealthy. */
  unhealthy: s.optional(s.literal(true)),
});
export type Endpoint = Static<typeof endpoint>;

/** A service that the proxy's own service may be able to call. */
export const serviceEntry = s.object({
  id: s.string({ maxLength: 2_048, description: 'SPIFFE ID, and so the server identity that callers must find' }),
  hosts: s.array(s.string({ maxLength: 2_048 }), { description: 'lower-case host names under which apps call it' }),
  ports: s.array(s.integer({ minimum: 1, maximum: 65_535 }), { description: 'the app ports behind it' }),
  endpoints: s.array(endpoint),
});
export type ServiceEntry = Static<typeof serviceEntry>;

/** What does not wait for a policy: a proxy takes it also from a snapshot of which it refuses the rest. */
const urgentFields = {
  version: s.literal(wireVersion),
  /** Rises with every change that this proxy must see; a proxy refuses an older one. */
  revision: s.integer({ minimum: 1 }),
  service: s.string({ maxLength: 2_048, description: 'SPIFFE ID of the service that the snapshot is for' }),
  bundle: s.string({ maxLength: 65_536, description: 'SPIFFE JWKS document of the own trust domain' }),
  bans: s.object({
    ids: s.array(s.string({ maxLength: 2_048 })),
    serials: s.array(s.string({ maxLength: 64, description: 'lower-case hex' })),
  }),
};
export const urgentSchema = s.object(urgentFields);
export type UrgentPart = Static<typeof urgentSchema>;

export const snapshotSchema = s.object({
  ...urgentFields,
  policy: policySet,
  services: s.array(serviceEntry),
  /** Declared clusters that its routes may lead to, and that of its own service; every service has one of its own name without being declared. */
  clusters: s.optional(s.array(clusterEntry)),
  virtualServices: s.optional(s.array(virtualServiceEntry)),
  mesh: s.optional(meshEntry),
});
export type Snapshot = Static<typeof snapshotSchema>;

/** What was put in place or changed, as it is now, and what is gone (by ID or name). */
const changed = <T>(entry: Schema<T>) =>
  s.object({ put: s.array(entry), gone: s.array(s.string({ maxLength: 2_048, description: 'by ID or name' })) });

/**
 * What a proxy must change in the snapshot of revision `from` to hold the one of `revision`; everything that is not here stays, policy, bans and bundle
 * above all. It fits that very snapshot or none: a proxy that holds another one opens its stream again, and gets the whole.
 */
export const snapshotChange = s.object({
  from: s.integer({ minimum: 1 }),
  revision: s.integer({ minimum: 1 }),
  services: s.optional(changed(serviceEntry)),
  /** Of services that stay and of which nothing else has changed. */
  endpoints: s.optional(
    s.array(
      s.object({
        id: s.string({ maxLength: 2_048, description: 'SPIFFE ID of the service' }),
        put: s.array(endpoint),
        gone: s.array(s.string({ maxLength: 64, description: 'the instance' })),
      }),
    ),
  ),
  clusters: s.optional(changed(clusterEntry)),
  virtualServices: s.optional(changed(virtualServiceEntry)),
});
export type SnapshotChange = Static<typeof snapshotChange>;

/** POST /v1/proxy/watch over mTLS: the answer is a stream of `WatchEvent`, one JSON object a line, for as long as both live. */
export const watchRequest = s.object({
  version: s.literal(wireVersion),
  /** The revision already held (0: none), so that the server can see a proxy that is ahead of it. */
  revision: s.integer({ minimum: 0 }),
  /** Whether it understands changes; without it every event is a whole snapshot. */
  changes: s.optional(s.boolean()),
});
export type WatchRequest = Static<typeof watchRequest>;

export type WatchEvent =
  | { readonly type: 'snapshot'; readonly snapshot: Snapshot }
  /** Instead of a snapshot, when little has changed since the one before it on the same stream. */
  | { readonly type: 'change'; readonly change: SnapshotChange }
  /** Every `watchPingMs`; a proxy that hears nothing for three of them reconnects. */
  | { readonly type: 'ping' }
  /** Renew now, whatever the certificate's age (a CA rotation or a changed lifetime). */
  | { readonly type: 'renew' }
  /** An admin wants to see something of this proxy. */
  | LookEvent
  /** The server is going away; reconnect with back-off. */
  | { readonly type: 'goodbye' };
export const watchPingMs = 5_000;

/** POST /v1/proxy/report over mTLS: a proxy's word on a pushed revision, and its heartbeat (which renews its lease). */
export const proxyReport = s.object({
  version: s.literal(wireVersion),
  revision: s.integer({ minimum: 0, description: 'the revision in force in the proxy' }),
  refused: s.optional(s.object({ revision: s.integer(), reason: s.string({ maxLength: 4_096 }) })),
  notAfter: s.integer({ description: 'expiry of its SVID, epoch milliseconds' }),
  connections: s.object({ inbound: s.integer({ minimum: 0 }), outbound: s.integer({ minimum: 0 }) }),
  state: s.enum(['serving', 'draining']),
  /** What its health checks say of the application beside it; absent: it has none. */
  health: s.optional(s.enum(['healthy', 'unhealthy'])),
  /** Sent when they changed since the last report, or with the first. */
  facts: s.optional(instanceFacts),
});
export type ProxyReport = Static<typeof proxyReport>;
export const reportEveryMs = 5_000;
export const leaseMs = 15_000;
