// What the authority makes, in the eyes of others: openssl verify -x509_strict, @peculiar/x509 and node:crypto.
import 'reflect-metadata';

import { execFileSync } from 'node:child_process';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate as OtherCertificate,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCsr, createKeyPair, type Identity, readCertificate, spiffeIdOf, toPem } from '#spiffe';
import { readCsr } from '../../ca/csr.ts';
import { issueLeaf, newSerial } from '../../ca/issue.ts';
import { createSigner, type Signer } from '../../ca/profile.ts';
import { assertReleasable } from '../../ca/release.ts';
import { createTestAuthority, createTestPki, type TestAuthority } from '../helpers/pki.ts';

let ca: TestAuthority;
beforeAll(async () => {
  ca = await createTestAuthority();
});
afterAll(() => ca.close());

function opensslVerify(
  chain: readonly Uint8Array[],
  roots: readonly Uint8Array[],
  purpose: readonly string[] = [],
): string {
  const file = (name: string, ders: readonly Uint8Array[]) => {
    const path = join(ca.home, name);
    writeFileSync(path, ders.map(toPem).join(''));
    return path;
  };
  const [leaf, ...above] = chain;
  return execFileSync('openssl', [
    ...['verify', '-x509_strict', ...purpose, '-CAfile', file('roots.pem', roots)],
    ...(above.length > 0 ? ['-untrusted', file('above.pem', above)] : []),
    file('leaf.pem', [leaf!]),
  ]).toString();
}

const local = (service: string, more: { dns?: string[]; ip?: string[] } = {}): Identity =>
  ca.authority.issueLocal({
    id: spiffeIdOf({ trustDomain: 'example.org', service }),
    ttlMs: 60_000,
    instance: 'x',
    ...more,
  });

describe('certificates that the authority makes', () => {
  it('openssl verify -x509_strict accepts leaf, issuing CA and root', () => {
    const { chain } = local('web', { dns: ['localhost'], ip: ['127.0.0.1', '::1'] });
    for (const purpose of ['sslserver', 'sslclient'])
      expect(opensslVerify(chain, ca.authority.bundle().roots, ['-purpose', purpose])).toMatch(/OK/);
    expect(opensslVerify(chain.slice(1), ca.authority.bundle().roots)).toMatch(/OK/);
    expect(opensslVerify(ca.authority.bundle().roots, ca.authority.bundle().roots)).toMatch(/OK/);
  });

  it('@peculiar/x509 reads from a leaf what the profile says', () => {
    const { chain, id, notAfter, serial } = local('shop/payments');
    const leaf = new OtherCertificate(Uint8Array.from(chain[0]!));
    expect(leaf.getExtension(SubjectAlternativeNameExtension)).toMatchObject({
      critical: true,
      names: { items: [{ type: 'url', value: id.uri }] },
    });
    expect(leaf.getExtension(KeyUsagesExtension)).toMatchObject({
      critical: true,
      usages: KeyUsageFlags.digitalSignature,
    });
    expect(leaf.getExtension(ExtendedKeyUsageExtension)?.usages).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(leaf.getExtension(BasicConstraintsExtension)).toMatchObject({ critical: true, ca: false });
    expect(leaf.subject).toBe('');
    expect(leaf.serialNumber).toBe(serial);
    expect(leaf.notAfter.getTime()).toBe(notAfter);
  });

  it('X-05, ID-16: CAs carry the trust domain as their SPIFFE ID, without a path, and subjects and key ids of their own', async () => {
    await ca.authority.rotateIssuing({ by: 'test' });
    const { roots, issuing } = ca.authority.status();
    const all = [...roots, ...issuing].map(({ pem }) => new OtherCertificate(pem));
    for (const one of all)
      expect(one.getExtension(SubjectAlternativeNameExtension)?.names.items).toMatchObject([
        { type: 'url', value: 'spiffe://example.org' },
      ]);
    expect(new Set(all.map(({ subject }) => subject)).size).toBe(all.length);
    expect(all.map((one) => one.getExtension(BasicConstraintsExtension)?.pathLength).sort()).toEqual([0, 0, 1]);
  });

  it('C19: serials have 120 random bits, are positive and of one length', () => {
    const serials = Array.from({ length: 2_000 }, () => Buffer.from(newSerial()).toString('hex'));
    expect(new Set(serials).size).toBe(2_000);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9a-f]{31}$/);
    const ones = serials.reduce((sum, serial) => sum + BigInt(`0x${serial}`).toString(2).split('1').length - 1, 0);
    expect(ones / 2_000 / 126).toBeCloseTo(0.5, 1);
  });
  it('C19: the registry refuses a serial that exists', () => {
    const { serial } = local('twice');
    const { sql } = ca.authority.database;
    const copy = () => sql.prepare('INSERT INTO issued SELECT * FROM issued WHERE serial = ?').run(serial);
    expect(copy).toThrowError(/UNIQUE constraint failed: issued.serial/);
  });
});

