// Can somebody else's root be ours? Checks of a brought root: a CA certificate that signed itself, with keyCertSign, a strong key that is the
// given one, still alive, and with room for one CA below it.
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { messageOf } from '#base/error';
import { assertSigning, type Certificate, extensionId, isSignedBy, readCertificate } from '#spiffe';
import { fail } from './errors.ts';
import { parseKey } from './keys.ts';

export interface OwnRoot {
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly passphrase?: Buffer | undefined;
}

/** The root and its key; throws `CA_ROOT_REFUSED` with the reason, or `CA_PASSPHRASE_*`. */
export function readOwnRoot(o: OwnRoot & { readonly trustDomain: string; readonly now: number }): {
  readonly certificate: Certificate;
  readonly key: KeyObject;
} {
  const key = parseKey({ pem: o.keyPem, path: "the root's key", passphrase: o.passphrase });
  const certificate = readRoot(o.certificatePem, o.trustDomain);
  const { tbs: data, signatureAlgorithm: algorithm, signature } = certificate;
  const publicKey = createPublicKey(key);
  if (Buffer.compare(publicKey.export({ format: 'der', type: 'spki' }), certificate.publicKey) !== 0)
    refuse('the key is not the one in the certificate');
  if (Buffer.compare(certificate.issuer, certificate.subject) !== 0) refuse('it was issued by another CA');
  if (!isSignedBy({ data, algorithm, signature, key: publicKey })) refuse('it did not sign itself');
  if (!certificate.extensions.has(extensionId.subjectKey)) refuse('it has no subject key identifier');
  if (o.now < certificate.notBefore) refuse('it is not valid yet');
  if (o.now >= certificate.notAfter) refuse('it has expired');
  return { certificate, key };
}

function readRoot(pem: string, trustDomain: string): Certificate {
  try {
    const certificate = readCertificate(new X509Certificate(pem).raw);
    if (assertSigning(certificate, trustDomain).pathLength < 1) refuse('its path length allows no CA below it');
    return certificate;
  } catch (cause) {
    throw fail('CA_ROOT_REFUSED', { reason: messageOf(cause) }, { cause });
  }
}

function refuse(reason: string): never {
  throw fail('CA_ROOT_REFUSED', { reason });
}
