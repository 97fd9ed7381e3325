// What the CA remembers: the tables it owns in <home>/postern.db and the one row that says whose authority this is.
// Private keys and join tokens are never in it, so that a dump of the database can neither sign nor enrol.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, openDatabase } from '#base/database';
import type { CaSettings } from './settings.ts';

const migrations: readonly string[] = [
  `CREATE TABLE authority (
     one INTEGER PRIMARY KEY CHECK (one = 1),
     trust_domain TEXT NOT NULL,
     settings TEXT NOT NULL,
     bundle_sequence INTEGER NOT NULL,
     created_at INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE ca_certificate (
     fingerprint TEXT PRIMARY KEY,
     kind TEXT NOT NULL CHECK (kind IN ('root', 'issuing')),
     state TEXT NOT NULL CHECK (state IN ('prepared', 'active', 'retiring', 'removed')),
     root TEXT NOT NULL,
     certificate BLOB NOT NULL,
     key_file TEXT NOT NULL,
     since INTEGER NOT NULL
   ) STRICT;
   CREATE UNIQUE INDEX ca_one_active ON ca_certificate (kind) WHERE state = 'active';
   CREATE UNIQUE INDEX ca_one_prepared ON ca_certificate (kind) WHERE state = 'prepared';
   CREATE TABLE issued (
     serial TEXT PRIMARY KEY,
     id TEXT NOT NULL,
     instance TEXT NOT NULL,
     issuer TEXT NOT NULL REFERENCES ca_certificate (fingerprint),
     key_hash BLOB NOT NULL,
     certificate BLOB NOT NULL,
     not_before INTEGER NOT NULL,
     not_after INTEGER NOT NULL,
     issued_at INTEGER NOT NULL
   ) STRICT;
   CREATE INDEX issued_by_id ON issued (id, issued_at);
   CREATE INDEX issued_by_key ON issued (key_hash);
   CREATE INDEX issued_by_issuer ON issued (issuer, not_after);
   CREATE INDEX issued_by_end ON issued (not_after);
   CREATE TABLE token (
     id TEXT PRIMARY KEY,
     service TEXT NOT NULL,
     created_by TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     expires_at INTEGER NOT NULL,
     used_at INTEGER,
     instance TEXT,
     key_hash BLOB,
     serial TEXT,
     CHECK ((used_at IS NULL) = (serial IS NULL))
   ) STRICT;
   CREATE INDEX token_by_time ON token (created_at);
   CREATE TABLE ban (
     kind TEXT NOT NULL CHECK (kind IN ('id', 'serial')),
     value TEXT NOT NULL,
     made_by TEXT NOT NULL,
     made_at INTEGER NOT NULL,
     reason TEXT,
     PRIMARY KEY (kind, value)
   ) STRICT;`,
];

export interface AuthorityRow {
  readonly trustDomain: string;
  readonly settings: CaSettings;
}

/** Opens (and makes) the database of a home. */
export function openStore(home: string): Database {
  return openDatabase({ path: storePath(home), migrations, owner: 'ca' });
}

export function storePath(home: string): string {
  return join(home, 'postern.db');
}

export function hasStore(home: string): boolean {
  return existsSync(storePath(home));
}

/** Whose authority this is; `undefined` before `ca init` has finished. */
export function readAuthority(database: Database): AuthorityRow | undefined {
  const row = database.sql.prepare('SELECT trust_domain, settings FROM authority').get();
  return row && { trustDomain: String(row.trust_domain), settings: JSON.parse(String(row.settings)) as CaSettings };
}

/** Writes the one row; call it in the transaction that also writes the first root and issuing CA. */
export function insertAuthority(database: Database, row: AuthorityRow, now: number): void {
  database.sql
    .prepare('INSERT INTO authority VALUES (1, ?, ?, 1, ?)')
    .run(row.trustDomain, JSON.stringify(row.settings), now);
}
