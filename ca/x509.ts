// What do our CA certificates look like? Roots and issuing CAs, built with @peculiar/x509 (this file is its only importer outside of tests)
// and checked again by our own reader before anybody sees them. Loaded only when a CA certificate is made.
import 'reflect-metadata';
import { createPublicKey, type KeyObject, randomBytes } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { assertSigning, type Certificate, isSignedBy, readCertificate } from '#spiffe';
import { fail } from './errors.ts';

export interface CaRequest {
  readonly trustDomain: string;
  /** The new CA's own key pair, as its private half. */
  readonly key: KeyObject;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A self-signed root that allows one CA below it. */
export async function createRoot(o: CaRequest): Promise<Certificate> {
  return build({ ...o, title: 'Root CA', pathLength: 1, signer: o.key });
}

/** An issuing CA under a root; its subject and key id are its own, so that no two are ever confused. */
export async function createIssuing(
  o: CaRequest & { readonly root: Certificate; readonly rootKey: KeyObject },
): Promise<Certificate> {
  return build({ ...o, title: 'Issuing CA', pathLength: 0, signer: o.rootKey, issuer: o.root });
}

async function build(
  o: CaRequest & { title: string; pathLength: number; signer: KeyObject; issuer?: Certificate },
): Promise<Certificate> {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  const serialNumber = serial.toString('hex');
  const subject = [{ O: [o.trustDomain.slice(0, 64)] }, { CN: [`Postern ${o.title} ${serialNumber.slice(0, 16)}`] }];
  const publicKey = await webPublicKey(createPublicKey(o.key));
  const above = o.issuer && new X509Certificate(Uint8Array.from(o.issuer.der));
  const extensions: Extension[] = [
    new BasicConstraintsExtension(true, o.pathLength, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    await SubjectKeyIdentifierExtension.create(publicKey),
    new SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${o.trustDomain}` }]),
  ];
  if (above) {
    const keyId = above.getExtension(SubjectKeyIdentifierExtension)?.keyId;
    if (!keyId) throw fail('CA_ROOT_REFUSED', { reason: 'it has no subject key identifier' });
    extensions.push(new AuthorityKeyIdentifierExtension(keyId));
  }
  const made = await X509CertificateGenerator.create({
    serialNumber,
    subject,
    // The Name itself: written anew it could come out in another string type, and then no longer be the issuer's.
    issuer: above ? above.subjectName : subject,
    notBefore: wholeSecond(o.notBefore),
    notAfter: wholeSecond(o.notAfter),
    publicKey,
    signingKey: await webSigningKey(o.signer),
    signingAlgorithm: signingAlgorithm(o.signer),
    extensions,
  });
  return assertMade(new Uint8Array(made.rawData), o);
}

/** Reads the new certificate with our own reader and compares it with what was asked for. */
function assertMade(made: Uint8Array, o: CaRequest & { signer: KeyObject; issuer?: Certificate }): Certificate {
  const wrong = (reason: string) => fail('CA_CERTIFICATE_WRONG', { reason });
  const certificate = readCertificate(made);
  assertSigning(certificate, o.trustDomain);
  const { tbs: data, signatureAlgorithm: algorithm, signature } = certificate;
  if (!isSignedBy({ data, algorithm, signature, key: createPublicKey(o.signer) })) throw wrong('its signature');
  if (Buffer.compare(certificate.issuer, o.issuer?.subject ?? certificate.subject) !== 0) throw wrong('its issuer');
  const times = [wholeSecond(o.notBefore).getTime(), wholeSecond(o.notAfter).getTime()];
  if (certificate.notBefore !== times[0] || certificate.notAfter !== times[1]) throw wrong('its times');
  return certificate;
}

function wholeSecond(ms: number): Date {
  return new Date(Math.floor(ms / 1_000) * 1_000);
}

function keyAlgorithm(key: KeyObject) {
  if (key.asymmetricKeyType === 'rsa') return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  if (key.asymmetricKeyType === 'ed25519') return { name: 'Ed25519' };
  return { name: 'ECDSA', namedCurve: key.asymmetricKeyDetails?.namedCurve === 'secp384r1' ? 'P-384' : 'P-256' };
}

function signingAlgorithm(key: KeyObject) {
  const { name, namedCurve } = keyAlgorithm(key) as { name: string; namedCurve?: string };
  return { name, hash: namedCurve === 'P-384' ? 'SHA-384' : 'SHA-256' };
}

async function webPublicKey(key: KeyObject): Promise<CryptoKey> {
  return key.toCryptoKey(keyAlgorithm(key) as never, true, ['verify']) as unknown as CryptoKey;
}

async function webSigningKey(key: KeyObject): Promise<CryptoKey> {
  return key.toCryptoKey(keyAlgorithm(key) as never, false, ['sign']) as unknown as CryptoKey;
}
