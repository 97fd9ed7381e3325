// The admin identity of a home: HOME/admin/{key.pem,svid.pem}. Read, saved and replaced so that a crash at any moment leaves a pair that fits.
import { X509Certificate } from 'node:crypto';
import { closeSync, existsSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivateFolder, removeTemporaries, writeFileAtomic } from '#base/files';
import { type Identity, readIdentity, toPem } from '#spiffe';
import { fail } from './errors.ts';
import { readChainFile, readKeyFile } from './pem-files.ts';

const fix = 'on the host of the authority run: postern ca admin NAME';

/** Longer than a renewal can take: what is older was left by a crash. */
const renewalMs = 60_000;

/** The identity, whether still valid or not; throws `CLI_NO_IDENTITY`, `FILE_*`, `CLI_HOME_BROKEN`, `IDENTITY_*`. */
export function readAdminIdentity(folder: string): Identity {
  const paths = pathsIn(folder);
  if (!existsSync(paths.svid)) throw fail('CLI_NO_IDENTITY', { folder });
  const chain = readChainFile({ path: paths.svid, fix });
  const leaf = new X509Certificate(chain[0]);
  let key = existsSync(paths.key) ? readKeyFile({ path: paths.key, fix }) : undefined;
  if ((!key || !leaf.checkPrivateKey(key)) && existsSync(paths.nextKey)) {
    // Stopped between the two files of a renewal: the certificate is new, its key was about to be.
    const next = readKeyFile({ path: paths.nextKey, fix });
    if (leaf.checkPrivateKey(next)) {
      key = next;
      renameSync(paths.nextKey, paths.key);
    }
  }
  if (!key) throw fail('CLI_NO_IDENTITY', { folder });
  return readIdentity({ key, chain });
}

/** Saves a new pair, readable by its owner only: the key first, under another name, so that the old pair stays whole until the new one is. */
export function saveAdminIdentity(folder: string, identity: Pick<Identity, 'key' | 'chain'>): void {
  const paths = pathsIn(folder);
  makePrivateFolder(folder);
  removeTemporaries(folder);
  writeFileAtomic(paths.nextKey, identity.key.export({ format: 'pem', type: 'pkcs8' }));
  writeFileAtomic(paths.svid, identity.chain.map(toPem).join(''));
  renameSync(paths.nextKey, paths.key);
}

/** Runs `renew` unless another process is at it; `undefined` when one is. */
export async function renewAlone<T>(
  { folder, now }: { folder: string; now: number },
  renew: () => Promise<T>,
): Promise<T | undefined> {
  const lock = join(folder, 'renewal.lock');
  if (existsSync(lock) && now - statSync(lock).mtimeMs > renewalMs) rmSync(lock, { force: true });
  try {
    closeSync(openSync(lock, 'wx', 0o600));
  } catch {
    // Taken, or a read-only home: what is held still works.
    return undefined;
  }
  try {
    return await renew();
  } finally {
    rmSync(lock, { force: true });
  }
}

function pathsIn(folder: string) {
  return { key: join(folder, 'key.pem'), nextKey: join(folder, 'key.next.pem'), svid: join(folder, 'svid.pem') };
}
