// `postern policy`: what it says and how it exits, on files and on the policy in force.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { setOf } from '../helpers/policy.ts';
import { runPolicy } from '../helpers/policy-command.ts';

const policies = `kind: Policy
name: p
to: payments
rules:
  - id: a
    effect: allow
    from: [web]
    methods: [GET]
    paths: ["/charges/{id}"]
    ports: [8080]
    when: [{ key: "header:x-env", in: [prod] }]
  - {id: s, effect: deny, shadow: true, from: ["*"]}
`;
let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-policy-'));
  file = join(folder, 'p.yaml');
  writeFileSync(file, policies);
  writeFileSync(join(folder, 'broken.yaml'), policies.replace('[web]', '[group:x]').replace('"/charges/{id}"', '/a*'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const run = (args: readonly string[], { format = 'table' }: { format?: 'table' | 'json' } = {}) =>
  runPolicy(args, { folder, format, answer: () => setOf([{ id: 'live', effect: 'allow', from: ['web'] }]) });

describe('check', () => {
  test('says what good files hold and exits 0', async () => {
    const { out, code } = await run(['check', file]);
    expect(out).toBe('ok: 1 policy, 2 rules, 0 groups\n');
    expect(code).toBe(0);
  });

  test('shows every problem with its line and exits 1', async () => {
    const { out, err, code } = await run(['check', join(folder, 'broken.yaml')]);
    expect(out).toBe('');
    expect(err).toContain('broken.yaml:7:12: Policy p: rule a: there is no group x');
    expect(err).toContain('broken.yaml:9:13: Policy p: rule a: path "/a*"');
    expect(code).toBe(1);
  });

  test('problems of clusters and virtual services too', async () => {
    const traffic = join(folder, 'traffic.yaml');
    writeFileSync(
      traffic,
      'kind: VirtualService\nname: web\nhosts: [web]\nhttp:\n  - route: [{ cluster: web }, { cluster: web, subset: v2 }]\n',
    );
    const { err, code } = await run(['check', traffic]);
    expect(err).toContain('traffic.yaml:5:13: VirtualService web: route 0: target web has no weight');
    expect(err).toContain('traffic.yaml:5:55: VirtualService web: route 0: cluster web has no subset v2');
    expect(code).toBe(1);
    rmSync(traffic);
  });

  test('as JSON the problems are data', async () => {
    const { out, code } = await run(['check', join(folder, 'broken.yaml')], { format: 'json' });
    expect(JSON.parse(out)).toMatchObject({ version: 1, ok: false, problems: [{ line: 7, column: 12 }, { line: 9 }] });
    expect(code).toBe(1);
  });
});

describe('why', () => {
  const call = ['why', 'web', 'payments', 'GET', '/charges/7?q=1'];
  const offline = () => ['--policy', file, '--trust-domain', 'example.org'];

  test('an allow names the rule with its place and exits 0', async () => {
    const { out, code, asked } = await run([...call, '--header', 'X-Env: prod', '--port', '8080', ...offline()]);
    expect(out).toBe(
      [
        'allow   allowed   revision 0',
        '  spiffe://example.org/web -> spiffe://example.org/payments   GET /charges/7',
        'decided by',
        `  allow p/a   ${file}:5:5`,
        'also matched',
        `  deny p/s (shadow)   ${file}:12:5`,
        '',
      ].join('\n'),
    );
    expect(code).toBe(0);
    expect(asked).toEqual([]);
  });

  test('a default deny names the nearest rule and the one thing it missed, and exits 3', async () => {
    const { out, code } = await run([...call, '--header', 'x-env:dev', '--port', '8080', ...offline()]);
    expect(out).toContain('when: header x-env is dev; the rule wants prod');
    expect(code).toBe(3);
  });

  test('every value of a repeated header counts', async () => {
    const headers = ['--header', 'x-env:prod', '--header', 'x-env:dev', '--port', '8080'];
    expect((await run([...call, ...headers, ...offline()])).code).toBe(3);
  });

  test('without files it asks the control plane, and the trust domain is its own', async () => {
    const { out, code, asked } = await run(['why', 'web', 'payments', 'GET', '/x'], { format: 'json' });
    expect(asked).toEqual(['/v1/policy']);
    expect(JSON.parse(out)).toMatchObject({
      question: { from: 'spiffe://example.org/web' },
      decision: { effect: 'allow', rule: 'p/live' },
    });
    expect(code).toBe(0);
  });

  test.each([
    [['why', 'web', 'payments', 'get', '/'], 'get is not a method'],
    [['why', 'web', 'payments', 'GET', 'x'], 'does not start with /'],
    [['why', 'web', 'payments', 'GET', '//x'], 'empty segment'],
    [['why', 'web', 'payments', 'GET', '/', '--port', '0'], 'is not a port'],
    [['why', 'web', 'payments', 'GET', '/', '--header', 'prod'], 'has no name'],
    [['why', 'we b', 'payments', 'GET', '/'], 'is not a SPIFFE ID'],
    [['export', '--format', 'rego'], 'no format rego'],
  ])('%j is refused: %s', async (args, message) => {
    await expect(run(args)).rejects.toThrow(message);
  });
});

test('export writes the model and the rows, and says that shadow rules are not among them', async () => {
  const out = join(folder, 'casbin');
  const { err } = await run(['export', '--format', 'casbin', '--policy', file, '--out', out]);
  expect(err).toContain('shadow rules are never enforced and so not exported: 1');
  expect(readFileSync(join(out, 'model.conf'), 'utf8')).toContain('[matchers]');
  expect(readFileSync(join(out, 'policy.csv'), 'utf8').split('\n')).toHaveLength(3);
});
