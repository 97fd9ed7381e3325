// Tokens are believed in full or refused, and what is refused is never taken for missing.
import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { compileProgram, createTokenVerifier, validateResources, valuesOf } from '#policy';
import { createCasbin } from '#policy/casbin';
import type { JwtIssuerResource, LocatedResource } from '#wire';
import { readTokenKey } from '../../policy/jwks.ts';
import { ask, resources, setOf } from '../helpers/policy.ts';

const now = Date.UTC(2026, 0, 5, 12);
const seconds = now / 1_000;
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const jwkOf = (key: KeyObject, more: object = {}) => ({
  ...(key.export({ format: 'jwk' }) as Record<string, unknown>),
  ...more,
});
const issuers = [
  {
    issuer: 'https://id.example',
    audiences: ['payments', 'mesh'],
    keys: [jwkOf(pair.publicKey, { kid: 'one' }), jwkOf(rsa.publicKey, { kid: 'two' })],
  },
];

const claims = { iss: 'https://id.example', aud: 'payments', exp: seconds + 60, role: 'clerk', groups: ['a', 'b'] };
function sign(payload: object = claims, header: object = {}, key: KeyObject = pair.privateKey): Promise<string> {
  return new SignJWT({ ...payload }).setProtectedHeader({ alg: 'ES256', kid: 'one', ...header }).sign(key);
}
const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const read = (headers: readonly string[], at = now) => createTokenVerifier(issuers).read(headers, at);
const bearer = async (...parts: Parameters<typeof sign>) => [`Bearer ${await sign(...parts)}`];

describe('a good token', () => {
  test('gives its claims, whichever of its lists or numbers they are in', async () => {
    const found = await read(await bearer({ ...claims, level: 3, deep: { er: 'x' }, 'https://c/x': true }));
    if (typeof found !== 'function') throw new Error(found);
    expect(['role', 'groups', 'level', 'deep.er', 'https://c/x', 'aud'].map((name) => found(name))).toEqual([
      ['clerk'],
      ['a', 'b'],
      ['3'],
      ['x'],
      ['true'],
      ['payments'],
    ]);
    expect(
      ['deep', 'nothing', 'constructor', '__proto__', 'role.length', 'groups.0'].flatMap((name) => found(name)),
    ).toEqual([]);
    expect(valuesOf({}, 'toString')).toEqual([]);
  });

  test('is refused once it has expired, also when it was good a moment ago', async () => {
    const verifier = createTokenVerifier(issuers);
    const given = await bearer();
    expect(await verifier.read(given, now)).toBeTypeOf('function');
    expect(await verifier.read(given, now + 59_999)).toBeTypeOf('function');
    expect(await verifier.read(given, now + 60_000)).toBe('refused');
  });
});

test('no token at all is missing, and so is another way to authenticate', async () => {
  expect(await read([])).toBe('missing');
  expect(await read(['Basic dXNlcjpwYXNz'])).toBe('missing');
});

describe('35: a token that is present but bad is refused, never missing', () => {
  const bad: readonly [string, () => Promise<readonly string[]>][] = [
    ['an unknown issuer', () => bearer({ ...claims, iss: 'https://other.example' })],
    ['no issuer', () => bearer({ ...claims, iss: undefined })],
    ['another audience', () => bearer({ ...claims, aud: 'web' })],
    ['36: no audience', () => bearer({ ...claims, aud: undefined })],
    ['36: an empty list of audiences', () => bearer({ ...claims, aud: [] })],
    ['36: no expiry', () => bearer({ ...claims, exp: undefined })],
    ['an expiry that is past', () => bearer({ ...claims, exp: seconds })],
    ['a beginning that is to come', () => bearer({ ...claims, nbf: seconds + 5 })],
    ['another key', () => bearer(claims, {}, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)],
    ['a key id that is not known', () => bearer(claims, { kid: 'three' })],
    ["the id of another algorithm's key", () => bearer(claims, { kid: 'two' })],
    [
      'a critical header that nobody knows',
      async () => [
        `Bearer ${encode({ alg: 'ES256', kid: 'one', crit: ['x'], x: 1 })}.${(await sign()).split('.').slice(1).join('.')}`,
      ],
    ],
    ['36: alg none', async () => [`Bearer ${encode({ alg: 'none' })}.${encode(claims)}.`]],
    [
      '36: HS256 with the RSA public key as its secret',
      async () => {
        const text = `${encode({ alg: 'HS256', kid: 'two' })}.${encode(claims)}`;
        const secret = rsa.publicKey.export({ format: 'pem', type: 'spki' });
        return [`Bearer ${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`];
      },
    ],
    ['36: PS256 with a key that is for RS256', () => bearer(claims, { alg: 'PS256', kid: 'two' }, rsa.privateKey)],
    [
      'a changed payload',
      async () => [`Bearer ${(await sign()).replace(/\.[^.]+\./, `.${encode({ ...claims, role: 'admin' })}.`)}`],
    ],
    ['two tokens', async () => [...(await bearer()), ...(await bearer())]],
    ['two in one line', async () => [`${(await bearer())[0]}, ${(await bearer())[0]}`]],
    ['a token behind another way to authenticate', async () => ['Basic x', ...(await bearer())]],
    ['no token after the word', async () => ['Bearer ']],
    ['something that is no token', async () => ['Bearer abc']],
    ['a token of a megabyte', () => bearer({ ...claims, pad: 'x'.repeat(1 << 20) })],
  ];
  test.each(bad)('%s', async (_, given) => {
    expect(await read(await given())).toBe('refused');
  });
});

