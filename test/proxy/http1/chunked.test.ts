// The trailers of a chunked body: what is passed on, and that reading them costs no more than their length.
import { performance } from 'node:perf_hooks';
import { describe, expect, test } from 'vitest';
import { createChunkedReader, mayTrail } from '../../../proxy/http1/chunked.ts';

class Refused extends Error {}

function trailersOf(lines: string): readonly string[] {
  const reader = createChunkedReader({
    trailerBytes: 8_192,
    refuse: (reason) => {
      throw new Refused(reason);
    },
  });
  const bytes = Buffer.from(`0\r\n${lines}\r\n`, 'latin1');
  for (let at = 0; !reader.done; at = reader.step(bytes, at));
  return reader.trailers;
}

describe('trailers', () => {
  test.each([
    ['a:b', ['a', 'b']],
    ['A-b: \t some words \t ', ['a-b', 'some words']],
    ['a:', ['a', '']],
    ['a: \t ', ['a', '']],
    ['a: b:c', ['a', 'b:c']],
  ])('%j is read as %j', (line, expected) => {
    expect(trailersOf(`${line}\r\n`)).toEqual(expected);
  });

  test.each(['no colon', ': no name', 'a b: c', ' a: folded', 'a : b', 'a: b\x01', 'a: \x80', 'a: b\x7f'])(
    '%j is refused',
    (line) => {
      expect(() => trailersOf(`${line}\r\n`)).toThrow('a trailer is malformed');
    },
  );

  test.each([
    ['blanks before a byte that is refused', `a:${' '.repeat(2_500)}\x01`],
    ['blanks between two words', `a:b${' '.repeat(2_500)}c`],
    ['blanks and words in turn', `a:${' b'.repeat(1_250)}\x01`],
    ['a name without a colon', 'a'.repeat(2_500)],
  ])('Z4: %s cost no more time than their length', (_, line) => {
    const start = performance.now();
    try {
      trailersOf(`${line}\r\n`);
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(Refused);
    }
    // The event loop stood still for more than a second, and for a minute with the 8 KiB that trailers may have.
    expect(performance.now() - start).toBeLessThan(200);
  });

  test('names that decide about framing, identity or authorization never pass, however they are spelled', () => {
    for (const name of ['host', 'x-postern-peer', 'x_postern_peer', 'x.postern.peer', 'authorization', 'content_type'])
      expect(mayTrail(name), name).toBe(false);
    expect(mayTrail('x-checksum')).toBe(true);
  });
});
