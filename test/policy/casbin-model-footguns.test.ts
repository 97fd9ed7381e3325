// Every way in which casbin was seen to fail open or to fall over (hostile inputs, section 3), asked of a user's own model: it is refused when it is
// applied, or it is a deny. `casbin-footguns.test.ts` asks the same of the rules that we make ourselves.
import { Enforcer } from 'casbin';
import { describe, expect, test, vi } from 'vitest';
import { buildPolicySet, buildProgram, parseCasbinCsv, validateResources } from '#policy';
import type { CasbinModelResource, LocatedResource } from '#wire';
import { ask, idOf, trustDomain } from '../helpers/policy.ts';

const wins = 'some(where (p.eft == allow)) && !some(where (p.eft == deny))';
interface Parts {
  readonly request?: string;
  readonly columns?: string;
  readonly roles?: string;
  readonly effect?: string;
  readonly matcher?: string;
}
const text = ({
  request = 'sub, obj, act',
  columns = 'sub, obj, act, eft',
  roles,
  effect = wins,
  matcher = 'r.sub == p.sub && r.obj == p.obj && r.act == p.act',
}: Parts = {}): string =>
  [
    ...['[request_definition]', `r = ${request}`, '[policy_definition]', `p = ${columns}`],
    ...(roles ? ['[role_definition]', roles] : []),
    ...['[policy_effect]', `e = ${effect}`, '[matchers]', `m = ${matcher}`],
  ].join('\n');
const row = ['p', 'web', '/x', 'GET', 'allow'];
const located = (parts: Parts, part: Partial<CasbinModelResource> = {}): LocatedResource => ({
  resource: { kind: 'CasbinModel', name: 'own', to: 'payments', model: text(parts), rows: [row], ...part },
});
const faults = (parts: Parts, part: Partial<CasbinModelResource> = {}): string =>
  validateResources([located(parts, part)])
    .map(({ message }) => message)
    .join('; ');
async function program(parts: Parts, part: Partial<CasbinModelResource> = {}) {
  expect(faults(parts, part)).toBe('');
  const set = buildPolicySet({ resources: [located(parts, part)], trustDomain, revision: 1 });
  const built = await buildProgram(set, { monotonic: () => 0, pause: async () => undefined });
  return (from: string, path = '/x', more: Parameters<typeof ask>[0] = {}) =>
    built.decide(ask({ from: idOf(from), path, ...more }));
}
const matched = (matcher: string, more: Parts = {}): Parts => ({ ...more, matcher });
const withPath = (call: string): Parts => matched(`r.sub == p.sub && ${call} && r.act == p.act`);

