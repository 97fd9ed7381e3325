import 'reflect-metadata';

import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bits,
  createCsr,
  createKeyPair,
  der,
  oid,
  readSvid,
  sequence,
  signWith,
  smallInteger,
  spiffeIdOf,
} from '#spiffe';
import { readCsr } from '../../ca/csr.ts';
import { createTestAuthority } from '../helpers/pki.ts';

const keys = createKeyPair();
const spki = keys.publicKey.export({ format: 'der', type: 'spki' });
const code = (expected: string) => expect.objectContaining({ code: expected });

/** A request of any content, truly signed. */
function request(
  o: {
    version?: number;
    subject?: Uint8Array;
    key?: Uint8Array;
    attributes?: readonly Uint8Array[];
    more?: readonly Uint8Array[];
  } = {},
): Uint8Array {
  const info = sequence(
    smallInteger(o.version ?? 0),
    o.subject ?? sequence(),
    o.key ?? spki,
    der(0xa0, ...(o.attributes ?? [])),
    ...(o.more ?? []),
  );
  const { algorithm, signature } = signWith(keys.privateKey, info);
  return sequence(info, algorithm, bits(signature));
}
const extensionRequest = (...extensions: Uint8Array[]) =>
  sequence(oid('1.2.840.113549.1.9.14'), der(0x31, sequence(...extensions)));
function nested(depth: number): Uint8Array {
  let value: Uint8Array = sequence();
  for (let i = 0; i < depth; i++) value = sequence(value);
  return value;
}

