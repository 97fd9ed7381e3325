import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bits, der, octets, oid, readSvid, sequence, unsignedInteger } from '#spiffe';
import {
  basicConstraints,
  type CertificateWish,
  clientAuth,
  dnsName,
  ecKeys,
  email,
  extension,
  keyUsage,
  makeCa,
  makeCertificate,
  nameOf,
  purposes,
  rsaKeys,
  san,
  serverAuth,
  uri,
} from '../helpers/pki.ts';

const issuer = makeCa();
const web = uri('spiffe://example.org/web');
const codeOf = (wish: CertificateWish): string => {
  try {
    return `accepted ${readSvid(makeCertificate({ issuer, ...wish }).der).id.uri}`;
  } catch (thrown) {
    return (thrown as { code: string }).code;
  }
};
const accepted = 'accepted spiffe://example.org/web';
const sha1WithEcdsa = sequence(oid('1.2.840.10045.4.1'));
const md5WithRsa = sequence(oid('1.2.840.113549.1.1.4'), der(0x05));

const rows: readonly [claim: string, wish: CertificateWish, code: string][] = [
  ['X-01: one URI name is accepted', {}, accepted],
  [
    'X-01: DNS and other names may stand beside it',
    { san: san([dnsName('web'), web, email('a@b'), der(0x87, Buffer.of(127, 0, 0, 1))], true) },
    accepted,
  ],
  [
    'X-02, T6, 30: two URI names are refused',
    { san: san([web, uri('spiffe://example.org/admin')], true) },
    'IDENTITY_SAN_INVALID',
  ],
  ['X-02, T6: the same URI name twice is refused', { san: san([web, web], true) }, 'IDENTITY_SAN_INVALID'],
  [
    'X-02, T6: an https URI beside the SPIFFE ID is refused',
    { san: san([uri('https://example.org/'), web], true) },
    'IDENTITY_SAN_INVALID',
  ],
  ['T7: no alternative name is refused', { san: undefined }, 'IDENTITY_SAN_INVALID'],
  ['T7: an empty alternative name is refused', { san: san([], true) }, 'IDENTITY_MALFORMED'],
  ['T7: no URI name is refused', { san: san([dnsName('web.example.org')], true) }, 'IDENTITY_SAN_INVALID'],
  [
    'T10: a DNS name that spells a SPIFFE ID is no identity',
    { san: san([dnsName('spiffe://example.org/web')], true) },
    'IDENTITY_SAN_INVALID',
  ],
  [
    'T10: an email name that spells a SPIFFE ID is no identity',
    { san: san([email('spiffe://example.org/web')], true) },
    'IDENTITY_SAN_INVALID',
  ],
  [
    'T10: a DNS name does not change the identity',
    { san: san([dnsName('spiffe://example.org/admin'), web], true) },
    accepted,
  ],
  ['T8: an https URI is refused', { san: san([uri('https://example.org/web')], true) }, 'IDENTITY_ID_INVALID'],
  ['T8: an upper-case host is refused', { san: san([uri('spiffe://Example.org/web')], true) }, 'IDENTITY_ID_INVALID'],
  ['T8: a port is refused', { san: san([uri('spiffe://example.org:1/web')], true) }, 'IDENTITY_ID_INVALID'],
  ['T8: userinfo is refused', { san: san([uri('spiffe://a@example.org/web')], true) }, 'IDENTITY_ID_INVALID'],
  ['T8: a query is refused', { san: san([uri('spiffe://example.org/web?a')], true) }, 'IDENTITY_ID_INVALID'],
  ['T8: a fragment is refused', { san: san([uri('spiffe://example.org/web#a')], true) }, 'IDENTITY_ID_INVALID'],
  ['T8: percent-encoding is refused', { san: san([uri('spiffe://example.org/w%65b')], true) }, 'IDENTITY_ID_INVALID'],
  ['T8: dot-dot is refused', { san: san([uri('spiffe://example.org/../web')], true) }, 'IDENTITY_ID_INVALID'],
  ['T8: an empty segment is refused', { san: san([uri('spiffe://example.org//web')], true) }, 'IDENTITY_ID_INVALID'],
  ['T8: a trailing slash is refused', { san: san([uri('spiffe://example.org/web/')], true) }, 'IDENTITY_ID_INVALID'],
  [
    'T8: more than 2048 bytes are refused',
    { san: san([uri(`spiffe://example.org/${'a'.repeat(2_048)}`)], true) },
    'IDENTITY_ID_INVALID',
  ],
  ['X-03, X-14, T8: a root path is refused', { san: san([uri('spiffe://example.org')], true) }, 'IDENTITY_ID_INVALID'],
  [
    'T9: a comma and a second URI inside of one name stay one value',
    { san: san([uri('spiffe://example.org/web, URI:spiffe://example.org/admin')], true) },
    'IDENTITY_ID_INVALID',
  ],
  [
    'T9: a NUL is refused, never a cut',
    { san: san([uri('spiffe://example.org/web\0.evil')], true) },
    'IDENTITY_ID_INVALID',
  ],
  [
    'T9: bytes beyond ASCII are refused',
    { san: san([uri(Buffer.from('spiffe://example.org/w\u00e9b', 'utf8'))], true) },
    'IDENTITY_ID_INVALID',
  ],
  ['T9: a line break is refused', { san: san([uri('spiffe://example.org/web\r\nx: y')], true) }, 'IDENTITY_ID_INVALID'],
  ['T9: a name of unknown kind is refused', { san: san([web, der(0x89, Buffer.of(1))], true) }, 'IDENTITY_MALFORMED'],
  ['T9: a constructed URI name is refused', { san: san([der(0xa6, web)], true) }, 'IDENTITY_MALFORMED'],
  ['X-04: an empty subject needs a critical name', { san: san([web], false) }, 'IDENTITY_SAN_INVALID'],
  ['X-04: with a subject the name need not be critical', { san: san([web], false), subject: nameOf('web') }, accepted],
  [
    'X-06, X-13, T11: a CA certificate is no identity',
    { basicConstraints: basicConstraints(true) },
    'IDENTITY_NOT_LEAF',
  ],
  [
    'X-06, T11: a CA certificate is none with digitalSignature either',
    { basicConstraints: basicConstraints(true), keyUsage: keyUsage(['digitalSignature', 'keyCertSign']) },
    'IDENTITY_NOT_LEAF',
  ],
  ['X-07: cA false is accepted', { basicConstraints: basicConstraints(false) }, accepted],
  [
    'X-07: cA false written out is not DER',
    { basicConstraints: extension('2.5.29.19', sequence(der(0x01, Buffer.of(0))), true) },
    'IDENTITY_MALFORMED',
  ],
  ['X-08: no key usage is refused', { keyUsage: undefined }, 'IDENTITY_USAGE_INVALID'],
  [
    'X-08: key usage that is not critical is refused',
    { keyUsage: keyUsage(['digitalSignature'], false) },
    'IDENTITY_USAGE_INVALID',
  ],
  ['X-10: digitalSignature is needed', { keyUsage: keyUsage(['keyEncipherment']) }, 'IDENTITY_USAGE_INVALID'],
  [
    'X-10: keyEncipherment and keyAgreement are allowed',
    { keyUsage: keyUsage(['digitalSignature', 'keyEncipherment', 'keyAgreement']) },
    accepted,
  ],
  [
    'X-10, X-13, T12: keyCertSign is refused',
    { keyUsage: keyUsage(['digitalSignature', 'keyCertSign']) },
    'IDENTITY_NOT_LEAF',
  ],
  ['X-10, X-13, T12: cRLSign is refused', { keyUsage: keyUsage(['digitalSignature', 'cRLSign']) }, 'IDENTITY_NOT_LEAF'],
  [
    'X-10: more than a TLS identity needs is refused',
    { keyUsage: keyUsage(['digitalSignature', 'nonRepudiation']) },
    'IDENTITY_USAGE_INVALID',
  ],
  ['X-11, T13: only serverAuth is refused', { purposes: purposes([serverAuth]) }, 'IDENTITY_USAGE_INVALID'],
  ['X-11, T13: only clientAuth is refused', { purposes: purposes([clientAuth]) }, 'IDENTITY_USAGE_INVALID'],
  ['X-11: any purpose is not both', { purposes: purposes(['2.5.29.37.0']) }, 'IDENTITY_USAGE_INVALID'],
  [
    'X-11: it may be critical, and hold more',
    { purposes: purposes([clientAuth, serverAuth, '1.3.6.1.5.5.7.3.9'], true) },
    accepted,
  ],
  ['T14: no extended key usage is refused', { purposes: undefined }, 'IDENTITY_USAGE_INVALID'],
  ['T14: an empty extended key usage is refused', { purposes: purposes([]) }, 'IDENTITY_MALFORMED'],
  [
    'X-12, T15: an unknown critical extension is refused',
    { more: [extension('1.2.3.4', der(0x05), true)] },
    'IDENTITY_EXTENSION_UNKNOWN',
  ],
  [
    'X-12: an unknown extension that is not critical is ignored',
    { more: [extension('1.2.3.4', der(0x05), false)] },
    accepted,
  ],
  ['X-12: an extension that appears twice is refused', { more: [san([web], true)] }, 'IDENTITY_MALFORMED'],
  [
    'T18: a certificate of 20 KB is refused',
    { more: [extension('1.2.3.4', octets(Buffer.alloc(20_000)), false)] },
    'IDENTITY_MALFORMED',
  ],
  [
    'T18: a hundred extensions are refused',
    { more: Array.from({ length: 100 }, (_, i) => extension(`1.2.3.${i}`, der(0x05), false)) },
    'IDENTITY_MALFORMED',
  ],
  ['T19: RSA of 1024 bits is refused', { keys: rsaKeys(1_024) }, 'IDENTITY_WEAK'],
  ['T19: RSA of 512 bits is refused', { keys: rsaKeys(512) }, 'IDENTITY_WEAK'],
  ['T19: RSA of 2048 bits is accepted', { keys: rsaKeys(2_048) }, accepted],
  [
    'T19: RSA with the exponent 3 is refused',
    { keys: generateKeyPairSync('rsa', { modulusLength: 2_048, publicExponent: 3 }) },
    'IDENTITY_WEAK',
  ],
  ['T19: secp256k1 is refused', { keys: ecKeys('secp256k1') }, 'IDENTITY_WEAK'],
  ['T19: P-192 is refused', { keys: ecKeys('prime192v1') }, 'IDENTITY_WEAK'],
  ['T19: P-384 is accepted', { keys: ecKeys('secp384r1') }, accepted],
  ['T19: Ed25519 is accepted', { keys: generateKeyPairSync('ed25519') }, accepted],
  ['T19: Ed448 is refused', { keys: generateKeyPairSync('ed448') }, 'IDENTITY_WEAK'],
  [
    'T19: RSA-PSS keys are refused',
    { keys: generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }) },
    'IDENTITY_WEAK',
  ],
  ['T19: a SHA-1 signature is refused', { algorithm: { inner: sha1WithEcdsa } }, 'IDENTITY_WEAK'],
  ['T19: an MD5 signature is refused', { algorithm: { inner: md5WithRsa } }, 'IDENTITY_WEAK'],
  ['T20: signature algorithms that differ are refused', { algorithm: { outer: sha1WithEcdsa } }, 'IDENTITY_MALFORMED'],
  ['T20: a negative serial is refused', { serial: der(0x02, Buffer.of(0x80, 1)) }, 'IDENTITY_MALFORMED'],
  ['T20: a serial of 21 bytes is refused', { serial: unsignedInteger(Buffer.alloc(21, 0x11)) }, 'IDENTITY_MALFORMED'],
  ['T20: a serial that is not minimal is refused', { serial: der(0x02, Buffer.of(0, 0, 1)) }, 'IDENTITY_MALFORMED'],
  ['T20: an empty serial is refused', { serial: der(0x02) }, 'IDENTITY_MALFORMED'],
  [
    'T20: a key that is no key is refused',
    { publicKey: sequence(sequence(oid('1.2.840.10045.2.1')), bits(Buffer.of(4))) },
    'IDENTITY_WEAK',
  ],
  ['T20: a key that is empty is refused', { publicKey: sequence() }, 'IDENTITY_MALFORMED'],
  [
    'T20: a life that ends before it begins is refused',
    { notBefore: 2_000_000_000_000, notAfter: 1_900_000_000_000 },
    'IDENTITY_MALFORMED',
  ],
];

