// A virtual service: the routing rules for what is sent to its hosts. First match wins. The same shape is what operators write and what proxies get.
import { type Static, s } from '#base/schema';
import { bytes, description, duration, headerName, headerValue, hostPattern, name, statusCode } from './shapes.ts';

const regex = s.string({
  minLength: 1,
  maxLength: 1_024,
  description: 'an RE2 expression that the whole text must match',
});

const pathMatch = s.object({
  exact: s.optional(s.string({ pattern: '^/', title: 'a path', maxLength: 2_048 })),
  prefix: s.optional(
    s.string({ pattern: '^/', title: 'a path', maxLength: 2_048, description: 'by whole segments: /v2 is not /v20' }),
  ),
  template: s.optional(
    s.string({
      pattern: '^/',
      title: 'a path',
      maxLength: 2_048,
      description: '{id} or * is one segment, ** the rest and last only',
    }),
  ),
  regex: s.optional(regex),
});
export type PathMatch = Static<typeof pathMatch>;

const textMatch = s.anyOf(
  s.string({ maxLength: 4_096, description: 'exactly this' }),
  s.object({
    exact: s.optional(s.string({ maxLength: 4_096 })),
    prefix: s.optional(s.string({ minLength: 1, maxLength: 4_096 })),
    regex: s.optional(regex),
    present: s.optional(s.boolean({ description: 'false: it must not be there' })),
  }),
);
export type TextMatch = Static<typeof textMatch>;

const sources = s.array(s.string({ minLength: 1, maxLength: 2_048 }), {
  minItems: 1,
  maxItems: 1_000,
  description: 'who calls: a service, a SPIFFE ID, spiffe://trust-domain/prefix/**, or *',
});
const ports = s.array(s.integer({ minimum: 1, maximum: 65_535 }), {
  minItems: 1,
  maxItems: 64,
  description: 'of the Host header; 80 when it has none, 443 where a gateway ends TLS',
});

const httpMatch = s.object({
  path: s.optional(pathMatch),
  methods: s.optional(
    s.array(s.string({ pattern: "^[A-Z0-9!#$%&'*+.^_`|~-]{1,32}$", title: 'an upper-case HTTP method' }), {
      minItems: 1,
      maxItems: 64,
    }),
  ),
  headers: s.optional(s.record(textMatch, { maxProperties: 32, description: 'by lower-case name; all must match' })),
  withoutHeaders: s.optional(
    s.record(textMatch, { maxProperties: 32, description: 'by lower-case name; no value of any of them may match' }),
  ),
  query: s.optional(s.record(textMatch, { maxProperties: 32, description: 'by parameter, decoded; all must match' })),
  from: s.optional(sources),
  ports: s.optional(ports),
});
export type HttpMatch = Static<typeof httpMatch>;

const headerChanges = s.object({
  set: s.optional(s.record(headerValue, { maxProperties: 64, description: 'instead of what is there' })),
  add: s.optional(s.record(headerValue, { maxProperties: 64, description: 'beside what is there' })),
  remove: s.optional(s.array(headerName, { maxItems: 64 })),
});
export type HeaderChanges = Static<typeof headerChanges>;
const headers = s.object({ request: s.optional(headerChanges), response: s.optional(headerChanges) });

const target = {
  cluster: name('where to'),
  subset: s.optional(s.string({ minLength: 1, maxLength: 128 })),
};
const weightedTarget = s.object({
  ...target,
  weight: s.optional(
    s.integer({
      minimum: 0,
      maximum: 1_000_000,
      description: 'its share of the sum of all; needed when there are several',
    }),
  ),
  headers: s.optional(headers),
});
export type WeightedTarget = Static<typeof weightedTarget>;

export const retryConditions = [
  'connect-failure',
  'refused-stream',
  'reset',
  'timeout',
  '5xx',
  'gateway-error',
  'retriable-4xx',
  'grpc-unavailable',
  'grpc-resource-exhausted',
  'grpc-deadline-exceeded',
  'grpc-cancelled',
  'grpc-internal',
] as const;

