// A user's own Casbin model beside our rules (`kind: CasbinModel`): stock casbin answers, default deny, a deny of either wins, and what casbin would
// take in another way than it looks is refused when it is applied (the footguns by their numbers).
import { describe, expect, onTestFinished, test } from 'vitest';
import { buildPolicySet, buildProgram, compileProgram, validateResources } from '#policy';
import type { CasbinModelResource, LocatedResource } from '#wire';
import { openRaw, idOf as spiffe, startApp, startPair } from '../helpers/mesh.ts';
import { ask, idOf, resources, trustDomain } from '../helpers/policy.ts';

const rbac = `
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act, eft
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
`;
const rows = [
  ['p', 'clerks', '/charges', 'GET', 'allow'],
  ['p', 'mallory', '/charges', 'GET', 'deny'],
  ['g', 'web', 'clerks'],
  ['g', 'mallory', 'clerks'],
];
const model = (part: Partial<CasbinModelResource> = {}): LocatedResource => ({
  resource: { kind: 'CasbinModel', name: 'own', to: 'payments', model: rbac, rows, ...part },
});
const set = (...located: LocatedResource[]) => {
  expect(validateResources(located)).toEqual([]);
  return buildPolicySet({ resources: located, trustDomain, revision: 1 });
};
const pace = { monotonic: () => performance.now(), pause: () => new Promise<void>((resolve) => setImmediate(resolve)) };
const build = (...located: LocatedResource[]) => buildProgram(set(...located), pace);
const problems = (part: Partial<CasbinModelResource>): string =>
  validateResources([model(part)])
    .map(({ message }) => message)
    .join('; ');

describe('what it decides', () => {
  test('roles, an allow, a deny that wins, and a deny for everything that no row is about', async () => {
    const program = await build(model());
    const effect = (from: string, path = '/charges', method = 'GET') =>
      program.decide(ask({ from: idOf(from), path, method })).effect;
    expect(effect('web')).toBe('allow');
    expect(effect('mallory')).toBe('deny');
    expect(effect('ledger')).toBe('deny');
    expect(effect('web', '/admin')).toBe('deny');
    expect(effect('web', '/charges', 'POST')).toBe('deny');
    // A caller that is called like a role has not that role.
    expect(effect('clerks')).toBe('deny');
    expect(program.decide(ask({ path: '/charges' })).rule).toBe('casbin:own/1');
  });

  test('an allow needs either, a deny of either wins', async () => {
    const rules = resources([
      { id: 'admin', effect: 'allow', paths: ['/admin'] },
      { id: 'never', effect: 'deny', from: ['web'], methods: ['GET'], paths: ['/charges'] },
      { id: 'all', effect: 'allow', from: ['mallory'] },
    ]);
    const program = await build(model(), ...rules);
    const effect = (from: string, path: string) => program.decide(ask({ from: idOf(from), path })).effect;
    expect(effect('web', '/admin')).toBe('allow');
    expect(effect('web', '/charges')).toBe('deny');
    expect(effect('mallory', '/charges')).toBe('deny');
    expect(effect('mallory', '/else')).toBe('allow');
  });

  test('it is about its service only, and where it is not loaded that one is refused', async () => {
    const rules = resources([{ id: 'all', effect: 'allow' }], { to: 'ledger' });
    const program = await build(model(), ...rules);
    expect(program.decide(ask({ to: idOf('ledger'), path: '/x' })).effect).toBe('allow');
    const unloaded = compileProgram(set(model(), ...rules));
    expect(unloaded.decide(ask({ path: '/charges' }))).toMatchObject({ effect: 'deny', reason: 'policy-error' });
    expect(unloaded.decide(ask({ to: idOf('ledger'), path: '/x' })).effect).toBe('allow');
  });

  test('a value that is there twice, or missing, is a deny', async () => {
    const program = await build(model({ request: { act: 'header:x-act' } }));
    const effect = (...values: string[]) =>
      program.decide(ask({ path: '/charges', headers: { 'x-act': values } })).effect;
    expect(effect('GET')).toBe('allow');
    expect(effect('GET', 'GET')).toBe('deny');
    expect(effect()).toBe('deny');
  });
});

describe('what is refused when it is applied', () => {
  const replaced = (from: string, to: string): Partial<CasbinModelResource> => ({ model: rbac.replace(from, to) });
  test.each<[string, Partial<CasbinModelResource>]>([
    ['1: a matcher of regexMatch', replaced('r.obj == p.obj', 'regexMatch(r.obj, p.obj)')],
    [
      '3: deny-only',
      replaced('some(where (p.eft == allow)) && !some(where (p.eft == deny))', '!some(where (p.eft == deny))'),
    ],
    ['7: a row cut short', { rows: [['p', 'clerks', '/charges', 'GET']] }],
    ['8: an eft that is none', { rows: [['p', 'clerks', '/charges', 'GET', 'Deny']] }],
    ['9: a kind of row that is not declared', { rows: [...rows, ['p2', 'clerks', '/charges', 'GET', 'deny']] }],
    ['24: a function that is unknown', replaced('r.act == p.act', 'ask(r.act)')],
    ['25: a name that is mistyped', replaced('r.act == p.act', 'r.actt == p.act')],
    ['26: a matcher that never asks the policy', replaced(rbac.slice(rbac.indexOf('m = ')), 'm = r.sub == "web"\n')],
    ['eval', replaced('r.act == p.act', 'eval(p.act)')],
    ['no rows', { rows: [] as never }],
  ])('%s', (_, part) => {
    expect(problems(part)).not.toBe('');
  });

  test('and the honest one is not', () => {
    expect(problems({})).toBe('');
  });
});

test('two real proxies enforce it, and a policy that changes reaches the model too', async () => {
  const app = await startApp((_, response) => response.end('charged'));
  const pair = await startPair({ app, rules: [] });
  const policy = { ...set(model()), revision: 5 };
  const services = [
    {
      id: spiffe('payments'),
      hosts: ['payments'],
      ports: [],
      endpoints: [{ instance: 'p', address: `127.0.0.1:${pair.payments.addresses.inbound.port}`, labels: {} }],
    },
  ];
  pair.payments.apply({ policy });
  pair.web.apply({ policy, services });
  const client = await openRaw(pair.web.addresses.outbound.port);
  onTestFinished(() => void client.socket.destroy());
  const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: payments\r\n\r\n`;
  for (let round = 0; !client.text.includes('charged') && round < 100; round++) {
    const before = client.text.length;
    client.send(request('/charges'));
    await expect.poll(() => client.text.length > before).toBe(true);
  }
  expect(client.text).toContain('charged');
  const before = client.text.length;
  client.send(request('/admin'));
  await expect.poll(() => client.text.slice(before)).toContain(' 403 ');
  expect(pair.payments.records.find(({ decision }) => decision === 'allow')).toMatchObject({ rule: 'casbin:own/1' });
});
