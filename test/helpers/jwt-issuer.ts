// Somebody outside who vouches for end users, as a test needs one: the resource that declares it, and tokens of its key or of another.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { SignJWT } from 'jose';

export interface TestIssuer {
  /** The `JwtIssuer` as YAML, without separators. */
  readonly resource: string;
  /** A token that is good until 2096 unless the claims say otherwise. */
  token(claims: object, key?: KeyObject): Promise<string>;
}

export function createTestIssuer(audience: string): TestIssuer {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const iss = 'https://id.example';
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'one' };
  return {
    resource: `kind: JwtIssuer\nname: id\nissuer: ${iss}\naudiences: [${audience}]\njwks: { keys: [${JSON.stringify(jwk)}] }`,
    token: (claims, key = privateKey) =>
      new SignJWT({ iss, aud: audience, exp: 4_000_000_000, ...claims })
        .setProtectedHeader({ alg: 'EdDSA', kid: 'one' })
        .sign(key),
  };
}
