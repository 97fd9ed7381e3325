// Is this key, or this signature, strong enough? A closed list: what is not on it is refused (T19).
import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { sameBytes } from './certificate.ts';
import { expectTag, readBits, readChildren, readDer, readInteger, readOid, tag } from './der.ts';
import { oid, sequence } from './der-write.ts';
import { fail } from './errors.ts';

const ecPublicKey = '1.2.840.10045.2.1';
const rsaEncryption = '1.2.840.113549.1.1.1';
const ed25519 = '1.3.101.112';
/** Named curves with the length of an uncompressed point. */
const curves: Readonly<Record<string, { readonly name: string; readonly point: number }>> = {
  '1.2.840.10045.3.1.7': { name: 'P-256', point: 65 },
  '1.3.132.0.34': { name: 'P-384', point: 97 },
};

const derNull = Buffer.of(5, 0);
/** Signature algorithms with the digest that node:crypto must be told. */
const algorithms: readonly { readonly der: Uint8Array; readonly digest: string | undefined; readonly key: string }[] = [
  { der: sequence(oid('1.2.840.10045.4.3.2')), digest: 'sha256', key: 'ec' },
  { der: sequence(oid('1.2.840.10045.4.3.3')), digest: 'sha384', key: 'ec' },
  { der: sequence(oid('1.2.840.10045.4.3.4')), digest: 'sha512', key: 'ec' },
  { der: sequence(oid('1.2.840.113549.1.1.11'), derNull), digest: 'sha256', key: 'rsa' },
  { der: sequence(oid('1.2.840.113549.1.1.12'), derNull), digest: 'sha384', key: 'rsa' },
  { der: sequence(oid('1.2.840.113549.1.1.13'), derNull), digest: 'sha512', key: 'rsa' },
  { der: sequence(oid(ed25519)), digest: undefined, key: 'ed25519' },
];

/** Throws `IDENTITY_WEAK` unless the SubjectPublicKeyInfo holds a P-256, P-384, Ed25519 or RSA (2048 to 8192 bits) key. Returns its kind. */
export function assertStrongKey(publicKey: Uint8Array): string {
  const [algorithm, key, ...rest] = readChildren(readDer(publicKey, tag.sequence));
  const [id, parameters] = readChildren(expectTag(algorithm, tag.sequence));
  const kind = readOid(id);
  const bytes = readBits(key);
  if (rest.length > 0) throw weak('the key has unknown parts');
  if (kind === ecPublicKey) {
    const curve = curves[parameters?.tag === tag.oid ? readOid(parameters) : ''];
    if (!curve) throw weak('the curve is neither P-256 nor P-384');
    if (bytes.length !== curve.point || bytes[0] !== 4) throw weak('the point is not a full uncompressed one');
    return curve.name;
  }
  if (kind === ed25519) {
    if (parameters || bytes.length !== 32) throw weak('the Ed25519 key is not 32 bytes');
    return 'Ed25519';
  }
  if (kind === rsaEncryption) return assertStrongRsa(bytes);
  throw weak(`keys of kind ${kind} are not accepted`);
}

/** Throws `IDENTITY_WEAK` unless the AlgorithmIdentifier is ECDSA or RSA with SHA-2, or Ed25519. */
export function assertStrongSignature(algorithm: Uint8Array): void {
  knownAlgorithm(algorithm);
}

export interface Signed {
  readonly data: Uint8Array;
  /** DER of the AlgorithmIdentifier. */
  readonly algorithm: Uint8Array;
  readonly signature: Uint8Array;
}

/** Whether `signature` over `data` was made by this key. Throws `IDENTITY_WEAK` for an unlisted algorithm. */
export function isSignedBy(o: Signed & { readonly key: KeyObject }): boolean {
  const algorithm = knownAlgorithm(o.algorithm);
  if (o.key.asymmetricKeyType !== algorithm.key) return false;
  return verify(algorithm.digest, o.data, o.key, o.signature);
}

/** The same for a key that is used once, from its SubjectPublicKeyInfo; throws `IDENTITY_WEAK` for a weak one, or one off its curve. */
export function isSignedByOneTimeKey(o: Signed & { readonly publicKey: Uint8Array }): boolean {
  const kind = assertStrongKey(o.publicKey);
  const algorithm = knownAlgorithm(o.algorithm);
  if ((kind.startsWith('P-') ? 'ec' : kind.startsWith('RSA') ? 'rsa' : 'ed25519') !== algorithm.key) return false;
  try {
    return verify(algorithm.digest, o.data, { key: asBuffer(o.publicKey), format: 'der', type: 'spki' }, o.signature);
  } catch (cause) {
    throw fail('IDENTITY_WEAK', { reason: 'the key is not a valid one' }, { cause });
  }
}

/** Signs with the algorithm that belongs to the key; give it when it is known, for asking a key is slow. */
export function signWith(
  key: KeyObject,
  data: Uint8Array,
  algorithm: Uint8Array = signatureAlgorithmOf(key),
): { readonly algorithm: Uint8Array; readonly signature: Uint8Array } {
  return { algorithm, signature: sign(knownAlgorithm(algorithm).digest, data, key) };
}

/** The DER AlgorithmIdentifier that `signWith` uses for this key: SHA-256, or SHA-384 on P-384. */
export function signatureAlgorithmOf(key: KeyObject): Uint8Array {
  const digest = key.asymmetricKeyDetails?.namedCurve === 'secp384r1' ? 'sha384' : 'sha256';
  const found = algorithms.find(
    (one) => one.key === key.asymmetricKeyType && (one.digest === undefined || one.digest === digest),
  );
  if (!found) throw weak(`keys of kind ${key.asymmetricKeyType} are not accepted`);
  return found.der;
}

/** The key as node:crypto knows it; throws `IDENTITY_WEAK` for one that is weak or not on its curve. */
export function readPublicKey(publicKey: Uint8Array): KeyObject {
  assertStrongKey(publicKey);
  try {
    return createPublicKey({ key: asBuffer(publicKey), format: 'der', type: 'spki' });
  } catch (cause) {
    throw fail('IDENTITY_WEAK', { reason: 'the key is not a valid one' }, { cause });
  }
}

function assertStrongRsa(key: Uint8Array): string {
  const [modulus, exponent, ...rest] = readChildren(readDer(key, tag.sequence)).map(readInteger);
  if (!modulus || !exponent || rest.length > 0 || modulus[0]! >= 0x80) throw weak('the RSA key is malformed');
  const length = 8 * (modulus.length - 1) + (modulus[0] === 0 ? 0 : 32 - Math.clz32(modulus[0]!));
  if (length < 2_048 || length > 8_192) throw weak(`the RSA key has ${length} bits`);
  const power = exponent.length <= 8 ? exponent.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n) : 0n;
  if (power < 65_537n || power % 2n === 0n) throw weak('the RSA exponent is small, even or huge');
  return `RSA-${length}`;
}

function knownAlgorithm(der: Uint8Array) {
  const found = algorithms.find((one) => sameBytes(one.der, der));
  if (!found) throw weak('the signature is not ECDSA or RSA with SHA-2, nor Ed25519');
  return found;
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function weak(reason: string) {
  return fail('IDENTITY_WEAK', { reason });
}
