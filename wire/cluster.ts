// A cluster: a named group of endpoints that serve the same thing, how one of them is chosen, and what is done when they fail. The same shape
// is what operators write and what proxies get.
import { type Static, s } from '#base/schema';
import { address, description, duration, headerName, hostPattern, name, percentage, statusCode } from './shapes.ts';

const labels = s.record(s.string({ maxLength: 256 }), { maxProperties: 64 });
const weight = s.integer({
  minimum: 0,
  maximum: 1_000,
  description: 'its share beside the others; 1 when absent, 0 for none',
});

const staticEndpoint = s.object({
  address: address('where it is'),
  weight: s.optional(weight),
  zone: s.optional(s.string({ maxLength: 128, description: 'where it runs' })),
  labels: s.optional(labels),
});
export type StaticEndpoint = Static<typeof staticEndpoint>;

const dnsEndpoints = s.object({
  name: s.string({
    pattern: '^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$',
    title: 'a DNS name',
    description: 'what is asked for',
  }),
  port: s.optional(
    s.integer({ minimum: 1, maximum: 65_535, description: 'needed unless the records are SRV, which have their own' }),
  ),
  type: s.optional(s.enum(['address', 'srv'], { default: 'address', description: 'A and AAAA, or SRV (RFC 2782)' })),
  refresh: s.optional(
    duration('the longest between two questions; the TTL of the answer when that is shorter', { default: '30s' }),
  ),
});
export type DnsEndpoints = Static<typeof dnsEndpoints>;

const endpoints = s.anyOf(
  s.enum(['enrolled'], { description: 'the instances of the service, as they enrol' }),
  s.object({
    static: s.array(s.anyOf(address('HOST:PORT'), staticEndpoint), { minItems: 1, maxItems: 10_000 }),
  }),
  s.object({
    dns: s.anyOf(
      s.string({ maxLength: 300, pattern: '^[A-Za-z0-9._-]+(:[0-9]{1,5})?$', title: 'NAME:PORT' }),
      dnsEndpoints,
    ),
  }),
);

const subset = s.object({
  labels: s.record(s.string({ maxLength: 256 }), { maxProperties: 16, description: 'all must be on the endpoint' }),
});

