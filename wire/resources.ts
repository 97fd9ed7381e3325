// The resources that operators write: their shape on the wire and in files, those of policies here (docs/policy.md), those of traffic in files of their
// own (docs/traffic.md). Shape only; meaning is checked by #policy and #routing.
import { type Static, s } from '#base/schema';
import { type ClusterResource, clusterSchema } from './cluster.ts';
import { type MeshResource, meshSchema } from './mesh.ts';
import { name } from './shapes.ts';
import { type VirtualServiceResource, virtualServiceSchema } from './virtual-service.ts';

const source = s.string({
  minLength: 1,
  maxLength: 2_048,
  description: 'a service, group:NAME, a SPIFFE ID, spiffe://trust-domain/prefix/**, or * for any authenticated peer',
});

const destination = s.string({
  minLength: 1,
  maxLength: 2_048,
  description: 'the service that is called; or any of what `from` can name',
});

export const condition = s.object({
  key: s.string({ minLength: 1, maxLength: 256, description: 'what is looked at, such as header:x-env' }),
  in: s.array(s.string({ maxLength: 4_096 }), {
    minItems: 1,
    maxItems: 256,
    description: 'the values that satisfy the condition',
  }),
});

const methods = s.array(s.string({ pattern: "^[A-Z0-9!#$%&'*+.^_`|~-]{1,32}$", title: 'an upper-case HTTP method' }), {
  minItems: 1,
  maxItems: 64,
  description: 'any method when absent',
});
const paths = s.array(s.string({ minLength: 1, maxLength: 2_048 }), {
  minItems: 1,
  maxItems: 10_000,
  description: 'exact, or templates: {id} or * is one segment, ** the rest and last only; any path when absent',
});
const ports = s.array(s.integer({ minimum: 1, maximum: 65_535 }), { minItems: 1, maxItems: 256 });
const when = s.array(condition, { minItems: 1, maxItems: 32, description: 'all must hold' });

const ruleSchema = s.object({
  id: name('unique within the policy'),
  effect: s.enum(['allow', 'deny'], { description: 'deny beats allow' }),
  shadow: s.optional(s.boolean({ description: 'record what the rule would do, never enforce it' })),
  description: s.optional(s.string({ maxLength: 1_024 })),
  from: s.array(source, { minItems: 1, maxItems: 10_000, description: 'who calls' }),
  methods: s.optional(methods),
  paths: s.optional(paths),
  ports: s.optional(ports),
  when: s.optional(when),
});
export type RuleResource = Static<typeof ruleSchema>;

const policySchema = s.object({
  kind: s.literal('Policy'),
  name: name('unique among policies'),
  description: s.optional(s.string({ maxLength: 1_024 })),
  to: s.anyOf(destination, s.array(destination, { minItems: 1, maxItems: 10_000 })),
  rules: s.array(ruleSchema, { minItems: 1, maxItems: 100_000 }),
});
export type PolicyResource = Static<typeof policySchema>;

const groupSchema = s.object({
  kind: s.literal('Group'),
  name: name('unique among groups'),
  description: s.optional(s.string({ maxLength: 1_024 })),
  members: s.array(source, { minItems: 1, maxItems: 100_000 }),
});
export type GroupResource = Static<typeof groupSchema>;

const sources = s.anyOf(source, s.array(source, { minItems: 1, maxItems: 10_000 }));
const invariant = s.object({
  from: sources,
  except: s.optional(s.array(source, { minItems: 1, maxItems: 10_000, description: 'callers that it is not about' })),
  to: s.anyOf(destination, s.array(destination, { minItems: 1, maxItems: 10_000 })),
  methods: s.optional(methods),
  paths: s.optional(paths),
  ports: s.optional(ports),
  when: s.optional(when),
});
const invariants = (description: string) =>
  s.optional(s.anyOf(invariant, s.array(invariant, { minItems: 1, maxItems: 1_000, description })));
export type InvariantResource = Static<typeof invariant>;

