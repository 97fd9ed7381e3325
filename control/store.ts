// What the control plane must still know after a restart: resources, instances, host names and revision counters, in tables of its own
// in postern.db. Every write is durable on return.
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Database } from '#base/database';
import { openDatabase } from '#base/database';
import type { InstanceFacts, LocatedResource, PolicyVersion, Resource } from '#wire';

export interface StoredInstance {
  readonly instance: string;
  /** SPIFFE ID. */
  readonly service: string;
  /** Absent until it told. */
  readonly facts: InstanceFacts | undefined;
  /** Expiry of its newest certificate, epoch ms. */
  readonly notAfter: number;
  /** The last report, epoch ms; kept roughly. */
  readonly seenAt: number;
  /** Out of discovery: its lease ran out, or it said that it is draining. */
  readonly gone: boolean;
}

export interface Store {
  instances(): StoredInstance[];
  saveInstances(instances: readonly StoredInstance[]): void;
  forgetInstances(instances: readonly string[]): void;
  resources(): LocatedResource[];
  /** Replaces and removes resources and raises the policy revision, all or nothing; returns the new revision. */
  changeResources(o: {
    readonly put: readonly LocatedResource[];
    readonly remove: readonly { readonly kind: string; readonly name: string }[];
    readonly by: string;
    readonly now: number;
    /** All resources as they are afterwards: kept as a version. */
    readonly all: readonly LocatedResource[];
  }): number;
  /** What each kept version changed, the newest first. */
  versions(): PolicyVersion[];
  /** All resources of a version; `undefined` when it is not kept. */
  version(revision: number): LocatedResource[] | undefined;
  /** A counter's value; 0 when it was never raised. */
  counter(name: string): number;
  /** Raises a counter to at least `atLeast` and always above what it was; monotonic even when an older backup was restored. */
  raise(name: string, atLeast: number): number;
  /** Which service a host name belongs to. */
  holderOf(host: string): string | undefined;
  claimHost(host: string, service: string): void;
  close(): void;
}

const migrations = [
  `
  CREATE TABLE control_instances (
    instance TEXT PRIMARY KEY, service TEXT NOT NULL, facts TEXT, not_after INTEGER NOT NULL,
    seen_at INTEGER NOT NULL, gone INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE control_resources (
    kind TEXT NOT NULL, name TEXT NOT NULL, resource TEXT NOT NULL, origin TEXT,
    changed_at INTEGER NOT NULL, changed_by TEXT NOT NULL, PRIMARY KEY (kind, name)
  ) STRICT;
  CREATE TABLE control_counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
  CREATE TABLE control_hosts (host TEXT PRIMARY KEY, service TEXT NOT NULL) STRICT;
  `,
  `
  CREATE TABLE control_versions (
    revision INTEGER PRIMARY KEY, changed_at INTEGER NOT NULL, changed_by TEXT NOT NULL, changes TEXT NOT NULL, resources BLOB NOT NULL
  ) STRICT;
  `,
];

/** How many versions of all resources are kept, and how large they may be together, in bytes; the newest always is. */
const mostVersions = 500;
const mostVersionBytes = 256 << 20;

export function openStore(path: string): Store {
  const database = openDatabase({ path, owner: 'control', migrations });
  const { sql } = database;
  const counter = sql.prepare('SELECT value FROM control_counters WHERE name = ?');
  const setCounter = sql.prepare(
    'INSERT INTO control_counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
  );
  const readCounter = (name: string): number => Number(counter.get(name)?.value ?? 0);
  const raise = (name: string, atLeast: number): number => {
    const value = Math.max(readCounter(name) + 1, atLeast);
    setCounter.run(name, value);
    return value;
  };
  const putResource = sql.prepare(
    `INSERT INTO control_resources VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET
     resource = excluded.resource, origin = excluded.origin, changed_at = excluded.changed_at, changed_by = excluded.changed_by`,
  );
  const removeResource = sql.prepare('DELETE FROM control_resources WHERE kind = ? AND name = ?');
  return {
    ...instanceTable(database),
    resources: () =>
      sql
        .prepare('SELECT resource, origin FROM control_resources ORDER BY kind, name')
        .all()
        .map(({ resource, origin }) => ({
          resource: JSON.parse(String(resource)) as Resource,
          ...(origin === null ? {} : { origin: JSON.parse(String(origin)) as NonNullable<LocatedResource['origin']> }),
        })),
    ...versionTable(database),
    changeResources: ({ put, remove, by, now, all }) =>
      database.transaction(() => {
        for (const { kind, name } of remove) removeResource.run(kind, name);
        for (const { resource, origin } of put) {
          const text = origin === undefined ? null : JSON.stringify(origin);
          putResource.run(resource.kind, resource.name, JSON.stringify(resource), text, now, by);
        }
        const revision = raise('policy', now);
        saveVersion(database, { revision, by, now, put, remove, all });
        return revision;
      }),
    counter: readCounter,
    raise: (name, atLeast) => database.transaction(() => raise(name, atLeast)),
    holderOf(host) {
      const row = sql.prepare('SELECT service FROM control_hosts WHERE host = ?').get(host);
      return row === undefined ? undefined : String(row.service);
    },
    claimHost: (host, service) =>
      void sql
        .prepare('INSERT INTO control_hosts VALUES (?, ?) ON CONFLICT (host) DO UPDATE SET service = excluded.service')
        .run(host, service),
    close: () => database.close(),
  };
}

