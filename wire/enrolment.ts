// Getting and renewing an identity. Everything an SVID says comes from the registry; a CSR only proves possession of a key.
import { hostPortPattern } from '#base/host-port';
import { type Static, s } from '#base/schema';
import { wireVersion } from './version.ts';

/** JOSE `typ` of a join token, and its audience. */
export const joinTokenType = 'postern-join+jwt';
export const joinTokenAudience = 'postern-enrol';

const base64 = (maxLength: number, description: string) =>
  s.string({ pattern: '^[A-Za-z0-9+/]+={0,2}$', title: 'base64', maxLength, description });

/** The claims of a join token (a JWS compact JWT): all that one enrolment needs, so that one paste is enough. */
export const joinTokenClaims = s.object({
  iss: s.string({ maxLength: 300, description: 'the trust domain, as spiffe://name' }),
  aud: s.literal(joinTokenAudience),
  sub: s.string({ maxLength: 2_048, description: 'the SPIFFE ID that the token grants' }),
  jti: s.string({ pattern: '^[A-Za-z0-9_-]{16,64}$', title: 'a token id' }),
  iat: s.integer({ minimum: 0 }),
  exp: s.integer({ minimum: 0 }),
  url: s.string({
    pattern: '^https://[^/@?#]+$',
    title: 'an https origin',
    maxLength: 300,
    description: 'the control plane',
  }),
  roots: s.array(base64(8_192, 'DER of a root certificate'), { minItems: 1, maxItems: 8 }),
});
export type JoinTokenClaims = Static<typeof joinTokenClaims>;

const hostPort = (description: string) =>
  s.string({
    pattern: hostPortPattern,
    title: 'HOST:PORT',
    maxLength: 300,
    description,
  });
const labels = s.record(s.string({ maxLength: 256 }), { maxProperties: 64 });

/** What an instance says of itself; never part of its identity. */
export const instanceFacts = s.object({
  advertise: s.optional(hostPort('where peers reach its inbound mTLS listener; absent: it has none')),
  appPort: s.optional(s.integer({ minimum: 1, maximum: 65_535, description: 'the port that policies call `ports`' })),
  labels,
  zone: s.optional(s.string({ maxLength: 128, description: 'where it runs, such as eu-1a' })),
  weight: s.optional(
    s.integer({ minimum: 0, maximum: 1_000, description: 'its share beside other instances; 1 when absent' }),
  ),
  version: s.string({ maxLength: 64, description: 'the Postern version it runs' }),
});
export type InstanceFacts = Static<typeof instanceFacts>;

/** POST /v1/enrol, the join token as `Authorization: Bearer`. No client certificate. */
export const enrolRequest = s.object({
  version: s.literal(wireVersion),
  csr: base64(16_384, 'DER of a PKCS#10 request signed by the new key'),
  facts: instanceFacts,
});
export type EnrolRequest = Static<typeof enrolRequest>;

/** POST /v1/renew, over mTLS with the SVID that is still valid. */
export const renewRequest = s.object({
  version: s.literal(wireVersion),
  csr: base64(16_384, 'DER of a PKCS#10 request signed by the new key'),
});
export type RenewRequest = Static<typeof renewRequest>;

/** The answer to both: the leaf first, then the issuing CA; no root. */
export const svidReply = s.object({
  version: s.literal(wireVersion),
  id: s.string({ maxLength: 2_048 }),
  instance: s.string({ maxLength: 64 }),
  chain: s.array(base64(16_384, 'DER of a certificate'), { minItems: 2, maxItems: 3 }),
  notBefore: s.integer({ description: 'epoch milliseconds' }),
  notAfter: s.integer({ description: 'epoch milliseconds' }),
  bundle: s.string({ maxLength: 65_536, description: 'the trust bundle, a SPIFFE JWKS document' }),
});
export type SvidReply = Static<typeof svidReply>;
