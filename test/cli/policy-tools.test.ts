// The tools of `postern policy` that answer over all requests: what they print, as data and for people, and how they exit.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { setOf } from '../helpers/policy.ts';
import { runCommand, runPolicy } from '../helpers/policy-command.ts';

const policies = `kind: Policy
name: p
to: payments
rules:
  - { id: reads, effect: allow, from: [web, "spiffe://example.org/ops/**"], methods: [GET], paths: ["/charges/{id}"] }
  - { id: charges, effect: allow, from: [web], methods: [POST], paths: [/charges], when: [{ key: "header:x-env", in: [prod] }] }
  - { id: same, effect: allow, from: [web], methods: [GET], paths: [/charges/7] }
  - { id: guard, effect: deny, from: ["*"], paths: [/admin/**] }
`;
const files = {
  'p.yaml': policies,
  'q.yaml': policies.replace('[POST]', '[POST, PUT]').replace('name: p', 'name: q'),
  'cases.yaml': `cases:
  - { name: a reader, from: web, to: payments, method: GET, path: /charges/7, expect: allow, rule: p/reads }
  - { from: web, to: payments, method: POST, path: /charges, headers: { X-Env: [prod, dev] }, expect: deny }
`,
  'wrong.yaml': 'cases: [{ from: ops/anna, to: payments, method: GET, path: /admin/x, expect: allow }]',
  'typo.yaml': 'cases:\n  - { from: a, to: b, method: get, paht: /, expect: maybe }\n',
  'assert.yaml': `kind: Assertion
name: a
never:
  - { from: "*", to: payments, paths: [/admin/**] }
  - { from: "*", except: [web], to: payments, paths: ["/charges/{id}"] }
always: { from: web, to: payments, methods: [GET], paths: ["/charges/{id}"] }
`,
};
let folder: string;
const at = (name: keyof typeof files): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-policy-tools-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
});
afterAll(() => rmSync(folder, { recursive: true }));

const offline = () => ['--policy', at('p.yaml'), '--trust-domain', 'example.org'];
const run = (...args: string[]) => runPolicy(args, { folder });
async function data(...args: string[]) {
  const { out, code } = await runPolicy(args, { folder, format: 'json' });
  return { ...(JSON.parse(out) as Record<string, unknown>), code };
}

describe('test', () => {
  test('all expected: counts, the rules that no case touches, exit 0', async () => {
    const { out, code } = await run('test', at('cases.yaml'), ...offline());
    expect(out).toBe('2 passed, 0 failed; rules that decided a case: 1 of 4\nno case touches: p/charges, p/guard\n');
    expect(code).toBe(0);
  });

  test('a difference is shown with its place, and exits 1', async () => {
    const { out, code } = await run('test', at('wrong.yaml'), ...offline());
    expect(out).toContain(`FAIL ${at('wrong.yaml')}:1`);
    expect(out).toContain('expected allow, got deny by p/guard');
    expect(code).toBe(1);
    expect(await data('test', at('wrong.yaml'), ...offline())).toMatchObject({
      ok: false,
      failed: [{ decision: { effect: 'deny', rule: 'p/guard' } }],
      coverage: { rules: 4, decided: 1 },
    });
  });

  test('cases of a wrong shape are refused, all problems at once, none decided', async () => {
    await expect(run('test', at('typo.yaml'), ...offline())).rejects.toMatchObject({
      code: 'CLI_FILES_INVALID',
      problems: [{ line: 2 }, { line: 2 }, { line: 2 }, { line: 2 }],
    });
  });
});

test('who-can gives the exact callers', async () => {
  const { out } = await run('who-can', 'GET', '/charges/7', 'payments', ...offline());
  expect(out.split('\n')[1]).toMatch(
    /^spiffe:\/\/example\.org\/ops\/\*\*, web +\/charges\/7 +always +p\/reads, p\/same$/,
  );
  const { out: none } = await run('who-can', 'PUT', '/charges/7', 'payments', ...offline());
  expect(none).toBe('');
});

test('can gives the exact calls, with what conditions ask for', async () => {
  expect(await data('can', 'web', ...offline())).toMatchObject({
    calls: [
      { always: true, methods: { include: ['GET'] }, paths: { include: ['/charges/*', '/charges/7'] } },
      { always: false, methods: { include: ['POST'] }, rules: [{ when: [{ key: 'header:x-env', in: ['prod'] }] }] },
    ],
  });
});

test('lint shows code, place and a request, exits 1 for warnings and 0 for notes', async () => {
  const { out, code } = await run('lint', ...offline());
  expect(out).toContain(
    `${at('p.yaml')}:7:5: PL001 allow p/same: covered by: p/reads\n  such as web -> payments GET /charges/7\n`,
  );
  expect(out).toContain('PL003 deny p/guard');
  expect(code).toBe(1);
  expect((await run('lint', '--ignore', 'PL001', ...offline())).code).toBe(0);
  expect(await data('lint', '--service', 'payments', ...offline())).toMatchObject({
    findings: [{ code: 'PL007' }, { code: 'PL007' }, { code: 'PL001' }, { code: 'PL007' }, { code: 'PL003' }],
  });
});