function instanceTable(database: Database): Pick<Store, 'instances' | 'saveInstances' | 'forgetInstances'> {
  const { sql } = database;
  const save = sql.prepare(
    `INSERT INTO control_instances VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (instance) DO UPDATE SET service = excluded.service,
     facts = excluded.facts, not_after = excluded.not_after, seen_at = excluded.seen_at, gone = excluded.gone`,
  );
  const forget = sql.prepare('DELETE FROM control_instances WHERE instance = ?');
  return {
    instances: () =>
      sql
        .prepare('SELECT * FROM control_instances ORDER BY instance')
        .all()
        .map((row) => ({
          instance: String(row.instance),
          service: String(row.service),
          facts: row.facts === null ? undefined : (JSON.parse(String(row.facts)) as InstanceFacts),
          notAfter: Number(row.not_after),
          seenAt: Number(row.seen_at),
          gone: row.gone === 1,
        })),
    saveInstances: (instances) =>
      database.transaction(() => {
        for (const { instance, service, facts, notAfter, seenAt, gone } of instances) {
          const text = facts === undefined ? null : JSON.stringify(facts);
          save.run(instance, service, text, notAfter, Math.trunc(seenAt), gone ? 1 : 0);
        }
      }),
    forgetInstances: (instances) =>
      database.transaction(() => {
        for (const instance of instances) forget.run(instance);
      }),
  };
}

function versionTable({ sql }: Database): Pick<Store, 'versions' | 'version'> {
  return {
    versions: () =>
      sql
        .prepare('SELECT revision, changed_at, changed_by, changes FROM control_versions ORDER BY revision DESC')
        .all()
        .map((row) => ({
          revision: Number(row.revision),
          at: Number(row.changed_at),
          by: String(row.changed_by),
          changes: JSON.parse(String(row.changes)) as PolicyVersion['changes'],
        })),
    version(revision) {
      const row = sql.prepare('SELECT resources FROM control_versions WHERE revision = ?').get(revision);
      if (row === undefined) return undefined;
      return JSON.parse(inflateRawSync(row.resources as Uint8Array).toString()) as LocatedResource[];
    },
  };
}

type Change = Parameters<Store['changeResources']>[0] & { readonly revision: number };

function saveVersion({ sql }: Database, { revision, by, now, put, remove, all }: Change): void {
  const changes: PolicyVersion['changes'] = {
    put: put.slice(0, 100).map(({ resource: { kind, name } }) => `${kind}/${name}`),
    removed: remove.slice(0, 100).map(({ kind, name }) => `${kind}/${name}`),
    more: Math.max(0, put.length - 100) + Math.max(0, remove.length - 100),
  };
  sql
    .prepare('INSERT INTO control_versions VALUES (?, ?, ?, ?, ?)')
    .run(revision, Math.trunc(now), by, JSON.stringify(changes), deflateRawSync(JSON.stringify(all), { level: 1 }));
  sql
    .prepare(
      `DELETE FROM control_versions WHERE revision <> ?1 AND revision IN (
         SELECT revision FROM (
           SELECT revision, row_number() OVER newest AS place, sum(length(resources)) OVER newest AS bytes
           FROM control_versions WINDOW newest AS (ORDER BY revision DESC)
         ) WHERE place > ${mostVersions} OR bytes > ${mostVersionBytes})`,
    )
    .run(revision);
}
