// Makes a home: its authority, the first admin identity and the bundle file. Refuses where an authority is.
import { join } from 'node:path';
import { openRecordStore } from '#audit';
import type { Clock } from '#base/clock';
import { makePrivateFolder, writeFileAtomic } from '#base/files';
import { type Authority, initAuthority } from '#ca';
import { formatBundle, type Identity, parseTrustDomain, spiffeIdOf } from '#spiffe';
import { saveAdminIdentity } from './admin-identity.ts';
import { adminFolder, bundlePath } from './home.ts';

type InitOptions = Omit<Parameters<typeof initAuthority>[0], 'onEvent'> & {
  readonly admin: string;
  readonly clock: Clock;
};

/** What `postern ca init` prints. Times in epoch milliseconds. */
export interface MadeHome {
  readonly trustDomain: string;
  readonly home: string;
  readonly fingerprint: string;
  readonly rootNotAfter: number;
  readonly rootKey: string;
  readonly admin: string;
  readonly adminNotAfter: number;
}

/** Durable on return; throws what `initAuthority` does. */
export async function initHome({ admin, ...options }: InitOptions): Promise<MadeHome> {
  const { home, clock } = options;
  // Names are checked before anything is written.
  adminId({ trustDomain: parseTrustDomain(options.trustDomain), name: admin });
  makePrivateFolder(home);
  const store = openRecordStore({ path: join(home, 'audit.db'), clock });
  try {
    const authority = await initAuthority({ ...options, onEvent: (event) => void store.addEvent(event) });
    try {
      const identity = issueAdmin({ authority, name: admin, folder: adminFolder(home) });
      writeBundle(home, authority);
      const { roots, rootKey } = authority.status();
      const { fingerprint, notAfter } = roots[0]!;
      return {
        trustDomain: authority.trustDomain,
        home,
        fingerprint,
        rootNotAfter: notAfter,
        rootKey,
        admin: identity.id.uri,
        adminNotAfter: identity.notAfter,
      };
    } finally {
      authority.close();
    }
  } finally {
    store.close();
  }
}

/** Issues an admin identity and saves it; durable on return. */
export function issueAdmin({
  authority,
  name,
  folder,
}: {
  authority: Authority;
  name: string;
  folder: string;
}): Identity {
  const id = adminId({ trustDomain: authority.trustDomain, name });
  const identity = authority.issueLocal({ id, ttlMs: authority.settings.adminTtlMs, instance: `admin-${name}` });
  saveAdminIdentity(folder, identity);
  return identity;
}

function adminId({ trustDomain, name }: { trustDomain: string; name: string }) {
  return spiffeIdOf({ trustDomain, service: `postern/admin/${name}` });
}

function writeBundle(home: string, authority: Authority): void {
  const { trustDomain } = authority;
  const content = { trustDomain, bundle: formatBundle(authority.bundle()) };
  writeFileAtomic(bundlePath(home), `${JSON.stringify(content, undefined, 2)}\n`, 0o644);
}
