import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CaEvent, openAuthority } from '#ca';
import { createCsr, createKeyPair, readSvid, spiffeIdOf, verifyChain } from '#spiffe';
import { createClock, type SettableClock } from '../helpers/clock.ts';
import { createTestAuthority, type TestAuthority } from '../helpers/pki.ts';

const id = spiffeIdOf({ trustDomain: 'example.org', service: 'shop/payments' });
const code = (expected: string) => expect.objectContaining({ code: expected });
let clock: SettableClock;
let ca: TestAuthority;
let events: CaEvent[];

beforeEach(async () => {
  clock = createClock();
  events = [];
  ca = await createTestAuthority({ clock, onEvent: (event) => events.push(event) });
});
afterEach(() => ca.close());

const token = async (ttlMs = 600_000) =>
  (await ca.authority.createToken({ service: id, url: 'https://127.0.0.1:8443', ttlMs, by: 'local' })).token;
const csr = () => createCsr(createKeyPair());
const claimsOf = (text: string) =>
  JSON.parse(Buffer.from(text.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>;
/** A token signed with the authority's own key, but not made by it. */
const sign = async (claims: Record<string, unknown>, header: Record<string, string> = {}) =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: 'ES256', typ: 'postern-join+jwt', ...header })
    .sign(createPrivateKey(readFileSync(join(ca.home, 'ca/token.key'))));

