// Every way in which Casbin was seen to fail open or to fall over (hostile inputs, section 3), and that our use of it does not. `stock` is
// Casbin as people use it; what it does is asserted too, so that a change in it is noticed.
import { type Enforcer, Helper, newEnforcer, newModelFromString } from 'casbin';
import { describe, expect, test } from 'vitest';
import { compileProgram } from '#policy';
import { createCasbin, exportCasbin } from '#policy/casbin';
import type { PolicySet } from '#wire';
import { ask, idOf, rawRule, setOf } from '../helpers/policy.ts';

const empty: PolicySet = { revision: 1, rules: [], groups: {} };
const regexModel = `[request_definition]
r = sub, obj
[policy_definition]
p = sub, obj, eft
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = regexMatch(r.sub, p.sub) && regexMatch(r.obj, p.obj)`;

function stock(model: string): Promise<Enforcer> {
  return newEnforcer(newModelFromString(model));
}

/** Our answer and casbin's, which must be one. */
async function both(set: PolicySet, question = ask()): Promise<'allow' | 'deny'> {
  const program = compileProgram(set).decide(question).effect;
  expect((await createCasbin(set)).decide(question)).toBe(program);
  return program;
}

function patternsOf(set: PolicySet): string[] {
  return exportCasbin(set).rows.flatMap((row) => (row[0] === 'p' ? row.slice(3, 9) : []));
}

/** The rows as casbin's own CSV reader gets them from the file that we write. */
function throughCsv(set: PolicySet): string[][] {
  const { model, csv } = exportCasbin(set);
  const read = newModelFromString(model);
  for (const line of csv.split('\n')) Helper.loadPolicyLine(line, read);
  return ['p', 'g'].flatMap((kind) =>
    read.model
      .get(kind)!
      .get(kind)!
      .policy.map((row) => [kind, ...row]),
  );
}

const nasty = [
  'p, admin',
  'a,b',
  '"q"',
  "it's",
  '(',
  ')',
  '(|)',
  '[a',
  '.*',
  '^',
  '$',
  '\\',
  'eval(1)',
  '# c',
  '{1,2}',
  'a$$b',
  '//',
  'x y',
];
const nastySet = setOf(
  [
    {
      id: 'a',
      effect: 'allow',
      paths: ['/a(b', '/c)d', '/x,y', "/!$&'(+,=:@", '/%7B1,2%7D', '/:', '/a/:/b'],
      when: [{ key: 'header:x', in: nasty }],
    },
    { id: 'd', effect: 'deny', from: ['group:g'], paths: ['/x,y'], methods: ['GET', '$', '|', '*', '+'] },
  ],
  { groups: { g: ['web', 'spiffe://example.org/a.b/**'] } },
);

describe('an empty policy', () => {
  test('casbin 1: allows nothing, though stock casbin with patterns allows everything', async () => {
    expect((await stock(regexModel)).enforceSync('anyone', 'anything')).toBe(true);
    expect(await both(empty)).toBe('deny');
    expect(exportCasbin(empty).rows).toHaveLength(1);
  });

  test('casbin 2: allows no request of empty strings', async () => {
    expect(await both(empty, ask({ from: '', to: '', method: '', path: '' }))).toBe('deny');
    const enforcer = await stock(exportCasbin(empty).model);
    expect(enforcer.enforceSync('', '', '', '', '', '')).toBe(false);
    expect(enforcer.enforceSync('spiffe://a/b', 'spiffe://a/c', 'GET', '/', '-', '\n')).toBe(false);
  });

  test('casbin 3: a policy of denies alone denies the rest too', async () => {
    expect(await both(setOf([{ id: 'd', effect: 'deny', paths: ['/x'] }]), ask({ path: '/y' }))).toBe('deny');
  });
});

