// Which certificates did this CA issue, to which instance, for which key? A record is durable before its certificate leaves the CA.
import { hash } from 'node:crypto';
import type { Database } from '#base/database';
import type { Svid } from '#spiffe';
import type { IdentityStatus } from '#wire';

export interface IssuedRecord {
  readonly serial: string;
  readonly id: string;
  readonly instance: string;
  /** Fingerprint of the issuing CA. */
  readonly issuer: string;
  /** SHA-256 of the SubjectPublicKeyInfo. */
  readonly keyHash: Uint8Array;
  readonly certificate: Uint8Array;
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface IssuedLog {
  /** Within the caller's transaction; a serial that exists already makes it throw. */
  insert(record: Omit<IssuedRecord, keyof Svid> & { readonly svid: Svid; readonly now: number }): void;
  find(serial: string): IssuedRecord | undefined;
  /** The certificates that its instance got after it and that live at `now`: whoever has its key may have renewed into them. */
  renewalsOf(serial: string, now: number): readonly string[];
  /** The instance that a key was first certified for. */
  ownerOf(keyHash: Uint8Array): { readonly id: string; readonly instance: string } | undefined;
  /** Expiry of the last certificate under an issuing CA, epoch milliseconds; 0 when there is none. */
  lastExpiry(issuer: string): number;
  identities(o: { readonly now: number; readonly isBanned: IsBanned }): IdentityStatus[];
  /** Forgets certificates that expired before `before`, a few at a time; the newest of each identity stays. */
  prune(before: number): void;
}

type IsBanned = (svid: { readonly id: string; readonly serial: string }) => boolean;

/** Certificates listed for each identity. */
const listed = 50;

export function keyHashOf(publicKey: Uint8Array): Buffer {
  return hash('sha256', publicKey, 'buffer');
}

export function createIssuedLog({ sql }: Database): IssuedLog {
  const insert = sql.prepare('INSERT INTO issued VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
  const find = sql.prepare('SELECT * FROM issued WHERE serial = ?');
  const owner = sql.prepare('SELECT id, instance FROM issued WHERE key_hash = ? LIMIT 1');
  const renewals = sql.prepare(
    `SELECT later.serial FROM issued AS one JOIN issued AS later ON later.id = one.id AND later.instance = one.instance
     WHERE one.serial = ? AND later.serial <> one.serial AND later.not_after > ?
       AND (later.issued_at > one.issued_at OR later.rowid > one.rowid)`,
  );
  const lastExpiry = sql.prepare('SELECT max(not_after) AS last FROM issued WHERE issuer = ?');
  const instances = sql.prepare(
    'SELECT id, count(DISTINCT CASE WHEN not_after > ? THEN instance END) AS live FROM issued GROUP BY id ORDER BY id',
  );
  const newest = sql.prepare(
    `SELECT serial, id, instance, not_before, not_after FROM issued WHERE id = ? ORDER BY issued_at DESC, rowid DESC LIMIT ${listed}`,
  );
  const prune = sql.prepare(
    `DELETE FROM issued WHERE rowid IN (
       SELECT old.rowid FROM issued AS old WHERE old.not_after < ?
         AND EXISTS (SELECT 1 FROM issued AS newer WHERE newer.id = old.id AND newer.issued_at > old.issued_at)
       LIMIT 500)`,
  );
  return {
    insert({ svid, instance, issuer, keyHash, certificate, now }) {
      const { serial, id, notBefore, notAfter } = svid;
      insert.run(serial, id.uri, instance, issuer, keyHash, certificate, notBefore, notAfter, now);
    },
    find(serial) {
      const row = find.get(serial);
      return row && recordOf(row);
    },
    renewalsOf: (serial, now) => renewals.all(serial, now).map((row) => String(row.serial)),
    ownerOf(keyHash) {
      const row = owner.get(keyHash);
      return row && { id: String(row.id), instance: String(row.instance) };
    },
    lastExpiry: (issuer) => Number(lastExpiry.get(issuer)?.last ?? 0),
    identities({ now, isBanned }) {
      return instances.all(now).map((row) => ({
        id: String(row.id),
        banned: isBanned({ id: String(row.id), serial: '' }),
        instances: Number(row.live),
        certificates: newest.all(String(row.id)).map((certificate) => ({
          serial: String(certificate.serial),
          instance: String(certificate.instance),
          notBefore: Number(certificate.not_before),
          notAfter: Number(certificate.not_after),
          banned: isBanned({ id: String(row.id), serial: String(certificate.serial) }),
        })),
      }));
    },
    prune: (before) => void prune.run(before),
  };
}

function recordOf(row: Readonly<Record<string, unknown>>): IssuedRecord {
  return {
    serial: String(row.serial),
    id: String(row.id),
    instance: String(row.instance),
    issuer: String(row.issuer),
    keyHash: row.key_hash as Uint8Array,
    certificate: row.certificate as Uint8Array,
    notBefore: Number(row.not_before),
    notAfter: Number(row.not_after),
  };
}