describe('the lean leaf', () => {
  const pki = createTestPki();
  const issuing = readCertificate(pki.issuing.der);
  const signer: Signer = createSigner({ certificate: issuing, fingerprint: 'x', key: pki.issuing.keys.privateKey });
  const publicKey = readCsr(createCsr(createKeyPair()));
  const segment = fc.stringMatching(/^[a-zA-Z0-9._-]{1,20}$/).filter((text) => text !== '.' && text !== '..');

  it('says what was decided, in the eyes of two other readers, for any decision', () =>
    fc.assert(
      fc.property(
        fc.array(segment, { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 1_000, max: 3_000_000 }),
        fc.integer({ min: -1_000_000, max: 1_000_000 }),
        fc.array(fc.ipV4(), { maxLength: 2 }),
        fc.array(fc.ipV6(), { maxLength: 2 }),
        (path, ttlMs, offset, v4, v6) => {
          const id = spiffeIdOf({ trustDomain: 'example.org', service: path.join('/') });
          const now = Date.now() + offset;
          const { leaf, svid } = issueLeaf({
            signer,
            id,
            publicKey,
            now,
            ttlMs,
            backdateMs: 30_000,
            ip: [...v4, ...v6],
          });
          const node = new X509Certificate(leaf);
          const peculiar = new OtherCertificate(Uint8Array.from(leaf));
          expect(node.verify(createPublicKey(pki.issuing.keys.publicKey.export({ format: 'pem', type: 'spki' })))).toBe(
            true,
          );
          expect(node.checkIssued(new X509Certificate(pki.issuing.der))).toBe(true);
          expect(node.subjectAltName?.split(', ')[0]).toBe(`URI:${id.uri}`);
          expect(peculiar.serialNumber).toBe(svid.serial);
          expect(peculiar.notBefore.getTime()).toBe(svid.notBefore);
          expect(Date.parse(node.validTo)).toBe(svid.notAfter);
          expect(svid.notAfter).toBeLessThanOrEqual(now + ttlMs);
          expect(svid.notAfter).toBeLessThanOrEqual(issuing.notAfter);
          expect(svid.notBefore).toBeGreaterThanOrEqual(issuing.notBefore);
        },
      ),
      { numRuns: 200 },
    ));

  it('C18: is clipped to the life of its issuer, and not made when nothing of that is left', () => {
    const o = { signer, id: spiffeIdOf({ trustDomain: 'example.org', service: 'a' }), publicKey, backdateMs: 0 };
    expect(issueLeaf({ ...o, now: issuing.notAfter - 10_000, ttlMs: 3_600_000 }).svid.notAfter).toBe(issuing.notAfter);
    expect(() => issueLeaf({ ...o, now: issuing.notAfter - 500, ttlMs: 3_600_000 })).toThrowError(
      expect.objectContaining({ code: 'CA_ISSUING_EXPIRED' }),
    );
  });

  it('C20: a leaf that is not what was decided is not released', () => {
    const id = spiffeIdOf({ trustDomain: 'example.org', service: 'a' });
    const decided = { id, serial: newSerial(), publicKey, notBefore: issuing.notBefore, notAfter: issuing.notAfter };
    const other = createSigner({ certificate: issuing, fingerprint: 'x', key: createKeyPair().privateKey });
    const { leaf } = issueLeaf({ signer, id, publicKey, now: Date.now(), ttlMs: 60_000, backdateMs: 0 });
    expect(() => assertReleasable({ leaf, signer, decided })).toThrowError(
      expect.objectContaining({ code: 'CA_CERTIFICATE_WRONG' }),
    );
    expect(() =>
      issueLeaf({ signer: other, id, publicKey, now: Date.now(), ttlMs: 60_000, backdateMs: 0 }),
    ).toThrowError(/its signature/);
  });
});
