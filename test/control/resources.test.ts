// Changing what is in force: all or nothing, with every problem where it was written, and who did it.
import { describe, expect, test } from 'vitest';
import type { ApplyReply, PolicySet } from '#wire';
import { createMesh, type Mesh } from '../helpers/control-plane.ts';

const allow = (name: string, more: object = {}) => ({
  ...{ kind: 'Policy', name, to: 'payments' },
  rules: [{ id: 'r', effect: 'allow', from: ['checkout'], ...more }],
});
const group = (name: string, members: string[]) => ({ kind: 'Group', name, members });
const apply = (mesh: Mesh, resources: readonly unknown[], more: object = {}) =>
  mesh.admin.call<ApplyReply>({
    method: 'POST',
    path: '/v1/resources',
    body: { version: 1, resources: resources.map((resource) => ({ resource })), ...more },
  });
const names = async (mesh: Mesh, query = ''): Promise<string[]> => {
  const path = `/v1/resources${query}`;
  const { resources } = await mesh.admin.call<{ resources: { resource: { kind: string; name: string } }[] }>({
    method: 'GET',
    path,
  });
  return resources.map(({ resource }) => `${resource.kind}/${resource.name}`);
};

describe('apply', () => {
  test('says what it created, updated and left alone, and raises the revision only for a change', async () => {
    const mesh = await createMesh();
    const first = await apply(mesh, [allow('a'), allow('b')]);
    expect(first.changes.map(({ change }) => change)).toEqual(['created', 'created']);
    const second = await apply(mesh, [allow('a'), allow('b', { methods: ['GET'] })]);
    expect(second.changes.map(({ change }) => change)).toEqual(['unchanged', 'updated']);
    expect(second.revision).toBeGreaterThan(first.revision);
    const third = await apply(mesh, [allow('a')]);
    expect(third).toEqual({ revision: second.revision, changes: [{ kind: 'Policy', name: 'a', change: 'unchanged' }] });
    expect(await mesh.events('apply')).toMatchObject([
      {
        outcome: 'done',
        actor: 'spiffe://example.org/postern/admin/ada',
        details: { created: 2, names: 'Policy/a, Policy/b' },
      },
      { outcome: 'done', subject: 'Policy/b', details: { updated: 1, revision: second.revision } },
    ]);
  });

  test('a dry run answers the same and changes nothing', async () => {
    const mesh = await createMesh();
    const reply = await apply(mesh, [allow('a')], { dryRun: true });
    expect(reply.changes).toEqual([{ kind: 'Policy', name: 'a', change: 'created' }]);
    expect(await names(mesh)).toEqual([]);
    expect(await mesh.events('apply')).toEqual([]);
  });

  test('K4: traffic that leads nowhere is refused whole; a token makes its service known', async () => {
    const mesh = await createMesh();
    const route = { kind: 'VirtualService', name: 'shop', hosts: ['shop.example'] };
    const both = [allow('kept'), { ...route, http: [{ route: [{ cluster: 'cart' }] }] }];
    await expect(apply(mesh, both)).rejects.toMatchObject({
      code: 'RESOURCE_INVALID',
      problems: [{ message: 'VirtualService shop: route 0: there is no cluster and no service cart' }],
    });
    expect(await names(mesh)).toEqual([]);
    await mesh.admin.call({ method: 'POST', path: '/v1/tokens', body: { version: 1, service: 'cart' } });
    await apply(mesh, both);
    expect(await names(mesh)).toEqual(['Policy/kept', 'VirtualService/shop']);
  });

  test('a policy that no proxy could compile is refused here, and what is in force stays', async () => {
    const mesh = await createMesh();
    const { revision } = await apply(mesh, [allow('kept')]);
    const many = (count: number, name: (index: number) => string) => Array.from({ length: count }, (_, i) => name(i));
    const [paths, methods] = [many(200, (i) => `/p${i}`), many(30, (i) => `M${'X'.repeat(i)}`)];
    const wide = { from: many(600, (i) => `caller-${i}`), paths, methods };
    const problems = [{ message: expect.stringMatching(/wide2\/r: too many combinations/) }];
    for (const dryRun of [true, false])
      await expect(apply(mesh, [allow('wide1', wide), allow('wide2', wide)], { dryRun })).rejects.toMatchObject({
        code: 'RESOURCE_INVALID',
        problems,
      });
    expect(await names(mesh)).toEqual(['Policy/kept']);
    expect((await apply(mesh, [allow('kept')])).revision).toBe(revision);
  });

  test('K4: one fault refuses everything, and every fault is told with its place', async () => {
    const mesh = await createMesh();
    await apply(mesh, [allow('kept')]);
    const origin = { file: 'p.yaml', positions: { '': [3, 1], '/rules/0/effect': [7, 14] } };
    const body = {
      version: 1,
      resources: [
        { resource: allow('fine') },
        { resource: allow('bad', { effect: 'alow' }), origin },
        { resource: { kind: 'Polcy', name: 'x' } },
        { resource: allow('lost', { from: ['group:nobody'], extra: 1 }) },
      ],
    };
    const refused = mesh.admin.call({ method: 'POST', path: '/v1/resources', body });
    await expect(refused).rejects.toMatchObject({
      code: 'RESOURCE_INVALID',
      problems: [
        { file: 'p.yaml', line: 7, column: 14, hint: 'did you mean allow?' },
        { pointer: '/kind', hint: 'did you mean Policy?' },
        { pointer: '/rules/0/extra' },
      ],
    });
    await expect(apply(mesh, [allow('fine'), allow('bad', { from: ['group:nobody'] })])).rejects.toMatchObject({
      code: 'RESOURCE_INVALID',
    });
    await expect(apply(mesh, [allow('fine'), allow('fine')])).rejects.toMatchObject({ code: 'RESOURCE_INVALID' });
    expect(await names(mesh)).toEqual(['Policy/kept']);
    const events = await mesh.events('apply');
    expect(events.map(({ outcome, reason }) => [outcome, reason])).toEqual([
      ['done', undefined],
      ['refused', 'RESOURCE_INVALID'],
      ['refused', 'RESOURCE_INVALID'],
      ['refused', 'RESOURCE_INVALID'],
    ]);
  });

  test('Z6: names and values are data, whatever they look like', async () => {
    const mesh = await createMesh();
    const odd = {
      when: [{ key: 'header:x-env', in: ["p, admin, '); DROP TABLE control_resources; --", 'eval(1) "#'] }],
    };
    await apply(mesh, [allow('odd', odd)]);
    const { resources } = await mesh.admin.call<{ resources: { resource: { rules: unknown[] } }[] }>({
      method: 'GET',
      path: '/v1/resources?kind=Policy&name=odd',
    });
    expect(resources[0]?.resource.rules[0]).toMatchObject(odd);
    expect(await names(mesh, '?name=%27%20OR%201=1%20--')).toEqual([]);
  });
});