describe('the rules of a leaf', () => {
  it.each(rows)('%s', (_, wish, code) => expect(codeOf(wish)).toBe(code));

  it('T20: bytes after the certificate are refused', () => {
    const { der: bytes } = makeCertificate({ issuer });
    expect(() => readSvid(Buffer.concat([bytes, Buffer.of(0)]))).toThrowError(/bytes follow/);
  });

  it('T20: no cut and no flipped byte makes the reader fail in another way than by refusing', () => {
    const { der: bytes } = makeCertificate({ issuer });
    const good = readSvid(bytes);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), fc.boolean(), (at, flip, isCut) => {
        const bad = Buffer.from(isCut ? bytes.subarray(0, at) : bytes);
        if (!isCut) bad[at] = bad[at]! ^ flip;
        try {
          expect(readSvid(bad).id.trustDomain).toBeTypeOf('string');
        } catch (thrown) {
          expect((thrown as { code: string }).code).toMatch(/^IDENTITY_/);
        }
      }),
      { numRuns: 3_000 },
    );
    expect(good.id.uri).toBe('spiffe://example.org/web');
  });

  it('T20: arbitrary bytes are refused as malformed', () =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(() => readSvid(bytes)).toThrowError(expect.objectContaining({ code: 'IDENTITY_MALFORMED' }));
      }),
    ));

  it('reads the serial and the times as node:crypto does', async () => {
    const { X509Certificate } = await import('node:crypto');
    const { der: bytes } = makeCertificate({ issuer });
    const svid = readSvid(bytes);
    const other = new X509Certificate(bytes);
    expect(svid.serial).toBe(other.serialNumber.toLowerCase());
    expect(svid.notBefore).toBe(Date.parse(other.validFrom));
    expect(svid.notAfter).toBe(Date.parse(other.validTo));
  });
});
