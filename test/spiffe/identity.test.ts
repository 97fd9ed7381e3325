import 'reflect-metadata';

import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { Pkcs10CertificateRequest } from '@peculiar/x509';
import { describe, expect, it } from 'vitest';
import { createCsr, createKeyPair, readIdentity, verifyChain } from '#spiffe';
import { createTestPki, makeCa, makeCertificate, san, uri } from '../helpers/pki.ts';

const pki = createTestPki();

describe('identities', () => {
  it("a key that is not the certificate's is refused", () => {
    const { chain } = pki.leaf();
    expect(() => readIdentity({ chain, key: createKeyPair().privateKey })).toThrowError(
      expect.objectContaining({ code: 'IDENTITY_KEY_MISMATCH' }),
    );
  });
  it('a chain without a leaf, or too long, is refused', () => {
    const { chain, key } = pki.leaf();
    expect(() => readIdentity({ chain: [], key })).toThrowError(/0 certificates/);
    expect(() => readIdentity({ chain: [...chain, ...chain], key })).toThrowError(/4 certificates/);
  });
});

describe('certificate requests', () => {
  const kinds = {
    'P-256': createKeyPair(),
    'P-384': generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    Ed25519: generateKeyPairSync('ed25519'),
    'RSA 2048': generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  };
  it.each(Object.entries(kinds))('one of a %s key is accepted by openssl', (_, key) => {
    const out = execFileSync('openssl', ['req', '-inform', 'der', '-verify', '-noout'], {
      input: createCsr(key),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    expect(out.toString()).not.toMatch(/failure/);
  });
  it('one is verified by @peculiar/x509, names nobody and asks for nothing', async () => {
    const request = new Pkcs10CertificateRequest(Uint8Array.from(createCsr(createKeyPair())));
    expect(await request.verify()).toBe(true);
    expect(request.subject).toBe('');
    expect(request.attributes).toEqual([]);
  });
});

describe('chains', () => {
  const now = Date.now();
  const verify = (chain: readonly Uint8Array[], at = now) => verifyChain({ chain, bundle: pki.bundle, now: at });
  it('an empty one is refused', () => expect(() => verify([])).toThrowError(/no certificate/));
  it('a leaf directly under a root is accepted', () =>
    expect(verify([makeCertificate({ issuer: pki.root }).der]).id.uri).toBe('spiffe://example.org/web'));
  it("X-12: a signature by another key with the issuer's name is refused", () => {
    const { chain } = pki.leaf({ signingKey: createKeyPair().privateKey });
    expect(() => verify(chain)).toThrowError(expect.objectContaining({ code: 'IDENTITY_UNTRUSTED' }));
  });
  it('X-12: validity is judged at the given moment, for the leaf and for what is above it', () => {
    const { chain } = pki.leaf();
    expect(() => verify(chain, now + 2 * 3_600_000)).toThrowError(
      expect.objectContaining({ code: 'IDENTITY_EXPIRED' }),
    );
    expect(() => verify(chain, now - 2 * 3_600_000)).toThrowError(
      expect.objectContaining({ code: 'IDENTITY_NOT_YET_VALID' }),
    );
    const issuing = makeCa({ issuer: pki.root, notAfter: Math.floor(now / 1_000) * 1_000 - 1_000 });
    expect(() => verify([makeCertificate({ issuer: issuing }).der, issuing.der])).toThrowError(/its signer expired/);
  });
  it('X-12: an issuing CA stays subject to time after it was remembered as verified', () => {
    const issuing = makeCa({ issuer: pki.root, notAfter: Math.floor(now / 1_000) * 1_000 + 600_000 });
    const chain = [
      makeCertificate({ issuer: issuing, notAfter: Math.floor(now / 1_000) * 1_000 + 3_000_000 }).der,
      issuing.der,
    ];
    expect(verify(chain).id.service).toBe('web');
    expect(() => verify(chain, now + 700_000)).toThrowError(/its signer expired/);
  });
  it('B-06: a bundle whose only root breaks the rules trusts nothing', () => {
    const root = makeCa({ san: san([uri('spiffe://other.org')], false) });
    const bundle = { ...pki.bundle, roots: [root.der] };
    expect(() => verifyChain({ chain: [makeCertificate({ issuer: root }).der], bundle, now })).toThrowError(
      expect.objectContaining({ code: 'IDENTITY_UNTRUSTED' }),
    );
  });
  it('the root itself, or a leaf, does not pass as an issuing CA', () => {
    const leaf = makeCertificate({ issuer: pki.issuing });
    const below = makeCertificate({ issuer: { ...leaf, subject: leaf.subject } });
    expect(() => verify([below.der, leaf.der])).toThrowError(/IDENTITY|signer|root/);
    expect(() => verify([pki.root.der])).toThrowError(expect.objectContaining({ code: 'IDENTITY_NOT_LEAF' }));
  });
});