describe('delete', () => {
  test('removes one, also with a slash in its name', async () => {
    const mesh = await createMesh();
    const { revision } = await apply(mesh, [allow('shop/payments'), allow('b')]);
    const reply = await mesh.admin.call<ApplyReply>({ method: 'DELETE', path: '/v1/resources/Policy/shop%2Fpayments' });
    expect(reply.changes).toEqual([{ kind: 'Policy', name: 'shop/payments', change: 'deleted' }]);
    expect(reply.revision).toBeGreaterThan(revision);
    expect(await names(mesh)).toEqual(['Policy/b']);
    expect(await mesh.events('delete')).toMatchObject([{ outcome: 'done', subject: 'Policy/shop/payments' }]);
  });

  test('is refused for what something else needs, and for what there is not', async () => {
    const mesh = await createMesh();
    await apply(mesh, [group('finance', ['billing']), allow('a', { from: ['group:finance'] })]);
    const remove = (path: string) => mesh.admin.call({ method: 'DELETE', path: `/v1/resources/${path}` });
    await expect(remove('Group/finance')).rejects.toMatchObject({ code: 'RESOURCE_INVALID' });
    await expect(remove('Group/none')).rejects.toMatchObject({ code: 'RESOURCE_UNKNOWN', status: 404 });
    expect(await names(mesh)).toEqual(['Group/finance', 'Policy/a']);
  });
});