const assertionSchema = s.object({
  kind: s.literal('Assertion'),
  name: name('unique among assertions'),
  description: s.optional(s.string({ maxLength: 1_024 })),
  never: invariants('calls that no request may make'),
  always: invariants('calls that every request may make'),
});
export type AssertionResource = Static<typeof assertionSchema>;

/** Public keys as in RFC 7517; what each may be is checked by #policy. */
const jwks = s.object({ keys: s.array(s.record(s.unknown()), { minItems: 1, maxItems: 64 }) });

export const jwtIssuerSchema = s.object({
  kind: s.literal('JwtIssuer'),
  name: name('unique among issuers'),
  description: s.optional(s.string({ maxLength: 1_024 })),
  issuer: s.string({ minLength: 1, maxLength: 2_048, description: 'the iss claim, exactly' }),
  audiences: s.array(s.string({ minLength: 1, maxLength: 2_048 }), {
    minItems: 1,
    maxItems: 64,
    description: 'one of them must be in the aud claim',
  }),
  jwks: s.optional(jwks),
  jwksFile: s.optional(
    s.string({ minLength: 1, maxLength: 4_096, description: 'a file beside this one, read when it is loaded' }),
  ),
});
export type JwtIssuerResource = Static<typeof jwtIssuerSchema>;

/** A user's own Casbin model; what it may say is checked by #policy. */
export const casbinModelFields = {
  model: s.string({ minLength: 1, maxLength: 16_384, description: 'the text of the model' }),
  request: s.optional(
    s.record(s.string({ minLength: 1, maxLength: 256 }), {
      description: 'what each field of a request is taken from; absent: sub, obj, act and dom as usual',
    }),
  ),
  rows: s.array(s.array(s.string({ maxLength: 2_048 }), { minItems: 1, maxItems: 32 }), {
    minItems: 1,
    maxItems: 10_000,
    description: 'the policy: each row with its kind (p, g) first',
  }),
};

export const casbinModelSchema = s.object({
  kind: s.literal('CasbinModel'),
  name: name('unique among models'),
  description: s.optional(s.string({ maxLength: 1_024 })),
  to: s.anyOf(destination, s.array(destination, { minItems: 1, maxItems: 10_000 })),
  model: s.optional(casbinModelFields.model),
  modelFile: s.optional(
    s.string({ minLength: 1, maxLength: 4_096, description: 'a file beside this one, read when it is loaded' }),
  ),
  request: casbinModelFields.request,
  rows: s.optional(casbinModelFields.rows),
  rowsFile: s.optional(
    s.string({ minLength: 1, maxLength: 4_096, description: 'a CSV file beside this one, read when it is loaded' }),
  ),
});
export type CasbinModelResource = Static<typeof casbinModelSchema>;

/** What decides. */
type PolicyKindResource = PolicyResource | GroupResource | AssertionResource | JwtIssuerResource | CasbinModelResource;
/** What says where traffic goes. */
type TrafficResource = ClusterResource | VirtualServiceResource | MeshResource;
export type Resource = PolicyKindResource | TrafficResource;
export type ResourceKind = Resource['kind'];

/** Every kind there is, with its schema: the one list that loaders, the control plane and the documentation go by. */
export const resourceSchemas = {
  Policy: policySchema,
  Group: groupSchema,
  Assertion: assertionSchema,
  JwtIssuer: jwtIssuerSchema,
  CasbinModel: casbinModelSchema,
  Cluster: clusterSchema,
  VirtualService: virtualServiceSchema,
  Mesh: meshSchema,
} as const;

/** Where a resource was written, so that a decision can name its rule's file and line. Lines and columns count from 1. */
export const originSchema = s.object({
  file: s.string({ maxLength: 4_096 }),
  /** By JSON pointer within the resource: [line, column]. The root is the empty pointer. */
  positions: s.record(s.array(s.integer({ minimum: 1 }), { minItems: 2, maxItems: 2 }), { maxProperties: 400_000 }),
});
export type Origin = Static<typeof originSchema>;

/** A resource together with its origin, as `postern apply` sends it and the control plane keeps it. */
export interface LocatedResource {
  readonly resource: Resource;
  readonly origin?: Origin | undefined;
}