describe('loading', () => {
  const denyGroup = setOf(
    [
      { id: 'a', effect: 'allow' },
      { id: 'd', effect: 'deny', from: ['group:g'] },
    ],
    { groups: { g: ['web'] } },
  );

  test('casbin 4, 5: an enforcer is whole before anyone can ask it, roles included', async () => {
    const old = await createCasbin(setOf([{ id: 'a', effect: 'allow' }]));
    const coming = createCasbin(denyGroup);
    expect(old.decide(ask())).toBe('allow');
    expect((await coming).decide(ask())).toBe('deny');
    expect(old.decide(ask())).toBe('allow');
  });

  test('casbin 6: a set that cannot be loaded leaves the one in force as it was', async () => {
    const old = await createCasbin(setOf([{ id: 'a', effect: 'allow' }]));
    const broken = { revision: 2, rules: [rawRule({ id: 'x', effect: 'allow', from: ['nobody'] })], groups: {} };
    await expect(createCasbin(broken)).rejects.toMatchObject({ code: 'POLICY_INVALID' });
    expect(old.decide(ask())).toBe('allow');
  });

  test.each([
    ['7: a rule cut short', { from: undefined as never }],
    ['7: a rule without methods in its list', { methods: [] }],
    ['8: an effect in another case', { effect: 'Deny' as never }],
    ['8: an effect with a comment', { effect: 'deny # no' as never }],
    ['8: no effect', { effect: undefined as never }],
  ])('casbin %s is refused, not read as something else', async (_, part) => {
    const rule = rawRule({ id: 'r', effect: 'deny', ...part });
    await expect(createCasbin({ revision: 1, rules: [rule], groups: {} })).rejects.toMatchObject({
      code: 'POLICY_INVALID',
    });
  });

  test('casbin 9: rows are of the two declared kinds, each as wide as declared', () => {
    const { rows } = exportCasbin(nastySet);
    expect(rows.every((row) => row.length === ({ p: 10, g: 3 } as Record<string, number>)[row[0]!])).toBe(true);
  });

  test('casbin 10, 11, 12, Z6: commas, quotes, brackets, line feeds and expressions survive the CSV file as data', async () => {
    const rows = exportCasbin(nastySet).rows;
    expect(throughCsv(nastySet)).toEqual(rows);
    for (const value of nasty) {
      const question = ask({ from: idOf('b'), path: '/x,y', headers: { x: [value] } });
      expect(await both(nastySet, question)).toBe('allow');
      expect(await both(nastySet, { ...question, headers: () => [`${value}x`] })).toBe('deny');
      expect(await both(nastySet, { ...question, from: idOf('web') })).toBe('deny');
    }
  });

  test('casbin 13: no row has a pattern that cannot be compiled, whatever operators write', () => {
    for (const pattern of patternsOf(nastySet)) expect(() => new RegExp(pattern)).not.toThrow();
  });

  test('casbin 31: rules that say the same thing are all there', async () => {
    const set = setOf([
      { id: 'a', effect: 'allow' },
      { id: 'b', effect: 'allow' },
      { id: 'd', effect: 'deny' },
    ]);
    expect(exportCasbin(set).rows).toHaveLength(4);
    expect(await both(set)).toBe('deny');
  });
});

