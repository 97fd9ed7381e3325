// When is a CA certificate replaced? Issuing CAs by themselves (prepared at half of their life, active before the last sixth); roots when an
// operator asks, with overlap: prepared (in the bundle, signs nothing) -> active (once every holder has the bundle) -> retiring (until the
// last leaf under it has expired) -> removed. Every step is one transaction over states in the database, so a kill between two resumes.
import { rmSync } from 'node:fs';
import type { Log } from '#base/log';
import { createKeyPair } from '#spiffe';
import { fail } from './errors.ts';
import { type CaEntry, type CaState, entryOf, type Hierarchy } from './hierarchy.ts';
import { writeKey } from './keys.ts';
import type { CaSettings } from './settings.ts';
import { keyPath, type Signers } from './signers.ts';

export interface RotationParts {
  readonly home: string;
  readonly hierarchy: Hierarchy;
  readonly signers: Signers;
  readonly settings: CaSettings;
  readonly passphrase?: Buffer | undefined;
  readonly log: Log;
  /** Expiry of the last leaf under an issuing CA. */
  readonly lastExpiry: (issuer: string) => number;
  readonly changed: (what: 'bundle' | 'issuing', details: Readonly<Record<string, string>>) => void;
}

export interface Rotation {
  /** One look at what is due; starts what has to be made and returns. */
  tick(o: { readonly now: number; readonly bundleHeldByAll: (sequence: bigint) => boolean }): void;
  /** Makes and activates a new issuing CA. */
  rotateIssuing(now: number): Promise<void>;
  /** Puts a new root into the bundle; the rest follows in `tick`. */
  rotateRoot(now: number): Promise<void>;
  /** Resolves when nothing is being made. */
  idle(): Promise<void>;
  /** Why the last attempt failed, if it did. */
  readonly lastFault: string | undefined;
}

/** As many roots as a join token can carry, less one. */
const mostRoots = 7;
/** Wait between failed attempts. */
const retryMs = 5_000;

export function createRotation(parts: RotationParts): Rotation {
  const { hierarchy, signers, settings } = parts;
  let running: Promise<void> = Promise.resolve();
  let isBusy = false;
  let lastFault: string | undefined;
  let notBefore = 0;

  const exclusive = (work: () => Promise<void>): Promise<void> => {
    const next = running.then(async () => {
      isBusy = true;
      try {
        await work();
        lastFault = undefined;
      } finally {
        isBusy = false;
      }
    });
    running = next.catch(() => undefined);
    return next;
  };
  /** Work that nobody waits for: a failure is logged, shown as a warning, and tried again later. */
  const inBackground = (now: number, work: () => Promise<void>): void => {
    isBusy = true;
    exclusive(work).catch((thrown: unknown) => {
      lastFault = thrown instanceof Error ? thrown.message : String(thrown);
      notBefore = now + retryMs;
      parts.log.error('a rotation step failed and will be tried again', { error: thrown });
    });
  };

  return {
    tick({ now, bundleHeldByAll }) {
      if (isBusy || now < notBefore) return;
      retire(parts, now);
      const root = hierarchy.one('root', 'prepared');
      if (root && signers.hasRootKey(root) && bundleHeldByAll(hierarchy.bundle().sequence))
        return inBackground(now, () => activateRoot(parts, root, now));
      const active = hierarchy.one('issuing', 'active');
      const prepared = hierarchy.one('issuing', 'prepared');
      if (!active) return;
      const due = dueTimes(active, settings);
      if (prepared && now >= due.activate) return activateIssuing(parts, prepared, now);
      const above = hierarchy.one('root', 'active');
      if (!prepared && now >= due.prepare && above && isFitToSign(above, now) && signers.hasRootKey(above))
        inBackground(now, () => makeIssuing(parts, above, 'prepared', now));
    },
    rotateIssuing(now) {
      const root = hierarchy.one('root', 'active')!;
      signers.rootKey(root);
      return exclusive(() => makeIssuing(parts, hierarchy.one('root', 'active') ?? root, 'active', now));
    },
    rotateRoot(now) {
      const waitingFor = waitingForOf(hierarchy);
      if (hierarchy.one('root', 'prepared') || hierarchy.all('root').length >= mostRoots)
        throw fail('CA_ROTATION_RUNNING', { waitingFor: waitingFor ?? 'a root is being prepared' });
      return exclusive(() => prepareRoot(parts, now));
    },
    idle: () => running,
    get lastFault() {
      return lastFault;
    },
  };
}

/** When an issuing CA's successor must exist, and when it must sign. */
function dueTimes(issuing: CaEntry, settings: CaSettings): { readonly prepare: number; readonly activate: number } {
  const { notBefore, notAfter } = issuing.certificate;
  const life = notAfter - notBefore;
  const prepare = notBefore + life / 2;
  const room = Math.max(life / 6, 2 * Math.max(settings.svidTtlMs, settings.adminTtlMs));
  return { prepare, activate: Math.max(prepare, notAfter - room) };
}

/** What the next step of a root rotation waits for, in words. */
export function waitingForOf(hierarchy: Hierarchy): string | undefined {
  if (hierarchy.one('root', 'prepared')) return 'every proxy to hold the bundle with the new root';
  if (hierarchy.all('root').some(({ state }) => state === 'retiring'))
    return 'the last certificate under the old root to expire';
  return undefined;
}

