import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalPath } from '../../proxy/canonical-path.ts';

describe('one form of every path', () => {
  test.each([
    ['/', '/'],
    ['/a/b', '/a/b'],
    ['/a/b/', '/a/b/'],
    ['/.well-known/x', '/.well-known/x'],
    ['/a..b/...', '/a..b/...'],
    ['/users/@me:x', '/users/@me:x'],
    ['/caf%c3%a9', '/caf%C3%A9'],
    ['/a%20b', '/a%20b'],
    ['/%61dmin', '/admin'],
    ['/users/%40me', '/users/@me'],
    ['/a%2Bb', '/a+b'],
  ])('H20: %s is %s', (raw, canonical) => expect(canonicalPath(raw)).toBe(canonical));

  test.each([
    ['/info/../private', '/private'],
    ['/a/./b', '/a/b'],
    ['/a/b/..', '/a/'],
    ['/a/.', '/a/'],
    ['/a/b/../../c', '/c'],
  ])('1: %s is %s', (raw, canonical) => expect(canonicalPath(raw)).toBe(canonical));

  test.each([
    ['/x/%2e%2e/admin', '/admin'],
    ['/x/.%2E/admin', '/admin'],
    ['/x/%2e/admin', '/x/admin'],
  ])('2: %s is %s', (raw, canonical) => expect(canonicalPath(raw)).toBe(canonical));

  test.each([
    ['//admin', '/admin'],
    ['/a//b', '/a/b'],
    ['/a///..//b', '/b'],
  ])('5: %s is %s', (raw, canonical) => expect(canonicalPath(raw)).toBe(canonical));

  test.each([
    ['1: climbing above the root', '/../x'],
    ['1: climbing above the root later', '/a/../../x'],
    ['2: climbing above the root, escaped', '/%2e%2e/x'],
    ['3: ..;a=b', '/user/..;a=b/admin'],
    ['4: a path parameter', '/admin;x=1/y'],
    ['4: a path parameter at the end', '/a;'],
    ['6: an escaped slash', '/a%2Fb'],
    ['6: an escaped slash in lower case', '/a%2fb'],
    ['6: an escaped backslash', '/a%5Cb'],
    ['6: a backslash', '/a\\b'],
    ['7: a fragment', '/a#b'],
    ['7: an escaped fragment', '/a%23b'],
    ['9: an escaped NUL', '/a%00b'],
    ['9: an escaped semicolon', '/a%3bb'],
    ['9: an escaped question mark', '/a%3Fb'],
    ['9: an escaped percent sign', '/a%25b'],
    ['H20: double encoding', '/%252e%252e/x'],
    ['H20: an escaped line feed', '/a%0ab'],
    ['H20: an overlong slash', '/a%c0%afb'],
    ['H20: an overlong dot', '/%c0%ae%c0%ae/x'],
    ['H20: a surrogate', '/%ed%a0%80'],
    ['H20: half a character', '/caf%c3'],
    ['H20: a broken escape', '/a%zz'],
    ['H20: an escape cut short', '/a%2'],
    ['H20: a space', '/a b'],
    ['H20: a quotation mark', '/a"b'],
    ['13: no slash at the start', 'a/b'],
    ['13: nothing', ''],
  ])('%s is refused', (_, raw) => expect(() => canonicalPath(raw)).toThrow(/refused/));

  test('12: paths are case-sensitive', () => expect(canonicalPath('/Admin')).not.toBe(canonicalPath('/admin')));

  test('the canonical form is its own canonical form, whatever came in', () => {
    const piece = fc.constantFrom(
      '/',
      '.',
      '..',
      'a',
      'B',
      '%2e',
      '%61',
      '%41',
      '%c3%a9',
      '%2b',
      '+',
      ':',
      '%3a',
      '//',
      '%20',
      '-',
      '~',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        let once: string;
        try {
          once = canonicalPath(`/${pieces.join('')}`);
        } catch {
          return;
        }
        expect(canonicalPath(once)).toBe(once);
        expect(once).not.toMatch(/\/\/|\/\.\.?(\/|$)/);
        // What an application decodes from it is what it would have decoded from the original, folded.
        expect(decodeURIComponent(once)).toBe(
          new URL(`http://a${once}`).pathname.split('/').map(decodeURIComponent).join('/'),
        );
      }),
      { numRuns: 20_000 },
    );
  });
});
