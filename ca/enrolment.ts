// How an instance gets and renews its identity, in the order that it happens: token, request, ban, flood, leaf, record. The token's use, the
// record and the certificate are one transaction: all of it is durable when an answer leaves, or none of it happened.
import { randomBytes } from 'node:crypto';
import type { Database } from '#base/database';
import { parseSpiffeId, reservedPath, type SpiffeId, type Svid } from '#spiffe';
import type { ClockGuard } from './clock-guard.ts';
import { readCsr } from './csr.ts';
import { fail } from './errors.ts';
import type { FloodLimit } from './flood.ts';
import type { Hierarchy } from './hierarchy.ts';
import { issueLeaf } from './issue.ts';
import { type IssuedLog, keyHashOf } from './issued.ts';
import type { BanList } from './revocation.ts';
import type { CaSettings } from './settings.ts';
import type { Signers } from './signers.ts';
import type { TokenDesk, TokenRow } from './token.ts';

export interface IssuedSvid {
  readonly id: SpiffeId;
  readonly instance: string;
  /** Lower-case hex. */
  readonly serial: string;
  /** DER: the leaf, then the issuing CA. */
  readonly chain: readonly Uint8Array[];
  /** Epoch milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** True when the same token and key had got this certificate before. */
  readonly replayed: boolean;
}

export interface EnrolmentParts {
  readonly database: Database;
  readonly clock: ClockGuard;
  readonly settings: CaSettings;
  readonly hierarchy: Hierarchy;
  readonly signers: Signers;
  readonly tokens: TokenDesk;
  readonly issued: IssuedLog;
  readonly bans: BanList;
  readonly renewals: FloodLimit;
  /** SubjectPublicKeyInfo of the keys that are the CA's own, as base64. */
  readonly isOwnKey: (publicKey: Uint8Array) => boolean;
}

export interface LocalRequest {
  readonly id: SpiffeId;
  readonly ttlMs: number;
  readonly instance: string;
  /** DER of the SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  readonly dns?: readonly string[] | undefined;
  readonly ip?: readonly string[] | undefined;
}

export interface Enrolment {
  enrol(o: {
    readonly token: string;
    readonly csr: Uint8Array;
  }): Promise<{ readonly svid: IssuedSvid; readonly token: string }>;
  renew(o: { readonly presented: Svid; readonly csr: Uint8Array }): IssuedSvid;
  issueLocal(o: LocalRequest): IssuedSvid;
}

export function createEnrolment(parts: EnrolmentParts): Enrolment {
  const { bans, clock, issued, tokens } = parts;
  return {
    async enrol({ token, csr }) {
      const claims = await tokens.verify(token);
      const publicKey = readKeyOf(parts, csr);
      const now = clock.now();
      const svid = parts.database.transaction(() => {
        const row = tokens.find(claims.jti);
        if (!row || row.service !== claims.sub || row.expiresAt !== claims.exp * 1_000)
          throw fail('TOKEN_INVALID', { reason: 'this authority does not know it' });
        const id = parseSpiffeId(row.service);
        if (bans.isBanned({ id, serial: '' })) throw fail('IDENTITY_BANNED', { id: id.uri });
        if (row.used) return replay(parts, row, row.used, publicKey);
        if (now >= row.expiresAt)
          throw fail('TOKEN_EXPIRED', { id: row.id, expiresAt: new Date(row.expiresAt).toISOString() });
        const instance = randomBytes(8).toString('hex');
        const made = issueAndRecord(parts, { id, instance, publicKey, now, ttlMs: ttlOf(parts.settings, id) });
        const keyHash = keyHashOf(publicKey);
        if (!tokens.consume({ id: row.id, now, instance, keyHash, serial: made.serial }))
          throw fail('TOKEN_USED', { id: row.id });
        return made;
      });
      return { svid, token: claims.jti };
    },
    renew({ presented, csr }) {
      const { id, serial } = presented;
      const record = issued.find(serial);
      if (!record || record.id !== id.uri) throw fail('IDENTITY_UNKNOWN', { id: id.uri, serial });
      if (bans.isBanned(presented)) throw fail('IDENTITY_BANNED', { id: id.uri });
      const now = clock.now();
      if (now > record.notAfter)
        throw fail('RENEWAL_EXPIRED', { id: id.uri, notAfter: new Date(record.notAfter).toISOString() });
      if (!parts.renewals.admit(`${id.uri} ${record.instance}`)) throw fail('ISSUANCE_LIMITED', { id: id.uri });
      const publicKey = readKeyOf(parts, csr);
      const { instance } = record;
      return parts.database.transaction(() =>
        issueAndRecord(parts, { id, instance, publicKey, now, ttlMs: ttlOf(parts.settings, id) }),
      );
    },
    issueLocal(o) {
      const now = clock.now();
      if (bans.isBanned({ id: o.id, serial: '' })) throw fail('IDENTITY_BANNED', { id: o.id.uri });
      return parts.database.transaction(() => issueAndRecord(parts, { ...o, now }));
    },
  };
}

/** Within the caller's transaction: the leaf, its check, its record (which refuses a serial that exists). */
function issueAndRecord(parts: EnrolmentParts, o: LocalRequest & { readonly now: number }): IssuedSvid {
  const { issued, settings } = parts;
  const { id, instance, publicKey, now, ttlMs, dns, ip } = o;
  const keyHash = keyHashOf(publicKey);
  const owner = issued.ownerOf(keyHash);
  if (owner && (owner.id !== id.uri || owner.instance !== instance)) throw fail('KEY_REUSED');
  const signer = parts.signers.at(now);
  const { backdateMs } = settings;
  const { leaf, svid } = issueLeaf({ signer, id, publicKey, now, ttlMs, backdateMs, dns, ip });
  issued.insert({ svid, instance, issuer: signer.fingerprint, keyHash, certificate: leaf, now });
  return { ...svid, instance, chain: [leaf, signer.certificate.der], replayed: false };
}

/** A used token shown again: the same key gets the same certificate while it lives, any other key nothing (C3). */
function replay(
  parts: EnrolmentParts,
  row: TokenRow,
  used: NonNullable<TokenRow['used']>,
  publicKey: Uint8Array,
): IssuedSvid {
  if (Buffer.compare(used.keyHash, keyHashOf(publicKey)) !== 0) throw fail('TOKEN_USED', { id: row.id });
  const record = parts.issued.find(used.serial);
  const issuing = record && parts.hierarchy.get(record.issuer);
  if (!record || !issuing || parts.bans.isBanned(record)) throw fail('TOKEN_USED', { id: row.id });
  const { serial, instance, certificate, notBefore, notAfter } = record;
  const id = parseSpiffeId(record.id);
  return { id, serial, instance, notBefore, notAfter, chain: [certificate, issuing.certificate.der], replayed: true };
}

function readKeyOf(parts: EnrolmentParts, csr: Uint8Array): Uint8Array {
  const publicKey = readCsr(csr);
  if (parts.isOwnKey(publicKey)) throw fail('KEY_WEAK', { reason: 'it is a key of the authority itself' });
  return publicKey;
}

/** Administrators have a life of their own. */
function ttlOf(settings: CaSettings, id: SpiffeId): number {
  return id.service.startsWith(`${reservedPath}/admin/`) ? settings.adminTtlMs : settings.svidTtlMs;
}