async function prepareRoot(parts: RotationParts, now: number): Promise<void> {
  const { createRoot } = await import('./x509.ts');
  const { privateKey } = createKeyPair();
  const { settings, hierarchy } = parts;
  const { trustDomain } = hierarchy.bundle();
  const certificate = await createRoot({ trustDomain, key: privateKey, ...lifeOf(now, settings.rootTtlMs, settings) });
  const entry = entryOf({ kind: 'root', state: 'prepared', certificate, now });
  writeKey({ path: keyPath(parts.home, entry.keyFile), key: privateKey, passphrase: parts.passphrase });
  hierarchy.change((edits) => {
    edits.insert(entry);
    edits.raiseSequence();
  });
  parts.changed('bundle', { step: 'prepared', root: entry.fingerprint });
}

/** The new root signs its first issuing CA; in one transaction both become active and the old ones retire. */
async function activateRoot(parts: RotationParts, root: CaEntry, now: number): Promise<void> {
  const { hierarchy } = parts;
  const entry = await newIssuing(parts, root, 'active', now);
  const [oldRoot, oldIssuing, unused] = [
    hierarchy.one('root', 'active'),
    hierarchy.one('issuing', 'active'),
    hierarchy.one('issuing', 'prepared'),
  ];
  hierarchy.change((edits) => {
    if (oldRoot) edits.setState(oldRoot.fingerprint, 'retiring', now);
    if (oldIssuing) edits.setState(oldIssuing.fingerprint, 'retiring', now);
    if (unused) edits.setState(unused.fingerprint, 'removed', now);
    edits.setState(root.fingerprint, 'active', now);
    edits.insert(entry);
  });
  if (unused) eraseKey(parts, unused);
  parts.changed('issuing', { step: 'active', root: root.fingerprint, issuing: entry.fingerprint });
}

async function makeIssuing(
  parts: RotationParts,
  root: CaEntry,
  state: 'prepared' | 'active',
  now: number,
): Promise<void> {
  const entry = await newIssuing(parts, root, state, now);
  if (state === 'prepared') return parts.hierarchy.change((edits) => edits.insert(entry));
  replaceIssuing(parts, now, (edits) => edits.insert(entry));
  parts.changed('issuing', { step: 'active', issuing: entry.fingerprint });
}

function activateIssuing(parts: RotationParts, prepared: CaEntry, now: number): void {
  replaceIssuing(parts, now, (edits) => edits.setState(prepared.fingerprint, 'active', now), prepared);
  parts.changed('issuing', { step: 'active', issuing: prepared.fingerprint });
}

/** The active issuing CA retires, a prepared one that is not wanted goes, and `enter` puts the new one in. */
function replaceIssuing(
  parts: RotationParts,
  now: number,
  enter: Parameters<Hierarchy['change']>[0],
  wanted?: CaEntry,
): void {
  const { hierarchy } = parts;
  const old = hierarchy.one('issuing', 'active');
  const prepared = hierarchy.one('issuing', 'prepared');
  const unused = prepared?.fingerprint === wanted?.fingerprint ? undefined : prepared;
  hierarchy.change((edits) => {
    if (old) edits.setState(old.fingerprint, 'retiring', now);
    if (unused) edits.setState(unused.fingerprint, 'removed', now);
    enter(edits);
  });
  if (unused) eraseKey(parts, unused);
}

/** Key file first, so that no row ever names a key that is not there. */
async function newIssuing(parts: RotationParts, root: CaEntry, state: CaState, now: number): Promise<CaEntry> {
  const { createIssuing } = await import('./x509.ts');
  const { settings } = parts;
  const { privateKey } = createKeyPair();
  const life = lifeOf(now, settings.issuingTtlMs, settings);
  const certificate = await createIssuing({
    trustDomain: parts.hierarchy.bundle().trustDomain,
    key: privateKey,
    root: root.certificate,
    rootKey: parts.signers.rootKey(root),
    notBefore: Math.max(life.notBefore, root.certificate.notBefore),
    notAfter: Math.min(life.notAfter, root.certificate.notAfter),
  });
  const entry = entryOf({ kind: 'issuing', state, certificate, root: root.fingerprint, now });
  writeKey({ path: keyPath(parts.home, entry.keyFile), key: privateKey });
  return entry;
}

/** Takes out what has nothing alive under it any more; old roots go last. */
function retire(parts: RotationParts, now: number): void {
  const { hierarchy, settings } = parts;
  const end = now - settings.backdateMs;
  const isOver = (issuing: CaEntry) =>
    parts.lastExpiry(issuing.fingerprint) < end || issuing.certificate.notAfter < end;
  const issuing = hierarchy.all('issuing').filter((entry) => entry.state === 'retiring' && isOver(entry));
  const left = hierarchy.all('issuing').filter((entry) => !issuing.includes(entry));
  const roots = hierarchy
    .all('root')
    .filter(({ state, fingerprint }) => state === 'retiring' && !left.some(({ root }) => root === fingerprint));
  if (issuing.length + roots.length === 0) return;
  hierarchy.change((edits) => {
    for (const { fingerprint } of [...issuing, ...roots]) edits.setState(fingerprint, 'removed', now);
    if (roots.length > 0) edits.raiseSequence();
  });
  for (const entry of [...issuing, ...roots]) eraseKey(parts, entry);
  for (const { fingerprint } of roots) parts.changed('bundle', { step: 'removed', root: fingerprint });
}

function eraseKey(parts: RotationParts, entry: CaEntry): void {
  try {
    rmSync(keyPath(parts.home, entry.keyFile), { force: true });
  } catch (error) {
    parts.log.warn('the key file of a removed CA could not be deleted', { file: entry.keyFile, error });
  }
}

function isFitToSign(root: CaEntry, now: number): boolean {
  return now >= root.certificate.notBefore && now < root.certificate.notAfter;
}

function lifeOf(now: number, ttlMs: number, settings: CaSettings): { notBefore: number; notAfter: number } {
  return { notBefore: now - settings.backdateMs, notAfter: now + ttlMs };
}
