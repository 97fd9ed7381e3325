// Each lint code that says something about a rule by itself: found where it is, and not where it is not. The others are proved over a whole universe
// (tools.test.ts).
import { describe, expect, test } from 'vitest';
import { lintPolicy } from '#policy/tools';
import { idOf, rawRule, setOf } from '../helpers/policy.ts';

const found = (set: Parameters<typeof lintPolicy>[0], code: string): string[] =>
  lintPolicy(set).flatMap((one) => (one.code === code ? [`${one.rule}: ${one.message}`] : []));

describe('PL004, duplicates', () => {
  test('what says the same in another order and under another name', () => {
    const set = setOf([
      {
        id: 'a',
        effect: 'allow',
        from: ['web', 'shop'],
        methods: ['GET', 'PUT'],
        when: [{ key: 'header:x', in: ['1', '2'] }],
      },
      {
        id: 'b',
        effect: 'allow',
        from: ['shop', 'web'],
        methods: ['PUT', 'GET'],
        when: [{ key: 'header:x', in: ['2', '1'] }],
      },
      { id: 'c', effect: 'deny', from: ['web'], paths: ['/x'] },
      { id: 'd', effect: 'deny', from: ['web'], paths: ['/x'], shadow: true },
    ]);
    expect(found(set, 'PL004')).toEqual(['p/b: p/a says exactly the same']);
  });

  test.each([
    ['another effect', { effect: 'deny' as const }],
    ['one more method', { methods: ['GET', 'HEAD'] }],
    ['a port', { ports: [80] }],
    ['another value', { when: [{ key: 'header:x', in: ['2'] }] }],
  ])('not with %s', (_, part) => {
    const rule = {
      id: 'a',
      effect: 'allow' as const,
      from: ['web'],
      methods: ['GET'],
      when: [{ key: 'header:x', in: ['1'] }],
    };
    expect(found(setOf([rule, { ...rule, id: 'b', ...part }]), 'PL004')).toEqual([]);
  });
});

describe('PL005, unreachable', () => {
  const groups = { none: [], some: [idOf('web')] };
  test('a rule that names only empty groups, as callers or as called', () => {
    const rules = [
      rawRule({ id: 'a', effect: 'allow', from: ['group:none'] }),
      rawRule({ id: 'b', effect: 'deny', to: ['group:none'] }),
    ];
    expect(found({ revision: 1, rules, groups }, 'PL005')).toEqual([
      'p/a: group none has no members',
      'p/b: group none has no members',
    ]);
  });

  test('not one that names somebody beside them', () => {
    const rules = [rawRule({ id: 'a', effect: 'allow', from: ['group:none', 'group:some'] })];
    expect(found({ revision: 1, rules, groups }, 'PL005')).toEqual([]);
  });
});

describe('PL006, over-broad', () => {
  test.each([
    ['anybody may do everything', { from: ['*'] }, {}, 'it lets * do everything'],
    [
      'a whole trust domain may',
      { from: ['spiffe://example.org/**'] },
      {},
      'it lets spiffe://example.org/** do everything',
    ],
    ['somebody may do everything everywhere', { from: ['web'] }, { to: '*' }, 'it reaches *'],
    ['anybody may call anybody', { from: ['*'], methods: ['GET'] }, { to: '*' }, 'it lets * call *'],
  ])('%s', (_, part, options, message) => {
    expect(found(setOf([{ id: 'a', effect: 'allow', ...part }], options), 'PL006')).toEqual([`p/a: ${message}`]);
  });

  test.each([
    ['a deny', { effect: 'deny' as const, from: ['*'] }],
    ['what only records', { from: ['*'], shadow: true }],
    ['anybody for one path', { from: ['*'], paths: ['/healthz'] }],
    ['anybody with a condition', { from: ['*'], when: [{ key: 'header:x', in: ['1'] }] }],
    ['a part of a trust domain', { from: ['spiffe://example.org/shop/**'] }],
  ])('not %s', (_, part) => {
    expect(found(setOf([{ id: 'a', effect: 'allow', ...part }]), 'PL006')).toEqual([]);
  });
});

describe('PL008, conditions that never hold', () => {
  test.each(['connection', 'transfer-encoding', 'te', 'expect', 'proxy-authorization'])('header %s', (name) => {
    const set = setOf([{ id: 'a', effect: 'allow', shadow: true, when: [{ key: `header:${name}`, in: ['x'] }] }]);
    expect(found(set, 'PL008')).toEqual([`p/a: requests have no header ${name} when policy sees them`]);
  });

  test('not headers that requests have', () => {
    const set = setOf([{ id: 'a', effect: 'allow', when: [{ key: 'header:content-type', in: ['x'] }] }]);
    expect(found(set, 'PL008')).toEqual([]);
  });
});
