// What is written in this certificate? The fields of RFC 5280 section 4.1 straight from the DER, with nothing decided about them.

import type { DerValue } from './der.ts';
import {
  expectTag,
  malformed,
  readBits,
  readBoolean,
  readChildren,
  readDer,
  readInteger,
  readOid,
  readTime,
  tag,
} from './der.ts';

export interface Extension {
  readonly critical: boolean;
  /** The DER inside the OCTET STRING. */
  readonly value: Uint8Array;
}

export interface Certificate {
  readonly der: Uint8Array;
  /** The signed part. */
  readonly tbs: Uint8Array;
  /** Lower-case hex without leading zero bytes. */
  readonly serial: string;
  /** DER of the Names, compared byte for byte. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly hasSubject: boolean;
  readonly notBefore: number;
  readonly notAfter: number;
  /** DER of the SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  /** DER of the AlgorithmIdentifier, the same inside and outside of the signed part. */
  readonly signatureAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
  /** By dotted object identifier. */
  readonly extensions: ReadonlyMap<string, Extension>;
}

export const extensionId = {
  subjectKey: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKey: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

/** Bits of the key usage extension, as `readNamedBits` numbers them. */
export const keyUsageBit = {
  digitalSignature: 0x8000,
  keyEncipherment: 0x2000,
  keyAgreement: 0x0800,
  keyCertSign: 0x0400,
  cRLSign: 0x0200,
} as const;

/** Larger certificates are refused unread. */
const largestCertificate = 16_384;

/** Reads one certificate; throws `IDENTITY_MALFORMED`. Only version 3 without unique identifiers is read. */
export function readCertificate(bytes: Uint8Array): Certificate {
  if (bytes.length > largestCertificate) throw malformed(`it is larger than ${largestCertificate} bytes`);
  const [tbs, algorithm, signature, ...rest] = readChildren(readDer(bytes, tag.sequence));
  if (rest.length > 0) throw malformed('a certificate has three parts');
  const [version, serial, innerAlgorithm, issuer, validity, subject, publicKey, extensions, ...more] = readChildren(
    expectTag(tbs, tag.sequence),
  );
  if (more.length > 0) throw malformed('unknown fields follow the extensions');
  const [number, ...others] = readChildren(expectTag(version, 0xa0));
  if (others.length > 0 || readInteger(number)[0] !== 2) throw malformed('it is not version 3');
  const signatureAlgorithm = expectTag(algorithm, tag.sequence).bytes;
  if (!sameBytes(signatureAlgorithm, expectTag(innerAlgorithm, tag.sequence).bytes))
    throw malformed('the signature algorithm differs inside and outside of the signed part');
  const [notBefore, notAfter, ...times] = readChildren(expectTag(validity, tag.sequence));
  if (times.length > 0) throw malformed('the validity has two times');
  const name = expectTag(subject, tag.sequence);
  return {
    der: bytes,
    tbs: tbs!.bytes,
    serial: readSerial(serial),
    issuer: expectTag(issuer, tag.sequence).bytes,
    subject: name.bytes,
    hasSubject: name.content.length > 0,
    notBefore: readTime(notBefore),
    notAfter: readTime(notAfter),
    publicKey: expectTag(publicKey, tag.sequence).bytes,
    signatureAlgorithm,
    signature: readBits(signature),
    extensions: extensions ? readExtensions(onlyChild(expectTag(extensions, 0xa3))) : new Map(),
  };
}

/** Extensions ::= SEQUENCE OF Extension, each once (RFC 5280 section 4.2). */
export function readExtensions(list: DerValue): ReadonlyMap<string, Extension> {
  const found = new Map<string, Extension>();
  const all = readChildren(expectTag(list, tag.sequence), 64);
  if (all.length === 0) throw malformed('the list of extensions is empty');
  for (const extension of all) {
    const parts = readChildren(expectTag(extension, tag.sequence));
    const id = readOid(parts[0]);
    const critical = parts.length === 3 && readBoolean(parts[1]);
    if (parts.length < 2 || parts.length > 3 || (parts.length === 3 && !critical))
      throw malformed(`extension ${id} is not DER`);
    if (found.has(id)) throw malformed(`extension ${id} appears twice`);
    found.set(id, { critical, value: expectTag(parts.at(-1), tag.octetString).content });
  }
  return found;
}

/** The purposes of an extended key usage extension; an empty list is malformed (RFC 5280 section 4.2.1.12). */
export function readKeyPurposes(value: Uint8Array): string[] {
  const purposes = readChildren(readDer(value, tag.sequence), 64).map(readOid);
  if (purposes.length === 0) throw malformed('the extended key usage is empty');
  return purposes;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function onlyChild(parent: DerValue): DerValue {
  const [child, ...rest] = readChildren(parent);
  if (!child || rest.length > 0) throw malformed('one value belongs here');
  return child;
}

/** Not negative, at most 20 bytes (RFC 5280 section 4.1.2.2). */
function readSerial(value: DerValue | undefined): string {
  const content = readInteger(value);
  if (content[0]! >= 0x80) throw malformed('the serial is negative');
  if (content.length > 20) throw malformed('the serial is longer than 20 bytes');
  const hex = Buffer.from(content).toString('hex');
  return hex.length > 2 && hex.startsWith('00') ? hex.slice(2) : hex;
}
