// Is the leaf that was just made exactly what was decided? The independent check before anything leaves the CA: another reader, the issuer's
// public key, and a comparison with the decision. A signer that went wrong (C20) stops here.

import { createPublicKey, type KeyObject } from 'node:crypto';
import type { Certificate, Svid } from '#spiffe';
import { isSignedBy, readCertificate, svidOf } from '#spiffe';
import { fail } from './errors.ts';
import type { LeafContent, Signer } from './profile.ts';

const publicKeys = new WeakMap<Certificate, KeyObject>();

/** Throws `CA_CERTIFICATE_WRONG` (or `IDENTITY_*`) unless the DER is the leaf that `decided` describes, signed by this signer. */
export function assertReleasable(o: {
  readonly leaf: Uint8Array;
  readonly signer: Signer;
  readonly decided: LeafContent;
}): Svid {
  const { signer, decided } = o;
  const certificate = readCertificate(o.leaf);
  const svid = svidOf(certificate);
  const { tbs: data, signatureAlgorithm: algorithm, signature } = certificate;
  const wrong = (reason: string) => fail('CA_CERTIFICATE_WRONG', { reason });
  if (svid.id.uri !== decided.id.uri) throw wrong('its SPIFFE ID');
  if (svid.serial !== Buffer.from(decided.serial).toString('hex')) throw wrong('its serial');
  if (svid.notBefore !== decided.notBefore || svid.notAfter !== decided.notAfter) throw wrong('its times');
  if (svid.notBefore < signer.certificate.notBefore || svid.notAfter > signer.certificate.notAfter)
    throw wrong("it is not within its issuer's life");
  if (Buffer.compare(certificate.publicKey, decided.publicKey) !== 0) throw wrong('its key');
  if (Buffer.compare(certificate.issuer, signer.certificate.subject) !== 0) throw wrong('its issuer');
  if (!isSignedBy({ data, algorithm, signature, key: issuerKey(signer) })) throw wrong('its signature');
  return svid;
}

/** From the issuing certificate, not from the private key: that is the key that peers will check with. */
function issuerKey({ certificate }: Signer): KeyObject {
  const known = publicKeys.get(certificate);
  if (known) return known;
  const key = createPublicKey({ key: Buffer.from(certificate.publicKey), format: 'der', type: 'spki' });
  publicKeys.set(certificate, key);
  return key;
}
