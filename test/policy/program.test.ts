// What the decision program answers, and that it answers from the candidates alone.
import { describe, expect, test } from 'vitest';
import { buildProgram, compileProgram, denyAll, type Question } from '#policy';
import type { PolicySet } from '#wire';
import { ask, idOf, rawRule, setOf } from '../helpers/policy.ts';

const deny = { effect: 'deny', reason: 'default-deny', matched: [], shadow: [] };

function decide(set: PolicySet, question: Question = ask()) {
  return compileProgram(set).decide(question);
}

/** Whether one allow rule with these fields lets the question pass. */
function allows(rule: Parameters<typeof setOf>[0][number] | object, question: Question): boolean {
  return decide(setOf([{ id: 'r', effect: 'allow', ...rule }]), question).effect === 'allow';
}

describe('default deny', () => {
  test('Z1: no policy and an empty policy deny everything', () => {
    expect(denyAll.decide(ask())).toEqual({ ...deny, revision: 0 });
    expect(decide({ revision: 7, rules: [], groups: {} })).toEqual({ ...deny, revision: 7 });
  });

  test('32: a lone deny rule still denies all that it does not name', () => {
    const set = setOf([{ id: 'd', effect: 'deny', paths: ['/x'] }]);
    expect(decide(set, ask({ path: '/x' }))).toMatchObject({ reason: 'denied-by-rule', rule: 'p/d' });
    expect(decide(set, ask({ path: '/y' }))).toMatchObject(deny);
  });

  test('a rule for one service says nothing about another', () => {
    const set = setOf([{ id: 'a', effect: 'allow' }]);
    expect(decide(set).effect).toBe('allow');
    expect(decide(set, ask({ to: idOf('payments2') })).effect).toBe('deny');
    expect(decide(set, ask({ to: idOf('payments/x') })).effect).toBe('deny');
  });
});

describe('deny beats allow', () => {
  const allow = { id: 'a', effect: 'allow' as const };
  const refuse = { id: 'd', effect: 'deny' as const };

  test.each([
    ['allow first', [allow, refuse], ['p/a']],
    ['deny first', [refuse, allow], ['p/a']],
  ])('Z8: %s, the deny decides and the allow is named', (_, rules, matched) => {
    expect(decide(setOf(rules))).toEqual({
      effect: 'deny',
      reason: 'denied-by-rule',
      rule: 'p/d',
      matched,
      shadow: [],
      revision: 1,
    });
  });

  test('33: a broad deny beats every narrower allow', () => {
    const narrow = { id: 'a', effect: 'allow' as const, from: ['web'], methods: ['GET'], paths: ['/a/b'], ports: [80] };
    const set = setOf([narrow, { id: 'd', effect: 'deny', paths: ['/a/**'] }]);
    expect(decide(set, ask({ path: '/a/b', port: 80 }))).toMatchObject({
      effect: 'deny',
      rule: 'p/d',
      matched: ['p/a'],
    });
  });

  test('the first rule of the winning effect is named, the rest in order', () => {
    const set = setOf([allow, { id: 'a2', effect: 'allow' }, refuse, { id: 'd2', effect: 'deny' }]);
    expect(decide(set)).toMatchObject({ rule: 'p/d', matched: ['p/a', 'p/a2', 'p/d2'] });
  });

  test('a rule that matches in several ways is named once', () => {
    const set = setOf([{ id: 'a', effect: 'allow', from: ['web', '*', 'group:g'], paths: ['/a', '/*', '/**'] }], {
      groups: { g: ['web', 'spiffe://example.org/**'] },
    });
    expect(decide(set, ask({ path: '/a' }))).toMatchObject({ rule: 'p/a', matched: [] });
  });
});

describe('shadow rules', () => {
  test('are recorded and never enforced', () => {
    const set = setOf([
      { id: 's', effect: 'deny', shadow: true },
      { id: 'a', effect: 'allow', paths: ['/a'] },
    ]);
    expect(decide(set, ask({ path: '/a' }))).toMatchObject({
      effect: 'allow',
      rule: 'p/a',
      shadow: ['p/s'],
      matched: [],
    });
    expect(decide(set, ask({ path: '/b' }))).toMatchObject({ ...deny, shadow: ['p/s'] });
    expect(decide(setOf([{ id: 's', effect: 'allow', shadow: true }]))).toMatchObject({
      effect: 'deny',
      shadow: ['p/s'],
    });
  });
});

