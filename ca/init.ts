// Make a certificate authority in an empty home: token key, root, first issuing CA, then one transaction that makes them real.
// A kill before that transaction leaves nothing that counts; it never starts over what another `init` had finished.
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivateFolder, removeTemporaries, writeFileAtomic } from '#base/files';
import { createKeyPair, parseTrustDomain } from '#spiffe';
import { fail } from './errors.ts';
import { createEdits, entryOf } from './hierarchy.ts';
import { writeKey } from './keys.ts';
import { type OwnRoot, readOwnRoot } from './own-root.ts';
import type { CaSettings } from './settings.ts';
import { keyPath } from './signers.ts';
import { hasStore, insertAuthority, openStore, readAuthority } from './store.ts';

export const tokenKeyFile = 'token.key';
/** Present only while an `init` is under way. */
const marker = 'initialising';

export interface InitRequest {
  readonly home: string;
  readonly trustDomain: string;
  readonly settings: CaSettings;
  readonly now: number;
  readonly passphrase?: Buffer | undefined;
  readonly root?: OwnRoot | undefined;
}

/** Durable on return. Throws `CA_EXISTS` when the home has an authority, `CA_INCOMPLETE` when it has the remains of one. */
export async function writeAuthority(o: InitRequest): Promise<void> {
  const { home, trustDomain, settings, now } = o;
  parseTrustDomain(trustDomain);
  assertEmpty(home);
  const given = o.root && readOwnRoot({ ...o.root, trustDomain, now });
  const { createIssuing, createRoot } = await import('./x509.ts');
  makePrivateFolder(home);
  makePrivateFolder(join(home, 'ca'));
  writeFileAtomic(keyPath(home, marker), '');
  const notBefore = now - settings.backdateMs;
  const rootKey = given?.key ?? createKeyPair().privateKey;
  const rootCertificate =
    given?.certificate ??
    (await createRoot({ trustDomain, key: rootKey, notBefore, notAfter: now + settings.rootTtlMs }));
  const issuingKey = createKeyPair().privateKey;
  const issuingCertificate = await createIssuing({
    trustDomain,
    key: issuingKey,
    root: rootCertificate,
    rootKey,
    notBefore: Math.max(notBefore, rootCertificate.notBefore),
    notAfter: Math.min(now + settings.issuingTtlMs, rootCertificate.notAfter),
  });
  const root = entryOf({ kind: 'root', state: 'active', certificate: rootCertificate, now });
  const issuing = entryOf({
    kind: 'issuing',
    state: 'active',
    certificate: issuingCertificate,
    root: root.fingerprint,
    now,
  });
  writeKey({ path: keyPath(home, tokenKeyFile), key: createKeyPair().privateKey });
  writeKey({ path: keyPath(home, root.keyFile), key: rootKey, passphrase: o.passphrase ?? o.root?.passphrase });
  writeKey({ path: keyPath(home, issuing.keyFile), key: issuingKey });
  const database = openStore(home);
  try {
    database.transaction(() => {
      insertAuthority(database, { trustDomain, settings }, now);
      const edits = createEdits(database);
      edits.insert(root);
      edits.insert(issuing);
    });
  } finally {
    database.close();
  }
  rmSync(keyPath(home, marker), { force: true });
}

/** Removes what kills left behind: the marker of an `init` that was killed after its transaction, and half-written keys. */
export function finishInit(home: string): void {
  removeTemporaries(join(home, 'ca'));
  rmSync(keyPath(home, marker), { force: true });
}

/** Refuses a home with an authority, or with keys of one whose database is gone; clears what a killed `init` left. */
function assertEmpty(home: string): void {
  if (hasStore(home)) {
    const database = openStore(home);
    const row = readAuthority(database);
    database.close();
    if (row) throw fail('CA_EXISTS', { home });
  }
  const folder = join(home, 'ca');
  const keys = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.key')) : [];
  if (keys.length === 0) return;
  if (!existsSync(keyPath(home, marker)))
    throw fail('CA_INCOMPLETE', {
      home,
      path: join(home, 'postern.db'),
      reason: 'it has keys but its database is missing or empty',
    });
  for (const name of keys) rmSync(join(folder, name), { force: true });
}
