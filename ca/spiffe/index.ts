// SPIFFE identities: IDs, SVIDs, bundles and the TLS that carries them. A pure leaf that anyone may import.
export type { TrustBundle } from './bundle.ts';
export { bundlePem, formatBundle, parseBundle, toPem } from './bundle.ts';
export { spiffeErrors } from './errors.ts';
export { longestId, parseSpiffeId, parseTrustDomain, reservedPath, SpiffeId, spiffeIdOf } from './id.ts';
