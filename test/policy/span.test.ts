// Addresses and times are read exactly or refused.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatAddress, inSpans, minuteOf, parseAddress, readBlock, readTimes } from '../../policy/span.ts';
import { minutePatterns } from '../../policy/span-rows.ts';

const has = (block: string, address: string): boolean => {
  const span = readBlock(block);
  if (typeof span === 'string') throw new Error(span);
  const number = parseAddress(address);
  return number !== undefined && inSpans([span], number);
};

describe('addresses', () => {
  test.each([
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.0.0.0/8', '::ffff:10.0.0.1', true],
    ['10.0.0.0/8', '::ffff:a00:1', true],
    ['::ffff:10.0.0.0/104', '10.1.2.3', true],
    ['fd00::/8', 'fdff::1', true],
    ['fd00::/8', 'fe80::1', false],
    ['::1', '0:0:0:0:0:0:0:1', true],
    ['0.0.0.0/0', '255.255.255.255', true],
    ['0.0.0.0/0', '::1', false],
    ['::/0', '1.2.3.4', true],
    ['1.2.3.4', '1.2.3.4', true],
    ['10.0.0.0/8', 'fe80::1%eth0', false],
    ['10.0.0.0/8', 'ten', false],
  ])('casbin 21: %s holds %s: %s', (block, address, expected) => {
    expect(has(block, address)).toBe(expected);
  });

  test.each([
    '10.0.0.0/33',
    '10.0.0.1/8',
    'fd00::/129',
    '10.0.0.0/08',
    '10.0.0.0/',
    '10/8',
    '010.0.0.0/8',
    'x',
    '',
    '1.2.3.4/8/8',
  ])('casbin 21: %j is refused', (block) => expect(readBlock(block)).toBeTypeOf('string'));

  test('what is written is read back', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (one) => parseAddress(formatAddress(one)) === one),
    );
  });
});

describe('times', () => {
  const at = (text: string, day: number, hour: number, minute = 0): boolean => {
    const spans = readTimes(text);
    if (typeof spans === 'string') throw new Error(spans);
    return inSpans(spans, BigInt(minuteOf(Date.UTC(2026, 0, 5 + day, hour, minute))));
  };

  test.each([
    ['Mon-Fri 08:00-18:00', 0, 8, 0, true],
    ['Mon-Fri 08:00-18:00', 4, 17, 59, true],
    ['Mon-Fri 08:00-18:00', 4, 18, 0, false],
    ['Mon-Fri 08:00-18:00', 5, 12, 0, false],
    ['22:00-06:00', 3, 23, 0, true],
    ['22:00-06:00', 3, 5, 59, true],
    ['22:00-06:00', 3, 6, 0, false],
    ['Sun 22:00-06:00', 0, 5, 0, true],
    ['Sun 22:00-06:00', 1, 5, 0, false],
    ['Sat-Mon 00:00-24:00', 0, 23, 59, true],
    ['Sat-Mon 00:00-24:00', 1, 0, 0, false],
  ])('%s, day %i at %i:%i: %s', (text, day, hour, minute, expected) => {
    expect(at(text, day, hour, minute)).toBe(expected);
  });

  test.each([
    '8:00-18:00',
    '08:00-08:00',
    '24:00-08:00',
    '08:00-24:01',
    '08:60-09:00',
    'Mo 08:00-18:00',
    'mon 08:00-18:00',
    '',
  ])('%j is refused', (text) => expect(readTimes(text)).toBeTypeOf('string'));

  test('the patterns of a range match its minutes and no others', () => {
    const minutes = Array.from({ length: 10_080 }, (_, minute) => String(minute).padStart(5, '0'));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10_079 }), fc.integer({ min: 1, max: 10_080 }), (start, end) => {
        fc.pre(start < end);
        const pattern = new RegExp(`^(?:${minutePatterns([{ start: BigInt(start), end: BigInt(end) }]).join('|')})$`);
        const found = minutes.filter((minute) => pattern.test(minute));
        expect([found.length, found[0], found.at(-1)]).toEqual([end - start, minutes[start], minutes[end - 1]]);
      }),
      { numRuns: 60 },
    );
  });
});