describe('the model', () => {
  test.each<[string, Parts, RegExp]>([
    ['1, 16: regexMatch', withPath('regexMatch(r.obj, p.obj)'), /regexMatch is not allowed: it is not anchored/],
    ['3: an effect of denies alone', { effect: '!some(where (p.eft == deny))' }, /the effect .* is not one/],
    ['3: subjectPriority', { effect: 'subjectPriority(p.eft) || deny' }, /the effect .* is not one/],
    ['3: an effect without the column that it is about', { columns: 'sub, obj, act' }, /needs a column eft/],
    ['9: a second definition', { columns: 'sub, obj, act, eft\np2 = sub, obj' }, /has no p2/],
    [
      '9: an unknown section',
      { effect: `${wins}\n[constraint_definition]\nc = x` },
      /no section \[constraint_definition\]/,
    ],
    [
      '15: a pattern in the matcher itself',
      withPath('keyMatch2(r.obj, "/a.b") && r.obj == p.obj'),
      /only literal segments/,
    ],
    ['19: keyMatch4', withPath('keyMatch4(r.obj, p.obj)'), /keyMatch4 is not allowed/],
    ['20: globMatch', withPath('globMatch(r.obj, p.obj)'), /globMatch is not allowed/],
    ['21: ipMatch', withPath('ipMatch(r.obj, p.obj)'), /ipMatch is not allowed/],
    [
      '22: priorities without their effect',
      { columns: 'priority, sub, obj, act, eft' },
      /column priority needs the effect/,
    ],
    ['24: a function of somebody', withPath('later(r.obj, p.obj)'), /later is not allowed/],
    [
      '25: a field that is not there',
      matched('r.scr == p.sub && r.obj == p.obj && r.act == p.act'),
      /there is no r\.scr/,
    ],
    [
      '25: a column that is not there',
      matched('r.sub == p.srcc && r.obj == p.obj && r.act == p.act'),
      /there is no p\.srcc/,
    ],
    ['25: a name of nothing', matched('sub == p.sub && r.obj == p.obj && r.act == p.act'), /sub is neither/],
    ['26: a matcher without rows', matched('r.sub == "web"'), /never asks about the rows/],
    ['26: a column that is never asked about', matched('r.sub == p.sub && r.obj == p.obj'), /never asks about p\.act/],
    ['26: true', matched('true'), /true/],
    ['26: fields compared with themselves', matched('r.sub == r.sub && r.obj == p.obj'), /both of the request/],
    [
      '26: what is not so alone',
      matched('r.sub != p.sub || (r.obj == p.obj && r.act == p.act)'),
      /what is not so alone/,
    ],
    [
      '26: the same behind a not',
      matched('!(r.sub == p.sub && r.obj == p.obj && r.act == p.act)'),
      /what is not so alone/,
    ],
    ['27: eval', withPath('eval(p.obj)'), /eval is not allowed: it runs text as code/],
    ['27: attributes of attributes', matched('r.sub.age == p.sub && r.obj == p.obj && r.act == p.act'), /r\.sub\.age/],
    ['27: numbers and their order', matched('r.sub > p.sub && r.obj == p.obj && r.act == p.act'), /> is not part/],
    ['27: in', matched('r.sub == p.sub && r.obj == p.obj && r.act in ("GET", p.act)'), /r\.act is not compared/],
    [
      '28: # in the matcher',
      matched('r.sub == p.sub && r.obj == p.obj && r.act == "#" && r.act == p.act'),
      /# cuts or joins/,
    ],
    ['28: ; and a line that goes on', { effect: `${wins} ; x` }, /; cuts or joins/],
    [
      '28: a quote that casbin reads in another way',
      matched('r.sub == "p.x, y" && r.obj == p.obj && r.act == p.act'),
      /character that casbin/,
    ],
    [
      '29: a domain from the request',
      matched('g(r.sub, p.sub, r.dom) && r.obj == p.obj && r.act == p.act && r.dom == p.dom', {
        ...{ roles: 'g = _, _, _', request: 'sub, dom, obj, act', columns: 'sub, dom, obj, act, eft' },
      }),
      /write g\(\.\.\., p\.dom\) && r\.dom == p\.dom/,
    ],
    ['deep nesting', matched(`${'('.repeat(500)}r.sub == p.sub${')'.repeat(500)}`), /nested more than/],
    ['code', matched('(() => true)() && r.sub == p.sub'), /refused/],
    [
      'a constructor',
      matched('r.constructor == p.sub && r.obj == p.obj && r.act == p.act'),
      /there is no r\.constructor/,
    ],
  ])('%s is refused', (_, parts, reason) => {
    expect(faults(parts)).toMatch(reason);
  });
});