describe('who calls', () => {
  test.each([
    ['web', 'web', true],
    ['web', 'web/x', false],
    ['web', 'webx', false],
    ['spiffe://example.org/web', 'web', true],
    ['spiffe://example.org/shop/**', 'shop/web', true],
    ['spiffe://example.org/shop/**', 'shop/a/b', true],
    ['spiffe://example.org/shop/**', 'shop', true],
    ['spiffe://example.org/shop/**', 'shopping', false],
    ['spiffe://example.org/**', 'anything/at/all', true],
    ['spiffe://other.org/**', 'web', false],
    ['*', 'web', true],
    ['group:g', 'ledger', true],
    ['group:g', 'aud/x', true],
    ['group:g', 'web', false],
    ['group:outer', 'ledger', true],
  ])('from %s holds %s: %s', (from, caller, expected) => {
    const set = setOf([{ id: 'r', effect: 'allow', from: [from] }], {
      groups: { g: ['ledger', 'spiffe://example.org/aud/**'], outer: ['group:g'] },
    });
    expect(decide(set, ask({ from: idOf(caller) })).effect === 'allow').toBe(expected);
  });

  test.each(['Web', 'web/', 'WEB', 'wеb', 'web ', 'we\u0301b', ''])(
    'Z7, 42: %j is never the identity web',
    (service) => {
      expect(allows({ from: ['web'] }, ask({ from: idOf(service) }))).toBe(false);
    },
  );

  test('42: identities that differ by case are distinct', () => {
    expect(allows({ from: ['A'] }, ask({ from: idOf('A') }))).toBe(true);
    expect(allows({ from: ['A'] }, ask({ from: idOf('a') }))).toBe(false);
  });

  test('16: a dot in an identity is a dot', () => {
    expect(allows({ from: ['cert-manager.io'] }, ask({ from: idOf('cert-manager.io') }))).toBe(true);
    expect(allows({ from: ['cert-manager.io'] }, ask({ from: idOf('cert-managerXio') }))).toBe(false);
  });

  test.each(['', '*', 'web', 'group:g', 'spiffe://', 'spiffe://example.org', 'spiffe://example.org/', 'spiffe:///web'])(
    '%j is nobody, not even for a rule from *',
    (from) => {
      expect(decide(setOf([{ id: 'r', effect: 'allow' }]), ask({ from }))).toMatchObject({ reason: 'policy-error' });
    },
  );

  test('groups named like parts of Object are groups', () => {
    const set = setOf([{ id: 'r', effect: 'allow', from: ['group:constructor'] }], {
      groups: { constructor: ['web'] },
    });
    expect(decide(set).effect).toBe('allow');
    expect(decide(set, ask({ from: idOf('constructor') })).effect).toBe('deny');
  });
});

describe('methods and paths', () => {
  test.each([
    ['GET', 'GET', true],
    ['GET', 'get', false],
    ['GET', 'NOGETX', false],
    ['GET', 'GETX', false],
    ['G.T', 'GET', false],
  ])('method %s against %s: %s', (written, asked, expected) => {
    expect(allows({ methods: [written] }, ask({ method: asked }))).toBe(expected);
  });

  test.each([
    ['/', '/', true],
    ['/', '/a', false],
    ['/a', '/a', true],
    ['/a', '/a/', false],
    ['/a/', '/a/', true],
    ['/a/', '/a', false],
    ['/a', '/A', false],
    ['/a/{id}', '/a/7', true],
    ['/a/{id}', '/a/', false],
    ['/a/{id}', '/a/7/b', false],
    ['/a/*/b', '/a/7/b', true],
    ['/a/*/b', '/a/7/c', false],
    ['/a/**', '/a', true],
    ['/a/**', '/a/', true],
    ['/a/**', '/a/b/c', true],
    ['/**', '/', true],
    ['/{x}/b/**', '/7/b/c', true],
    ['/{x}/b/**', '/b/c', false],
  ])('template %s covers %s: %s', (template, path, expected) => {
    expect(allows({ paths: [template] }, ask({ path }))).toBe(expected);
  });

  test('14: a parameter matches every byte that a segment can have', () => {
    for (const segment of ['*', '{id}', '%C3%A9', "a.b~c!$&'()+,=:@", '...', '-']) {
      expect(allows({ paths: ['/a/{id}'] }, ask({ path: `/a/${segment}` }))).toBe(true);
    }
  });

  test('15: a rule for /admin never covers /administrator', () => {
    for (const template of ['/admin', '/admin/**', '/admin/*']) {
      expect(allows({ paths: [template] }, ask({ path: '/administrator' }))).toBe(false);
    }
  });

  test('exact, parameter and rest templates of one destination are all looked at', () => {
    const set = setOf([
      { id: 'exact', effect: 'allow', paths: ['/a/b'] },
      { id: 'one', effect: 'allow', paths: ['/a/{x}'] },
      { id: 'other', effect: 'allow', paths: ['/{x}/b'] },
      { id: 'rest', effect: 'deny', paths: ['/a/**'] },
    ]);
    expect(decide(set, ask({ path: '/a/b' }))).toMatchObject({
      rule: 'p/rest',
      matched: ['p/exact', 'p/one', 'p/other'],
    });
  });

  test.each(['', 'a', '*', 'example.org:443'])('a path that is %j fails closed', (path) => {
    expect(decide(setOf([{ id: 'r', effect: 'allow' }]), ask({ path }))).toMatchObject({ reason: 'policy-error' });
  });
});

