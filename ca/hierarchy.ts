// Which CA certificates are there, and in which state? Roots and issuing CAs as rows; the trust bundle is made of the roots.
// A change is one transaction; what is read here always is what was committed.
import { createHash, X509Certificate } from 'node:crypto';
import type { Database } from '#base/database';
import { type Certificate, readCertificate, type TrustBundle } from '#spiffe';

export type CaKind = 'root' | 'issuing';
/** Prepared: known, not yet signing. Active: signs. Retiring: signs no more, stays until what it signed has expired. */
export type CaState = 'prepared' | 'active' | 'retiring';

export interface CaEntry {
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  readonly kind: CaKind;
  readonly state: CaState;
  /** Fingerprint of the root above, or its own. */
  readonly root: string;
  readonly certificate: Certificate;
  /** Name of the key file in <home>/ca. */
  readonly keyFile: string;
  /** When it came into its state. */
  readonly since: number;
}

export interface Hierarchy {
  /** Newest first. */
  all(kind: CaKind): readonly CaEntry[];
  one(kind: CaKind, state: 'prepared' | 'active'): CaEntry | undefined;
  get(fingerprint: string): CaEntry | undefined;
  bundle(): TrustBundle;
  /** Runs one transaction of the edits below and reads everything again. */
  change(edit: (edits: HierarchyEdits) => void): void;
}

export interface HierarchyEdits {
  insert(entry: CaEntry): void;
  setState(fingerprint: string, state: CaState | 'removed', now: number): void;
  /** Must follow every change of the set of roots (B-02). */
  raiseSequence(): void;
}

/** Seconds after which a consumer of the bundle should look again. */
const refreshHint = 300;

export function createHierarchy(database: Database, trustDomain: string): Hierarchy {
  let entries = readEntries(database);
  let bundle = makeBundle(database, trustDomain, entries);
  const edits = createEdits(database);
  return {
    all: (kind) => entries.filter((entry) => entry.kind === kind),
    one: (kind, state) => entries.find((entry) => entry.kind === kind && entry.state === state),
    get: (fingerprint) => entries.find((entry) => entry.fingerprint === fingerprint),
    bundle: () => bundle,
    change(edit) {
      database.transaction(() => edit(edits));
      entries = readEntries(database);
      bundle = makeBundle(database, trustDomain, entries);
    },
  };
}

/** The edits themselves, for a transaction that the caller holds. */
export function createEdits({ sql }: Database): HierarchyEdits {
  return {
    insert(entry) {
      sql
        .prepare('INSERT INTO ca_certificate VALUES (?, ?, ?, ?, ?, ?, ?)')
        .run(entry.fingerprint, entry.kind, entry.state, entry.root, entry.certificate.der, entry.keyFile, entry.since);
    },
    setState(fingerprint, state, now) {
      sql.prepare('UPDATE ca_certificate SET state = ?, since = ? WHERE fingerprint = ?').run(state, now, fingerprint);
    },
    raiseSequence() {
      sql.exec('UPDATE authority SET bundle_sequence = bundle_sequence + 1');
    },
  };
}

/** A new entry for a certificate; its key file is named after it. */
export function entryOf(o: {
  readonly kind: CaKind;
  readonly state: CaState;
  readonly certificate: Certificate;
  readonly root?: string;
  readonly now: number;
}): CaEntry {
  const fingerprint = createHash('sha256').update(o.certificate.der).digest('hex');
  const { kind, state, certificate, now } = o;
  const keyFile = `${kind}-${fingerprint.slice(0, 16)}.key`;
  return { fingerprint, kind, state, root: o.root ?? fingerprint, certificate, keyFile, since: now };
}

/** The subject as people read it. */
export function subjectOf(certificate: Certificate): string {
  return new X509Certificate(certificate.der).subject.split('\n').join(', ');
}

function readEntries({ sql }: Database): CaEntry[] {
  const rows = sql.prepare("SELECT * FROM ca_certificate WHERE state <> 'removed' ORDER BY rowid DESC").all();
  return rows.map((row) => ({
    fingerprint: String(row.fingerprint),
    kind: row.kind as CaKind,
    state: row.state as CaState,
    root: String(row.root),
    certificate: readCertificate(row.certificate as Uint8Array),
    keyFile: String(row.key_file),
    since: Number(row.since),
  }));
}

function makeBundle({ sql }: Database, trustDomain: string, entries: readonly CaEntry[]): TrustBundle {
  const sequence = sql.prepare('SELECT bundle_sequence FROM authority').get()?.bundle_sequence;
  const roots = entries.filter(({ kind }) => kind === 'root').map(({ certificate }) => certificate.der);
  return Object.freeze({ trustDomain, roots, sequence: BigInt(Number(sequence ?? 0)), refreshHint });
}
