// Which key signs leaves now, and can new CA certificates be made? Binds each CA certificate to its key file, and refuses a pair that does
// not belong together. The root's key is read only when something is signed with it.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isPosternError } from '#base/error';
import { readFileOrFail } from '#base/files';
import { fail } from './errors.ts';
import type { CaEntry, Hierarchy } from './hierarchy.ts';
import { isEncryptedKey, readKey } from './keys.ts';
import { createSigner, type Signer } from './profile.ts';

export type RootKeyState = 'present' | 'encrypted' | 'offline';

export interface Signers {
  /** The issuing CA for a leaf made now; throws `CA_ISSUING_EXPIRED` when none is valid. */
  at(now: number): Signer;
  /** The key of a root; throws `CA_ROOT_OFFLINE`, or what is wrong with the file. */
  rootKey(root: CaEntry): KeyObject;
  /** Whether `rootKey` would find a key, judged without opening it. */
  hasRootKey(root: CaEntry): boolean;
  rootKeyState(root: CaEntry): RootKeyState;
}

export function createSigners(o: {
  readonly home: string;
  readonly hierarchy: Hierarchy;
  readonly passphrase?: Buffer | undefined;
}): Signers {
  const loaded = new Map<string, Signer>();
  const pathOf = (entry: CaEntry) => keyPath(o.home, entry.keyFile);
  const signerOf = (entry: CaEntry): Signer => {
    const known = loaded.get(entry.fingerprint);
    if (known) return known;
    const key = readPair(o.home, entry, undefined);
    const signer = createSigner({ certificate: entry.certificate, fingerprint: entry.fingerprint, key });
    loaded.set(entry.fingerprint, signer);
    return signer;
  };
  const rootKeyState = (root: CaEntry): RootKeyState => {
    if (!existsSync(pathOf(root))) return 'offline';
    return isEncryptedKey(readFileOrFail(pathOf(root))) ? 'encrypted' : 'present';
  };
  const hasRootKey = (root: CaEntry): boolean => {
    const state = rootKeyState(root);
    return state === 'present' || (state === 'encrypted' && o.passphrase !== undefined);
  };
  return {
    at(now) {
      const all = o.hierarchy.all('issuing');
      const candidates = [...all.filter(({ state }) => state === 'active'), ...all.filter(isRetiring)];
      const valid = candidates.find((entry) => isUsableAt(entry, now, o.hierarchy));
      if (valid) return signerOf(valid);
      const last = Math.max(0, ...candidates.map(({ certificate }) => certificate.notAfter));
      throw fail('CA_ISSUING_EXPIRED', { notAfter: new Date(last).toISOString() });
    },
    rootKey(root) {
      if (!hasRootKey(root)) throw fail('CA_ROOT_OFFLINE', { state: rootKeyState(root) });
      return readPair(o.home, root, o.passphrase);
    },
    hasRootKey,
    rootKeyState,
  };
}

export function keyPath(home: string, keyFile: string): string {
  return join(home, 'ca', keyFile);
}

/**
 * Checks, at the start, that every key file that must be there is there, private, whole and the right one. A root's key may be away;
 * an encrypted one is opened when there is a passphrase, so that a wrong one is found now and not in a week.
 */
export function assertKeys(o: {
  readonly home: string;
  readonly hierarchy: Hierarchy;
  readonly passphrase?: Buffer | undefined;
}): void {
  for (const entry of o.hierarchy.all('issuing')) {
    if (entry.state === 'retiring') continue;
    const path = keyPath(o.home, entry.keyFile);
    if (!existsSync(path)) throw fail('CA_INCOMPLETE', { home: o.home, path, reason: `${path} is missing` });
    readPair(o.home, entry, undefined);
  }
  for (const root of o.hierarchy.all('root')) {
    if (!existsSync(keyPath(o.home, root.keyFile))) continue;
    try {
      readPair(o.home, root, o.passphrase);
    } catch (thrown) {
      if (!isPosternError(thrown, 'CA_PASSPHRASE_NEEDED')) throw thrown;
    }
  }
}

function readPair(home: string, entry: CaEntry, passphrase: Buffer | undefined): KeyObject {
  const path = keyPath(home, entry.keyFile);
  const key = readKey({ path, passphrase });
  const own = createPublicKey(key).export({ format: 'der', type: 'spki' });
  if (Buffer.compare(own, entry.certificate.publicKey) !== 0)
    throw fail('CA_INCOMPLETE', { home, path, reason: `${path} is not the key of its certificate` });
  return key;
}

function isRetiring({ state }: CaEntry): boolean {
  return state === 'retiring';
}

function isUsableAt(entry: CaEntry, now: number, hierarchy: Hierarchy): boolean {
  const root = hierarchy.get(entry.root)?.certificate;
  const { notBefore, notAfter } = entry.certificate;
  return root !== undefined && now >= notBefore && now < notAfter && now >= root.notBefore && now < root.notAfter;
}
