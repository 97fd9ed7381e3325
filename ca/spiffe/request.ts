// How a new key asks for a certificate: a PKCS#10 request (RFC 2986) that claims nothing and proves possession of the key.
import type { KeyObject } from 'node:crypto';
import { bits, der, sequence, smallInteger } from './der-write.ts';
import { signWith } from './strength.ts';

/** DER of a request with an empty subject and no attributes, signed by the key. */
export function createCsr(key: { readonly privateKey: KeyObject; readonly publicKey: KeyObject }): Uint8Array {
  const info = sequence(smallInteger(0), sequence(), key.publicKey.export({ format: 'der', type: 'spki' }), der(0xa0));
  const { algorithm, signature } = signWith(key.privateKey, info);
  return sequence(info, algorithm, bits(signature));
}
