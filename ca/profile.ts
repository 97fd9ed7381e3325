// What does a leaf SVID of ours look like? One fixed profile, written straight to DER: nothing a requester said can get into it.
// ECDSA or whatever the issuing CA's key is, empty subject, critical SAN with exactly one URI, key usage digitalSignature, EKU server and client.
import { hash, type KeyObject } from 'node:crypto';
import { isIPv4 } from 'node:net';
import {
  bits,
  type Certificate,
  der,
  extensionId,
  octets,
  oid,
  readChildren,
  readDer,
  type SpiffeId,
  sequence,
  signatureAlgorithmOf,
  signWith,
  smallInteger,
  time,
  unsignedInteger,
} from '#spiffe';
import { fail } from './errors.ts';

/** An issuing CA ready to sign: its certificate, its key, and the parts that are the same in every leaf. */
export interface Signer {
  readonly certificate: Certificate;
  readonly fingerprint: string;
  readonly key: KeyObject;
  readonly algorithm: Uint8Array;
  readonly authorityKey: Uint8Array;
}

export interface LeafContent {
  readonly id: SpiffeId;
  /** 16 bytes. */
  readonly serial: Uint8Array;
  /** DER of the SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  /** Epoch milliseconds, whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly dns?: readonly string[];
  readonly ip?: readonly string[];
}

const yes = Buffer.of(0x01, 0x01, 0xff);
const version3 = der(0xa0, smallInteger(2));
const noSubject = sequence();
const basicConstraints = extension(extensionId.basicConstraints, sequence(), true);
const keyUsage = extension(extensionId.keyUsage, der(0x03, Buffer.of(7, 0x80)), true);
const purposes = extension(
  extensionId.extendedKeyUsage,
  sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2')),
  false,
);
/** What every leaf has, in one piece. */
const fixed = Buffer.concat([keyUsage, purposes, basicConstraints]);
const subjectAltName = Buffer.concat([oid(extensionId.subjectAltName), yes]);
const subjectKey = oid(extensionId.subjectKey);

/** Prepares an issuing CA for signing; throws `CA_CERTIFICATE_WRONG` when it has no subject key identifier. */
export function createSigner(o: {
  readonly certificate: Certificate;
  readonly fingerprint: string;
  readonly key: KeyObject;
}): Signer {
  const keyId = o.certificate.extensions.get(extensionId.subjectKey);
  if (!keyId) throw fail('CA_CERTIFICATE_WRONG', { reason: 'the issuing CA has no subject key identifier' });
  const authorityKey = extension(
    extensionId.authorityKey,
    sequence(der(0x80, readDer(keyId.value, 0x04).content)),
    false,
  );
  return { ...o, algorithm: signatureAlgorithmOf(o.key), authorityKey };
}

/** The signed certificate's DER. */
export function signLeaf(signer: Signer, leaf: LeafContent): Buffer {
  const tbs = sequence(
    version3,
    unsignedInteger(leaf.serial),
    signer.algorithm,
    signer.certificate.subject,
    sequence(time(leaf.notBefore), time(leaf.notAfter)),
    noSubject,
    leaf.publicKey,
    der(
      0xa3,
      sequence(
        fixed,
        sequence(subjectKey, octets(octets(keyIdOf(leaf.publicKey)))),
        signer.authorityKey,
        sequence(subjectAltName, octets(names(leaf))),
      ),
    ),
  );
  return sequence(tbs, signer.algorithm, bits(signWith(signer.key, tbs, signer.algorithm).signature));
}

/** RFC 7093 method 1: the leftmost 160 bits of SHA-256 over the key's bits. */
function keyIdOf(publicKey: Uint8Array): Buffer {
  const key = readChildren(readDer(publicKey))[1]!.content.subarray(1);
  return hash('sha256', key, 'buffer').subarray(0, 20);
}

function names(leaf: LeafContent): Buffer {
  return sequence(
    der(0x86, Buffer.from(leaf.id.uri, 'latin1')),
    ...(leaf.dns ?? []).map((name) => der(0x82, Buffer.from(name, 'latin1'))),
    ...(leaf.ip ?? []).map((address) => der(0x87, addressBytes(address))),
  );
}

function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  const before = groups(head);
  const after = groups(tail ?? '');
  const all = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 255]));
}

function extension(id: string, value: Uint8Array, critical: boolean): Buffer {
  return critical ? sequence(oid(id), yes, octets(value)) : sequence(oid(id), octets(value));
}