describe('the rows', () => {
  const rowsOf = (...rows: string[][]): Partial<CasbinModelResource> => ({ rows });
  test.each<[string, Partial<CasbinModelResource>, RegExp]>([
    ['1, 2, 3: none', rowsOf(['g', 'a', 'b']), /no rows of kind "g"/],
    ['7: cut short', rowsOf(['p', 'web', '/x']), /row 1: it has 2 fields after p; the model has 4/],
    ['7: too long', rowsOf([...row, 'more']), /it has 5 fields/],
    ['7: an empty column', rowsOf(['p', '', '/x', 'GET', 'allow']), /sub is empty/],
    ['8: eft Deny', rowsOf(['p', 'web', '/x', 'GET', 'Deny']), /neither allow nor deny/],
    ['8: eft with a comment', rowsOf(['p', 'web', '/x', 'GET', 'deny # never']), /neither allow nor deny/],
    ['9: kind P', rowsOf(row, ['P', 'web', '/x', 'GET', 'deny']), /no rows of kind "P"/],
    ['9: kind p2', rowsOf(row, ['p2', 'web', '/x', 'GET', 'deny']), /no rows of kind "p2"/],
    ['31: one that is there twice', rowsOf(row, row), /row 2: row 1 says the same/],
    ['white space at an end', rowsOf(['p', 'web ', '/x', 'GET', 'allow']), /white space at its ends/],
    ['a line feed', rowsOf(['p', 'we\nb', '/x', 'GET', 'allow']), /control character/],
    [
      'too many',
      { rows: Array.from({ length: 501 }, (_, n) => ['p', `s${n}`, '/x', 'GET', 'allow']) },
      /more than 500/,
    ],
  ])('%s is refused', (_, part, reason) => {
    expect(faults({}, part)).toMatch(reason);
  });

  test('8: a deny under an effect that ignores denies is refused', () => {
    const parts = { effect: 'some(where (p.eft == allow))' };
    expect(faults(parts, rowsOf(['p', 'web', '/x', 'GET', 'deny']))).toMatch(/ignores denies/);
    expect(faults(parts)).toBe('');
  });

  test.each([
    ['14: keyMatch2', '/:'],
    ['14: keyMatch2', '/a/:/b'],
    ['17: keyMatch2', '/a.b'],
    ['17: keyMatch2', '/a|/b'],
    ['15: keyMatch2', '/*/*/*/*/*'],
    ['13: keyMatch2', '/('],
    ['14: keyMatch3', '/{id'],
    ['18: keyMatch', '/admin*'],
    ['18: keyMatch', '/a/*/b'],
  ])('%s of %s is refused', (name, pattern) => {
    const parts = withPath(`${name.split(' ')[1]}(r.obj, p.obj)`);
    expect(faults(parts, rowsOf(['p', 'web', pattern, 'GET', 'allow']))).toMatch(/obj ".*": /);
  });

  test('Z5: cycles of roles, and chains that casbin would cut, are refused with their row', () => {
    const parts = matched('g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act', { roles: 'g = _, _' });
    const chain = (length: number) => Array.from({ length }, (_, n) => ['g', `s${n}`, `s${n + 1}`]);
    expect(faults(parts, rowsOf(row, ['g', 'a', 'b'], ['g', 'b', 'c'], ['g', 'c', 'a']))).toMatch(
      /row [234]: its role contains itself/,
    );
    expect(faults(parts, rowsOf(row, ['g', 'a', 'a']))).toMatch(/row 2: its role contains itself/);
    expect(faults(parts, rowsOf(row, ...chain(10)))).toBe('');
    expect(faults(parts, rowsOf(row, ...chain(11)))).toMatch(/longer than 10/);
  });

  test('23: names of roles with commas, which casbin would join into one, are refused', () => {
    const parts = matched('g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act', { roles: 'g = _, _' });
    expect(faults(parts, rowsOf(row, ['g', 'a,b', 'c']))).toMatch(/commas/);
    expect(faults(parts, rowsOf(['p', 'a,b', '/x', 'GET', 'allow']))).toMatch(/commas/);
  });

  test('10, 11, 12: rows of a CSV file are its fields and nothing else; quotes that are none are refused', () => {
    const csv = 'p, alice, "/x,(y", GET, allow\r\n# note\n\n  p,"say ""hi""",[a,(b,allow\n';
    expect(parseCasbinCsv(csv)).toEqual({
      rows: [
        ['p', 'alice', '/x,(y', 'GET', 'allow'],
        ['p', 'say "hi"', '[a', '(b', 'allow'],
      ],
    });
    expect(parseCasbinCsv('p, a\np, "b, c\n')).toMatchObject({ line: 2 });
    expect(parseCasbinCsv('p, a"b"\n')).toMatchObject({ line: 1 });
    expect(parseCasbinCsv('p, {1,2}, x\n')).toEqual({ rows: [['p', '{1', '2}', 'x']] });
  });
});

