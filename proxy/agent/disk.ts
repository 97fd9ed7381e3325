// What a sidecar keeps in <home>/sidecar so that it can restart while the control plane is away: its key, certificate, bundle and last
// good snapshot. Key and certificate change as one: the certificate file is the pointer, and the key is whichever file here matches it.
import { createHash, createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '#base/error';
import { makePrivateFolder, readFileOrFail, readPrivateFile, writeFileAtomic } from '#base/files';
import { check, type Static, s } from '#base/schema';
import {
  createKeyPair,
  type Identity,
  parseBundle,
  parseSpiffeId,
  readIdentity,
  type TrustBundle,
  toPem,
} from '#spiffe';
import { fail } from './errors.ts';

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** Everything that one enrolment or renewal gave. */
export interface Holding {
  readonly identity: Identity;
  readonly bundle: TrustBundle;
  /** The bundle as it came: a SPIFFE JWKS document. */
  readonly bundleText: string;
  readonly instance: string;
  /** The control plane's https origin. */
  readonly url: string;
  /** When its certificate came, by our clock; unknown of one that was read from disk. Validity begins earlier than that. */
  readonly receivedAt?: number;
}

export type StoredSnapshot = { readonly value: unknown } | { readonly broken: string } | undefined;

export interface SidecarFolder {
  readonly path: string;
  /** Where this instance's decision records wait. One folder each: the control plane takes an instance's records from itself only. */
  recordsOf(instance: string): string;
  /** Instances before this one whose records were never received whole. */
  strandedRecords(instance: string): readonly string[];
  /** What was stored last; `undefined` before the first enrolment. Torn, missing or exposed files throw with the exact fix. */
  readHolding(): Holding | undefined;
  /** The key under this name, made and made durable (0600) when there is none: the same key for the same name, over restarts too. */
  pendingKey(name: string): KeyPair;
  /**
   * Durable on return, the key too; killed or refused by the disk at any moment, the folder holds either the old pair or the new one.
   * `name` is the pending key's, or the one that a key which is not here yet gets until the certificate is.
   */
  writeHolding(holding: Holding, name: string): void;
  /** Not checked for meaning; `broken` says why the file cannot be used. */
  readSnapshot(): StoredSnapshot;
  writeSnapshot(text: string): void;
  /** Where that is: see `writeSnapshotFile`. */
  readonly snapshotPath: string;
}

const stateVersion = 1;
const stateSchema = s.object({
  version: s.literal(stateVersion),
  instance: s.string({ minLength: 1, maxLength: 64 }),
  id: s.string({ maxLength: 2_048 }),
  url: s.string({ maxLength: 300 }),
  bundle: s.string({ maxLength: 65_536 }),
});

/** That of a sidecar, in its home. */
export function openSidecarFolder(home: string): SidecarFolder {
  return openFolder(join(home, 'sidecar'));
}

/** Opens it, making it 0700; throws FILE_UNWRITABLE where that cannot be written. */
export function openFolder(path: string): SidecarFolder {
  makePrivateFolder(path);
  const file = (name: string): string => join(path, name);
  const broken = (name: string, reason: string, cause?: unknown) =>
    fail('SIDECAR_FOLDER_BROKEN', { path: file(name), folder: path, reason }, { cause });

  const readState = (): Static<typeof stateSchema> => {
    const text = readFileOrFail(file('state.json')).toString('utf8');
    const value = parseJson(text);
    if (value === undefined) throw broken('state.json', text.trim() === '' ? 'it is empty' : 'it is not JSON');
    const found = (value as { version?: unknown } | null)?.version;
    if (Number.isSafeInteger(found) && (found as number) > stateVersion) {
      throw fail('SIDECAR_FOLDER_NEWER', { path, folder: path, found: found as number, known: stateVersion });
    }
    const [problem] = check(stateSchema, value);
    if (problem) throw broken('state.json', `${problem.pointer || 'it'} ${problem.message}`);
    return value as Static<typeof stateSchema>;
  };

  const readKeyFor = (leaf: X509Certificate): KeyObject => {
    const names = readdirSync(path);
    const pending = names.filter((name) => /^next-.+\.pem$/.test(name));
    const candidates = [...(names.includes('key.pem') ? ['key.pem'] : []), ...pending];
    if (candidates.length === 0) throw broken('key.pem', 'it is missing');
    for (const name of candidates) {
      const key = readKey(file(name));
      if (!key || !leaf.checkPrivateKey(key)) continue;
      // Killed between the certificate and the key's final name: the last step is done now.
      if (name !== 'key.pem') renameSync(file(name), file('key.pem'));
      return key;
    }
    const torn = readKey(file('key.pem')) === undefined;
    throw broken('key.pem', torn ? 'it is not a private key' : 'it does not belong to svid.pem');
  };

  const writeKey = (name: string, key: KeyObject): void =>
    writeFileAtomic(file(`next-${name}.pem`), key.export({ type: 'pkcs8', format: 'pem' }) as string);
  const readPending = (name: string): KeyObject | undefined =>
    readdirSync(path).includes(`next-${name}.pem`) ? readKey(file(`next-${name}.pem`)) : undefined;

  return {
    path,
    recordsOf: (instance) => join(file('records'), instance),
    strandedRecords: (instance) => {
      const folders = existsSync(file('records')) ? readdirSync(file('records')) : [];
      return folders.filter((name) => name !== instance).map((name) => join(file('records'), name));
    },
    readHolding() {
      const names = readdirSync(path);
      if (!names.includes('svid.pem')) {
        if (names.includes('key.pem')) throw broken('svid.pem', 'it is missing');
        return undefined;
      }
      if (!names.includes('state.json')) throw broken('state.json', 'it is missing');
      const state = readState();
      const chain = readChain(readFileOrFail(file('svid.pem')).toString('latin1'));
      if (!chain) throw broken('svid.pem', 'it is not a certificate chain');
      const key = readKeyFor(chain[0]!);
      try {
        const identity = readIdentity({ key, chain: chain.map((certificate) => certificate.raw) });
        const id = parseSpiffeId(state.id);
        if (identity.id.uri !== id.uri) throw new TypeError(`it is of ${identity.id.uri}, and state.json of ${id.uri}`);
        const bundle = parseBundle(id.trustDomain, state.bundle);
        return { identity, bundle, bundleText: state.bundle, instance: state.instance, url: state.url };
      } catch (cause) {
        throw broken('svid.pem', messageOf(cause), cause);
      }
    },
    pendingKey(name) {
      const found = readPending(name);
      if (found) return { privateKey: found, publicKey: createPublicKey(found) };
      const pair = createKeyPair();
      writeKey(name, pair.privateKey);
      return pair;
    },
    writeHolding({ identity, bundleText, instance, url }, name) {
      if (!readPending(name)?.equals(identity.key)) writeKey(name, identity.key);
      const state = { version: stateVersion, instance, id: identity.id.uri, url, bundle: bundleText };
      writeFileAtomic(file('state.json'), `${JSON.stringify(state, undefined, 2)}\n`);
      writeFileAtomic(file('svid.pem'), identity.chain.map(toPem).join(''));
      renameSync(file(`next-${name}.pem`), file('key.pem'));
      for (const left of readdirSync(path)) if (/^next-.+\.pem$/.test(left)) rmSync(file(left), { force: true });
    },
    readSnapshot() {
      if (!readdirSync(path).includes('snapshot.json')) return undefined;
      const text = readFileOrFail(file('snapshot.json')).toString('utf8');
      const [, digest, body] = /^\{"sha256":"([0-9a-f]{64})","snapshot":(.*)\}\n$/s.exec(text) ?? [];
      if (body === undefined || digest !== digestOf(body)) return { broken: 'its checksum does not match its content' };
      const value = parseJson(body);
      return value === undefined ? { broken: 'it is not JSON' } : { value };
    },
    snapshotPath: file('snapshot.json'),
    writeSnapshot: (text) => writeSnapshotFile(file('snapshot.json'), [text]),
  };
}

/** One atomic write carries the digest and what it is of; the digest is of the text's parts, so nothing has to be serialised or put together twice. */
export function writeSnapshotFile(path: string, text: readonly (string | Uint8Array)[]): void {
  const digest = createHash('sha256');
  const parts = text.map((part) => (typeof part === 'string' ? Buffer.from(part) : part));
  for (const part of parts) digest.update(part);
  const head = Buffer.from(`{"sha256":"${digest.digest('hex')}","snapshot":`);
  writeFileAtomic(path, Buffer.concat([head, ...parts, Buffer.from('}\n')]));
}

/** True while the certificate may be used. */
export function isCurrent(identity: Identity, now: number): boolean {
  return identity.notBefore <= now && now < identity.notAfter;
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `undefined` when the file is not a private key; an exposed one throws. */
function readKey(path: string): KeyObject | undefined {
  const pem = readPrivateFile(path);
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  } finally {
    pem.fill(0);
  }
}

function readChain(pem: string): X509Certificate[] | undefined {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    return blocks.length > 0 ? blocks.map((block) => new X509Certificate(block)) : undefined;
  } catch {
    return undefined;
  }
}
