// May this stranger enrol, and as what? Join tokens: ES256 JWTs (RFC 7519) whose signing key is a file of the home; the database knows only
// their ids and whether they were used. jose is loaded with the first token.
import { createPublicKey, type KeyObject, randomBytes } from 'node:crypto';
import type { Database } from '#base/database';
import { messageOf } from '#base/error';
import { check } from '#base/schema';
import type { SpiffeId, TrustBundle } from '#spiffe';
import { type JoinTokenClaims, joinTokenAudience, joinTokenClaims, joinTokenType, type TokenList } from '#wire';
import { fail } from './errors.ts';

/** Longer texts are refused unread: eight roots fit in it. */
export const longestToken = 98_304;

export interface TokenRow {
  readonly id: string;
  readonly service: string;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  readonly used?: { readonly keyHash: Uint8Array; readonly serial: string; readonly instance: string };
}

export interface TokenDesk {
  create(o: {
    readonly service: SpiffeId;
    readonly url: string;
    readonly bundle: TrustBundle;
    readonly ttlMs: number;
    readonly by: string;
    readonly now: number;
  }): Promise<{ readonly token: string; readonly id: string; readonly expiresAt: number }>;
  /** The claims of a token that we signed, expired or not; throws `TOKEN_INVALID` for everything else. */
  verify(token: string): Promise<JoinTokenClaims>;
  find(id: string): TokenRow | undefined;
  /** Marks the token used, within the caller's transaction; false when somebody else was first. */
  consume(o: {
    readonly id: string;
    readonly now: number;
    readonly instance: string;
    readonly keyHash: Uint8Array;
    readonly serial: string;
  }): boolean;
  list(now: number): TokenList['tokens'];
  prune(before: number): void;
}

const algorithm = 'ES256';
/** Tokens listed, newest first. */
const listed = 1_000;

export function createTokenDesk(o: {
  readonly database: Database;
  readonly key: KeyObject;
  readonly trustDomain: string;
}): TokenDesk {
  const { sql } = o.database;
  const issuer = `spiffe://${o.trustDomain}`;
  const publicKey = createPublicKey(o.key);
  const insert = sql.prepare(
    'INSERT INTO token (id, service, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?)',
  );
  const find = sql.prepare('SELECT * FROM token WHERE id = ?');
  const consume = sql.prepare(
    'UPDATE token SET used_at = ?, instance = ?, key_hash = ?, serial = ? WHERE id = ? AND used_at IS NULL',
  );
  const list = sql.prepare(`SELECT * FROM token ORDER BY created_at DESC, rowid DESC LIMIT ${listed}`);
  const prune = sql.prepare(
    'DELETE FROM token WHERE rowid IN (SELECT rowid FROM token WHERE expires_at < ? LIMIT 500)',
  );
  return {
    async create({ service, url, bundle, ttlMs, by, now }) {
      const { SignJWT } = await import('jose');
      const id = randomBytes(16).toString('base64url');
      const iat = Math.floor(now / 1_000);
      const exp = Math.floor((now + ttlMs) / 1_000);
      const roots = bundle.roots.map((der) => Buffer.from(der).toString('base64'));
      const claims = { iss: issuer, aud: joinTokenAudience, sub: service.uri, jti: id, iat, exp, url, roots } as const;
      assertClaims(claims, issuer);
      const token = await new SignJWT(claims).setProtectedHeader({ alg: algorithm, typ: joinTokenType }).sign(o.key);
      insert.run(id, service.uri, by, now, exp * 1_000);
      return { token, id, expiresAt: exp * 1_000 };
    },
    async verify(token) {
      if (token.length > longestToken) throw invalid(`it is longer than ${longestToken} characters`);
      const { compactVerify } = await import('jose');
      const { payload, protectedHeader } = await compactVerify(token, publicKey, { algorithms: [algorithm] }).catch(
        (cause: unknown) => {
          throw fail('TOKEN_INVALID', { reason: 'it was not signed by this authority' }, { cause });
        },
      );
      if (protectedHeader.typ !== joinTokenType) throw invalid('it is a token of another kind');
      return assertClaims(parseJson(payload), issuer);
    },
    find(id) {
      const row = find.get(id);
      return row && rowOf(row);
    },
    consume: ({ id, now, instance, keyHash, serial }) => consume.run(now, instance, keyHash, serial, id).changes === 1,
    list: (now) =>
      list.all().map((row) => ({
        id: String(row.id),
        service: String(row.service),
        state: row.used_at !== null ? ('used' as const) : Number(row.expires_at) <= now ? 'expired' : 'unused',
        createdBy: String(row.created_by),
        createdAt: Number(row.created_at),
        expiresAt: Number(row.expires_at),
        ...(row.used_at !== null && { usedAt: Number(row.used_at), instance: String(row.instance) }),
      })),
    prune: (before) => void prune.run(before),
  };
}

function assertClaims(claims: unknown, issuer: string): JoinTokenClaims {
  const [problem] = check(joinTokenClaims, claims);
  if (problem) throw invalid(`${problem.pointer || 'its content'} ${problem.message}`);
  if ((claims as JoinTokenClaims).iss !== issuer) throw invalid('it is for another trust domain');
  return claims as JoinTokenClaims;
}

function parseJson(payload: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch (cause) {
    throw fail('TOKEN_INVALID', { reason: messageOf(cause) }, { cause });
  }
}

function rowOf(row: Readonly<Record<string, unknown>>): TokenRow {
  return {
    id: String(row.id),
    service: String(row.service),
    expiresAt: Number(row.expires_at),
    ...(row.used_at !== null && {
      used: { keyHash: row.key_hash as Uint8Array, serial: String(row.serial), instance: String(row.instance) },
    }),
  };
}

function invalid(reason: string) {
  return fail('TOKEN_INVALID', { reason });
}