describe('what it answers', () => {
  test('2, 7: a value that is missing or empty never matches anything', async () => {
    const decide = await program({}, { request: { sub: 'header:x-user' } });
    expect(decide('web', '/x', { headers: { 'x-user': ['web'] } }).effect).toBe('allow');
    for (const values of [[], [''], ['web', 'web'], ['web, root'], ['root', 'web']]) {
      expect(decide('web', '/x', { headers: { 'x-user': values } })).toMatchObject({
        effect: 'deny',
        reason: 'policy-error',
      });
    }
  });

  test('4, 5, 6: a program that is being built changes nothing about the one before, and one that cannot be leaves it', async () => {
    const held = await program({});
    const coming = program({}, { rows: [['p', 'web', '/x', 'GET', 'deny']] });
    expect(held('web').effect).toBe('allow');
    expect((await coming)('web').effect).toBe('deny');
    expect(held('web').effect).toBe('allow');
  });

  test('14, 15, 17, 41, Z4: patterns that are taken decide hostile paths at once', async () => {
    const rows = ['keyMatch', 'keyMatch2', 'keyMatch3'].map((name, at) => ({
      name,
      rows: [['p', 'web', ['/a/*', '/a/:b/c/*', '/a/{b}/c/*'][at]!, 'GET', 'allow']],
    }));
    const started = performance.now();
    for (const { name, rows: given } of rows) {
      const decide = await program(withPath(`${name}(r.obj, p.obj)`), { rows: given });
      expect(decide('web', '/a/b/c/d').effect).toBe('allow');
      for (const path of [`/${'a/'.repeat(50_000)}`, `/${'a'.repeat(100_000)}`, '/administrator', '/'])
        decide('web', path);
      expect(decide('web', '/aa').effect).toBe('deny');
      expect(decide('web', '/a').effect).toBe('deny');
    }
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  test('22, Z8: the first of equal priorities decides, a lower number first, in whatever order rows are written', async () => {
    const parts = { columns: 'priority, sub, obj, act, eft', effect: 'priority(p.eft) || deny' };
    const at = (priority: string, eft: string): string[] => ['p', priority, 'web', '/x', 'GET', eft];
    const effect = async (...rows: string[][]): Promise<string> => (await program(parts, { rows }))('web').effect;
    expect(await effect(at('10', 'allow'), at('9', 'deny'))).toBe('deny');
    expect(await effect(at('9', 'deny'), at('10', 'allow'))).toBe('deny');
    expect(await effect(at('2', 'allow'), at('10', 'deny'))).toBe('allow');
    expect(await effect(at('1', 'deny'), at('1', 'allow'))).toBe('deny');
    expect(await effect(at('1', 'allow'), at('1', 'deny'))).toBe('allow');
    expect(faults(parts, { rows: [at('1.5', 'allow')] })).toMatch(/whole number/);
    expect(faults(parts, { rows: [at('-1', 'allow')] })).toMatch(/whole number/);
  });

  test('23: nothing is remembered between two questions', async () => {
    const decide = await program({}, { request: { act: 'header:x-act' } });
    const acts = (act: string) => decide('web', '/x', { headers: { 'x-act': [act] } }).effect;
    expect([acts('GET'), acts('PUT'), acts('GET'), acts('$$GET')]).toEqual(['allow', 'deny', 'allow', 'deny']);
  });

  test('29: callers, paths and domains that nobody knows are never stored', async () => {
    const parts = matched('g(r.sub, p.sub, p.dom) && r.dom == p.dom && r.obj == p.obj && r.act == p.act', {
      ...{ roles: 'g = _, _, _', request: 'sub, dom, obj, act', columns: 'sub, dom, obj, act, eft' },
    });
    const rows = [
      ['p', 'clerk', 'shop', '/x', 'GET', 'allow'],
      ['g', 'web', 'clerk', 'shop'],
    ];
    const decide = await program(parts, { rows, request: { dom: 'header:x-tenant' } });
    const tenant = (name: string) => decide('web', '/x', { headers: { 'x-tenant': [name] } }).effect;
    expect(tenant('shop')).toBe('allow');
    const before = process.memoryUsage().heapUsed;
    for (let turn = 0; turn < 20_000; turn++) expect(tenant(`t${turn}-${'x'.repeat(200)}`)).toBe('deny');
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 2 ** 20);
  });

  test('30: an answer of another shape, or one without a row that gives it, is a deny', async () => {
    const decide = await program({});
    expect(decide('web').effect).toBe('allow');
    for (const answer of [
      true,
      'true',
      [true, []],
      [true, ['made', 'up']],
      [1, row.slice(1)],
      Promise.resolve(true),
      undefined,
    ]) {
      const spied = vi.spyOn(Enforcer.prototype, 'enforceExSync').mockReturnValue(answer as never);
      expect(decide('web').effect).toBe('deny');
      spied.mockRestore();
    }
    expect(decide('web').effect).toBe('allow');
  });

  test('25, Z6, Z7: texts are data: case, prefixes and joined values are never equal', async () => {
    const decide = await program(
      {},
      {
        rows: [
          ['p', 'web', '/x', 'GET', 'allow'],
          ['p', "p, web; eval(1)' || true", '/x', 'GET', 'allow'],
        ],
      },
    );
    for (const name of ['Web', 'web/', 'we', 'web2', 'w\u0435b']) expect(decide(name).effect).toBe('deny');
    expect(decide('web', '/X').effect).toBe('deny');
    expect(decide('web', '/x', { from: 'spiffe://other.org/web' }).effect).toBe('deny');
  });

  test('Z3: what throws is a deny with its reason', async () => {
    const decide = await program({}, { request: { act: 'port' } });
    expect(decide('web')).toMatchObject({ effect: 'deny', reason: 'policy-error' });
    expect(decide('web', '/x', { port: 8_080 }).reason).toBe('default-deny');
  });
});
