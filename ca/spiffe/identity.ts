// What this process is: a private key with the certificate chain that names it. A pair that does not belong together is never made.
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readCertificate, sameBytes } from './certificate.ts';
import { longestChain } from './chain.ts';
import { fail } from './errors.ts';
import type { SpiffeId } from './id.ts';
import { svidOf } from './svid.ts';

export interface Identity {
  readonly id: SpiffeId;
  readonly key: KeyObject;
  /** DER, leaf first, no root. */
  readonly chain: readonly Uint8Array[];
  /** Lower-case hex. */
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Puts a key and its chain together; throws `IDENTITY_*` when the leaf breaks a rule or the key is another one. */
export function readIdentity(o: { readonly key: KeyObject; readonly chain: readonly Uint8Array[] }): Identity {
  const [leaf] = o.chain;
  if (!leaf || o.chain.length > longestChain)
    throw fail('IDENTITY_CHAIN_INVALID', { reason: `it has ${o.chain.length} certificates` });
  const certificate = readCertificate(leaf);
  const svid = svidOf(certificate);
  if (!sameBytes(createPublicKey(o.key).export({ format: 'der', type: 'spki' }), certificate.publicKey))
    throw fail('IDENTITY_KEY_MISMATCH', { id: svid.id.uri });
  return { ...svid, key: o.key, chain: o.chain };
}

/** A new ECDSA P-256 key pair, the kind that every SVID of ours has. */
export function createKeyPair(): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}
