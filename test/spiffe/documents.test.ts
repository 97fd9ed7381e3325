import { expect, test } from 'vitest';
import { createCsr, createKeyPair, readSvid, toPem, verifyChain } from '#spiffe';
import { createTestCa } from '../helpers/fake-control.ts';

test('ID-17: the SPIFFE ID and the public key are inside the signed part: one changed byte of either is refused', async () => {
  const ca = await createTestCa();
  const { chain, key } = await ca.issue({ service: 'shop/payments' });
  const other = createKeyPair();
  const verify = (leaf: Uint8Array) => verifyChain({ chain: [leaf, chain[1]!], bundle: ca.bundle, now: Date.now() });
  const replaced = (from: Uint8Array, to: Uint8Array): Buffer => {
    const leaf = Buffer.from(chain[0]!);
    expect(from.length).toBe(to.length);
    const at = leaf.indexOf(from);
    expect(at).toBeGreaterThan(0);
    leaf.set(to, at);
    return leaf;
  };
  expect(verify(chain[0]!).id.uri).toBe('spiffe://example.org/shop/payments');
  const renamed = replaced(Buffer.from('/shop/payments'), Buffer.from('/shop/Payments'));
  expect(readSvid(renamed).id.uri).toBe('spiffe://example.org/shop/Payments');
  const point = (of: typeof key): Buffer => {
    const { x, y } = of.export({ format: 'jwk' });
    return Buffer.concat([x!, y!].map((text) => Buffer.from(text, 'base64url')));
  };
  const rekeyed = replaced(point(key), point(other.privateKey));
  for (const leaf of [renamed, rekeyed])
    expect(() => verify(leaf)).toThrowError(expect.objectContaining({ code: expect.stringMatching(/^IDENTITY_/) }));
});

test('ID-18: only a document with a specification of its own is an SVID: nothing else that holds an ID is taken for one', async () => {
  const ca = await createTestCa();
  const { chain } = await ca.issue({ service: 'shop/payments' });
  const documents: Readonly<Record<string, Uint8Array>> = {
    'a join token': Buffer.from(ca.token({ service: 'shop/payments', url: 'https://127.0.0.1:1' })),
    'JSON with an ID': Buffer.from('{"sub":"spiffe://example.org/shop/payments"}'),
    'the ID itself': Buffer.from('spiffe://example.org/shop/payments'),
    'a certificate request': createCsr(createKeyPair()),
    'a bundle': Buffer.from(ca.bundleText),
    'a certificate as PEM': Buffer.from(toPem(chain[0]!)),
    'a CA certificate': chain[1]!,
    nothing: new Uint8Array(),
  };
  for (const [what, document] of Object.entries(documents))
    expect(() => readSvid(document), what).toThrowError(
      expect.objectContaining({ code: expect.stringMatching(/^IDENTITY_/) }),
    );
});