describe('ports', () => {
  const set = setOf([
    { id: 'a', effect: 'allow', ports: [8080] },
    { id: 'a2', effect: 'allow', paths: ['/open'] },
    { id: 'd', effect: 'deny', ports: [9090], paths: ['/open'] },
  ]);

  test.each([
    ['/', 8080, 'allowed'],
    ['/', 8081, 'default-deny'],
    ['/open', 8081, 'allowed'],
    ['/open', 9090, 'denied-by-rule'],
  ])('%s on %i: %s', (path, port, reason) => {
    expect(decide(set, ask({ path, port })).reason).toBe(reason);
  });

  test('an unknown port fails closed: the allow does not match and the deny does', () => {
    expect(decide(set, ask({ path: '/' })).reason).toBe('default-deny');
    expect(decide(set, ask({ path: '/open' })).reason).toBe('denied-by-rule');
  });
});

describe('headers', () => {
  const when = [{ key: 'header:x-env', in: ['prod', 'stage'] }];
  const table: [string, string[], boolean, boolean][] = [
    ['absent', [], false, false],
    ['the value', ['prod'], true, true],
    ['two listed values', ['prod', 'stage'], true, true],
    ['one listed and one other', ['prod', 'dev'], false, true],
    ['the other first', ['dev', 'prod'], false, true],
    ['white space around it', [' prod\t'], true, true],
    ['a joined list', ['dev, prod'], false, true],
    ['a joined list of listed values', ['prod, stage'], false, true],
    ['another case', ['PROD'], false, false],
    ['a longer text', ['prodx'], false, false],
    ['obs-text bytes', ['pr\xf6d'], false, false],
    ['empty', [''], false, false],
  ];

  test.each(table)('18, 19: %s', (_, values, allowed, denied) => {
    const question = ask({ headers: { 'x-env': values } });
    expect(allows({ when }, question)).toBe(allowed);
    const set = setOf([
      { id: 'a', effect: 'allow' },
      { id: 'd', effect: 'deny', when },
    ]);
    expect(decide(set, question).effect === 'deny').toBe(denied);
  });

  test('17: bytes above 0x7f beside a listed value do not hide it from a deny', () => {
    const set = setOf([
      { id: 'a', effect: 'allow' },
      { id: 'd', effect: 'deny', when },
    ]);
    expect(decide(set, ask({ headers: { 'x-env': ['\xff\x80', 'prod'] } })).effect).toBe('deny');
    expect(decide(set, ask({ headers: { 'x-env': ['\xff\x80,prod'] } })).effect).toBe('deny');
  });

  test('every condition must hold', () => {
    const both = [...when, { key: 'header:x-tier', in: ['gold'] }];
    expect(allows({ when: both }, ask({ headers: { 'x-env': ['prod'], 'x-tier': ['gold'] } }))).toBe(true);
    expect(allows({ when: both }, ask({ headers: { 'x-env': ['prod'] } }))).toBe(false);
  });
});

