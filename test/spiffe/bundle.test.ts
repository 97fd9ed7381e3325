import { describe, expect, it } from 'vitest';
import { bundlePem, formatBundle, parseBundle } from '#spiffe';
import { createTestPki, makeCa, makeCertificate } from '../helpers/pki.ts';

const pki = createTestPki();
const bundle = { ...pki.bundle, sequence: 2n ** 60n + 1n, refreshHint: 120 };
const document = JSON.parse(formatBundle(bundle)) as { keys: Record<string, unknown>[] };
const withKeys = (keys: unknown) => JSON.stringify({ keys });
const entry = document.keys[0]!;

describe('trust bundles', () => {
  it('B-01: other members at the top are tolerated', () =>
    expect(parseBundle('example.org', JSON.stringify({ ...document, extra: 1 })).roots).toHaveLength(1));
  it('B-02: the sequence keeps 64 bits of precision', () =>
    expect(parseBundle('example.org', formatBundle(bundle)).sequence).toBe(2n ** 60n + 1n));
  it('B-03: the refresh hint is there, in seconds', () =>
    expect(parseBundle('example.org', formatBundle(bundle)).refreshHint).toBe(120));
  it('B-04: keys must be there, and may be empty', () => {
    expect(() => parseBundle('example.org', '{}')).toThrowError(
      expect.objectContaining({ code: 'IDENTITY_BUNDLE_INVALID' }),
    );
    expect(parseBundle('example.org', withKeys([])).roots).toEqual([]);
  });
  it.each([
    ['of unknown kind', { ...entry, kty: 7 }],
    ['of unknown use', { ...entry, use: 'x509-other' }],
    ['without use', { ...entry, use: undefined }],
    ['with another case of use (B-07)', { ...entry, use: 'X509-SVID' }],
    ['that is null', null],
    ['that holds no certificate (X-16)', { ...entry, x5c: [] }],
    ['that holds nonsense', { ...entry, x5c: ['AAAA'] }],
    [
      'that holds a leaf',
      { ...entry, x5c: [Buffer.from(makeCertificate({ issuer: pki.root }).der).toString('base64')] },
    ],
  ])('B-05: an entry %s is skipped and the rest is used', (_, bad) =>
    expect(parseBundle('example.org', withKeys([bad, entry])).roots).toHaveLength(1),
  );
  it('X-15, B-07: a published entry has use, kty and exactly one certificate, and no kid', () => {
    expect(entry).toMatchObject({ use: 'x509-svid', kty: 'EC', x5c: [Buffer.from(pki.root.der).toString('base64')] });
    expect(entry).not.toHaveProperty('kid');
  });
  it('X-16: certificates after the first are ignored', () => {
    const two = { ...entry, x5c: [...(entry.x5c as string[]), Buffer.from(makeCa().der).toString('base64')] };
    expect(parseBundle('example.org', withKeys([two])).roots).toHaveLength(1);
  });
  it('B-10: without a hint it is looked at again after five minutes', () =>
    expect(parseBundle('example.org', withKeys([])).refreshHint).toBe(300));
  it('comes back from text and from PEM as it was', () => {
    expect(parseBundle('example.org', formatBundle(bundle))).toEqual({
      ...bundle,
      roots: bundle.roots.map((root) => Buffer.from(root)),
    });
    expect(bundlePem(bundle)).toMatch(/^-----BEGIN CERTIFICATE-----\n[\s\S]*-----END CERTIFICATE-----\n$/);
  });
});
