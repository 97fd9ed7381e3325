// Where a head ends, and whether only such bytes stand in it as may, is what plain searches and expressions say.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findHead } from '../../../proxy/http1/find-head.ts';
import { requestBytes, responseBytes } from '../../../proxy/http1/head.ts';

const oracles = [
  { allowed: requestBytes, bad: /[^\t\r\n -~]|\r(?!\n)|(?<!\r)\n/ },
  { allowed: responseBytes, bad: /[^\t\r\n -~\x80-\xff]|\r(?!\n)|(?<!\r)\n/ },
];
const never = (): never => {
  throw new Error('refused');
};
const piece = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('\r\n', '\r', '\n', 'GET / HTTP/1.1', 'a: b', '\t', '\r\n\r\n') },
  fc.integer({ min: 0, max: 255 }).map((byte) => String.fromCharCode(byte)),
);

test('a head ends at its first empty line, and is clean when nothing else than lines of allowed bytes is in it', () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.constantFrom(...oracles), (pieces, { allowed, bad }) => {
      const given = pieces.join('');
      const begin = given.startsWith('\r\n') ? 2 : 0;
      const end = given.indexOf('\r\n\r\n', begin);
      fc.pre(end >= 0);
      const text = given.slice(begin, end);
      const found = findHead(Buffer.from(given, 'latin1'), 0, {
        allowed,
        limit: 1_000,
        tooLarge: never,
        refuse: never,
      });
      expect(found).toEqual({ text, isClean: !bad.test(text), next: end + 4 });
    }),
    { numRuns: 2_000 },
  );
});

test('what has no end yet is no head, too large, or refused for a bare LF', () => {
  const find = (text: string) => {
    const refuse = (reason: string): never => {
      throw new Error(reason);
    };
    const tooLarge = (): never => refuse('too large');
    return findHead(Buffer.from(text, 'latin1'), 0, { allowed: requestBytes, limit: 20, tooLarge, refuse });
  };
  for (const text of ['', 'GET / HTT', 'GET / HTTP/1.1\r\n', 'GET / HTTP/1.1\r\n\r', '\x01'])
    expect(find(text)).toBeUndefined();
  expect(() => find('GET / HTTP/1.1\r\na: b\r\n\r\n')).toThrow('too large');
  expect(() => find('GET / HTTP/1.1\n')).toThrow('bare LF');
});