const hashOn = s.anyOf(
  s.object({ header: headerName }),
  s.object({
    cookie: s.string({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$", title: 'a cookie name' }),
    ttl: s.optional(
      duration('who comes without the cookie is given one that is kept for so long; 0s: until the browser closes'),
    ),
  }),
  s.object({ query: s.string({ minLength: 1, maxLength: 128, description: 'a query parameter' }) }),
  s.object({ source: s.enum(['identity', 'address'], { description: 'who calls, or from where' }) }),
);
export type HashOn = Static<typeof hashOn>;

export const loadBalancingPolicies = ['least-request', 'round-robin', 'random', 'ewma', 'ring-hash', 'maglev'] as const;

const loadBalancing = s.object({
  policy: s.optional(
    s.enum(loadBalancingPolicies, { default: 'least-request', description: 'how one of several endpoints is chosen' }),
  ),
  hashOn: s.optional(hashOn),
  slowStart: s.optional(duration('a new endpoint gets a growing share for so long')),
  panicThreshold: s.optional(
    percentage('below this share of healthy endpoints all of them are used: a wrong suspicion must not be an outage', {
      default: '50%',
    }),
  ),
  zones: s.optional(
    s.object({
      prefer: s.optional(
        s.boolean({ default: true, description: "the caller's own zone first, as long as enough of it is healthy" }),
      ),
      failover: s.optional(
        s.array(s.string({ maxLength: 128 }), {
          maxItems: 16,
          description: 'which zones then, in this order; others last',
        }),
      ),
      minHealthy: s.optional(
        percentage('less than this share of a zone healthy: the next zone takes the difference', { default: '70%' }),
      ),
    }),
  ),
});
export type LoadBalancing = Static<typeof loadBalancing>;

const most = (text: string, usual: number) =>
  s.optional(s.integer({ minimum: 1, maximum: 1_000_000, description: text, default: usual }));
const circuitBreaker = s.object({
  maxConnections: most('connections to one endpoint', 256),
  maxPending: most('requests waiting for a connection to one endpoint', 256),
  maxRequests: most('requests to the cluster in progress', 1_024),
  maxRetries: most('retries of the cluster in progress, whatever the budget', 64),
  retryBudget: s.optional(percentage('retries in progress, of the requests in progress', { default: '20%' })),
  minRetries: s.optional(
    s.integer({ minimum: 0, maximum: 1_000, default: 3, description: 'retries that may run however few requests do' }),
  ),
});

const outlierDetection = s.object({
  consecutive5xx: s.optional(
    s.integer({
      minimum: 0,
      maximum: 1_000,
      default: 5,
      description: 'answers of 500 to 599, no connection or no answer in time, in a row; 0: not looked at',
    }),
  ),
  consecutiveGatewayErrors: s.optional(
    s.integer({
      minimum: 0,
      maximum: 1_000,
      default: 5,
      description: '502, 503, 504, no connection or no answer in time, in a row; 0: not looked at',
    }),
  ),
  successRate: s.optional(
    s.object({
      minEndpoints: s.optional(
        s.integer({ minimum: 2, maximum: 1_000, default: 5, description: 'with enough requests each' }),
      ),
      minRequests: s.optional(
        s.integer({ minimum: 1, maximum: 100_000, default: 100, description: 'of an endpoint in one interval' }),
      ),
      stdevFactor: s.optional(
        s.number({
          minimum: 0.1,
          maximum: 10,
          default: 1.9,
          description: 'below the mean less so many standard deviations: out',
        }),
      ),
    }),
  ),
  interval: s.optional(duration('between two looks at success rates', { default: '10s' })),
  baseEjection: s.optional(
    duration('how long the first time; twice, three times as long the next', { default: '30s' }),
  ),
  maxEjection: s.optional(duration('the longest', { default: '300s' })),
  maxEjected: s.optional(percentage('of the endpoints at a time; one may always be', { default: '50%' })),
});

const healthCheck = s.object({
  http: s.optional(
    s.object({
      path: s.string({ pattern: '^/[\\x21-\\x7e]*$', title: 'a path', maxLength: 2_048 }),
      host: s.optional(hostPattern('the Host header; the first of `hosts` otherwise, or the endpoint')),
      expect: s.optional(
        s.array(statusCode('a status that is healthy', 100), {
          minItems: 1,
          maxItems: 32,
          description: '200 to 299 when absent',
        }),
      ),
    }),
  ),
  grpc: s.optional(
    s.object({
      service: s.optional(s.string({ maxLength: 256, description: 'of grpc.health.v1; the whole server when absent' })),
    }),
  ),
  tcp: s.optional(s.object({})),
  interval: s.optional(duration('between two checks, a tenth of it early or late', { default: '5s' })),
  timeout: s.optional(duration('for one check', { default: '1s' })),
  unhealthyThreshold: s.optional(s.integer({ minimum: 1, maximum: 100, default: 3, description: 'failures in a row' })),
  healthyThreshold: s.optional(s.integer({ minimum: 1, maximum: 100, default: 2, description: 'successes in a row' })),
});
export type HealthCheck = Static<typeof healthCheck>;

const pem = (text: string) => s.string({ minLength: 1, maxLength: 65_536, description: text });

/** TLS that a proxy begins toward endpoints outside the mesh. */
const tls = s.object({
  sni: s.optional(
    hostPattern('the name that is asked for and that the certificate must have; the first of `hosts` otherwise'),
  ),
  ca: s.optional(pem('PEM of the CA certificates that are trusted; the public ones otherwise')),
  caFile: s.optional(
    s.string({
      minLength: 1,
      maxLength: 4_096,
      description: 'the same, a file beside this one, read when it is loaded',
    }),
  ),
  clientCertificate: s.optional(
    s.string({
      pattern: '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$',
      title: 'a name',
      description: 'NAME.crt and NAME.key in client-certificates/ of each proxy home: keys stay on the proxy',
    }),
  ),
  minVersion: s.optional(s.enum(['1.2', '1.3'], { default: '1.2' })),
});
export type TlsOrigination = Static<typeof tls>;

/** Everything of a cluster but its name; shared by the resource and by what proxies get. */
export const clusterFields = {
  endpoints,
  hosts: s.optional(s.array(hostPattern('a name by which applications call it'), { minItems: 1, maxItems: 64 })),
  protocol: s.optional(
    s.enum(['http', 'h2c', 'tcp'], { default: 'http', description: 'what endpoints outside the mesh speak' }),
  ),
  tls: s.optional(tls),
  plaintext: s.optional(s.boolean({ description: 'said out loud: endpoints outside the mesh without TLS' })),
  via: s.optional(name('the service of the egress gateway that is the only way to it')),
  subsets: s.optional(s.record(subset, { maxProperties: 64 })),
  loadBalancing: s.optional(loadBalancing),
  circuitBreaker: s.optional(circuitBreaker),
  outlierDetection: s.optional(outlierDetection),
  healthCheck: s.optional(healthCheck),
};

export const clusterSchema = s.object({
  kind: s.literal('Cluster'),
  name: name('unique among clusters'),
  description,
  service: s.optional(name('which service it is, for policies and for its instances; its own name when absent')),
  ...clusterFields,
});
export type ClusterResource = Static<typeof clusterSchema>;

/** A declared cluster as proxies get it. */
export const clusterEntry = s.object({
  name: s.string({ maxLength: 128 }),
  /** SPIFFE ID of its service: what policies decide on, and of enrolled ones the identity that must be found there. */
  id: s.string({ maxLength: 2_048 }),
  /** SPIFFE ID of the egress gateway that is the way to it. */
  gateway: s.optional(s.string({ maxLength: 2_048 })),
  ...clusterFields,
});
export type ClusterEntry = Static<typeof clusterEntry>;
