// Files and databases that must survive: old or new content, never something between; nothing that others may read.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type DatabaseOptions, openDatabase } from '#base/database';
import { makePrivateFolder, readFileOrFail, readPrivateFile, removeTemporaries, writeFileAtomic } from '#base/files';
import { temporaryFolder } from '../helpers/folder.ts';

const code = (wanted: string) => expect.objectContaining({ code: wanted });

describe('files', () => {
  test('a file is replaced whole, 0600, and nothing is left beside it', () => {
    const folder = temporaryFolder();
    const path = join(folder, 'a');
    writeFileSync(path, 'old', { mode: 0o644 });
    writeFileAtomic(path, 'new');
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['a']);
  });

  test('F5: a write that fails names the path and the reason, and leaves the old content', () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'a'));
    expect(() => writeFileAtomic(join(folder, 'a'), 'x')).toThrow(code('FILE_UNWRITABLE'));
    expect(() => writeFileAtomic(join(folder, 'none', 'b'), 'x')).toThrow(/there is no such file/);
    expect(readdirSync(folder)).toEqual(['a']);
  });

  test('a link is replaced, not followed', () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'target'), 'kept');
    symlinkSync(join(folder, 'target'), join(folder, 'link'));
    writeFileAtomic(join(folder, 'link'), 'x');
    expect(readFileSync(join(folder, 'target'), 'utf8')).toBe('kept');
  });

  test.each([0o644, 0o640, 0o604, 0o660])('a secret of mode %o is refused with the command that mends it', (mode) => {
    const path = join(temporaryFolder(), 'key');
    writeFileSync(path, 'secret');
    chmodSync(path, mode);
    expect(() => readPrivateFile(path)).toThrow(code('FILE_EXPOSED'));
    chmodSync(path, 0o600);
    expect(readPrivateFile(path).toString()).toBe('secret');
  });

  test('a file that is missing or a folder is a named error', () => {
    const folder = temporaryFolder();
    expect(() => readPrivateFile(join(folder, 'none'))).toThrow(code('FILE_UNREADABLE'));
    expect(() => readFileOrFail(folder)).toThrow(/it is a folder/);
  });

  test('a private folder is made with its parents, and an open one is narrowed', () => {
    const folder = temporaryFolder();
    makePrivateFolder(join(folder, 'a', 'b'));
    expect(statSync(join(folder, 'a', 'b')).mode & 0o777).toBe(0o700);
    mkdirSync(join(folder, 'open'), { mode: 0o755 });
    makePrivateFolder(join(folder, 'open'));
    expect(statSync(join(folder, 'open')).mode & 0o777).toBe(0o700);
  });

  test('F5: a folder below a file is a named error', () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, '');
    for (const path of [file, join(file, 'a', 'b')])
      expect(() => makePrivateFolder(path)).toThrow(`${path} cannot be written: part of the path is not a folder`);
  });

  test.runIf(existsSync('/proc/self'))('F5: a folder where none can be made is a named error, at once', () => {
    // In a process of its own: an endless attempt could not be ended from within.
    const script = `
      const { makePrivateFolder } = await import('#base/files');
      try { makePrivateFolder('/proc/none/deep'); } catch (thrown) { console.log(thrown.message); }`;
    const { stdout, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
      timeout: 10_000,
      killSignal: 'SIGKILL',
    });
    expect([signal, stdout]).toEqual([null, '/proc/none/deep cannot be written: no folder can be made there\n']);
  });

  test('what kills left of atomic writes is removed, and what others still write is not', () => {
    const folder = temporaryFolder();
    const { pid: ended } = spawnSync(process.execPath, ['--version']);
    const temporary = (pid: number) => `key.pem.${pid}.0123456789ab.tmp`;
    const kept = ['key.pem', 'mine.tmp', 'key.pem.0123456789ab.tmp', temporary(process.ppid)].sort();
    for (const name of [...kept, temporary(ended), temporary(process.pid)]) writeFileSync(join(folder, name), '');
    removeTemporaries(folder);
    expect(readdirSync(folder).sort()).toEqual(kept);
    expect(() => removeTemporaries(join(folder, 'none'))).not.toThrow();
  });
});

describe('databases', () => {
  const migrations = ['CREATE TABLE a (x INTEGER NOT NULL) STRICT'];
  const open = (path: string, more: Partial<DatabaseOptions> = {}) => {
    const database = openDatabase({ path, owner: 'test', migrations, ...more });
    onTestFinished(() => {
      if (database.sql.isOpen) database.close();
    });
    return database;
  };

  test('are 0600, in WAL with full sync, with foreign keys', () => {
    const path = join(temporaryFolder(), 'a.db');
    const { sql } = open(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(Object.values(sql.prepare('PRAGMA journal_mode').get()!)).toEqual(['wal']);
    expect(Object.values(sql.prepare('PRAGMA synchronous').get()!)).toEqual([2]);
    expect(Object.values(sql.prepare('PRAGMA foreign_keys').get()!)).toEqual([1]);
  });

  test('each migration runs once, later ones when they come, owners apart', () => {
    const path = join(temporaryFolder(), 'a.db');
    open(path).close();
    open(path, { owner: 'other', migrations: ['CREATE TABLE c (x INTEGER) STRICT'] });
    const { sql } = open(path, { migrations: [...migrations, 'CREATE TABLE b (x INTEGER) STRICT'] });
    sql.exec('INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)');
  });

  test('a file of a newer version is refused and left alone', () => {
    const path = join(temporaryFolder(), 'a.db');
    open(path, { migrations: [...migrations, 'CREATE TABLE b (x INTEGER) STRICT'] }).close();
    expect(() => open(path)).toThrow(code('DATABASE_NEWER'));
    expect(() => open(path, { migrations: [...migrations, 'CREATE TABLE b (x INTEGER) STRICT'] })).not.toThrow();
  });

  test('a migration that fails half-way changes nothing', () => {
    const path = join(temporaryFolder(), 'a.db');
    open(path).close();
    const broken = [...migrations, 'CREATE TABLE b (x INTEGER) STRICT; INSERT INTO none VALUES (1)'];
    expect(() => open(path, { migrations: broken })).toThrow(code('DATABASE_BROKEN'));
    const fixed = [...migrations, 'CREATE TABLE b (x INTEGER) STRICT'];
    expect(() => open(path, { migrations: fixed })).not.toThrow();
  });

  test('a file that is no database is refused and left alone', () => {
    const path = join(temporaryFolder(), 'a.db');
    writeFileSync(path, 'not a database, and longer than a header is'.repeat(50));
    expect(() => open(path)).toThrow(code('DATABASE_BROKEN'));
    expect(readFileSync(path, 'utf8')).toContain('not a database');
  });

  test('a transaction is all or nothing', () => {
    const database = open(':memory:');
    const count = (): unknown => database.sql.prepare('SELECT count(*) AS n FROM a').get()!.n;
    expect(() =>
      database.transaction(() => {
        database.sql.exec('INSERT INTO a VALUES (1)');
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(count()).toBe(0);
    expect(database.transaction(() => database.sql.prepare('INSERT INTO a VALUES (1)').run().changes)).toBe(1);
    expect(count()).toBe(1);
  });
});
