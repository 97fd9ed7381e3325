// The certificate authority of one home, assembled: tokens, requests, leaves, bans and rotation around one database. An identity comes only
// from a token or from the certificate that it renews; whatever is refused is thrown, and the caller records it.
import { createPublicKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { Clock } from '#base/clock';
import type { Database } from '#base/database';
import { type Log, silentLog } from '#base/log';
import {
  createKeyPair,
  type Identity,
  readIdentity,
  reservedPath,
  type SpiffeId,
  type Svid,
  type TrustBundle,
} from '#spiffe';
import type { Ban, CaStatus, IdentityStatus, TokenList } from '#wire';
import { type ClockGuard, createClockGuard } from './clock-guard.ts';
import { createEnrolment, type IssuedSvid } from './enrolment.ts';
import { fail } from './errors.ts';
import { createFloodLimit } from './flood.ts';
import { createHierarchy, type Hierarchy } from './hierarchy.ts';
import { createHousekeeping } from './housekeeping.ts';
import { finishInit, tokenKeyFile, writeAuthority } from './init.ts';
import { createIssuedLog } from './issued.ts';
import { readKey } from './keys.ts';
import type { OwnRoot } from './own-root.ts';
import { type BanTarget, createBanList, describeTarget } from './revocation.ts';
import { createRotation } from './rotation.ts';
import { type CaSettings, defaultSettings, withSettings } from './settings.ts';
import { assertKeys, createSigners, keyPath } from './signers.ts';
import { caStatus } from './status.ts';
import { hasStore, openStore, readAuthority, storePath } from './store.ts';
import { createTokenDesk } from './token.ts';

/** A change that the authority made; refusals are thrown instead. */
export interface CaEvent {
  readonly action: 'token.create' | 'enrol' | 'renew' | 'issue' | 'ban' | 'unban' | 'rotate' | 'ca.warning';
  readonly outcome: 'done' | 'failed';
  /** SPIFFE ID of who did it, `local`, or `unauthenticated`. */
  readonly actor: string;
  readonly subject?: string;
  readonly details?: Readonly<Record<string, string | number | boolean>>;
}

export interface AuthorityOptions {
  readonly home: string;
  readonly clock: Clock;
  readonly log?: Log;
  /** Opens, and for new roots encrypts, the root's key. Kept for as long as the authority is open. */
  readonly passphrase?: Buffer;
  /** Put over the settings that were written at `ca init`, for this opening only. */
  readonly settings?: Partial<CaSettings>;
  /** Called after each change is durable and before its caller hears of it. */
  readonly onEvent?: (event: CaEvent) => void;
}

export interface Authority {
  readonly trustDomain: string;
  readonly settings: CaSettings;
  readonly database: Database;
  bundle(): TrustBundle;
  createToken(o: {
    readonly service: SpiffeId;
    readonly url: string;
    readonly ttlMs: number;
    readonly by: string;
  }): Promise<{ readonly token: string; readonly id: string; readonly expiresAt: number }>;
  tokens(): TokenList['tokens'];
  /** Safe to ask again with the same token and key. */
  enrol(o: { readonly token: string; readonly csr: Uint8Array }): Promise<IssuedSvid>;
  renew(o: { readonly presented: Svid; readonly csr: Uint8Array }): IssuedSvid;
  /** An identity of the mesh's own parts; its key is made here and kept nowhere. */
  issueLocal(o: {
    readonly id: SpiffeId;
    readonly ttlMs: number;
    readonly instance: string;
    readonly dns?: readonly string[];
    readonly ip?: readonly string[];
  }): Identity;
  /** Of a certificate: also of those that it was renewed into. */
  ban(o: BanTarget & { readonly by: string; readonly reason?: string | undefined }): void;
  /** The living certificates that a ban of this one reaches too. */
  renewalsOf(serial: string): readonly string[];
  /** False when there was no such ban. */
  unban(o: BanTarget & { readonly by: string }): boolean;
  bans(): readonly Ban[];
  isBanned(svid: { readonly id: SpiffeId | string; readonly serial: string }): boolean;
  identities(): readonly IdentityStatus[];
  instanceOf(serial: string): string | undefined;
  status(): CaStatus;
  /** Resolves when the new issuing CA signs. Throws at once when the root's key is away. */
  rotateIssuing(o: { readonly by: string }): Promise<void>;
  /** Resolves when the new root is in the bundle; `tick` does the rest. */
  rotateRoot(o: { readonly by: string }): Promise<void>;
  /** Drives rotations; call it every second and when a proxy has acknowledged a bundle. Never throws. */
  tick(o: { readonly bundleHeldByAll: (sequence: bigint) => boolean }): void;
  /** Resolves when no CA certificate is being made. */
  idle(): Promise<void>;
  onChange(listener: (what: 'bundle' | 'issuing' | 'bans') => void): void;
  /** Closing twice is allowed. */
  close(): void;
}

/** Renewals of one instance: this many at once, then one in each twentieth of an SVID's life. */
const renewalBurst = 10;

/** Makes a root (or takes the given one), an issuing CA and an empty registry; refuses a home that has them. */
export async function initAuthority(
  o: AuthorityOptions & { readonly trustDomain: string; readonly root?: OwnRoot },
): Promise<Authority> {
  const settings = withSettings(defaultSettings, o.settings);
  const { home, trustDomain, passphrase, root } = o;
  await writeAuthority({ home, trustDomain, settings, now: createClockGuard(o.clock).now(), passphrase, root });
  return openAuthority(o);
}

/** Opens the authority of a home; throws with the exact fix when something of it is missing, torn or exposed (C14). */
export async function openAuthority(o: AuthorityOptions): Promise<Authority> {
  const { home } = o;
  if (!hasStore(home) && !existsSync(keyPath(home, tokenKeyFile))) throw fail('CA_MISSING', { home });
  if (!hasStore(home)) throw fail('CA_INCOMPLETE', { home, path: storePath(home), reason: 'its database is missing' });
  const database = openStore(home);
  try {
    return assemble(o, database);
  } catch (thrown) {
    database.close();
    throw thrown;
  }
}

function assemble(o: AuthorityOptions, database: Database): Authority {
  const { home, passphrase, log = silentLog } = o;
  const row = readAuthority(database);
  if (!row) throw fail('CA_MISSING', { home });
  const { trustDomain } = row;
  const settings = withSettings(row.settings, o.settings);
  const hierarchy = createHierarchy(database, trustDomain);
  assertKeys({ home, hierarchy, passphrase });
  const tokenKey = readKey({ path: keyPath(home, tokenKeyFile) });
  finishInit(home);

  const clock = createClockGuard(o.clock);
  const listeners: ((what: 'bundle' | 'issuing' | 'bans') => void)[] = [];
  const announce = (what: 'bundle' | 'issuing' | 'bans'): void => {
    for (const listener of listeners) listener(what);
  };
  const report = (event: CaEvent): void => o.onEvent?.(event);
  let rotator = 'local';

  const signers = createSigners({ home, hierarchy, passphrase });
  const issued = createIssuedLog(database);
  // Nobody renews into the server's certificates: each is made here, for a key that is made here.
  const ownId = `spiffe://${trustDomain}/${reservedPath}/server`;
  const renewalsOf = (serial: string, now: number): readonly string[] =>
    issued.find(serial)?.id === ownId ? [] : issued.renewalsOf(serial, now);
  const bans = createBanList({ database, renewalsOf });
  const tokens = createTokenDesk({ database, key: tokenKey, trustDomain });
  const renewals = createFloodLimit({ clock: o.clock, burst: renewalBurst, everyMs: settings.svidTtlMs / 20 });
  const tokenPublicKey = createPublicKey(tokenKey).export({ format: 'der', type: 'spki' });
  const isOwnKey = (publicKey: Uint8Array): boolean =>
    [tokenPublicKey, ...caKeys(hierarchy)].some((own) => Buffer.compare(own, publicKey) === 0);
  const enrolment = createEnrolment({
    database,
    clock,
    settings,
    hierarchy,
    signers,
    tokens,
    issued,
    bans,
    renewals,
    isOwnKey,
  });
  const rotation = createRotation({
    home,
    hierarchy,
    signers,
    settings,
    passphrase,
    log,
    lastExpiry: issued.lastExpiry,
    changed(what, details) {
      announce(what);
      report({ action: 'rotate', outcome: 'done', actor: rotator, subject: what, details });
    },
  });
  const housekeeping = createHousekeeping({
    ...{ hierarchy, signers, rotation, settings, tokens, issued },
    warn(warning) {
      log.warn(warning);
      report({ action: 'ca.warning', outcome: 'failed', actor: 'local', details: { warning } });
    },
  });

  return {
    trustDomain,
    settings,
    database,
    bundle: hierarchy.bundle,
    async createToken({ service, url, ttlMs, by }) {
      const refuse = (reason: string) => fail('TOKEN_SERVICE_REFUSED', { service: service.uri, reason });
      if (service.trustDomain !== trustDomain) throw refuse(`it is not in ${trustDomain}`);
      if (service.isReserved) throw refuse('/postern/ belongs to the mesh itself');
      if (bans.isBanned({ id: service, serial: '' })) throw fail('IDENTITY_BANNED', { id: service.uri });
      const made = await tokens.create({ service, url, ttlMs, by, bundle: hierarchy.bundle(), now: clock.now() });
      report({ action: 'token.create', outcome: 'done', actor: by, subject: service.uri, details: { token: made.id } });
      return made;
    },
    tokens: () => tokens.list(o.clock.now()),
    async enrol(request) {
      const { svid, token } = await enrolment.enrol(request);
      const { serial, instance, replayed } = svid;
      const details = { token, serial, instance, replayed };
      report({ action: 'enrol', outcome: 'done', actor: 'unauthenticated', subject: svid.id.uri, details });
      return svid;
    },
    renew(request) {
      const svid = enrolment.renew(request);
      const { serial, instance } = svid;
      const details = { serial, instance, replaces: request.presented.serial };
      report({ action: 'renew', outcome: 'done', actor: svid.id.uri, subject: svid.id.uri, details });
      return svid;
    },
    issueLocal(request) {
      const { privateKey, publicKey } = createKeyPair();
      const { chain, serial, instance } = enrolment.issueLocal({
        ...request,
        publicKey: publicKey.export({ format: 'der', type: 'spki' }),
      });
      report({
        action: 'issue',
        outcome: 'done',
        actor: 'local',
        subject: request.id.uri,
        details: { serial, instance },
      });
      return readIdentity({ key: privateKey, chain });
    },
    ban({ by, reason, ...target }) {
      const renewals = bans.ban({ ...target, by, reason, at: o.clock.now() });
      announce('bans');
      const details = { ...(reason !== undefined && { reason }), ...(renewals > 0 && { renewals }) };
      report({ action: 'ban', outcome: 'done', actor: by, subject: describeTarget(target), details });
    },
    unban({ by, ...target }) {
      const wasBanned = bans.unban(target);
      if (!wasBanned) return false;
      announce('bans');
      report({ action: 'unban', outcome: 'done', actor: by, subject: describeTarget(target) });
      return true;
    },
    renewalsOf: (serial) => renewalsOf(serial, o.clock.now()),
    bans: bans.all,
    isBanned: bans.isBanned,
    identities: () => issued.identities({ now: o.clock.now(), isBanned: bans.isBanned }),
    instanceOf: (serial) => issued.find(serial)?.instance,
    status: () => caStatus({ hierarchy, signers, rotation, settings }, o.clock.now()),
    rotateIssuing({ by }) {
      rotator = by;
      return handled(rotation.rotateIssuing(clock.now()));
    },
    rotateRoot({ by }) {
      rotator = by;
      return handled(rotation.rotateRoot(clock.now()));
    },
    tick({ bundleHeldByAll }) {
      const now = believedTime(clock, log);
      if (now === undefined) return;
      try {
        rotation.tick({ now, bundleHeldByAll });
        housekeeping(now);
      } catch (error) {
        log.error('the authority could not do what is due', { error });
      }
    },
    idle: rotation.idle,
    onChange: (listener) => void listeners.push(listener),
    close() {
      if (database.sql.isOpen) database.close();
    },
  };
}

function caKeys(hierarchy: Hierarchy): Uint8Array[] {
  return [...hierarchy.all('root'), ...hierarchy.all('issuing')].map(({ certificate }) => certificate.publicKey);
}

function believedTime(clock: ClockGuard, log: Log): number | undefined {
  try {
    return clock.now();
  } catch (error) {
    log.warn('nothing is rotated while the clock cannot be believed', { error });
    return undefined;
  }
}

/** A promise whose failure nobody has to look at; whoever awaits it still gets it. */
function handled(promise: Promise<void>): Promise<void> {
  promise.catch(() => undefined);
  return promise;
}