describe('faults', () => {
  test('Z3: whatever throws is a deny with reason policy-error', () => {
    const program = compileProgram(setOf([{ id: 'a', effect: 'allow', when: [{ key: 'header:x', in: ['1'] }] }]));
    const broken = {
      ...ask(),
      headers: () => {
        throw new Error('gone');
      },
    };
    expect(program.decide(broken)).toEqual({
      effect: 'deny',
      reason: 'policy-error',
      matched: [],
      shadow: [],
      revision: 1,
    });
    expect(program.decide(undefined as never).reason).toBe('policy-error');
    expect(program.decide({} as never).reason).toBe('policy-error');
    const undefinedHeader = { ...ask(), headers: () => undefined as never };
    expect(program.decide(undefinedHeader).effect).toBe('deny');
  });

  test.each([
    ['an unknown effect', rawRule({ id: 'r', effect: 'Deny' as never }), 'neither allow nor deny'],
    ['no source', rawRule({ id: 'r', effect: 'deny', from: [] }), 'from is empty'],
    ['no destination', rawRule({ id: 'r', effect: 'deny', to: [] }), 'to is empty'],
    ['an unknown group', rawRule({ id: 'r', effect: 'deny', from: ['group:x'] }), 'no group x'],
    ['a bare service name', rawRule({ id: 'r', effect: 'deny', from: ['web'] }), 'not a SPIFFE ID'],
    ['a bad template', rawRule({ id: 'r', effect: 'deny', paths: ['/a*'] }), 'whole segment'],
    ['an empty path list', rawRule({ id: 'r', effect: 'deny', paths: [] }), 'empty list'],
    [
      'a condition on a claim',
      rawRule({ id: 'r', effect: 'deny', when: [{ key: 'jwt:claims.x', in: ['1'] }] }),
      'JwtIssuer',
    ],
    [
      'a condition asked twice',
      rawRule({
        id: 'r',
        effect: 'deny',
        when: [
          { key: 'header:a', in: ['1'] },
          { key: 'header:a', in: ['2'] },
        ],
      }),
      'twice',
    ],
  ])('40: %s is refused when compiled, never skipped', (_, rule, reason) => {
    const compile = () => compileProgram({ revision: 1, rules: [rule], groups: {} });
    expect(compile).toThrow(reason);
    expect(compile).toThrow(expect.objectContaining({ code: 'POLICY_INVALID' }));
  });

  test('a rule of a million combinations is refused, not swallowed', () => {
    const names = Array.from({ length: 3_000 }, (_, index) => idOf(`s${index}`));
    const rule = rawRule({ id: 'r', effect: 'allow', from: names, to: names });
    expect(() => compileProgram({ revision: 1, rules: [rule], groups: {} })).toThrow('name a group');
  });
});

describe('only candidates are looked at', () => {
  test('10 000 rules on one destination: a decision looks at the few that can match', () => {
    const rules = Array.from({ length: 10_000 }, (_, index) =>
      rawRule({
        id: `r${index}`,
        effect: index % 10 === 0 ? 'deny' : 'allow',
        from: [idOf(`s${index % 100}`)],
        methods: [index % 2 === 0 ? 'GET' : 'POST'],
        paths: [`/t${index % 1_000}/{id}`, `/u/${index}`],
      }),
    );
    const looked: string[] = [];
    const program = compileProgram({ revision: 1, rules, groups: {} }, { onCandidate: (rule) => looked.push(rule) });
    const decision = program.decide(ask({ from: idOf('s7'), method: 'POST', path: '/t7/x' }));
    expect(decision.effect).toBe('allow');
    expect(looked).toHaveLength(10);
    looked.length = 0;
    expect(program.decide(ask({ from: idOf('s7'), method: 'POST', path: '/nothing' })).reason).toBe('default-deny');
    expect(looked).toEqual([]);
    program.decide(ask({ from: idOf('s3'), method: 'POST', path: '/u/3' }));
    expect(looked).toEqual(['p/r3']);
  });

  test('Z5: a group of 100 000 and a source in 1 000 groups cost one candidate', () => {
    const many = Array.from({ length: 100_000 }, (_, index) => idOf(`m${index}`));
    const groups = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`g${index}`, [idOf('web')]]));
    const rules = [
      rawRule({ id: 'all', effect: 'allow', from: ['group:many'], paths: ['/x'] }),
      ...Object.keys(groups).map((name) =>
        rawRule({ id: name, effect: 'allow', from: [`group:${name}`], paths: [`/${name}`] }),
      ),
    ];
    const looked: string[] = [];
    const set = { revision: 1, rules, groups: { ...groups, many } };
    const program = compileProgram(set, { onCandidate: (rule) => looked.push(rule) });
    expect(program.decide(ask({ from: idOf('m5'), path: '/x' })).effect).toBe('allow');
    expect(program.decide(ask({ path: '/g17' })).rule).toBe('p/g17');
    expect(looked).toEqual(['p/all', 'p/g17']);
  });

  test('Z12: a million different paths and peers leave no trace but a bounded one', () => {
    const program = compileProgram(setOf([{ id: 'a', effect: 'allow', paths: ['/x/**'] }]));
    for (let index = 0; index < 20_000; index++) {
      expect(program.decide(ask({ from: idOf(`s${index}`), path: `/x/${index}` })).effect).toBe('allow');
    }
    expect(program.decide(ask({ from: idOf('s0'), path: '/y' })).effect).toBe('deny');
  });
});