describe('keys', () => {
  test.each([
    ['a shared secret', { kty: 'oct', k: 'AAAA' }, 'shared secret'],
    ['a private key', jwkOf(pair.privateKey), 'private key'],
    ['an algorithm of another family', jwkOf(pair.publicKey, { alg: 'RS256' }), 'not for keys'],
    ['36: alg none', jwkOf(pair.publicKey, { alg: 'none' }), 'not for keys'],
    ['36: HS256 for an RSA key', jwkOf(rsa.publicKey, { alg: 'HS256' }), 'not for keys'],
    ['a weak RSA key', jwkOf(generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey), '1024 bits'],
    ['a key for encryption', jwkOf(rsa.publicKey, { use: 'enc' }), 'not sig'],
    ['a curve that nobody needs', jwkOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey), 'not taken'],
    ['a point that is not on the curve', jwkOf(pair.publicKey, { x: 'AAAA' }), 'not a valid key'],
    ['the kind of every object', { kty: 'constructor' }, 'not taken'],
  ])('%s is refused', (_, jwk, reason) => expect(readTokenKey(jwk as Record<string, unknown>)).toContain(reason));

  test('resources: an issuer without keys or audiences, twice the same, and claims without an issuer are problems', () => {
    const issuer = (part: object = {}): LocatedResource => ({
      resource: {
        kind: 'JwtIssuer',
        name: 'a',
        issuer: 'i',
        audiences: ['x'],
        jwks: { keys: issuers[0]!.keys },
        ...part,
      } as JwtIssuerResource,
    });
    const messages = (...all: LocatedResource[]) => validateResources(all).map(({ message }) => message);
    expect(messages(issuer())).toEqual([]);
    expect(messages(issuer({ jwks: undefined }))).toEqual(['JwtIssuer a: it has no jwks']);
    expect(messages(issuer(), issuer({ name: 'b' }))).toEqual(['JwtIssuer b: there are two of this issuer']);
    expect(messages(issuer({ jwks: { keys: [issuers[0]!.keys[0], issuers[0]!.keys[0]] } }))).toEqual([
      'JwtIssuer a: key 2: another key has its kid',
    ]);
    expect(
      messages(...resources([{ id: 'r', effect: 'allow', when: [{ key: 'jwt:claims.role', in: ['x'] }] }]))[0],
    ).toContain('need a JwtIssuer');
  });
});

describe('in decisions', () => {
  const when = [{ key: 'jwt:claims.role', in: ['clerk'] }];
  const set = {
    ...setOf([{ id: 'open', effect: 'allow', paths: ['/open'] }]),
    issuers,
    rules: [
      ...setOf([{ id: 'open', effect: 'allow', paths: ['/open'] }]).rules,
      ...[
        { id: 'clerks', effect: 'allow' as const, from: ['spiffe://example.org/web'], paths: ['/x'], when },
        { id: 'no-clerks', effect: 'deny' as const, from: ['*'], paths: ['/y'], when },
      ].map((rule) => ({ policy: 'p', to: ['spiffe://example.org/payments'], ...rule })),
    ],
  };
  const role = (name: string) => ({ claims: (claim: string) => (claim === 'role' ? [name] : []) });
  test.each([
    [
      '35: the token alone is not enough',
      { from: 'spiffe://example.org/ops', path: '/x', ...role('clerk') },
      'default-deny',
    ],
    ['35: the identity alone is not enough', { path: '/x' }, 'default-deny'],
    ['35: both together are', { path: '/x', ...role('clerk') }, 'allowed'],
    ['another claim is not', { path: '/x', ...role('boss') }, 'default-deny'],
    ['35: a bad token is refused where a rule asks', { path: '/x', token: 'refused' as const }, 'token-refused'],
    ['35: a bad token does not slip past a deny on claims', { path: '/y', token: 'refused' as const }, 'token-refused'],
    ['a bad token does not matter where none asks', { path: '/open', token: 'refused' as const }, 'allowed'],
  ])('%s', async (_, part, reason) => {
    const question = { ...ask(), ...part };
    const decision = compileProgram(set).decide(question);
    expect(decision.reason).toBe(reason);
    expect((await createCasbin(set)).decide(question)).toBe(decision.effect);
  });
});