test('lint of the live policy knows the services of the mesh', async () => {
  const answer = ({ path }: { path: string }) =>
    path === '/v1/identities'
      ? { identities: [{ id: 'spiffe://example.org/payments' }] }
      : setOf([{ id: 'a', effect: 'allow', from: ['wbe'], paths: ['/x'] }]);
  const { out, asked } = await runPolicy(['lint'], { folder, answer });
  expect(out).toContain('PL007 allow p/a: there is no service spiffe://example.org/wbe');
  expect(asked).toEqual(['/v1/policy', '/v1/identities']);
});

test('diff shows each change with a witness, and --exit-code says that there is one', async () => {
  const args = ['diff', at('p.yaml'), at('q.yaml'), '--trust-domain', 'example.org'];
  const { out, code } = await run(...args, '--exit-code');
  expect(out).toContain('deny -> allow for some ports or conditions');
  expect(out).toContain('such as  web -> payments PUT /charges (x-env: prod)');
  expect(out).toContain('1 change\n');
  expect(code).toBe(1);
  const same = await run('diff', at('p.yaml'), at('p.yaml'), '--exit-code');
  expect([same.out, same.code]).toEqual(['no request gets another answer\n', 0]);
});

test('assert proves, or shows the request that breaks it, and check does the same with a whole folder', async () => {
  const { out, code } = await run('assert', at('assert.yaml'), ...offline());
  expect(out).toContain('proved a never/0\n');
  expect(out).toContain(
    'a: never does not hold: spiffe://example.org/ops/any -> spiffe://example.org/payments GET /charges/',
  );
  expect(out).toContain('is allowed by p/reads');
  expect(out).toContain('proved a always\n');
  expect(code).toBe(1);
  const checked = await run('check', at('p.yaml'), at('assert.yaml'), '--trust-domain', 'example.org');
  expect(checked.err).toContain('assert.yaml:5:5: Assertion a: never does not hold');
  expect(checked.code).toBe(1);
});

describe('from recorded decisions', () => {
  const decision = (part: object) => ({
    ...{ v: 1, id: 'd', seq: 1, time: '2026-01-02T00:00:00.000Z', instance: 'i', service: 's', hop: 'inbound' },
    ...{ kind: 'exchange', connection: 'c', decision: 'allow', reason: 'allowed', bytesIn: 0, bytesOut: 0, ms: 1 },
    ...{ peer: 'spiffe://example.org/web', to: 'spiffe://example.org/payments', method: 'GET', path: '/charges/7' },
    ...part,
  });
  const pages = [
    { records: [decision({}), decision({ path: '/charges/8' })], more: true, next: 9 },
    { records: [decision({ path: '/old', shadow: ['p/s'] })], more: false, next: 10 },
  ];
  const answer = ({ path }: { path: string }): unknown => {
    if (path.startsWith('/v1/records')) return pages[path.includes('after=0') ? 0 : 1];
    if (path === '/v1/policy') return setOf([{ id: 's', effect: 'deny', shadow: true }]);
    throw new Error(`nobody asked for ${path}`);
  };
  const live = (...args: string[]) => runPolicy(args, { folder, answer });

  test('replay reads all pages, shows what would flip and exits 1', async () => {
    const { out, code, asked } = await live('replay', at('p.yaml'), '--since', '2h');
    expect(out).toBe('1x allow -> deny  web -> payments GET /old\n3 decisions, 2 the same, 1 flipped\n');
    expect(code).toBe(1);
    expect(asked.map((path) => path.replace(/since=\d+/, ''))).toEqual([
      '/v1/records?&after=0&limit=5000',
      '/v1/records?&after=9&limit=5000',
    ]);
  });

  test('apply --guard refuses to deny what was allowed, before anything is sent; --yes applies with a warning', async () => {
    const sent: string[] = [];
    const guarded = (...args: string[]) =>
      runCommand(['apply', '-f', at('p.yaml'), '--guard', '24h', ...args], {
        folder,
        answer: (asked) => {
          if (asked.path !== '/v1/resources') return answer(asked);
          sent.push(asked.method);
          return asked.method === 'GET' ? { resources: [] } : { revision: 3, changes: [] };
        },
      });
    await expect(guarded()).rejects.toMatchObject({
      code: 'CLI_GUARD',
      problems: [{ message: '1x allow -> deny  web -> payments GET /old' }],
    });
    expect(sent).toEqual(['GET']);
    expect((await guarded('--yes')).err).toContain('1 calls of the last 24h would be denied');
    expect(sent).toEqual(['GET', 'GET', 'POST']);
  });

  test('suggest writes a policy that can be checked as it is, with the evidence', async () => {
    const { out } = await live('suggest');
    expect(out).toContain('# 3 calls on 3 different paths');
    writeFileSync(join(folder, 'suggested.yaml'), out);
    expect((await run('check', join(folder, 'suggested.yaml'))).out).toBe('ok: 1 policy, 1 rule, 0 groups\n');
  });

  test('shadow-report counts what would change', async () => {
    const { out } = await live('shadow-report');
    expect(out.split('\n')[1]).toMatch(/^p\/s +deny +1 +1 +web -> payments GET \/old \(1\)$/);
  });
});
