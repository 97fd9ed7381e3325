// A join token is read strictly and believed only for where to go and whom to trust.
import { expect, test } from 'vitest';
import { readJoinToken } from '../../../proxy/agent/token.ts';
import { createTestCa } from '../../helpers/fake-control.ts';

const now = Date.UTC(2026, 0, 1);
const url = 'https://127.0.0.1:8443';

test('a good token tells service, url and exactly its roots, with space around it forgiven', async () => {
  const ca = await createTestCa('example.org', now);
  const token = readJoinToken(` ${ca.token({ service: 'shop/payments', url })}\n`, now);
  expect([token.service.uri, token.url]).toEqual(['spiffe://example.org/shop/payments', url]);
  expect(token.bundle.roots).toEqual(ca.bundle.roots);
});

test('C1: an expired token says when it expired and what to run', async () => {
  const ca = await createTestCa('example.org', now);
  const text = ca.token({ service: 'shop/payments', url, exp: now / 1_000 });
  expect(() => readJoinToken(text, now)).toThrowError(
    expect.objectContaining({
      code: 'SIDECAR_TOKEN_EXPIRED',
      message: expect.stringContaining('2026-01-01T00:00:00Z'),
      hint: expect.stringContaining('postern token create shop/payments'),
    }),
  );
});

test('C1: forged, truncated, foreign, oversized or unexpected tokens are refused with a reason', async () => {
  const ca = await createTestCa('example.org', now);
  const good = ca.token({ service: 'shop/payments', url });
  const [head, body, signature] = good.split('.') as [string, string, string];
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>;
  const withClaims = (more: object): string => `${head}.${encode({ ...claims, ...more })}.${signature}`;
  const rows: readonly [string, string][] = [
    ['empty', ''],
    ['a word', 'hello'],
    ['two parts', `${head}.${body}`],
    ['truncated', good.slice(0, body.length)],
    ['1 MB', 'a'.repeat(1 << 20)],
    ['JSON serialization', JSON.stringify({ payload: body, protected: head, signature })],
    ['another kind', `${encode({ typ: 'JWT', alg: 'ES256' })}.${body}.${signature}`],
    ['no claims', `${head}.${encode(null)}.${signature}`],
    ['an unknown claim', withClaims({ admin: true })],
    ['another audience', withClaims({ aud: 'x' })],
    ['a plain-text url', withClaims({ url: 'http://127.0.0.1:1' })],
    ['a url with user info', withClaims({ url: 'https://a@b' })],
    ['a url with a path', withClaims({ url: 'https://a/b' })],
    ['no roots', withClaims({ roots: [] })],
    ['a root that is no certificate', withClaims({ roots: ['AAAA'] })],
    ['an ID of another trust domain', withClaims({ sub: 'spiffe://other.org/shop/payments' })],
    ['an ID that is none', withClaims({ sub: 'https://example.org/x' })],
    ['a token id that could leave the folder', withClaims({ jti: '../../../etc/passwd' })],
  ];
  for (const [name, text] of rows) {
    expect(() => readJoinToken(text, now), name).toThrowError(
      expect.objectContaining({ code: 'SIDECAR_TOKEN_UNREADABLE' }),
    );
  }
});