test('what is in force survives a restart, and revisions go on rising', async () => {
  const mesh = await createMesh();
  const { revision } = await apply(mesh, [group('finance', ['billing']), allow('a', { from: ['group:finance'] })]);
  const policy = () => mesh.admin.call<PolicySet>({ method: 'GET', path: '/v1/policy' });
  const before = await policy();
  await mesh.restart();
  expect(await policy()).toEqual(before);
  mesh.clock.step(-25_000);
  expect((await apply(mesh, [allow('b')])).revision).toBeGreaterThan(revision);
});

describe('versions', () => {
  const call = <T>(mesh: Mesh, method: 'GET' | 'POST', path: string, body?: object): Promise<T> =>
    mesh.admin.call<T>({ method, path, ...(body ? { body: { version: 1, ...body } } : {}) });

  test('every change is kept with who made it, and a rollback brings back exactly what was', async () => {
    const mesh = await createMesh();
    const first = await apply(mesh, [allow('a'), group('g', ['web'])]);
    await apply(mesh, [allow('a', { methods: ['GET'] }), allow('b')]);
    await call(mesh, 'POST', '/v1/rollback', { revision: first.revision, dryRun: true });
    expect((await names(mesh)).sort()).toEqual(['Group/g', 'Policy/a', 'Policy/b']);
    const back = await call<ApplyReply>(mesh, 'POST', '/v1/rollback', { revision: first.revision });
    expect(back.changes.map(({ kind, name, change }) => `${kind}/${name} ${change}`)).toEqual([
      'Policy/a updated',
      'Policy/b deleted',
    ]);
    const set = await call<PolicySet>(mesh, 'GET', '/v1/policy');
    expect(set.rules).toHaveLength(1);
    expect(set.rules[0]).not.toHaveProperty('methods');
    expect(set.revision).toBe(back.revision);
    const { versions } = await call<{ versions: { revision: number; by: string; changes: object }[] }>(
      mesh,
      'GET',
      '/v1/versions',
    );
    expect(versions).toMatchObject([
      { revision: back.revision, changes: { put: ['Policy/a'], removed: ['Policy/b'] } },
      { changes: { put: ['Policy/a', 'Policy/b'] } },
      { revision: first.revision, by: 'spiffe://example.org/postern/admin/ada' },
    ]);
    expect(await mesh.events('rollback')).toMatchObject([
      { outcome: 'done', details: { revision: back.revision, to: first.revision } },
    ]);
  });

  test('39: a revision that is not kept, or is no number, is refused and never becomes part of a statement', async () => {
    const mesh = await createMesh();
    await expect(call(mesh, 'POST', '/v1/rollback', { revision: 7 })).rejects.toMatchObject({
      code: 'VERSION_UNKNOWN',
    });
    await expect(call(mesh, 'GET', '/v1/versions/1%27%20OR%201')).rejects.toMatchObject({ code: 'VERSION_UNKNOWN' });
  });
});

test('what would break an assertion is refused whole, with the request, whichever of the two comes last', async () => {
  const mesh = await createMesh();
  const never = { kind: 'Assertion', name: 'reads-only', never: { from: '*', to: 'payments', methods: ['DELETE'] } };
  await apply(mesh, [allow('a', { methods: ['GET'] }), never]);
  const before = await names(mesh);
  for (const change of [[allow('a')], [allow('fine', { methods: ['GET'] }), allow('b', { methods: ['DELETE'] })]]) {
    await expect(apply(mesh, change)).rejects.toMatchObject({
      code: 'RESOURCE_INVALID',
      problems: [{ message: expect.stringContaining('never does not hold: spiffe://example.org/checkout -> ') }],
    });
  }
  expect(await names(mesh)).toEqual(before);
  const always = {
    kind: 'Assertion',
    name: 'charges',
    always: { from: 'checkout', to: 'payments', methods: ['POST'] },
  };
  await expect(apply(mesh, [always])).rejects.toMatchObject({ code: 'RESOURCE_INVALID' });
});
