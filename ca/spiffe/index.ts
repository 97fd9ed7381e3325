// SPIFFE identities: IDs, SVIDs, bundles and the TLS that carries them. A pure leaf that anyone may import; node built-ins only.
export type { TrustBundle } from './bundle.ts';
export { bundlePem, formatBundle, parseBundle, toPem } from './bundle.ts';
export type { Certificate } from './certificate.ts';
export { extensionId, readCertificate, readExtensions, readKeyPurposes } from './certificate.ts';
export { assertSigning, verifyChain } from './chain.ts';
export type { DerValue } from './der.ts';
export {
  assertWellFormed,
  expectTag,
  readBits,
  readChildren,
  readDer,
  readOid,
  readSmallInteger,
} from './der.ts';
export { bits, der, octets, oid, sequence, smallInteger, time, unsignedInteger } from './der-write.ts';
export { longestId, parseSpiffeId, parseTrustDomain, reservedPath, SpiffeId, spiffeIdOf } from './id.ts';
export type { Identity } from './identity.ts';
export { createKeyPair, readIdentity } from './identity.ts';
export { createCsr } from './request.ts';
export {
  isSignedBy,
  isSignedByOneTimeKey,
  signatureAlgorithmOf,
  signWith,
} from './strength.ts';
export type { Svid } from './svid.ts';
export { readSvid, svidOf } from './svid.ts';
export { connectTls, tlsClientPolicy, tlsContext, tlsServerPolicy, verifyPeer } from './tls.ts';