describe('certificate requests that arrive', () => {
  it('the key of a good one is read', () => expect(Buffer.from(readCsr(createCsr(keys))).equals(spki)).toBe(true));
  it('one made by @peculiar/x509 is read', async () => {
    const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
    const made = await Pkcs10CertificateRequestGenerator.create({
      name: 'CN=web',
      keys: pair,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    });
    expect(readCsr(new Uint8Array(made.rawData)).length).toBe(91);
  });

  it('C4, 30: a foreign ID, extra names, CA:true and other wishes are ignored', async () => {
    const ca = await createTestAuthority();
    const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
    const wishes = await Pkcs10CertificateRequestGenerator.create({
      name: 'CN=admin, O=somebody else',
      keys: pair,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [
        new SubjectAlternativeNameExtension([
          { type: 'url', value: 'spiffe://example.org/postern/admin/eve' },
          { type: 'dns', value: 'evil.example' },
        ]),
        new BasicConstraintsExtension(true, 3, true),
        new ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.3']),
        new Extension('1.2.3.4', true, Uint8Array.of(5, 0)),
      ],
    });
    const id = spiffeIdOf({ trustDomain: 'example.org', service: 'web' });
    const { token } = await ca.authority.createToken({
      service: id,
      url: 'https://127.0.0.1:1',
      ttlMs: 60_000,
      by: 'x',
    });
    const { chain } = await ca.authority.enrol({ token, csr: new Uint8Array(wishes.rawData) });
    expect(readSvid(chain[0]!)).toMatchObject({ id: { uri: id.uri } });
    expect(Buffer.from(chain[0]!).includes('evil')).toBe(false);
    ca.close();
  });

  it('C5: a request signed by another key is refused', () => {
    const other = createKeyPair();
    expect(() => readCsr(createCsr({ privateKey: other.privateKey, publicKey: keys.publicKey }))).toThrowError(
      code('CSR_INVALID'),
    );
  });
  it('C5: a request whose signature was changed is refused', () => {
    const bytes = Buffer.from(createCsr(keys));
    bytes[bytes.length - 1]! ^= 1;
    expect(() => readCsr(bytes)).toThrowError(code('CSR_INVALID'));
  });

  it.each([
    ['RSA of 1024 bits', generateKeyPairSync('rsa', { modulusLength: 1_024 })],
    ['secp256k1', generateKeyPairSync('ec', { namedCurve: 'secp256k1' })],
    ['P-521', generateKeyPairSync('ec', { namedCurve: 'P-521' })],
    ['Ed448', generateKeyPairSync('ed448')],
  ])('C6: %s is refused', (_, pair) => {
    const info = sequence(
      smallInteger(0),
      sequence(),
      pair.publicKey.export({ format: 'der', type: 'spki' }),
      der(0xa0),
    );
    const { algorithm, signature } = signWith(keys.privateKey, info);
    expect(() => readCsr(sequence(info, algorithm, bits(signature)))).toThrowError(code('KEY_WEAK'));
  });
  it('C6: a published test key (RFC 9500) is refused', () => {
    const privateKey = createPrivateKey(
      '-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIObLW92AqkWunJXowVR2Z5/+yVPBaFHnEedDk5WJxk/BoAoGCCqGSM49\nAwEHoUQDQgAEQiVI+I+3gv+17KN0RFLHKh5Vj71vc75eSOkyMsxFxbFsTNEMTLjV\nuKFxOelIgsiZJXKZNCX0FBmrfpCkKklCcg==\n-----END EC PRIVATE KEY-----\n',
    );
    expect(() => readCsr(createCsr({ privateKey, publicKey: createPublicKey(privateKey) }))).toThrowError(
      /published test key/,
    );
  });
  it('C6: a published test key (RFC 7515 A.3) is refused', () => {
    const jwk = {
      kty: 'EC',
      crv: 'P-256',
      x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
      y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
      d: 'jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI',
    };
    const privateKey = createPrivateKey({ key: jwk, format: 'jwk' });
    expect(() => readCsr(createCsr({ privateKey, publicKey: createPublicKey(privateKey) }))).toThrowError(
      /published test key/,
    );
  });
  it('C6: a point that is not on its curve is refused', () => {
    const bad = Buffer.from(spki);
    bad[bad.length - 1]! ^= 1;
    expect(() => readCsr(request({ key: bad }))).toThrowError(code('KEY_WEAK'));
  });

  it.each([
    ['10 MB', Buffer.alloc(10_485_760, 0x30)],
    ['no bytes', Buffer.alloc(0)],
    ['trailing bytes', Buffer.concat([createCsr(keys), Buffer.of(0)])],
    ['attributes nested 10 000 deep', Buffer.alloc(12_000, 0x30)],
    ['attributes nested 100 deep', request({ attributes: [sequence(oid('1.2.3'), der(0x31, nested(100)))] })],
    [
      'an empty extended key usage',
      request({ attributes: [extensionRequest(sequence(oid('2.5.29.37'), der(0x04, sequence())))] }),
    ],
    [
      'an extension that is torn',
      request({ attributes: [extensionRequest(sequence(oid('2.5.29.37'), der(0x04, Buffer.of(0x30, 5))))] }),
    ],
    ['another version', request({ version: 1 })],
    ['an unknown part', request({ more: [sequence()] })],
    ['a subject that is no name', request({ subject: der(0x04) })],
    ['an indefinite length', Buffer.concat([Buffer.of(0x30, 0x80), createCsr(keys).subarray(3), Buffer.of(0, 0)])],
    ['attributes that are no attributes', request({ attributes: [der(0x05)] })],
  ])('C7: %s: refused', (_, bytes) => expect(() => readCsr(bytes)).toThrowError(code('CSR_INVALID')));

  it('C7: no bytes at all make the reader fail in another way than by refusing', () => {
    const good = createCsr(keys);
    const refuses = (bytes: Uint8Array) => {
      try {
        readCsr(bytes);
        return true;
      } catch (thrown) {
        return /^(CSR_INVALID|KEY_WEAK)$/.test((thrown as { code: string }).code);
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), refuses), { numRuns: 1_000 });
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const bad = Buffer.from(good);
        bad[at]! ^= flip;
        return refuses(bad);
      }),
      { numRuns: 1_000 },
    );
  });
});
