// Whose token is this, and what does it claim? Checked in full or refused: a token that is present but bad is never taken for one that is missing.
// jose is loaded with the first token, since most proxies never see one. The only importer of jose here.
import type { PolicySet } from '#wire';
import { readTokenKey, type TokenKey } from './jwks.ts';

/** The values of a claim by its name, or by its path with dots; none when it is absent. */
export type Claims = (name: string) => readonly string[];

export interface TokenVerifier {
  /** `headers`: all values of Authorization. `refused` for anything but a good token or none. Never throws. */
  read(authorization: readonly string[], now: number): Promise<Claims | 'missing' | 'refused'>;
}

interface Issuer {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly keys: readonly TokenKey[];
}

interface Kept {
  readonly claims: Claims;
  /** Epoch milliseconds. */
  readonly notAfter: number;
}

const longestToken = 16_384;
const mostKept = 1_024;

/** The issuers were checked with the set. */
export function createTokenVerifier(given: NonNullable<PolicySet['issuers']>): TokenVerifier {
  const issuers = new Map(
    given.map(({ issuer, audiences, keys }): [string, Issuer] => [
      issuer,
      { issuer, audiences, keys: keys.map(keyOf) },
    ]),
  );
  const kept = new Map<string, Kept>();
  return {
    async read(authorization, now) {
      if (!authorization.some((value) => /bearer/i.test(value))) return 'missing';
      const token = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(authorization[0]!)?.[1];
      if (authorization.length !== 1 || token === undefined || token.length > longestToken) return 'refused';
      const before = kept.get(token);
      if (before) return before.notAfter > now ? before.claims : 'refused';
      try {
        const verified = await verify(token, issuers, now);
        if (kept.size >= mostKept) kept.clear();
        kept.set(token, verified);
        return verified.claims;
      } catch {
        return 'refused';
      }
    },
  };
}

/** Throws for whatever is wrong with it. */
async function verify(token: string, issuers: ReadonlyMap<string, Issuer>, now: number): Promise<Kept> {
  const { decodeJwt, jwtVerify } = await import('jose');
  // Read before it is believed, to know whose keys to try; then checked by them.
  const trusted = issuers.get(String(decodeJwt(token).iss));
  if (!trusted) throw new TypeError('its issuer is not known');
  const { payload } = await jwtVerify(
    token,
    ({ alg, kid }) => {
      const fitting = trusted.keys.filter((key) => key.alg === alg && (kid === undefined || key.kid === kid));
      if (fitting.length !== 1) throw new TypeError('no one key is meant');
      return fitting[0]!.key;
    },
    {
      algorithms: [...new Set(trusted.keys.map((key) => key.alg))],
      issuer: trusted.issuer,
      audience: [...trusted.audiences],
      requiredClaims: ['exp', 'aud', 'iss'],
      currentDate: new Date(now),
      clockTolerance: 0,
    },
  );
  return { claims: (name) => valuesOf(payload, name), notAfter: payload.exp! * 1_000 };
}

/** Text, numbers and booleans as text; of a list each of them; anything else has no value to compare. */
export function valuesOf(payload: Readonly<Record<string, unknown>>, name: string): readonly string[] {
  let value: unknown;
  if (Object.hasOwn(payload, name)) value = payload[name];
  else {
    value = payload;
    for (const step of name.split('.')) {
      const isMap = typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, step);
      value = isMap ? (value as Record<string, unknown>)[step] : undefined;
    }
  }
  return [value].flat().flatMap((one) => (['string', 'number', 'boolean'].includes(typeof one) ? [String(one)] : []));
}

function keyOf(jwk: Readonly<Record<string, unknown>>): TokenKey {
  const key = readTokenKey(jwk);
  if (typeof key === 'string') throw new TypeError(key);
  return key;
}
