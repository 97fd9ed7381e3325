// `postern analyze` of files, of the mesh that runs, and of files as they would be in it.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { temporaryFolder } from '../helpers/folder.ts';
import { policyFor, startApp, startLiveMesh } from '../helpers/live-mesh.ts';

interface Found {
  readonly findings: readonly { code: string; severity: string; subject: string; file?: string; line?: number }[];
  readonly summary: { errors: number; warnings: number; notes: number };
}

const payments = (...http: readonly object[]) => ({
  kind: 'VirtualService',
  name: 'payments',
  hosts: ['payments'],
  http,
});
const shadowed = payments(
  { match: [{ path: { prefix: '/v2' } }], route: [{ cluster: 'payments' }] },
  { name: 'never', match: [{ path: { prefix: '/v2/x' } }], route: [{ cluster: 'payments' }] },
);
const twice = {
  ...policyFor('payments', ['checkout']),
  rules: ['one', 'two'].map((id) => ({ id, effect: 'allow', from: ['checkout'], methods: ['GET'] })),
};

function write(...resources: readonly unknown[]): string {
  const file = join(temporaryFolder(), 'mesh.yaml');
  writeFileSync(file, resources.map((one) => stringify(one)).join('---\n'));
  return file;
}
const codes = ({ findings }: Found) => findings.map(({ code }) => code);

test('of files: routes and rules that do nothing, each with its code and place; exit as --fail-on says', async () => {
  const live = await startLiveMesh();
  const file = write(shadowed, twice);
  const { code, stdout } = await live.run('analyze', file, '-o', 'json');
  const found = JSON.parse(stdout) as Found;
  expect(code).toBe(0);
  expect(codes(found)).toEqual(expect.arrayContaining(['PT003', 'PL004']));
  const [route] = found.findings.filter((one) => one.code === 'PT003');
  expect(route).toMatchObject({ severity: 'warning', subject: 'VirtualService payments', file });
  expect(route!.line).toBeGreaterThan(5);
  expect((await live.run('analyze', file)).stdout).toContain(`${file}:${route!.line}:`);
  expect(await live.run('analyze', file, '--fail-on', 'warning')).toMatchObject({ code: 1 });
  const errorsOnly = await live.run('analyze', file, '--level', 'error', '-o', 'json');
  expect((JSON.parse(errorsOnly.stdout) as Found).findings).toEqual([]);
  const without = await live.run('analyze', file, '--ignore', 'PT003', '--ignore', 'PL004', '-o', 'json');
  expect(codes(JSON.parse(without.stdout))).not.toContain('PT003');
});

test('of files: what would be refused is an error and all that is said, also when it has not the shape of anything', async () => {
  const live = await startLiveMesh();
  const missing = payments({ route: [{ cluster: 'payments', subset: 'v9' }] });
  for (const [file, says] of [
    [write(missing, twice), 'v9'],
    [write({ kind: 'VirtualService', name: 'x' }), 'hosts'],
  ] as const) {
    const { code, stdout } = await live.run('analyze', file);
    expect(code).toBe(1);
    expect(stdout).toMatch(/mesh\.yaml:\d+:\d+: error PT001 /);
    expect(stdout).toContain(says);
    expect(stdout).not.toContain('PL004');
  }
  expect(await live.run('analyze', '--live')).toMatchObject({ code: 2 });
  expect(await live.run('analyze', '/nowhere/at/all')).toMatchObject({ code: 1 });
});

test('of the mesh that runs: subsets that nobody is in and routes to services without instances, and nothing when all is well', async () => {
  const live = await startLiveMesh();
  await live.sidecar('payments', { app: await startApp(), labels: { version: 'v1' } });
  await live.sidecar('checkout');
  await live.apply(policyFor('payments', ['checkout']), payments({ route: [{ cluster: 'payments' }] }));
  const well = await live.run('analyze', '--fail-on', 'note');
  expect([well.code, well.stdout]).toEqual([0, 'ok: nothing found\n']);

  const cluster = {
    kind: 'Cluster',
    name: 'payments',
    endpoints: 'enrolled',
    subsets: { v2: { labels: { version: 'v2' } } },
  };
  const canary = payments({
    route: [
      { cluster: 'payments', subset: 'v2', weight: 1 },
      { cluster: 'payments', weight: 9 },
    ],
  });
  const file = write(cluster, canary);
  const planned = await live.run('analyze', file, '--live', '-o', 'json');
  expect(codes(JSON.parse(planned.stdout))).toEqual(['PT005']);
  expect(codes(JSON.parse((await live.run('analyze', file, '-o', 'json')).stdout))).not.toContain('PT005');

  await live.apply(cluster, canary);
  const now = JSON.parse((await live.run('analyze', '-o', 'json')).stdout) as Found;
  expect(now).toMatchObject({
    findings: [{ code: 'PT005', severity: 'warning' }],
    summary: { errors: 0, warnings: 1 },
  });
  await live.sidecar('payments', { app: await startApp(), labels: { version: 'v2' } });
  await live.synced();
  expect((await live.run('analyze')).stdout).toBe('ok: nothing found\n');
});
