// Every problem of meaning, at once, where it was written.
import { describe, expect, test } from 'vitest';
import { parseResources } from '#config/resources';
import { buildPolicySet, compileProgram, validateResources } from '#policy';
import { ask, idOf, resources, setOf } from '../helpers/policy.ts';

/** Problems as `line:column message`, hints in brackets. */
function problemsOf(text: string): string[] {
  const { resources: located, problems } = parseResources(text, 'p.yaml');
  expect(problems).toEqual([]);
  return validateResources(located).map(({ file, line, column, message, hint }) => {
    expect(file).toBe('p.yaml');
    return `${line}:${column} ${message}${hint ? ` [${hint}]` : ''}`;
  });
}

function messagesOf(...given: Parameters<typeof resources>): string[] {
  return validateResources(resources(...given)).map(({ message, hint }) => `${message}${hint ? ` [${hint}]` : ''}`);
}

describe('places', () => {
  test('all problems of all resources are reported at once with line and column', () => {
    const text = `kind: Policy
name: p
to: [payments, "group:nope"]
rules:
  - id: a
    effect: allow
    from: [checkout, group:finanse, "shop/**"]
    paths: [/charges, "/charges//x", '/a*']
    when:
      - { key: "jwt:claims.role", in: [clerk] }
  - id: a
    effect: deny
    from: ["*"]
    when:
      - key: header:X-Env
        in: [prod]
      - key: header:x-postern-peer
        in: [x]
      - key: header:x-a
        in: [" padded", "é"]
      - key: header:x-a
        in: [ok]
---
kind: Group
name: finance
members: [billing, group:finance2]
---
kind: Policy
name: p
to: web
rules: [{ id: a, effect: allow, from: [a b] }]
`;
    expect(problemsOf(text)).toEqual([
      '29:7 Policy p: there are two of this name; the other is at p.yaml:1:1',
      '3:16 Policy p: there is no group nope',
      '7:22 Policy p: rule a: there is no group finanse [did you mean group:finance?]',
      '7:37 Policy p: rule a: "shop/**": a prefix is written with its trust domain: spiffe://TRUST-DOMAIN/shop/**',
      '8:23 Policy p: rule a: path "/charges//x": it has an empty segment (//)',
      '8:38 Policy p: rule a: path "/a*": * must be a whole segment, not a part of "a*"',
      '11:9 Policy p: rule a: rule 1 has this id too',
      '15:14 Policy p: rule a: "X-Env" is not a header name; write it in lower case, without _',
      '17:14 Policy p: rule a: x-postern-peer is set by the mesh itself; use from to ask who calls',
      '20:14 Policy p: rule a: value " padded": it has white space at its ends, which header values never have',
      '20:25 Policy p: rule a: value "é": it has a character that requests may not have in a header',
      '21:14 Policy p: rule a: header:x-a is asked twice [put all the values into one condition]',
      '26:20 Group finance: there is no group finance2 [did you mean group:finance?]',
      '31:40 Policy p: rule a: "a b": the path has " "',
      '10:16 Policy p: rule a: conditions on JWT claims need a JwtIssuer resource, and there is none',
    ]);
  });

  test('a place that has no position of its own has that of what is around it', () => {
    const [located] = resources([{ id: 'a', effect: 'allow', from: ['a b'] }]);
    const origin = { file: 'x', positions: { '': [1, 1], '/rules/0': [9, 3] } };
    expect(validateResources([{ ...located!, origin }])).toMatchObject([{ file: 'x', line: 9, column: 3 }]);
    expect(validateResources([{ ...located!, origin: { file: 'x', positions: {} } }])[0]).not.toHaveProperty('line');
  });
});