describe('patterns', () => {
  test('casbin 14: /: and /a/:/b are plain text, and /{id is refused', async () => {
    expect(await both(setOf([{ id: 'a', effect: 'allow', paths: ['/:'] }]), ask({ path: '/:' }))).toBe('allow');
    expect(await both(setOf([{ id: 'a', effect: 'allow', paths: ['/a/:/b'] }]), ask({ path: '/a/x/b' }))).toBe('deny');
    expect(() => setOf([{ id: 'a', effect: 'allow', paths: ['/{id'] }])).toThrow('whole segment');
  });

  test('casbin 15, 41, Z4: a hostile path of 100 KB and hostile headers are decided at once', async () => {
    const set = setOf([
      {
        id: 'a',
        effect: 'allow',
        paths: ['/a/**', '/{x}/{y}/{z}/a', '/*/*/*/*/*/*/*/*/*/b'],
        when: [{ key: 'header:x', in: ['a', 'aa', ''] }],
      },
      {
        id: 'd',
        effect: 'deny',
        paths: ['/{x}/b/**'],
        when: [
          { key: 'header:x', in: ['b'] },
          { key: 'header:y', in: ['b'] },
        ],
      },
    ]);
    const casbin = await createCasbin(set);
    const program = compileProgram(set);
    const started = performance.now();
    for (const path of [
      `/${'a/'.repeat(50_000)}`,
      `/${'a'.repeat(100_000)}`,
      `/${'/'.repeat(100_000)}`,
      `/a/b/${'a'.repeat(28)}!`,
    ]) {
      for (const x of [Array(5_000).fill('a'), ['a,'.repeat(20_000)], [`\nheader:x=${'a\x1f'.repeat(10_000)}`]]) {
        const question = ask({ path, headers: { x, y: x } });
        expect(casbin.decide(question)).toBe(program.decide(question).effect);
      }
    }
    // A pattern that backtracks takes minutes; the bound is loose so that a busy machine does not matter.
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  test('casbin 16: every pattern is anchored at both ends', async () => {
    expect((await stock(regexModel)).getModel()).toBeDefined();
    for (const pattern of patternsOf(nastySet)) expect(pattern).toMatch(/^\^.*\$$|^\^\[\\s\\S\]\*\$$/s);
    expect(await both(setOf([{ id: 'a', effect: 'allow', methods: ['GET'] }]), ask({ method: 'NOGETX' }))).toBe('deny');
    expect(
      await both(setOf([{ id: 'a', effect: 'allow', paths: ['/public'] }]), ask({ path: '/admin/../public' })),
    ).toBe('deny');
  });

  test.each([
    ['/a.b', '/aXb', 'deny'],
    ['/foo/*', '/foo/../admin', 'deny'],
    ['/{id}', '/a%2Fb', 'allow'],
    ['/a', '/a/', 'deny'],
    ['/a', '/A', 'deny'],
    ['/admin/**', '/administrator', 'deny'],
    ['/a/*/b', '/a/x/c', 'deny'],
  ])('casbin 17, 18: %s against %s: %s', async (template, path, expected) => {
    expect(await both(setOf([{ id: 'a', effect: 'allow', paths: [template] }]), ask({ path }))).toBe(expected);
  });

  test('casbin 18: a star that is not a whole segment is refused', () => {
    expect(() => setOf([{ id: 'a', effect: 'allow', paths: ['/admin*'] }])).toThrow('whole segment');
  });

  test.each(['/x/.env', '/x/.git/config', '/x', '/x/'])('casbin 20: a deny on /x/** also stops %s', async (path) => {
    const set = setOf([
      { id: 'a', effect: 'allow' },
      { id: 'd', effect: 'deny', paths: ['/x/**'] },
    ]);
    expect(await both(set, ask({ path }))).toBe('deny');
    expect(() => setOf([{ id: 'a', effect: 'allow', paths: ['!/admin'] }])).toThrow('start with /');
    expect(() => setOf([{ id: 'a', effect: 'allow', paths: ['#/admin'] }])).toThrow('start with /');
  });
});

describe('addresses', () => {
  const rule = (block: string) => [
    { id: 'a', effect: 'allow' as const, when: [{ key: 'source:address', in: [block] }] },
  ];

  test('casbin 21: what is no address is never one, IPv4 inside IPv6 is the same, and /33 is refused', async () => {
    const set = setOf(rule('10.0.0.0/8'));
    expect(await both(set, ask({ address: '10.0.0.1' }))).toBe('allow');
    expect(await both(set, ask({ address: '::ffff:10.0.0.1' }))).toBe('allow');
    for (const address of ['not an address', '', '10.0.0.1, 11.0.0.1', '11.0.0.1', '010.0.0.1'])
      expect(await both(set, ask({ address }))).toBe('deny');
    expect(() => setOf(rule('10.0.0.0/33'))).toThrow('33');
    expect(() => setOf(rule('10.0.0.0/08'))).toThrow('08');
  });
});

describe('the model and how it is asked', () => {
  const { model } = exportCasbin(empty);
  const names = (section: string): string[] => new RegExp(`^${section} = (.*)$`, 'm').exec(model)![1]!.split(', ');
  const matcher = /^m = (.*)$/m.exec(model)![1]!;

  test('casbin 24: the answer is a word, never a promise, and only a plain true allows', async () => {
    const casbin = await createCasbin(setOf([{ id: 'a', effect: 'allow' }]));
    expect(casbin.decide(ask())).toBe('allow');
    expect(casbin.decide(ask({ path: '' }))).toBe('deny');
    expect(
      casbin.decide({
        ...ask(),
        headers: () => {
          throw new Error('gone');
        },
      }),
    ).toBe('allow');
    expect(casbin.decide(undefined as never)).toBe('deny');
  });

  test('casbin 25: every name in the matcher is declared', () => {
    const used = [...matcher.matchAll(/\b([rp])\.(\w+)/g)].map(([, kind, name]) => ({ kind: kind!, name: name! }));
    for (const { kind, name } of used) expect(names(kind)).toContain(name);
  });

  test('casbin 26: the matcher asks every column of a row and of a request', () => {
    for (const name of names('r')) expect(matcher).toContain(`r.${name}`);
    for (const name of names('p').slice(1, -1)) expect(matcher).toContain(`p.${name}`);
  });

  test('casbin 27: nothing is ever evaluated', () => {
    expect(model).not.toContain('eval');
    expect([...new Set(matcher.match(/\w+(?=\()/g))].sort()).toEqual(['g', 'regexMatch']);
  });

  test('casbin 28: no # can cut the matcher short', () => {
    expect(matcher).not.toContain('#');
  });

  test('casbin 5, 23: a caller cannot pass for a group by its name', async () => {
    const set = setOf([{ id: 'a', effect: 'allow', from: ['group:g'] }], { groups: { g: ['web'] } });
    expect(await both(set, ask({ from: 'group:g' }))).toBe('deny');
    expect(await both(set)).toBe('allow');
  });

  test('casbin 19: a parameter cannot be there twice, so nothing has to compare what was captured', () => {
    expect(() => setOf([{ id: 'a', effect: 'allow', paths: ['/{id}/x/{id}'] }])).toThrow('twice');
    for (const pattern of patternsOf(nastySet)) expect(pattern).not.toMatch(/\((?!\?:)/);
  });

  test('casbin 22: no rule has a priority: in whatever order rules are written, the answers are the same', async () => {
    const rules = [
      { id: 'a10', effect: 'allow' as const, paths: ['/**'] },
      { id: 'd9', effect: 'deny' as const, paths: ['/x'] },
      { id: 'a1', effect: 'allow' as const, paths: ['/x'] },
    ];
    for (const order of [rules, rules.toReversed(), [rules[1]!, rules[2]!, rules[0]!]]) {
      expect(await both(setOf(order), ask({ path: '/x' }))).toBe('deny');
      expect(await both(setOf(order), ask({ path: '/y' }))).toBe('allow');
    }
    expect(model).not.toContain('priority');
  });

  test('casbin 29: unknown callers and services are never stored among roles', async () => {
    const set = setOf([{ id: 'a', effect: 'allow', from: ['group:g'] }], { groups: { g: ['web'] } });
    const casbin = await createCasbin(set);
    for (let index = 0; index < 200; index++) {
      expect(casbin.decide(ask({ from: idOf(`stranger${index}`), to: idOf(`nowhere${index}`) }))).toBe('deny');
    }
    expect(names('r')).not.toContain('dom');
    expect(/^g = (.*)$/m.exec(model)![1]).toBe('_, _');
  });

  test('casbin 30: an answer of another shape than expected is a deny', async () => {
    const casbin = await createCasbin(setOf([{ id: 'a', effect: 'allow' }]));
    const loose = await stock(model);
    loose.enableEnforce(false);
    expect(loose.enforceExSync('a', 'b', 'c', 'd', '-', '\n')).toBe(true);
    // What is switched off cannot be reached: an oracle has two questions and no switches.
    expect(Object.keys(casbin).sort()).toEqual(['decide', 'ruleOf']);
  });
});