const retries = s.object({
  attempts: s.integer({ minimum: 0, maximum: 10, description: 'after the first try; 0: never' }),
  perTryTimeout: s.optional(duration('for each try until its answer begins')),
  on: s.optional(
    s.array(
      s.string({
        pattern: `^(${retryConditions.join('|')}|[1-5][0-9][0-9])$`,
        title: `one of ${retryConditions.join(', ')}, or a status`,
      }),
      {
        minItems: 1,
        maxItems: 32,
        description: 'connect-failure and refused-stream when absent: nothing of those was processed',
      },
    ),
  ),
  methods: s.optional(
    s.array(s.string({ pattern: '^[A-Z]{1,32}$', title: 'an upper-case HTTP method' }), {
      minItems: 1,
      maxItems: 32,
      description: 'of requests that may have been processed; the idempotent ones when absent',
    }),
  ),
  backoff: s.optional(
    s.object({
      base: s.optional(duration('before the first retry, doubled for each next one, with jitter', { default: '25ms' })),
      max: s.optional(duration('the longest', { default: '250ms' })),
    }),
  ),
  anotherEndpoint: s.optional(
    s.boolean({ default: true, description: 'leave out those that were tried, as long as there are others' }),
  ),
});
export type Retries = Static<typeof retries>;

const fault = s.object({
  delay: s.optional(
    s.object({
      fixed: duration('how long'),
      percentage: s.optional(s.number({ minimum: 0, maximum: 100, default: 100 })),
    }),
  ),
  abort: s.optional(
    s.object({
      status: s.optional(statusCode('the answer instead')),
      grpcStatus: s.optional(s.integer({ minimum: 1, maximum: 16 })),
      percentage: s.optional(s.number({ minimum: 0, maximum: 100, default: 100 })),
    }),
  ),
});
export type Fault = Static<typeof fault>;

const cors = s.object({
  allowOrigins: s.array(textMatch, { minItems: 1, maxItems: 64 }),
  allowMethods: s.optional(
    s.array(s.string({ pattern: '^([A-Z]{1,32}|\\*)$', title: 'a method or *' }), { maxItems: 32 }),
  ),
  allowHeaders: s.optional(s.array(s.string({ maxLength: 128 }), { maxItems: 64 })),
  exposeHeaders: s.optional(s.array(s.string({ maxLength: 128 }), { maxItems: 64 })),
  maxAge: s.optional(duration('how long a browser may keep the answer')),
  allowCredentials: s.optional(s.boolean({ default: false })),
});
export type Cors = Static<typeof cors>;

const rateLimit = s.object({
  requests: s.integer({ minimum: 1, maximum: 1_000_000_000, description: 'so many' }),
  per: s.optional(duration('in so long', { default: '1s' })),
  burst: s.optional(
    s.integer({ minimum: 1, maximum: 1_000_000_000, description: 'at once; as many as `requests` when absent' }),
  ),
  each: s.optional(
    s.enum(['route', 'peer'], {
      default: 'route',
      description: 'all callers together, or each calling identity by itself',
    }),
  ),
});
export type RateLimit = Static<typeof rateLimit>;

