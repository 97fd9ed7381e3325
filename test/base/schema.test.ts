// The schema checker: every problem at once, each with its place and, for slips of the hand, the word that was meant.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { check, isValid, type JsonSchema, mostProblems, pointerTo, s } from '#base/schema';

const rule = s.object({
  id: s.string({ minLength: 1, maxLength: 4, pattern: '^[a-z]+$', title: 'a lower-case word' }),
  effect: s.enum(['allow', 'deny']),
  ports: s.optional(
    s.array(s.integer({ minimum: 1, maximum: 65_535 }), { minItems: 1, maxItems: 2, uniqueItems: true }),
  ),
  labels: s.optional(s.record(s.string(), { maxProperties: 1 })),
});
const good = { id: 'abc', effect: 'allow' };

describe('what is refused, and how it is said', () => {
  test.each<[string, unknown, [string, string, string?][]]>([
    ['nothing', undefined, [['', 'must be a map, not nothing']]],
    ['a list', [], [['', 'must be a map, not a list']]],
    ['null', null, [['', 'must be a map, not nothing']]],
    [
      'missing keys, all of them',
      {},
      [
        ['', 'id is missing'],
        ['', 'effect is missing'],
      ],
    ],
    ['an unknown key', { ...good, efect: 1 }, [['/efect', 'unknown key "efect"', 'did you mean effect?']]],
    [
      'an unknown key like no other',
      { ...good, zzzzzz: 1 },
      [['/zzzzzz', 'unknown key "zzzzzz"', 'known keys: id, effect, ports, labels']],
    ],
    [
      'another word of an enum',
      { ...good, effect: 'alow' },
      [['/effect', 'must be one of allow, deny, not "alow"', 'did you mean allow?']],
    ],
    ['a wrong type', { ...good, id: 5 }, [['/id', 'must be a string, not 5']]],
    ['an empty string', { ...good, id: '' }, [['/id', 'must not be empty']]],
    ['a long string', { ...good, id: 'abcde' }, [['/id', 'must be at most 4 characters long']]],
    ['a string of another pattern', { ...good, id: 'A' }, [['/id', 'must be a lower-case word, not "A"']]],
    ['an empty list', { ...good, ports: [] }, [['/ports', 'must not be empty']]],
    ['a long list', { ...good, ports: [1, 2, 3] }, [['/ports', 'must have at most 2 entries']]],
    ['a value twice', { ...good, ports: [1, 1] }, [['/ports/1', '1 is listed twice']]],
    [
      'numbers out of range',
      { ...good, ports: [0, 65_536] },
      [
        ['/ports/0', 'must be at least 1'],
        ['/ports/1', 'must be at most 65535'],
      ],
    ],
    ['a fraction', { ...good, ports: [1.5] }, [['/ports/0', 'must be a whole number, not 1.5']]],
    ['NaN', { ...good, ports: [Number.NaN] }, [['/ports/0', 'must be a whole number, not null']]],
    [
      'a number beyond 2^53',
      { ...good, ports: [2 ** 53] },
      [['/ports/0', 'must be a whole number, not 9007199254740992']],
    ],
    ['too many keys', { ...good, labels: { a: '', b: '' } }, [['/labels', 'must have at most 1 keys']]],
    [
      'a wrong value in a record',
      { ...good, labels: { 'a/b~c': 1 } },
      [['/labels/a~1b~0c', 'must be a string, not 1']],
    ],
    ['an inherited key', Object.assign(Object.create({ effect: 'allow' }), { id: 'abc' }), [['', 'effect is missing']]],
    [
      'a key named as a method of Object',
      { ...good, constructor: 1 },
      [['/constructor', 'unknown key "constructor"', 'known keys: id, effect, ports, labels']],
    ],
  ])('%s', (_, value, expected) => {
    expect(
      check(rule, value).map(({ pointer, message, hint }) => (hint ? [pointer, message, hint] : [pointer, message])),
    ).toEqual(expected);
  });

  test('several faults are told together', () => {
    expect(check(rule, { id: '', effect: 'x', ports: [0], more: 1 })).toHaveLength(4);
  });

  test('one of several schemas: the faults of the one that fits best', () => {
    const either = s.anyOf(s.string(), s.array(s.string()));
    expect(check(either, 'a')).toEqual([]);
    expect(check(either, ['a'])).toEqual([]);
    expect(check(either, [1])).toMatchObject([{ pointer: '/0', message: 'must be a string, not 1' }]);
  });

  test('a constant', () => {
    expect(check(s.literal(1), 1)).toEqual([]);
    expect(check(s.literal(1), '1')).toMatchObject([{ message: 'must be 1, not "1"' }]);
  });

  test('a long value is shown short', () => {
    expect(check(rule, { ...good, effect: 'x'.repeat(10_000) })[0]!.message.length).toBeLessThan(120);
  });
});

test('a good value is good', () => {
  expect(isValid(rule, { ...good, ports: [80, 443], labels: { a: 'b' } })).toBe(true);
});

test('any JSON value is judged without throwing, and `unknown` takes every one', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(check(s.unknown(), value)).toEqual([]);
      expect(Array.isArray(check(rule, value))).toBe(true);
    }),
  );
});

test('what is generated from a schema is accepted, and any added key is not', () => {
  const valid = fc.record(
    {
      id: fc.stringMatching(/^[a-z]{1,4}$/),
      effect: fc.constantFrom('allow', 'deny'),
      ports: fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { minLength: 1, maxLength: 2 }),
    },
    { requiredKeys: ['id', 'effect'] },
  );
  const known = ['id', 'effect', 'ports', 'labels'];
  fc.assert(
    fc.property(
      valid,
      fc.string().filter((name) => !known.includes(name) && name !== '__proto__'),
      (value, name) => {
        expect(check(rule, value)).toEqual([]);
        expect(check(rule, { ...value, [name]: 1 })).toHaveLength(1);
      },
    ),
  );
});

test('the schema is JSON Schema that says additionalProperties false', () => {
  const plain = JSON.parse(JSON.stringify(rule)) as JsonSchema;
  expect(plain).toMatchObject({ type: 'object', required: ['id', 'effect'], additionalProperties: false });
});

test.each([
  ['', 'a', '/a'],
  ['/x', 'a/b', '/x/a~1b'],
  ['/x', 'a~b', '/x/a~0b'],
  ['/x', 0, '/x/0'],
] as const)('pointerTo(%j, %j) is %s (RFC 6901)', (parent, key, expected) => {
  expect(pointerTo(parent, key)).toBe(expected);
});

describe('what is wrong everywhere', () => {
  const two = s.object({ name: s.optional(s.string()), list: s.optional(s.array(s.integer())) });

  test('K12: a map of nothing but unknown keys costs no more than its first problems', () => {
    const value = Object.fromEntries(Array.from({ length: 300_000 }, (_, at) => [`nome${at}`, 1]));
    const start = performance.now();
    expect(check(two, value)).toHaveLength(mostProblems);
    expect(performance.now() - start).toBeLessThan(400);
  });

  test('a list of nothing but wrong items has as many problems as are looked for', () => {
    expect(check(two, { list: Array.from({ length: 50_000 }, () => 'x') })).toHaveLength(mostProblems);
  });

  test('a key of a megabyte is not compared with every known one', () => {
    const start = performance.now();
    expect(check(two, { ['name'.repeat(250_000)]: 1 })).toMatchObject([{ hint: 'known keys: name, list' }]);
    expect(performance.now() - start).toBeLessThan(200);
  });
});
