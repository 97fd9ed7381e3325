// The resources that operators write (docs/policy.md): their shape on the wire and in files. Shape only; meaning is checked by #policy.
import { type Static, s } from '#base/schema';

/** Names of policies, rules and groups. */
export const namePattern = '^[a-zA-Z0-9]([a-zA-Z0-9._/-]{0,126}[a-zA-Z0-9])?$';
const name = (description: string) =>
  s.string({ pattern: namePattern, title: 'a name of letters, digits and . _ - / (at most 128)', description });

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

export const ruleSchema = s.object({
  id: name('unique within the policy'),
  effect: s.enum(['allow', 'deny'], { description: 'deny beats allow' }),
  shadow: s.optional(s.boolean({ description: 'record what the rule would do, never enforce it' })),
  description: s.optional(s.string({ maxLength: 1_024 })),
  from: s.array(source, { minItems: 1, maxItems: 10_000, description: 'who calls' }),
  methods: s.optional(
    s.array(s.string({ pattern: "^[A-Z0-9!#$%&'*+.^_`|~-]{1,32}$", title: 'an upper-case HTTP method' }), {
      minItems: 1,
      maxItems: 64,
      description: 'any method when absent',
    }),
  ),
  paths: s.optional(
    s.array(s.string({ minLength: 1, maxLength: 2_048 }), {
      minItems: 1,
      maxItems: 10_000,
      description: 'exact, or templates: {id} or * is one segment, ** the rest and last only; any path when absent',
    }),
  ),
  ports: s.optional(s.array(s.integer({ minimum: 1, maximum: 65_535 }), { minItems: 1, maxItems: 256 })),
  when: s.optional(s.array(condition, { minItems: 1, maxItems: 32, description: 'all must hold' })),
});
export type RuleResource = Static<typeof ruleSchema>;

export const policySchema = s.object({
  kind: s.literal('Policy'),
  name: name('unique among policies'),
  description: s.optional(s.string({ maxLength: 1_024 })),
  to: s.anyOf(destination, s.array(destination, { minItems: 1, maxItems: 10_000 })),
  rules: s.array(ruleSchema, { minItems: 1, maxItems: 100_000 }),
});
export type PolicyResource = Static<typeof policySchema>;

export const groupSchema = s.object({
  kind: s.literal('Group'),
  name: name('unique among groups'),
  description: s.optional(s.string({ maxLength: 1_024 })),
  members: s.array(source, { minItems: 1, maxItems: 100_000 }),
});
export type GroupResource = Static<typeof groupSchema>;

export type Resource = PolicyResource | GroupResource;
export type ResourceKind = Resource['kind'];

/** Every kind there is, with its schema: the one list that loaders, the control plane and the documentation go by. */
export const resourceSchemas = { Policy: policySchema, Group: groupSchema } as const;

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
