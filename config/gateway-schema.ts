// What a gateway's configuration file may say. Its meaning, and what its parts must not be together, is in gateway.ts.
import { durationPattern } from '#base/duration';
import { type JsonSchema, type Schema, type Static, s } from '#base/schema';
import { clusterFields } from '#wire';
import { hostPort, protocolAddress } from './addresses.ts';
import { limitsSchema, sidecarSettings } from './sidecar.ts';

const duration = (rules: { readonly description: string; readonly default?: string }) =>
  s.string({ pattern: durationPattern, title: 'a duration such as 30s', ...rules });
const path = (description: string) => s.string({ minLength: 1, maxLength: 4_096, description });
const host = s.string({
  pattern: '^(\\*\\.)?[a-z0-9_]([a-z0-9_-]{0,62})(\\.[a-z0-9_]([a-z0-9_-]{0,62}))*$|^[0-9a-f:.]+$',
  title: 'a lower-case host name, *.host, or an IP address',
  maxLength: 253,
});
const blocks = (description: string) =>
  s.array(s.string({ maxLength: 64, description: 'an address or a block such as 10.0.0.0/24' }), {
    minItems: 1,
    maxItems: 1_000,
    description,
  });
const certFile = path(
  'PEM: the certificate, then those of its issuers; a path beside this file; read again when it changes',
);
const keyFile = path('PEM of its key, which only its owner may read');

const certificate = s.object({
  hosts: s.optional(
    s.array(host, { minItems: 1, maxItems: 256, description: 'for which names; those in the certificate when absent' }),
  ),
  certFile,
  keyFile,
});

const tls = s.object({
  certFile: s.optional(certFile),
  keyFile: s.optional(keyFile),
  issued: s.optional(
    s.boolean({
      description: "instead of files: this service's own certificate, which has its SPIFFE ID and no host name in it",
    }),
  ),
  certificates: s.optional(
    s.array(certificate, {
      minItems: 1,
      maxItems: 1_000,
      description: 'instead: several, told apart by the name that a caller asks for; the first when it asks for none',
    }),
  ),
  minVersion: s.optional(s.enum(['1.2', '1.3'], { default: '1.2' })),
});

const redirect = s.anyOf(
  s.boolean({ description: 'every request is led to the same address by HTTPS, at port 443' }),
  s.object({
    port: s.optional(s.integer({ minimum: 1, maximum: 65_535, default: 443 })),
    status: s.optional(s.integer({ minimum: 301, maximum: 308, default: 308, description: '301, 302, 307 or 308' })),
  }),
);

const listener = s.object({
  listen: hostPort({ description: 'where callers from outside connect' }),
  hosts: s.optional(
    s.array(host, {
      minItems: 1,
      maxItems: 1_000,
      description:
        'which names it takes: hosts of virtual services that this service may call; needed unless it redirects',
    }),
  ),
  tls: s.optional(tls),
  redirectToHttps: s.optional(redirect),
  passthrough: s.optional(
    s.boolean({
      description:
        'TLS does not end here: the name in its first message says which `tls` route of a virtual service it takes',
    }),
  ),
  trustedProxies: s.optional(blocks('whose x-forwarded-for and x-forwarded-proto are believed; nobody when absent')),
  from: s.optional(blocks('who may connect; everybody when absent')),
});
export type ListenerSettings = Static<typeof listener>;

const outbound = s.anyOf(
  hostPort({ description: 'where applications send their own calls; loopback only' }),
  s.object({
    listen: hostPort({ description: 'where applications send their own calls' }),
    from: blocks('who may: whoever sends here calls with the identity of the service'),
  }),
);

const { auditMode, auditMaskable, auditMaxMegabytes, auditMaxAge, dns, zone, weight } = sidecarSettings;
const audit = s.object({
  mode: s.optional(auditMode.schema),
  maskable: s.optional(auditMaskable.schema),
  maxMegabytes: s.optional(auditMaxMegabytes.schema),
  maxAge: s.optional(auditMaxAge.schema),
});

/** The places of a cluster, without those that enrol. */
const [, staticPlaces, dnsPlaces] = clusterFields.endpoints.anyOf as [JsonSchema, JsonSchema, JsonSchema];
const { protocol, loadBalancing, circuitBreaker, outlierDetection, healthCheck } = clusterFields;
const instances = s.object({
  static: s.optional(staticPlaces.properties!.static as Schema<readonly unknown[]>),
  dns: s.optional(dnsPlaces.properties!.dns as Schema<unknown>),
  protocol,
  loadBalancing,
  circuitBreaker,
  outlierDetection,
  healthCheck,
});
export type InstancesSettings = Static<typeof instances>;

const service = s.object({
  service: s.string({
    pattern: '^[a-zA-Z0-9._-]+(/[a-zA-Z0-9._-]+)*$',
    title: 'the name of a service',
    maxLength: 256,
    description: 'whose identity it holds here; its token grants this one and no other',
  }),
  tokenFile: s.optional(path('a file with its join token, beside this file; needed once, and may be gone afterwards')),
  inbound: s.optional(hostPort({ description: 'where peers connect, by mTLS' })),
  advertise: s.optional(
    hostPort({ description: 'the address told to peers, when it is not the inbound one; a name must be one in DNS' }),
  ),
  app: s.optional(
    s.anyOf(
      protocolAddress(['http', 'h2c', 'tcp'], {
        description:
          'what inbound requests go to, its only instance: HTTP/1.1, or h2c:// before it for HTTP/2 and gRPC, tcp:// for others',
      }),
      instances,
    ),
  ),
  egress: s.optional(
    s.boolean({
      description: 'inbound requests go out of the mesh: to clusters that name this service as `via`, and no others',
    }),
  ),
  outbound: s.optional(outbound),
  upstreams: s.optional(
    s.record(protocolAddress(['http', 'tcp']), {
      maxProperties: 256,
      description: 'a port of its own for a called service, under the rules of outbound',
    }),
  ),
  listeners: s.optional(
    s.array(listener, { minItems: 1, maxItems: 256, description: 'where callers without an identity connect' }),
  ),
  labels: s.optional(s.record(s.string({ maxLength: 256 }), { maxProperties: 64, description: 'of this instance' })),
  zone: s.optional(zone.schema as Schema<string>),
  weight: s.optional(weight.schema as Schema<number>),
  workers: s.optional(
    s.integer({
      minimum: 1,
      maximum: 256,
      default: 1,
      description: 'threads that share its ports; Linux only above 1',
    }),
  ),
  limits: s.optional(limitsSchema),
  audit: s.optional(audit),
});
export type ServiceSettings = Static<typeof service>;

export const gatewaySchema = s.object({
  admin: s.optional(hostPort({ default: '127.0.0.1:15000', description: 'the read-only admin page' })),
  unsafeAdminNonLoopback: s.optional(
    s.boolean({ default: false, description: 'let other machines read the admin page, which has no authentication' }),
  ),
  metrics: s.optional(hostPort({ default: '127.0.0.1:15020', description: 'metrics and health' })),
  drain: s.optional(
    duration({ default: '20s', description: 'how long what runs may take to end once it, or a part of it, goes' }),
  ),
  dns: s.optional(dns.schema as Schema<string>),
  services: s.array(service, { minItems: 1, maxItems: 256, description: 'the identities that it holds' }),
});
export type GatewaySettings = Static<typeof gatewaySchema>;
