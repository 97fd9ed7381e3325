import { describe, expect, it } from 'vitest';
import { longestId, parseSpiffeId, parseTrustDomain, readSvid, spiffeIdOf } from '#spiffe';
import { makeCa, makeCertificate, san, uri } from '../helpers/pki.ts';

const refused = (text: string, reason: RegExp) =>
  expect(() => parseSpiffeId(text)).toThrowError(
    expect.objectContaining({ code: 'IDENTITY_ID_INVALID', message: expect.stringMatching(reason) }),
  );

describe('SPIFFE IDs', () => {
  const bad: readonly [claim: string, text: string, reason: RegExp][] = [
    ['ID-01: another scheme is refused', 'https://example.org/a', /scheme/],
    ['ID-01: no scheme is refused', 'example.org/a', /scheme/],
    ['ID-02: an empty trust domain is refused', 'spiffe:///a', /trust domain is empty/],
    ['ID-03: a query is refused', 'spiffe://example.org/a?b=c', /"\?"/],
    ['ID-04: a fragment is refused', 'spiffe://example.org/a#b', /"#"/],
    ['ID-05: userinfo is refused', 'spiffe://user@example.org/a', /"@"/],
    ['ID-05: a port is refused', 'spiffe://example.org:8443/a', /":"/],
    ['ID-06: an upper-case trust domain is refused', 'spiffe://Example.org/a', /"E"/],
    ['ID-07: a trust domain with another character is refused', 'spiffe://exa~mple.org/a', /"~"/],
    ['ID-07: an IPv6 literal is refused', 'spiffe://[::1]/a', /"\["/],
    ['ID-08: percent-encoding in the trust domain is refused', 'spiffe://ex%61mple.org/a', /"%"/],
    ['ID-10: percent-encoding in the path is refused', 'spiffe://example.org/a%2fb', /"%"/],
    ['ID-11: an empty path segment is refused', 'spiffe://example.org/a//b', /segment is empty/],
    ['ID-11: a dot segment is refused', 'spiffe://example.org/a/./b', /\. segment/],
    ['ID-11: a dot-dot segment is refused', 'spiffe://example.org/a/../b', /\.\. segment/],
    ['ID-12: a path that ends in a slash is refused', 'spiffe://example.org/a/', /segment is empty/],
    ['ID-13: another character in the path is refused', 'spiffe://example.org/a b', /" "/],
    ['ID-13: a character beyond ASCII is refused', 'spiffe://example.org/p\u00e4y', /the path has/],
    [
      'ID-14: one byte more than 2048 is refused',
      `spiffe://example.org/${'a'.repeat(longestId - 19)}`,
      /longer than 2048/,
    ],
    ['ID-14: a trust domain of 256 bytes is refused', `spiffe://${'a'.repeat(256)}/a`, /longer than 255/],
    ['ID-15: an upper-case scheme is refused, as go-spiffe does', 'SPIFFE://example.org/a', /scheme/],
    ['X-14: a root path is refused', 'spiffe://example.org/', /path is empty/],
    ['X-14: no path is refused', 'spiffe://example.org', /no path/],
    ['Z7: a NUL is refused', 'spiffe://example.org/a\0b', /the path has/],
  ];
  it.each(bad)('%s', (_, text, reason) => refused(text, reason));

  it('ID-01: spiffe:// is accepted', () => expect(parseSpiffeId('spiffe://example.org/a').service).toBe('a'));
  it.each(['127.0.0.1', 'example.org', 'my_domain-1', '-', '0', '..'])(
    'ID-09: the trust domain %s is like any other',
    (name) => expect(parseSpiffeId(`spiffe://${name}/a`).trustDomain).toBe(parseTrustDomain(name)),
  );
  it('ID-13: every allowed character is accepted in a path', () => {
    const path = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/...';
    expect(parseSpiffeId(`spiffe://example.org/${path}`).service).toBe(path);
  });
  it('ID-14: 2048 bytes are accepted, in a certificate too', () => {
    const text = `spiffe://example.org/${'a'.repeat(longestId - 21)}`;
    expect(text).toHaveLength(2_048);
    expect(parseSpiffeId(text).uri).toBe(text);
    expect(readSvid(makeCertificate({ issuer: makeCa(), san: san([uri(text)], true) }).der).id.uri).toBe(text);
  });
  it('ID-15: paths that differ in case are different identities (Z7)', () =>
    expect(parseSpiffeId('spiffe://example.org/A').uri).not.toBe(parseSpiffeId('spiffe://example.org/a').uri));
  it('a service name makes an ID by the same rules', () => {
    expect(spiffeIdOf({ trustDomain: 'example.org', service: 'shop/payments' }).uri).toBe(
      'spiffe://example.org/shop/payments',
    );
    expect(() => spiffeIdOf({ trustDomain: 'example.org', service: '../x' })).toThrowError(/\.\. segment/);
  });
  it('knows the paths that belong to the mesh', () => {
    expect(parseSpiffeId('spiffe://example.org/postern/server').isReserved).toBe(true);
    expect(parseSpiffeId('spiffe://example.org/postern').isReserved).toBe(true);
    expect(parseSpiffeId('spiffe://example.org/posterns').isReserved).toBe(false);
  });
});