describe('enrolment', () => {
  it('gives the identity that the token names, under the bundle, and records it', async () => {
    const made = await ca.authority.enrol({ token: await token(), csr: csr() });
    const svid = verifyChain({ chain: made.chain, bundle: ca.authority.bundle(), now: clock.now() });
    expect(svid).toMatchObject({ id, serial: made.serial });
    expect(svid.notBefore).toBe(clock.now() - 30_000);
    expect(svid.notAfter).toBe(clock.now() + 3_600_000);
    expect(ca.authority.instanceOf(made.serial)).toBe(made.instance);
    expect(ca.authority.identities()).toMatchObject([
      { id: id.uri, banned: false, instances: 1, certificates: [{ serial: made.serial }] },
    ]);
    expect(ca.authority.tokens()).toMatchObject([{ service: id.uri, state: 'used', instance: made.instance }]);
    expect(events.map(({ action }) => action)).toEqual(['token.create', 'enrol']);
  });

  it('C1: a token that was used is refused to another key', async () => {
    const text = await token();
    await ca.authority.enrol({ token: text, csr: csr() });
    await expect(ca.authority.enrol({ token: text, csr: csr() })).rejects.toThrowError(code('TOKEN_USED'));
  });
  it('C1: an expired token is refused', async () => {
    const text = await token(10_000);
    clock.advance(10_001);
    await expect(ca.authority.enrol({ token: text, csr: csr() })).rejects.toThrowError(code('TOKEN_EXPIRED'));
    expect(ca.authority.tokens()).toMatchObject([{ state: 'expired' }]);
  });
  it.each([
    ['forged', (text: string) => `${text.slice(0, -10)}AAAAAAAAAA`],
    ['truncated', (text: string) => text.slice(0, text.length / 2)],
    ['of 1 MB', (text: string) => text + 'A'.repeat(1_048_576)],
    ['empty', () => ''],
    [
      'unsigned (alg none)',
      (text: string) =>
        `${Buffer.from('{"alg":"none","typ":"postern-join+jwt"}').toString('base64url')}.${text.split('.')[1]}.`,
    ],
    [
      'with another header',
      (text: string) =>
        [
          Buffer.from('{"alg":"HS256","typ":"postern-join+jwt"}').toString('base64url'),
          ...text.split('.').slice(1),
        ].join('.'),
    ],
    [
      'with edited claims',
      (text: string) => {
        const parts = text.split('.');
        const claims = { ...claimsOf(text), sub: 'spiffe://example.org/admin' };
        return [parts[0], Buffer.from(JSON.stringify(claims)).toString('base64url'), parts[2]].join('.');
      },
    ],
  ])('C1: a token that is %s is refused', async (_, spoil) => {
    await expect(ca.authority.enrol({ token: spoil(await token()), csr: csr() })).rejects.toThrowError(
      code('TOKEN_INVALID'),
    );
  });
  it('C1: a token of another authority is refused', async () => {
    const other = await createTestAuthority({ clock });
    const { token: text } = await other.authority.createToken({
      service: id,
      url: 'https://127.0.0.1:1',
      ttlMs: 60_000,
      by: 'x',
    });
    await expect(ca.authority.enrol({ token: text, csr: csr() })).rejects.toThrowError(code('TOKEN_INVALID'));
    other.close();
  });
  it('C1: a token that our key signed but the registry does not know is refused', async () => {
    const claims = { ...claimsOf(await token()), jti: 'A'.repeat(22) };
    await expect(ca.authority.enrol({ token: await sign(claims), csr: csr() })).rejects.toThrowError(
      code('TOKEN_INVALID'),
    );
  });
  it('C1: a token for another ID than the registry says is refused', async () => {
    const claims = { ...claimsOf(await token()), sub: 'spiffe://example.org/other' };
    await expect(ca.authority.enrol({ token: await sign(claims), csr: csr() })).rejects.toThrowError(
      code('TOKEN_INVALID'),
    );
  });
  it.each([
    ['C8: an unknown claim', { extra: true }, {}],
    ['another audience', { aud: 'else' }, {}],
    ['another issuer', { iss: 'spiffe://other.org' }, {}],
    ['no expiry', { exp: undefined }, {}],
    ['another typ', {}, { typ: 'JWT' }],
  ])('C1: a signed token with %s is refused', async (_, claims, header) => {
    const text = await sign({ ...claimsOf(await token()), ...claims }, header);
    await expect(ca.authority.enrol({ token: text, csr: csr() })).rejects.toThrowError(code('TOKEN_INVALID'));
  });

  it('C2: a hundred uses of one token at once give one identity', async () => {
    const text = await token();
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, () => ca.authority.enrol({ token: text, csr: csr() })),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const reasons = results.flatMap((result) =>
      result.status === 'rejected' ? [(result.reason as { code: string }).code] : [],
    );
    expect(new Set(reasons)).toEqual(new Set(['TOKEN_USED']));
    expect(ca.authority.identities()[0]!.certificates).toHaveLength(1);
  });

  it('C2: a hundred uses over two openings of one home give one identity', async () => {
    const text = await token();
    const other = await openAuthority({ home: ca.home, clock });
    const uses = Array.from({ length: 100 }, (_, use) =>
      (use % 2 ? other : ca.authority).enrol({ token: text, csr: csr() }),
    );
    const results = await Promise.allSettled(uses);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(other.identities()[0]!.certificates).toHaveLength(1);
    other.close();
  });
  it('C2: a token is consumed once, by the count of changed rows', async () => {
    const { createTokenDesk } = await import('../../ca/token.ts');
    await token();
    const desk = createTokenDesk({
      database: ca.authority.database,
      key: createKeyPair().privateKey,
      trustDomain: 'example.org',
    });
    const use = { id: ca.authority.tokens()[0]!.id, now: 1, instance: 'x', keyHash: Buffer.of(1), serial: '41' };
    expect(desk.consume(use)).toBe(true);
    expect(desk.consume(use)).toBe(false);
  });

  it('C3: the same token and key get the same certificate again, even after the token expired', async () => {
    const [text, request] = [await token(10_000), csr()];
    const first = await ca.authority.enrol({ token: text, csr: request });
    clock.advance(20_000);
    const again = await ca.authority.enrol({ token: text, csr: request });
    expect(again).toEqual({ ...first, chain: again.chain, replayed: true });
    expect(again.chain.map((der) => Buffer.from(der).toString('hex'))).toEqual(
      first.chain.map((der) => Buffer.from(der).toString('hex')),
    );
  });

  it('C9: a banned identity neither enrols, nor asks again, nor renews, nor gets a token', async () => {
    const [used, fresh, request] = [await token(), await token(), csr()];
    const made = await ca.authority.enrol({ token: used, csr: request });
    ca.authority.ban({ id, by: 'local', reason: 'left' });
    await expect(ca.authority.enrol({ token: fresh, csr: csr() })).rejects.toThrowError(code('IDENTITY_BANNED'));
    await expect(ca.authority.enrol({ token: used, csr: request })).rejects.toThrowError(code('IDENTITY_BANNED'));
    expect(() => ca.authority.renew({ presented: readSvid(made.chain[0]!), csr: csr() })).toThrowError(
      code('IDENTITY_BANNED'),
    );
    await expect(token()).rejects.toThrowError(code('IDENTITY_BANNED'));
    expect(ca.authority.isBanned({ id, serial: made.serial })).toBe(true);
    expect(ca.authority.unban({ id, by: 'local' })).toBe(true);
    expect(ca.authority.unban({ id, by: 'local' })).toBe(false);
    expect(ca.authority.renew({ presented: readSvid(made.chain[0]!), csr: csr() }).id.uri).toBe(id.uri);
  });
  it('C9: a banned serial does not renew, another of the identity does', async () => {
    const [one, two] = [
      await ca.authority.enrol({ token: await token(), csr: csr() }),
      await ca.authority.enrol({ token: await token(), csr: csr() }),
    ];
    ca.authority.ban({ serial: one.serial, by: 'local' });
    expect(() => ca.authority.renew({ presented: readSvid(one.chain[0]!), csr: csr() })).toThrowError(
      code('IDENTITY_BANNED'),
    );
    expect(ca.authority.renew({ presented: readSvid(two.chain[0]!), csr: csr() }).instance).toBe(two.instance);
    expect(ca.authority.bans()).toMatchObject([{ serial: one.serial, by: 'local' }]);
  });
  it('C9: a ban of a serial reaches what it was renewed into, and lifting it lifts that too', async () => {
    const [made, other] = [
      await ca.authority.enrol({ token: await token(), csr: csr() }),
      await ca.authority.enrol({ token: await token(), csr: csr() }),
    ];
    const renew = (from: { chain: readonly Uint8Array[] }) =>
      ca.authority.renew({ presented: readSvid(from.chain[0]!), csr: csr() });
    const early = renew(made);
    clock.advance(1);
    const [stolen, theirs] = [renew(made), renew(other)];
    const next = renew(stolen);
    const last = renew(next);
    clock.advance(1);
    const isBanned = () => [made, early, stolen, next, last, theirs].map((one) => ca.authority.isBanned(one));
    ca.authority.ban({ serial: last.serial, by: 'local' });
    clock.advance(1);
    ca.authority.ban({ serial: stolen.serial, by: 'local' });
    expect(isBanned()).toEqual([false, false, true, true, true, false]);
    expect(() => renew(next)).toThrowError(code('IDENTITY_BANNED'));
    expect(events.at(-1)).toMatchObject({ action: 'ban', subject: stolen.serial, details: { renewals: 2 } });
    // What was banned for a reason of its own stays so.
    expect(ca.authority.unban({ serial: stolen.serial, by: 'local' })).toBe(true);
    expect(isBanned()).toEqual([false, false, false, false, true, false]);
  });
  it('a ban of an earlier certificate of the server does not reach the one it has now', () => {
    const server = spiffeIdOf({ trustDomain: 'example.org', service: 'postern/server' });
    const [old, now] = [1, 2].map(() => ca.authority.issueLocal({ id: server, ttlMs: 3_600_000, instance: 'server' }));
    ca.authority.ban({ serial: old!.serial, by: 'local' });
    expect([old!, now!].map((one) => ca.authority.isBanned(one))).toEqual([true, false]);
  });
  it('C9: an expired certificate does not renew', async () => {
    const made = await ca.authority.enrol({ token: await token(), csr: csr() });
    clock.advance(3_600_001);
    expect(() => ca.authority.renew({ presented: readSvid(made.chain[0]!), csr: csr() })).toThrowError(
      code('RENEWAL_EXPIRED'),
    );
  });
  it('C9: a renewal for another ID, or of a serial that was never issued, is refused', async () => {
    const made = await ca.authority.enrol({ token: await token(), csr: csr() });
    const presented = readSvid(made.chain[0]!);
    const other = spiffeIdOf({ trustDomain: 'example.org', service: 'other' });
    expect(() => ca.authority.renew({ presented: { ...presented, id: other }, csr: csr() })).toThrowError(
      code('IDENTITY_UNKNOWN'),
    );
    expect(() => ca.authority.renew({ presented: { ...presented, serial: '41' }, csr: csr() })).toThrowError(
      code('IDENTITY_UNKNOWN'),
    );
  });

  it('C10: an instance that floods is slowed, another is not', async () => {
    const one = await ca.authority.enrol({ token: await token(), csr: csr() });
    const two = await ca.authority.enrol({ token: await token(), csr: csr() });
    const presented = readSvid(one.chain[0]!);
    for (let i = 0; i < 10; i++) ca.authority.renew({ presented, csr: csr() });
    expect(() => ca.authority.renew({ presented, csr: csr() })).toThrowError(
      expect.objectContaining({ code: 'ISSUANCE_LIMITED', status: 429 }),
    );
    expect(ca.authority.renew({ presented: readSvid(two.chain[0]!), csr: csr() }).instance).toBe(two.instance);
    clock.advance(180_000);
    expect(ca.authority.renew({ presented, csr: csr() }).instance).toBe(one.instance);
  });

  it('C6: a key that was certified for one instance is refused to another', async () => {
    const request = csr();
    await ca.authority.enrol({ token: await token(), csr: request });
    await expect(ca.authority.enrol({ token: await token(), csr: request })).rejects.toThrowError(code('KEY_REUSED'));
  });
  it.each(['token.key', 'issuing', 'root'])("C6: the authority's own %s key is refused", async (which) => {
    const { readdirSync } = await import('node:fs');
    const name = readdirSync(join(ca.home, 'ca')).find((file) => file.startsWith(which))!;
    const privateKey = createPrivateKey(readFileSync(join(ca.home, 'ca', name)));
    const { createPublicKey } = await import('node:crypto');
    const request = createCsr({ privateKey, publicKey: createPublicKey(privateKey) });
    await expect(ca.authority.enrol({ token: await token(), csr: request })).rejects.toThrowError(code('KEY_WEAK'));
  });
  it('C6: a weak key is refused and the token stays good', async () => {
    const text = await token();
    await expect(
      ca.authority.enrol({ token: text, csr: createCsr(generateKeyPairSync('rsa', { modulusLength: 1_024 })) }),
    ).rejects.toThrowError(code('KEY_WEAK'));
    expect((await ca.authority.enrol({ token: text, csr: csr() })).id.uri).toBe(id.uri);
  });

  it('no token is made for the mesh itself or for another trust domain', async () => {
    for (const [trustDomain, service] of [
      ['example.org', 'postern/admin/eve'],
      ['other.org', 'web'],
    ] as const) {
      const refused = ca.authority.createToken({
        service: spiffeIdOf({ trustDomain, service }),
        url: 'https://a:1',
        ttlMs: 1_000,
        by: 'x',
      });
      await expect(refused).rejects.toThrowError(code('TOKEN_SERVICE_REFUSED'));
    }
  });
  it('a dump of the database holds neither a token nor a private key', async () => {
    const text = await token();
    ca.authority.database.sql.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    const dump = readFileSync(join(ca.home, 'postern.db')).toString('latin1');
    expect(dump).toContain(claimsOf(text).jti as string);
    expect(dump).not.toContain(text.split('.')[2]);
    expect(dump).not.toContain('PRIVATE KEY');
  });
});
