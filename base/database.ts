// One way to open SQLite: durable (WAL, synchronous=FULL), strict about foreign keys, migrated in order, transactions that nest not at all.
import { chmodSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { defineErrors, messageOf } from './error.ts';
import { makePrivateFile } from './files.ts';

export const databaseErrors = {
  DATABASE_BROKEN: {
    message: '{path} cannot be opened: {reason}',
    hint: 'restore the file from a backup, or move it away to start empty; nothing was changed',
    status: 500,
    retryable: false,
  },
  DATABASE_UNWRITABLE: {
    message: '{path} cannot be written: {reason}',
    hint: 'check free space and permissions of its folder; what was there before is unchanged',
    status: 503,
    retryable: true,
  },
  DATABASE_NEWER: {
    message: '{path} was written by a newer Postern (schema {found}, this one knows {known})',
    hint: 'run the newer version, or restore a backup from before the upgrade',
    status: 500,
    retryable: false,
  },
} as const;
const fail = defineErrors(databaseErrors);

export interface Database {
  readonly path: string;
  readonly sql: DatabaseSync;
  /** Runs `work` in one immediate transaction: everything is durable on return, or nothing happened. */
  transaction<T>(work: () => T): T;
  close(): void;
}

export interface DatabaseOptions {
  readonly path: string;
  /** SQL scripts by version, oldest first, for this owner's tables; each runs once, in one transaction. */
  readonly migrations: readonly string[];
  /** Which folder's tables these are; several owners may share one file. */
  readonly owner: string;
}

/** Opens (and makes, 0600) the file and brings the owner's tables to the newest version. */
export function openDatabase({ path, migrations, owner }: DatabaseOptions): Database {
  let sql: DatabaseSync;
  try {
    if (path !== ':memory:') makePrivateFile(path);
    sql = new DatabaseSync(path, { timeout: 5_000, enableForeignKeyConstraints: true });
    if (path !== ':memory:') chmodSync(path, 0o600);
    sql.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;');
  } catch (cause) {
    throw failureOf(path, cause);
  }
  const database: Database = {
    path,
    sql,
    transaction(work) {
      sql.exec('BEGIN IMMEDIATE');
      try {
        const result = work();
        sql.exec('COMMIT');
        return result;
      } catch (thrown) {
        if (sql.isTransaction) sql.exec('ROLLBACK');
        throw thrown;
      }
    },
    close: () => sql.close(),
  };
  try {
    migrate(database, owner, migrations);
  } catch (thrown) {
    sql.close();
    throw thrown;
  }
  return database;
}

function migrate(database: Database, owner: string, migrations: readonly string[]): void {
  const { sql, path } = database;
  try {
    database.transaction(() => {
      sql.exec('CREATE TABLE IF NOT EXISTS schema_version (owner TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT');
      const row = sql.prepare('SELECT version FROM schema_version WHERE owner = ?').get(owner);
      const found = Number(row?.version ?? 0);
      if (found > migrations.length) throw fail('DATABASE_NEWER', { path, found, known: migrations.length });
      for (const script of migrations.slice(found)) sql.exec(script);
      sql
        .prepare(
          'INSERT INTO schema_version VALUES (?, ?) ON CONFLICT (owner) DO UPDATE SET version = excluded.version',
        )
        .run(owner, migrations.length);
    });
  } catch (cause) {
    if ((cause as { code?: string }).code === 'DATABASE_NEWER') throw cause;
    throw failureOf(path, cause);
  }
}

/** Why the disk would not take a write, in words; `undefined` when a SQLite error is about something else. */
export function diskReason(thrown: unknown): string | undefined {
  const words: Readonly<Record<number, string>> = {
    // SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN
    8: 'this user may not write it',
    10: 'the disk refuses writes or reads (I/O error)',
    13: 'the disk is full',
    14: 'this user may not write in its folder, or there is none',
  };
  return words[((thrown as { errcode?: number }).errcode ?? 0) & 0xff];
}

function failureOf(path: string, cause: unknown): Error {
  const reason = diskReason(cause);
  if (reason !== undefined) return fail('DATABASE_UNWRITABLE', { path, reason }, { cause });
  return fail('DATABASE_BROKEN', { path, reason: messageOf(cause) }, { cause });
}