const httpRoute = s.object({
  name: s.optional(name('for records and metrics; its place when absent')),
  match: s.optional(
    s.array(httpMatch, { minItems: 1, maxItems: 64, description: 'one must match; everything when absent' }),
  ),
  route: s.optional(s.array(weightedTarget, { minItems: 1, maxItems: 64 })),
  redirect: s.optional(
    s.object({
      path: s.optional(
        s.string({ pattern: '^/', title: 'a path', maxLength: 2_048, description: 'the whole new path' }),
      ),
      prefix: s.optional(
        s.string({ pattern: '^/', title: 'a path', maxLength: 2_048, description: 'instead of the matched prefix' }),
      ),
      host: s.optional(hostPattern('the new host')),
      scheme: s.optional(s.enum(['http', 'https'])),
      port: s.optional(s.integer({ minimum: 1, maximum: 65_535 })),
      status: s.optional(
        s.integer({ minimum: 300, maximum: 399, default: 302, description: '301, 302, 303, 307 or 308' }),
      ),
    }),
  ),
  directResponse: s.optional(
    s.object({
      status: statusCode('of the answer'),
      body: s.optional(s.string({ maxLength: 65_536 })),
      headers: s.optional(s.record(headerValue, { maxProperties: 32 })),
    }),
  ),
  rewrite: s.optional(
    s.object({
      path: s.optional(
        s.string({
          pattern: '^/',
          title: 'a path',
          maxLength: 2_048,
          description: 'instead of the matched prefix; the whole path after another match',
        }),
      ),
      host: s.optional(hostPattern('the Host header')),
      regex: s.optional(
        s.object({ match: regex, replace: s.string({ maxLength: 2_048, description: '$1 is the first group' }) }),
      ),
    }),
  ),
  headers: s.optional(headers),
  mirror: s.optional(
    s.array(s.object({ ...target, percentage: s.optional(s.number({ minimum: 0, maximum: 100, default: 100 })) }), {
      minItems: 1,
      maxItems: 4,
    }),
  ),
  fault: s.optional(fault),
  timeout: s.optional(duration('from the whole request to the end of the answer, retries included')),
  idleTimeout: s.optional(duration('without a byte either way')),
  retries: s.optional(retries),
  cors: s.optional(cors),
  rateLimit: s.optional(s.anyOf(rateLimit, s.array(rateLimit, { minItems: 1, maxItems: 4 }))),
  maxBody: s.optional(bytes('of a request; 413 above')),
});
export type HttpRoute = Static<typeof httpRoute>;

const tcpRoute = s.object({
  name: s.optional(name('for records and metrics; its place when absent')),
  match: s.optional(
    s.array(s.object({ from: s.optional(sources), ports: s.optional(ports) }), { minItems: 1, maxItems: 64 }),
  ),
  route: s.array(weightedTarget, { minItems: 1, maxItems: 64 }),
  idleTimeout: s.optional(duration('without a byte either way')),
});
export type TcpRoute = Static<typeof tcpRoute>;

const tlsRoute = s.object({
  name: s.optional(name('for records and metrics; its place when absent')),
  match: s.array(
    s.object({
      sni: s.array(hostPattern('a server name'), { minItems: 1, maxItems: 64 }),
      from: s.optional(sources),
      ports: s.optional(ports),
    }),
    { minItems: 1, maxItems: 64 },
  ),
  route: s.array(weightedTarget, { minItems: 1, maxItems: 64 }),
  idleTimeout: s.optional(duration('without a byte either way')),
});
export type TlsRoute = Static<typeof tlsRoute>;

const virtualServiceFields = {
  hosts: s.array(hostPattern('what applications call'), { minItems: 1, maxItems: 64 }),
  http: s.optional(s.array(httpRoute, { minItems: 1, maxItems: 1_000 })),
  tcp: s.optional(s.array(tcpRoute, { minItems: 1, maxItems: 1_000 })),
  tls: s.optional(s.array(tlsRoute, { minItems: 1, maxItems: 1_000 })),
};

export const virtualServiceSchema = s.object({
  kind: s.literal('VirtualService'),
  name: name('unique among virtual services'),
  description,
  service: s.optional(name('which service a call to its hosts is a call to, for policies; its own name when absent')),
  ...virtualServiceFields,
});
export type VirtualServiceResource = Static<typeof virtualServiceSchema>;

/** A virtual service as proxies get it: sources are SPIFFE IDs, prefixes and `*`. */
export const virtualServiceEntry = s.object({
  name: s.string({ maxLength: 128 }),
  /** SPIFFE ID of its service: what policy decides on before any route is looked at. */
  id: s.string({ maxLength: 2_048 }),
  ...virtualServiceFields,
});
export type VirtualServiceEntry = Static<typeof virtualServiceEntry>;
