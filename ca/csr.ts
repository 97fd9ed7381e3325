// Does whoever sent this hold the key? A strict PKCS#10 reader (RFC 2986): proof of possession and a strong key are all it looks for;
// names, lifetimes and extensions that a request claims are never read into a certificate (C4).

import { isPosternError, messageOf } from '#base/error';
import type { DerValue } from '#spiffe';
import {
  assertWellFormed,
  expectTag,
  extensionId,
  isSignedByOneTimeKey,
  readBits,
  readChildren,
  readDer,
  readExtensions,
  readKeyPurposes,
  readOid,
  readSmallInteger,
} from '#spiffe';
import { fail } from './errors.ts';

/** A request larger than this is refused unread. */
const largestCsr = 12_288;

/** P-256 keys that everybody knows, by their coordinates: RFC 7515 A.3, RFC 7517 A.1, RFC 9421 B.1.3, RFC 9500 section 2.3. */
const knownToAll: ReadonlySet<string> = new Set(
  [
    ['f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU', 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0'],
    ['MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4', '4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM'],
    ['qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA', 'Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0'],
    ['QiVI-I-3gv-17KN0RFLHKh5Vj71vc75eSOkyMsxFxbE', 'bEzRDEy41bihcTnpSILImSVymTQl9BQZq36QpCpJQnI'],
  ].map(
    ([x = '', y = '']) => Buffer.from(x, 'base64url').toString('hex') + Buffer.from(y, 'base64url').toString('hex'),
  ),
);

/** The SubjectPublicKeyInfo of a request; throws `CSR_INVALID` or `KEY_WEAK`. On return the sender proved that it holds the key. */
export function readCsr(csr: Uint8Array): Uint8Array {
  if (csr.length > largestCsr) throw fail('CSR_INVALID', { reason: `it is larger than ${largestCsr} bytes` });
  try {
    return readRequest(csr);
  } catch (thrown) {
    if (isPosternError(thrown, 'IDENTITY_WEAK'))
      throw fail('KEY_WEAK', { reason: thrown.details.reason }, { cause: thrown });
    if (isPosternError(thrown, 'IDENTITY_MALFORMED'))
      throw fail('CSR_INVALID', { reason: messageOf(thrown) }, { cause: thrown });
    throw thrown;
  }
}

function readRequest(csr: Uint8Array): Uint8Array {
  const root = readDer(csr, 0x30);
  assertWellFormed(root);
  const [info, algorithm, signature, ...rest] = readChildren(root);
  const [version, subject, publicKey, attributes, ...more] = readChildren(expectTag(info, 0x30));
  if (rest.length > 0 || more.length > 0) throw fail('CSR_INVALID', { reason: 'it has unknown parts' });
  if (readSmallInteger(version) !== 0) throw fail('CSR_INVALID', { reason: 'it is not version 1' });
  expectTag(subject, 0x30);
  if (attributes) assertAttributes(expectTag(attributes, 0xa0));
  const keyBytes = expectTag(publicKey, 0x30).bytes;
  if (knownToAll.has(Buffer.from(keyBytes.subarray(-64)).toString('hex')))
    throw fail('KEY_WEAK', { reason: 'it is a published test key' });
  const signed = { data: info!.bytes, algorithm: expectTag(algorithm, 0x30).bytes, signature: readBits(signature) };
  if (!isSignedByOneTimeKey({ ...signed, publicKey: keyBytes }))
    throw fail('CSR_INVALID', { reason: 'it is not signed by the key that it holds' });
  return keyBytes;
}

/** What a request asks for is ignored, but it must be well formed: a sender of nonsense gets nothing (C7). */
function assertAttributes(attributes: DerValue): void {
  for (const attribute of readChildren(attributes, 16)) {
    const [type, values, ...rest] = readChildren(expectTag(attribute, 0x30));
    if (rest.length > 0) throw fail('CSR_INVALID', { reason: 'an attribute has unknown parts' });
    const isExtensionRequest = readOid(type) === '1.2.840.113549.1.9.14';
    for (const value of readChildren(expectTag(values, 0x31), 16)) {
      if (!isExtensionRequest) continue;
      const usage = readExtensions(value).get(extensionId.extendedKeyUsage);
      if (usage) readKeyPurposes(usage.value);
    }
  }
}