describe('sources', () => {
  test.each([
    ['web', undefined],
    ['shop/web.v2', undefined],
    ['spiffe://other.org/web', undefined],
    ['spiffe://other.org/**', undefined],
    ['spiffe://other.org/a/b/**', undefined],
    ['*', undefined],
    ['/web', 'a path segment is empty'],
    ['a//b', 'a path segment is empty'],
    ['a/../b', '.. segment'],
    ['web*', 'stands alone'],
    ['spiffe://td/web*', 'whole segments only'],
    ['spiffe://td/a/*', 'whole segments only'],
    ['spiffe://td/*/b/**', 'whole segments only'],
    ['spiffe://td/a//**', 'segment is empty'],
    ['spiffe://TD/a', 'the trust domain has "T"'],
    ['spiffe://TD/**', 'the trust domain has "T"'],
    ['spiffe://td', 'it has no path'],
    ['group:', 'no name'],
    ['https://a/b', 'has ":"'],
    ['wеb', 'the path has'],
  ])('%s: %s', (source, fault) => {
    for (const messages of [
      messagesOf([{ id: 'a', effect: 'allow', from: [source] }]),
      messagesOf([], { groups: { g: [source] } }),
      messagesOf([{ id: 'a', effect: 'allow' }], { to: source }),
    ]) {
      expect(messages).toHaveLength(fault ? 1 : 0);
      if (fault) expect(messages[0]).toContain(fault);
    }
  });
});

describe('groups', () => {
  test('34, Z5: a cycle is refused with its path', () => {
    const groups = { a: ['web', 'group:b'], b: ['group:c'], c: ['x', 'group:b'], d: ['group:a'] };
    expect(messagesOf([], { groups })).toEqual(['Group b: it contains itself: b -> c -> b']);
    expect(messagesOf([], { groups: { a: ['group:a'] } })).toEqual(['Group a: it contains itself: a -> a']);
  });

  test('Z5: a chain of 10 000 groups is resolved, and diamonds are no cycles', () => {
    const chain = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, index) => [`g${index}`, index === 9_999 ? ['web'] : [`group:g${index + 1}`]]),
    );
    const set = setOf([{ id: 'a', effect: 'allow', from: ['group:g0'] }], { groups: chain });
    expect(set.groups.g0).toEqual([idOf('web')]);
    expect(compileProgram(set).decide(ask()).effect).toBe('allow');
    const diamond = { top: ['group:l', 'group:r'], l: ['group:end'], r: ['group:end'], end: ['web'] };
    expect(setOf([], { groups: diamond }).groups.top).toEqual([idOf('web')]);
  });

  test('two groups of one name are refused', () => {
    const twice = [...resources([], { groups: { g: ['a'] } }), ...resources([], { groups: { g: ['b'] } })];
    expect(validateResources(twice)).toMatchObject([{ message: 'Group g: there are two of this name' }]);
  });

  test('thousands of unknown groups are reported without looking for thousands of hints', () => {
    const groups = Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`group-number-${index}`, ['a']]));
    const from = Array.from({ length: 5_000 }, (_, index) => `group:grope-number-${index}`);
    const messages = messagesOf([{ id: 'a', effect: 'allow', from }], { groups });
    expect(messages).toHaveLength(5_000);
    expect(messages.filter((message) => message.includes('did you mean'))).toHaveLength(20);
  });
});

test('a policy of too many combinations is refused with what to do', () => {
  const from = Array.from({ length: 6_000 }, (_, index) => `s${index}`);
  const paths = Array.from({ length: 1_000 }, (_, index) => `/p${index}`);
  expect(messagesOf([{ id: 'a', effect: 'allow', from, paths }])[0]).toContain('name a group instead of a list');
});

test('the set names SPIFFE IDs, resolves groups and keeps the place of each rule', () => {
  const text = `kind: Policy
name: p
to: [payments, payments]
rules:
  - id: a
    effect: allow
    from: [checkout, spiffe://other.org/x, group:g, "*"]
    methods: [GET]
    ports: [80]
---
kind: Group
name: g
members: [billing, group:h]
---
kind: Group
name: h
members: [spiffe://example.org/aud/**, billing]
`;
  const { resources: located } = parseResources(text, 'p.yaml');
  expect(validateResources(located)).toEqual([]);
  expect(buildPolicySet({ resources: located, trustDomain: 'example.org', revision: 4 })).toEqual({
    revision: 4,
    rules: [
      {
        policy: 'p',
        id: 'a',
        effect: 'allow',
        to: [idOf('payments')],
        from: [idOf('checkout'), 'spiffe://other.org/x', 'group:g', '*'],
        methods: ['GET'],
        ports: [80],
        source: { file: 'p.yaml', line: 5, column: 5 },
      },
    ],
    groups: { h: [idOf('aud/**'), idOf('billing')], g: [idOf('billing'), idOf('aud/**')] },
  });
});
