// Does this chain lead to a root of the bundle? Own path validation (X-05, X-07, X-09, X-12, T16) after and beside the one that TLS does:
// own trust domain only, at most leaf + issuing CA + root, every link strong. It never reaches for the system's trust store.
import type { KeyObject } from 'node:crypto';
import type { TrustBundle } from './bundle.ts';
import { type Certificate, extensionId, keyUsageBit, readCertificate, sameBytes } from './certificate.ts';
import { fail } from './errors.ts';
import { assertStrongSignature, isSignedBy, readPublicKey } from './strength.ts';
import { assertUnderstood, constraintsOf, keyUsageOf, type Svid, svidOf, uriNames } from './svid.ts';

/** Leaf, issuing CA, root. */
export const longestChain = 3;
/** Issuing CAs remembered as verified for one bundle. */
const rememberedIssuers = 64;

interface Issuer {
  readonly certificate: Certificate;
  readonly key: KeyObject;
  readonly pathLength: number;
  /** The root above an issuing CA. */
  readonly root?: Issuer;
}

interface Anchors {
  readonly roots: readonly Issuer[];
  readonly issuing: Map<string, Issuer>;
}

const anchorsOf = new WeakMap<TrustBundle, Anchors>();
const understood: ReadonlySet<string> = new Set([
  extensionId.basicConstraints,
  extensionId.keyUsage,
  extensionId.subjectAltName,
]);
const understoodInRoots: ReadonlySet<string> = new Set([...understood, extensionId.nameConstraints]);

/**
 * Verifies a chain as a peer sent it (leaf first, the root optional) at a moment; throws `IDENTITY_*`.
 * On return the leaf follows every rule, is in the bundle's trust domain and was valid at `now`, and so was everything above it.
 */
export function verifyChain(o: {
  readonly chain: readonly Uint8Array[];
  readonly bundle: TrustBundle;
  readonly now: number;
}): Svid {
  const { chain, bundle, now } = o;
  if (chain.length === 0) throw fail('IDENTITY_CHAIN_INVALID', { reason: 'there is no certificate' });
  if (chain.length > longestChain)
    throw fail('IDENTITY_CHAIN_INVALID', { reason: `it has ${chain.length} certificates, at most ${longestChain}` });
  const leaf = readCertificate(chain[0]!);
  const svid = svidOf(leaf);
  if (svid.id.trustDomain !== bundle.trustDomain)
    throw fail('IDENTITY_FOREIGN', { id: svid.id.uri, trustDomain: bundle.trustDomain });
  assertValidAt(leaf, now, svid.id.uri);
  const anchors = readAnchors(bundle);
  const issuer = issuerOf(leaf, chain.slice(1), anchors, bundle);
  assertValidAt(issuer.certificate, now, 'its signer');
  if (issuer.root) assertValidAt(issuer.root.certificate, now, 'the root');
  return svid;
}

/** Throws unless `now` is within the certificate's life, both ends included. */
function assertValidAt(certificate: { notBefore: number; notAfter: number }, now: number, id: string): void {
  const { notBefore, notAfter } = certificate;
  if (now < notBefore) throw fail('IDENTITY_NOT_YET_VALID', { id, notBefore: new Date(notBefore).toISOString() });
  if (now > notAfter) throw fail('IDENTITY_EXPIRED', { id, notAfter: new Date(notAfter).toISOString() });
}

/** Throws `IDENTITY_CHAIN_INVALID` or `IDENTITY_WEAK` unless the certificate may sign others in the trust domain. */
export function assertSigning(certificate: Certificate, trustDomain: string, known = understood): Issuer {
  assertUnderstood(certificate, known);
  assertStrongSignature(certificate.signatureAlgorithm);
  const constraints = constraintsOf(certificate);
  const usage = keyUsageOf(certificate);
  const refuse = (reason: string) => fail('IDENTITY_CHAIN_INVALID', { reason });
  if (!constraints.ca || !constraints.critical) throw refuse('a signer is not marked as a CA');
  if (!usage?.critical || !(usage.bits & keyUsageBit.keyCertSign)) throw refuse('a signer may not sign certificates');
  const san = certificate.extensions.get(extensionId.subjectAltName);
  const names = san ? uriNames(san.value) : [];
  if (names.some((name) => name !== `spiffe://${trustDomain}`))
    throw refuse(`a signer's SPIFFE ID is not spiffe://${trustDomain}`);
  return { certificate, key: readPublicKey(certificate.publicKey), pathLength: constraints.pathLength ?? longestChain };
}

/** The signer of the leaf: a root, or an issuing CA directly under one. */
function issuerOf(leaf: Certificate, sent: readonly Uint8Array[], anchors: Anchors, bundle: TrustBundle): Issuer {
  const direct = anchors.roots.find((root) => isIssuedBy(leaf, root));
  if (direct) return direct;
  for (const der of sent) {
    const issuing = readIssuing(der, anchors, bundle);
    if (issuing && isIssuedBy(leaf, issuing)) return issuing;
  }
  const { trustDomain, roots } = bundle;
  const reason = roots.length === 0 ? 'its bundle holds no roots' : 'no signer of it is known';
  throw fail('IDENTITY_UNTRUSTED', { trustDomain, reason });
}

function readIssuing(der: Uint8Array, anchors: Anchors, bundle: TrustBundle): Issuer | undefined {
  const key = Buffer.from(der).toString('base64');
  const remembered = anchors.issuing.get(key);
  if (remembered) return remembered;
  const certificate = readCertificate(der);
  const root = anchors.roots.find((one) => isIssuedBy(certificate, one));
  if (!root || sameBytes(root.certificate.der, der)) return undefined;
  if (root.pathLength < 1) throw fail('IDENTITY_CHAIN_INVALID', { reason: 'the root allows no CA below it' });
  const issuing = { ...assertSigning(certificate, bundle.trustDomain), root };
  if (anchors.issuing.size >= rememberedIssuers) anchors.issuing.clear();
  anchors.issuing.set(key, issuing);
  return issuing;
}

/** Roots that break a rule trust nothing; the others of the bundle stay. */
function readAnchors(bundle: TrustBundle): Anchors {
  const known = anchorsOf.get(bundle);
  if (known) return known;
  const roots = bundle.roots.flatMap((der) => {
    try {
      return [assertSigning(readCertificate(der), bundle.trustDomain, understoodInRoots)];
    } catch {
      return [];
    }
  });
  const anchors: Anchors = { roots, issuing: new Map() };
  anchorsOf.set(bundle, anchors);
  return anchors;
}

function isIssuedBy(certificate: Certificate, issuer: Issuer): boolean {
  if (!sameBytes(certificate.issuer, issuer.certificate.subject)) return false;
  const { tbs: data, signatureAlgorithm: algorithm, signature } = certificate;
  return isSignedBy({ data, algorithm, signature, key: issuer.key });
}