describe('what other systems got wrong', () => {
  test('37: headers that cannot be read, whether they throw or are no list, deny with policy-error', () => {
    const program = compileProgram(setOf([{ id: 'a', effect: 'allow', when: [{ key: 'header:x', in: ['a'] }] }]));
    const broken = [
      () => {
        throw new Error('gone');
      },
      () => undefined as never,
      () => [undefined] as never,
    ];
    for (const headers of broken) expect(program.decide({ ...ask(), headers }).reason).toBe('policy-error');
  });

  test('41: every template compiles in bounded time, and a decision meets each place of them at most once, however long the path', () => {
    const words = Array.from({ length: 2_048 }, (_, mix) =>
      Array.from({ length: 11 }, (_, at) => ((mix >> at) & 1 ? '/a' : '/*')).join(''),
    );
    const rules = [...words, `${'/*'.repeat(1_000)}/x`, `${'/a'.repeat(1_000)}/**`, '/**'].map((path, index) => ({
      ...{ id: `r${index}`, effect: 'allow' as const, paths: [path], from: [index === 2_050 ? 'nobody' : '*'] },
    }));
    const set = setOf(rules);
    const started = performance.now();
    let looked = 0;
    const program = compileProgram(set, { onCandidate: () => void looked++ });
    for (const path of [
      '/a'.repeat(11),
      '/a'.repeat(50_000),
      `/${'a'.repeat(100_000)}`,
      '/'.repeat(100_000),
      `${'/a'.repeat(999)}/b`,
    ])
      program.decide(ask({ path }));
    expect(looked).toBe(2_048 + 1);
    // A matcher that goes back needs longer than anybody waits; the bound is loose so that a busy machine does not matter.
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  test('43: names whose texts run together are told apart by every cache', () => {
    const rules = [
      rawRule({ id: 'one', effect: 'allow', from: ['spiffe://example.org/a'], to: ['spiffe://example.org/b/c'] }),
      rawRule({ id: 'two', effect: 'allow', from: ['spiffe://example.org/a/b'], to: ['spiffe://example.org/d'] }),
    ];
    for (const narrowAbove of [-1, 1_000]) {
      const program = compileProgram({ revision: 1, rules, groups: {} }, { narrowAbove });
      const pairs = [
        ['a', 'b/c', 'allow'],
        ['a/b', 'c', 'deny'],
        ['a/b', 'd', 'allow'],
        ['a', 'b/d', 'deny'],
        ['a', 'd', 'deny'],
      ] as const;
      for (let turn = 0; turn < 2; turn++) {
        for (const [from, to, effect] of pairs)
          expect(program.decide(ask({ from: idOf(from), to: idOf(to) })).effect).toBe(effect);
      }
    }
  });

  test('a program built in turns lets others run between them, answers alike, and refuses what the other refuses', async () => {
    const rules = Array.from({ length: 5_000 }, (_, index) =>
      rawRule({ id: `r${index}`, effect: 'allow', paths: [`/p${index}`] }),
    );
    const set = { revision: 3, rules, groups: {} };
    let now = 0;
    let pauses = 0;
    const pace = { monotonic: () => now++, pause: async () => void pauses++, sliceMs: 4 };
    const program = await buildProgram(set, pace);
    expect(pauses).toBeGreaterThan(5);
    expect(program.decide(ask({ path: '/p4999' }))).toEqual(compileProgram(set).decide(ask({ path: '/p4999' })));
    const broken = { ...set, rules: [...rules, rawRule({ id: 'x', effect: 'allow', paths: ['/a*'] })] };
    await expect(buildProgram(broken, pace)).rejects.toMatchObject({ code: 'POLICY_INVALID' });
  });
});
