// Which keys may vouch for tokens, and with which one algorithm each: fixed by the key, never taken from a token. Secrets, private keys, weak keys and
// algorithms of another family are refused when they are loaded.
import { createPublicKey, type KeyObject } from 'node:crypto';

export interface TokenKey {
  readonly kid: string | undefined;
  /** JWS name (RFC 7518, RFC 8037). */
  readonly alg: string;
  readonly key: KeyObject;
}

const families: Readonly<Record<string, readonly string[]>> = {
  RSA: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  'EC P-256': ['ES256'],
  'EC P-384': ['ES384'],
  'EC P-521': ['ES512'],
  'OKP Ed25519': ['EdDSA', 'Ed25519'],
};

/** The key, or (as a string) why it may not vouch for anything. */
export function readTokenKey(jwk: Readonly<Record<string, unknown>>): TokenKey | string {
  const { kty, crv, alg, kid, use, key_ops: operations } = jwk;
  if (kty === 'oct') return 'it is a shared secret; give the public key of an asymmetric pair';
  const family = crv === undefined ? String(kty) : `${String(kty)} ${String(crv)}`;
  const algorithms = Object.hasOwn(families, family) ? families[family]! : undefined;
  if (!algorithms)
    return `keys of kind ${family.slice(0, 40)} are not taken; use RSA, EC P-256, P-384, P-521 or Ed25519`;
  if (['d', 'p', 'q', 'k'].some((part) => jwk[part] !== undefined))
    return 'it holds a private key; give the public one only';
  if (alg !== undefined && !algorithms.includes(String(alg)))
    return `alg ${String(alg).slice(0, 40)} is not for keys of kind ${family}`;
  if (use !== undefined && use !== 'sig') return 'its use is not sig';
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify')))
    return 'its key_ops lack verify';
  if (kid !== undefined && typeof kid !== 'string') return 'its kid is not text';
  try {
    const key = createPublicKey({ key: jwk as never, format: 'jwk' });
    const bits = key.asymmetricKeyDetails?.modulusLength;
    if (bits !== undefined && bits < 2_048) return `it has ${bits} bits; at least 2048 are needed`;
    return { kid, alg: alg === undefined ? algorithms[0]! : String(alg), key };
  } catch {
    return 'it is not a valid key';
  }
}
