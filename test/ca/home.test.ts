// The files of an authority: torn, exposed, missing, encrypted, brought along, or under a clock that jumps.
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { initAuthority, openAuthority } from '#ca';
import { spiffeIdOf, toPem, verifyChain } from '#spiffe';
import { createClock, type SettableClock } from '../helpers/clock.ts';
import {
  basicConstraints,
  createTestHome,
  keyUsage,
  type Made,
  makeCa,
  makeCertificate,
  rsaKeys,
} from '../helpers/pki.ts';

const trustDomain = 'example.org';
const id = spiffeIdOf({ trustDomain, service: 'web' });
const code = (expected: string) => expect.objectContaining({ code: expected });
const hour = 3_600_000;
let clock: SettableClock;
let home: string;

beforeEach(() => {
  clock = createClock(Math.floor(Date.now() / 1_000) * 1_000);
  home = createTestHome();
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const init = async (more: Partial<Parameters<typeof initAuthority>[0]> = {}) =>
  (await initAuthority({ home, trustDomain, clock, ...more })).close();
const open = (more: Partial<Parameters<typeof openAuthority>[0]> = {}) => openAuthority({ home, clock, ...more });
const file = (start: string) => join(home, 'ca', readdirSync(join(home, 'ca')).find((name) => name.startsWith(start))!);

describe('the home of an authority', () => {
  it('has private files in private folders', async () => {
    await init();
    for (const name of readdirSync(join(home, 'ca'))) expect(statSync(join(home, 'ca', name)).mode & 0o777).toBe(0o600);
    expect(statSync(join(home, 'ca')).mode & 0o777).toBe(0o700);
    expect(statSync(join(home, 'postern.db')).mode & 0o777).toBe(0o600);
  });
  it('a second init is refused and changes nothing', async () => {
    await init();
    const before = readdirSync(join(home, 'ca'));
    await expect(init()).rejects.toThrowError(code('CA_EXISTS'));
    expect(readdirSync(join(home, 'ca'))).toEqual(before);
  });
  it('C14: an empty home is refused, and no root is made silently', async () => {
    await expect(open()).rejects.toThrowError(code('CA_MISSING'));
    expect(readdirSync(home)).toEqual([]);
  });
  it.each(['token.key', 'issuing', 'root'])(
    'C14: a %s key that others can read is refused with the exact fix',
    async (which) => {
      await init();
      chmodSync(file(which), 0o640);
      await expect(open()).rejects.toThrowError(
        expect.objectContaining({ code: 'FILE_EXPOSED', hint: `run: chmod 600 ${file(which)}` }),
      );
    },
  );
  it.each(['token.key', 'issuing', 'root'])('C14: a %s key of no bytes is refused', async (which) => {
    await init();
    truncateSync(file(which), 0);
    await expect(open()).rejects.toThrowError(
      expect.objectContaining({ code: 'CA_KEY_UNREADABLE', message: expect.stringContaining('it is empty') }),
    );
    expect(statSync(file(which)).size).toBe(0);
  });
  it.each(['token.key', 'issuing', 'root'])('C14: a torn %s key is refused', async (which) => {
    await init();
    truncateSync(file(which), 100);
    await expect(open()).rejects.toThrowError(code('CA_KEY_UNREADABLE'));
  });
  it('C14: a missing issuing key is refused, and named', async () => {
    await init();
    const path = file('issuing');
    rmSync(path);
    await expect(open()).rejects.toThrowError(
      expect.objectContaining({ code: 'CA_INCOMPLETE', hint: expect.stringContaining(path) }),
    );
  });
  it('C14: a missing token key is refused', async () => {
    await init();
    rmSync(file('token'));
    await expect(open()).rejects.toThrowError(code('FILE_UNREADABLE'));
  });
  it('C14: the key of another CA is refused', async () => {
    await init();
    writeFileSync(file('issuing'), readFileSync(file('root')), { mode: 0o600 });
    await expect(open()).rejects.toThrowError(
      expect.objectContaining({ message: expect.stringContaining('is not the key of its certificate') }),
    );
  });
  it('C14: keys without their database are refused by open and by init', async () => {
    await init();
    for (const name of readdirSync(home)) if (name.startsWith('postern.db')) rmSync(join(home, name));
    await expect(open()).rejects.toThrowError(code('CA_INCOMPLETE'));
    await expect(init()).rejects.toThrowError(code('CA_INCOMPLETE'));
  });
  it('C14: a database of nonsense is refused', async () => {
    await init();
    for (const name of readdirSync(home)) if (name.startsWith('postern.db-')) rmSync(join(home, name));
    writeFileSync(join(home, 'postern.db'), 'nonsense '.repeat(1_000));
    await expect(open()).rejects.toThrowError(code('DATABASE_BROKEN'));
  });
  it('lifetimes that cannot work together are refused', async () => {
    await expect(init({ settings: { svidTtlMs: 100 } })).rejects.toThrowError(code('CA_SETTINGS_INVALID'));
    await expect(init({ settings: { issuingTtlMs: hour } })).rejects.toThrowError(/outlive an SVID/);
    expect(existsSync(join(home, 'ca'))).toBe(false);
  });
  it('settings given at a start are for that start only', async () => {
    await init({ settings: { svidTtlMs: 7_200_000 } });
    const short = await open({ settings: { svidTtlMs: 5_000 } });
    expect(short.settings.svidTtlMs).toBe(5_000);
    short.close();
    const usual = await open();
    expect(usual.settings.svidTtlMs).toBe(7_200_000);
    usual.close();
  });
});

describe('an encrypted root', () => {
  const passphrase = Buffer.from('correct horse');
  it('is readable by openssl with the passphrase, and by nobody without', async () => {
    await init({ passphrase });
    expect(readFileSync(file('root'), 'utf8')).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
    expect(
      execFileSync('openssl', ['pkey', '-in', file('root'), '-passin', `pass:${passphrase}`, '-noout']).toString(),
    ).toBe('');
    expect(() =>
      execFileSync('openssl', ['pkey', '-in', file('root'), '-passin', 'pass:wrong', '-noout'], { stdio: 'ignore' }),
    ).toThrow();
  });
  it('a wrong passphrase is found at the start', async () => {
    await init({ passphrase });
    await expect(open({ passphrase: Buffer.from('wrong') })).rejects.toThrowError(code('CA_PASSPHRASE_WRONG'));
  });
  it('serves without a passphrase, but cannot make a new issuing CA', async () => {
    await init({ passphrase });
    const authority = await open();
    expect(authority.issueLocal({ id, ttlMs: hour, instance: 'x' }).id).toEqual(id);
    expect(authority.status().rootKey).toBe('encrypted');
    expect(() => authority.rotateIssuing({ by: 'x' })).toThrowError(code('CA_ROOT_OFFLINE'));
    authority.close();
  });
  it('rotates with the passphrase, and the next root is encrypted too', async () => {
    await init({ passphrase });
    const authority = await open({ passphrase });
    await authority.rotateIssuing({ by: 'x' });
    await authority.rotateRoot({ by: 'x' });
    authority.tick({ bundleHeldByAll: () => true });
    await authority.idle();
    const roots = readdirSync(join(home, 'ca')).filter((name) => name.startsWith('root'));
    expect(roots).toHaveLength(2);
    for (const name of roots) expect(readFileSync(join(home, 'ca', name), 'utf8')).toContain('ENCRYPTED');
    expect(authority.status().warnings).toEqual([]);
    authority.close();
  });
});

describe('a root whose key is away', () => {
  it('C18: is no fault at the start; alarms come at 50 % and at 80 % of the issuing CA, and end when the key is back', async () => {
    await init();
    const path = file('root');
    renameSync(path, join(home, 'away'));
    const warned: string[] = [];
    const authority = await open({
      onEvent: ({ action, details }) => action === 'ca.warning' && warned.push(String(details?.warning)),
    });
    const tick = async () => {
      authority.tick({ bundleHeldByAll: () => true });
      await authority.idle();
    };
    await tick();
    expect(authority.status()).toMatchObject({ rootKey: 'offline', warnings: [] });
    clock.advance(3.6 * 86_400_000);
    await tick();
    await tick();
    expect(authority.status().warnings).toEqual([
      expect.stringMatching(/past 50% of its life .* the root key is offline/),
    ]);
    clock.advance(2.1 * 86_400_000);
    await tick();
    expect(authority.status().warnings).toEqual([expect.stringMatching(/past 80%/)]);
    expect(warned).toHaveLength(2);
    renameSync(join(home, 'away'), path);
    await tick();
    await tick();
    expect(authority.status().warnings).toEqual([]);
    expect(authority.status().issuing.map(({ state }) => state)).toContain('active');
    authority.close();
  });
  it('C18: leaves are clipped to the issuing CA, and after its end there is a named error', async () => {
    await init();
    rmSync(file('root'));
    const authority = await open();
    const end = authority.status().issuing[0]!.notAfter;
    clock.advance(end - clock.now() - 600_000);
    expect(authority.issueLocal({ id, ttlMs: hour, instance: 'x' }).notAfter).toBe(end);
    clock.advance(600_000);
    expect(() => authority.issueLocal({ id, ttlMs: hour, instance: 'x' })).toThrowError(code('CA_ISSUING_EXPIRED'));
    authority.close();
  });
});

describe('a root that is brought along', () => {
  const pemOf = (made: Made, key = made.keys.privateKey) => ({
    certificatePem: toPem(made.der),
    keyPem: key.export({ format: 'pem', type: 'pkcs8' }) as string,
  });
  it.each([
    ['P-256', makeCa({ name: 'Corp' })],
    ['RSA 3072', makeCa({ name: 'Corp', keys: rsaKeys(3_072) })],
    ['P-384', makeCa({ name: 'Corp', keys: generateKeyPairSync('ec', { namedCurve: 'P-384' }), pathLength: 1 })],
    ['Ed25519', makeCa({ name: 'Corp', keys: generateKeyPairSync('ed25519') })],
  ])('of kind %s signs the issuing CA, and openssl agrees', async (_, made) => {
    const authority = await initAuthority({ home, trustDomain, clock, root: pemOf(made) });
    const identity = authority.issueLocal({ id, ttlMs: 600_000, instance: 'x' });
    expect(verifyChain({ chain: identity.chain, bundle: authority.bundle(), now: clock.now() }).id).toEqual(id);
    const [root, issuing, leaf] = ['root.pem', 'issuing.pem', 'leaf.pem'].map((name) => join(home, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(root, toPem(made.der));
    writeFileSync(leaf, toPem(identity.chain[0]!));
    writeFileSync(issuing, toPem(identity.chain[1]!));
    expect(execFileSync('openssl', ['verify', '-CAfile', root, '-untrusted', issuing, leaf]).toString()).toMatch(/OK/);
    authority.close();
  });
  const day = 86_400_000;
  const now = Math.floor(Date.now() / 1_000) * 1_000;
  it.each([
    ['that is no CA', pemOf(makeCertificate()), /not marked as a CA/],
    ['without keyCertSign', pemOf(makeCa({ keyUsage: keyUsage(['cRLSign']) })), /may not sign/],
    ['that allows no CA below it', pemOf(makeCa({ pathLength: 0 })), /path length/],
    [
      'whose basic constraints are not critical',
      pemOf(makeCa({ basicConstraints: basicConstraints(true, undefined, false) })),
      /not marked as a CA/,
    ],
    ['with another key', pemOf(makeCa(), makeCa().keys.privateKey), /not the one/],
    ['that another CA issued', pemOf(makeCa({ issuer: makeCa() })), /another CA/],
    ['that is weak', pemOf(makeCa({ keys: rsaKeys(1_024) })), /1024 bits/],
    ['that has expired', pemOf(makeCa({ notBefore: now - 2 * day, notAfter: now - day })), /expired/],
    ['that is not valid yet', pemOf(makeCa({ notBefore: now + day, notAfter: now + 2 * day })), /not valid yet/],
    ['that is no certificate', { certificatePem: 'nonsense', keyPem: pemOf(makeCa()).keyPem }, /cannot be used/],
  ])('%s is refused before anything is written', async (_, root, reason) => {
    await expect(init({ root })).rejects.toThrowError(
      expect.objectContaining({ code: 'CA_ROOT_REFUSED', message: expect.stringMatching(reason) }),
    );
    expect(readdirSync(home)).toEqual([]);
  });
});

describe('a clock that jumps', () => {
  it.each([
    ['two hours ahead', 2 * hour],
    ['two hours back', -2 * hour],
    ['to 2038', Date.UTC(2038, 0, 19, 3, 14, 8) - Date.now()],
  ])('C15: %s: a named error, then issuing resumes within policy or says why not', async (_, step) => {
    const authority = await initAuthority({ home, trustDomain, clock });
    const issue = () => authority.issueLocal({ id, ttlMs: hour, instance: 'x' });
    expect(issue().id).toEqual(id);
    clock.step(step);
    expect(issue).toThrowError(code('CA_CLOCK_STEPPED'));
    authority.tick({ bundleHeldByAll: () => true });
    await authority.idle();
    expect(authority.status().issuing).toHaveLength(1);
    clock.advance(29_000);
    expect(issue).toThrowError(code('CA_CLOCK_STEPPED'));
    clock.advance(2_000);
    const issuing = authority.status().issuing[0]!;
    if (clock.now() >= issuing.notBefore && clock.now() < issuing.notAfter) {
      const made = issue();
      expect(made.notAfter).toBeLessThanOrEqual(clock.now() + hour);
      expect(made.notBefore).toBeGreaterThanOrEqual(issuing.notBefore);
    } else expect(issue).toThrowError(code('CA_ISSUING_EXPIRED'));
    clock.step(-step);
    clock.advance(31_000);
    expect(issue).toThrowError(code('CA_CLOCK_STEPPED'));
    clock.advance(31_000);
    expect(issue().id).toEqual(id);
    authority.close();
  });
  it('C15: a step of a few seconds, as a time daemon makes, is no event', async () => {
    const authority = await initAuthority({ home, trustDomain, clock });
    for (let i = 0; i < 20; i++) {
      clock.step(i % 2 === 0 ? 20_000 : -20_000);
      expect(authority.issueLocal({ id, ttlMs: hour, instance: 'x' }).id).toEqual(id);
    }
    authority.close();
  });
  it('C15: a clock in the year 1970 makes no authority', async () => {
    await expect(initAuthority({ home, trustDomain, clock: createClock(0) })).rejects.toThrowError(
      code('CA_CLOCK_WRONG'),
    );
    expect(readdirSync(home)).toEqual([]);
  });
});
