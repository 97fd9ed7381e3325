// Whose identity is this leaf certificate? Every leaf rule of X509-SVID.md against the DER itself, because TLS checks few of them.
// It never looks at text renderings of a certificate, and never asks who signed it: that is chain.ts.
import { type Certificate, extensionId, keyUsageBit, readCertificate, readKeyPurposes } from './certificate.ts';
import {
  type DerValue,
  malformed,
  readBoolean,
  readChildren,
  readDer,
  readNamedBits,
  readSmallInteger,
  tag,
} from './der.ts';
import { fail } from './errors.ts';
import { parseSpiffeId, type SpiffeId } from './id.ts';
import { assertStrongKey, assertStrongSignature } from './strength.ts';

/** What a leaf says, after it was found to follow every rule. Times are epoch milliseconds; the serial is lower-case hex. */
export interface Svid {
  readonly id: SpiffeId;
  readonly serial: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

const uriName = 0x86;
/** GeneralName choices of RFC 5280 section 4.2.1.6. */
const nameKinds: ReadonlySet<number> = new Set([0xa0, 0x81, 0x82, 0xa3, 0xa4, 0xa5, uriName, 0x87, 0x88]);
const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';
const understood: ReadonlySet<string> = new Set([
  extensionId.keyUsage,
  extensionId.extendedKeyUsage,
  extensionId.subjectAltName,
  extensionId.basicConstraints,
]);
const allowedUsage = keyUsageBit.digitalSignature | keyUsageBit.keyEncipherment | keyUsageBit.keyAgreement;

/** Reads a leaf X509-SVID; throws `IDENTITY_*` with the rule that it breaks. Says nothing about trust or time. */
export function readSvid(leafDer: Uint8Array): Svid {
  return svidOf(readCertificate(leafDer));
}

/** `readSvid` for a certificate that is already read. */
export function svidOf(certificate: Certificate): Svid {
  assertUnderstood(certificate, understood);
  assertStrongSignature(certificate.signatureAlgorithm);
  assertStrongKey(certificate.publicKey);
  if (constraintsOf(certificate).ca) throw fail('IDENTITY_NOT_LEAF', { reason: 'it is a CA certificate' });
  assertLeafUsage(certificate);
  assertPurposes(certificate);
  const san = certificate.extensions.get(extensionId.subjectAltName);
  if (!san) throw fail('IDENTITY_SAN_INVALID', { reason: 'it has no subject alternative name' });
  if (!certificate.hasSubject && !san.critical)
    throw fail('IDENTITY_SAN_INVALID', { reason: 'the subject is empty but the alternative name is not critical' });
  const { serial, notBefore, notAfter } = certificate;
  if (notAfter < notBefore) throw malformed('the validity ends before it begins');
  const [uri, ...more] = uriNames(san.value);
  if (uri === undefined || more.length > 0)
    throw fail('IDENTITY_SAN_INVALID', { reason: `it has ${more.length + (uri === undefined ? 0 : 1)} URI names` });
  return { id: parseSpiffeId(uri), serial, notBefore, notAfter };
}

/** The URI names of a subject alternative name extension, each byte one character. */
export function uriNames(value: Uint8Array): string[] {
  const names: DerValue[] = readChildren(readDer(value, tag.sequence), 128);
  if (names.length === 0) throw malformed('the subject alternative name is empty');
  for (const name of names) if (!nameKinds.has(name.tag)) throw malformed('a subject alternative name of unknown kind');
  return names.filter((name) => name.tag === uriName).map((name) => Buffer.from(name.content).toString('latin1'));
}

/** Throws `IDENTITY_EXTENSION_UNKNOWN` for a critical extension that is not in the set (RFC 5280 section 4.2). */
export function assertUnderstood(certificate: Certificate, known: ReadonlySet<string>): void {
  for (const [oid, { critical }] of certificate.extensions)
    if (critical && !known.has(oid)) throw fail('IDENTITY_EXTENSION_UNKNOWN', { oid });
}

/** Basic constraints; absent means that the certificate is no CA. */
export function constraintsOf(certificate: Certificate): { ca: boolean; pathLength?: number; critical: boolean } {
  const extension = certificate.extensions.get(extensionId.basicConstraints);
  if (!extension) return { ca: false, critical: false };
  const [first, second, ...rest] = readChildren(readDer(extension.value, tag.sequence));
  const { critical } = extension;
  if (!first) return { ca: false, critical };
  if (!readBoolean(first) || rest.length > 0) throw malformed('the basic constraints are not DER');
  return second ? { ca: true, pathLength: readSmallInteger(second), critical } : { ca: true, critical };
}

/** The bits of the key usage extension; `undefined` when it is absent. */
export function keyUsageOf(certificate: Certificate): { bits: number; critical: boolean } | undefined {
  const extension = certificate.extensions.get(extensionId.keyUsage);
  return extension && { bits: readNamedBits(readDer(extension.value)), critical: extension.critical };
}

/** */
function assertLeafUsage(certificate: Certificate): void {
  const usage = keyUsageOf(certificate);
  if (!usage?.critical) throw fail('IDENTITY_USAGE_INVALID', { reason: 'key usage is absent or not critical' });
  if (usage.bits & (keyUsageBit.keyCertSign | keyUsageBit.cRLSign))
    throw fail('IDENTITY_NOT_LEAF', { reason: 'its key may sign certificates or revocation lists' });
  if (!(usage.bits & keyUsageBit.digitalSignature))
    throw fail('IDENTITY_USAGE_INVALID', { reason: 'key usage lacks digitalSignature' });
  if (usage.bits & ~allowedUsage)
    throw fail('IDENTITY_USAGE_INVALID', { reason: 'key usage allows more than a TLS identity needs' });
}

/** X-11; absent is refused too, since our CA always writes both (T14). */
function assertPurposes(certificate: Certificate): void {
  const extension = certificate.extensions.get(extensionId.extendedKeyUsage);
  if (!extension) throw fail('IDENTITY_USAGE_INVALID', { reason: 'extended key usage is absent' });
  const purposes = readKeyPurposes(extension.value);
  if (!purposes.includes(serverAuth) || !purposes.includes(clientAuth))
    throw fail('IDENTITY_USAGE_INVALID', { reason: 'extended key usage lacks server or client authentication' });
}
