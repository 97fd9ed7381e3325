// A snapshot or a change with a virtual service or cluster that makes no sense: nothing of it is in force but its bans, and what was goes on.
import { expect, test } from 'vitest';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { formatBundle, parseSpiffeId } from '#spiffe';
import type { ClusterEntry, Snapshot, VirtualServiceEntry } from '#wire';
import { openSidecarFolder } from '../../../proxy/agent/disk.ts';
import { createSnapshots } from '../../../proxy/agent/snapshots.ts';
import { temporaryFolder } from '../../helpers/folder.ts';
import { allow, call, idOf, serviceEntry, startApp, startProxy } from '../../helpers/mesh.ts';
import { createTestPki } from '../../helpers/pki.ts';

const virtualService = (more: object): { readonly virtualServices: readonly VirtualServiceEntry[] } => ({
  virtualServices: [{ name: 'payments', id: idOf('payments'), hosts: ['payments'], ...more } as VirtualServiceEntry],
});
const route = (more: object) => virtualService({ http: [{ route: [{ cluster: 'payments' }], ...more }] });
const cluster = (more: object): { readonly clusters: readonly ClusterEntry[] } => ({
  clusters: [{ name: 'payments', id: idOf('payments'), endpoints: 'enrolled', ...more } as ClusterEntry],
});

const broken: readonly (readonly [string, Partial<Snapshot>])[] = [
  ['an expression that is none', route({ match: [{ path: { regex: '(' } }] })],
  ['an expression that asks for backtracking', route({ match: [{ headers: { 'x-a': { regex: '(a)\\1' } } }] })],
  [
    'weights of nothing',
    route({
      route: [
        { cluster: 'payments', weight: 0 },
        { cluster: 'payments', weight: 0 },
      ],
    }),
  ],
  ['a template with the rest in its middle', route({ match: [{ path: { template: '/**/x' } }] })],
  ['a route that does nothing', virtualService({ http: [{}] })],
  ['a service that is none', virtualService({ id: 'payments' })],
  ['the same virtual service twice', { virtualServices: [...route({}).virtualServices, ...route({}).virtualServices] }],
  ['a cluster of nobody', cluster({ id: 'spiffe://' })],
  ['the same cluster twice', { clusters: [...cluster({}).clusters, ...cluster({}).clusters] }],
  ['a health check that checks nothing', cluster({ healthCheck: {} })],
  ['an address that is none', cluster({ endpoints: { static: ['10.0.0.1:99999'] }, plaintext: true })],
  ['a field that is not known', route({ retires: { attempts: 1 } })],
  ['a length of time that is none', route({ timeout: 'soon' })],
];

async function start() {
  const pki = createTestPki();
  const app = await startApp((_, response) => response.end('served'));
  const payments = await startProxy({ pki, service: 'payments', appPort: app.port });
  payments.apply({ policy: { revision: 2, rules: [allow('web', 'payments')], groups: {} } });
  const web = await startProxy({ pki, service: 'web', bare: true });
  const snapshots = createSnapshots({
    service: parseSpiffeId(idOf('web')),
    folder: openSidecarFolder(temporaryFolder()),
    apply: (snapshot) => web.plane.applySnapshot(snapshot),
    bundle: () => pki.bundle,
    adoptBundle: () => undefined,
    log: silentLog,
    metrics: createMetrics(),
  });
  const first: Snapshot = {
    ...{ version: 1, revision: 1, service: idOf('web'), bundle: formatBundle(pki.bundle) },
    bans: { ids: [], serials: [] },
    policy: { revision: 1, rules: [allow('web', 'payments')], groups: {} },
    services: [serviceEntry('payments', payments.addresses.inbound.port)],
    ...cluster({}),
    ...route({}),
  };
  expect(snapshots.take(first)).toBe(true);
  return { web, snapshots, first };
}

test('K4, K5: a snapshot with any of it is refused whole and says why; its bans are in force, and requests go on', async () => {
  const { web, snapshots, first } = await start();
  for (const [nth, [what, part]] of broken.entries()) {
    const revision = 2 + nth;
    const bans = { ids: [], serials: [`0${nth}`.slice(-2)] };
    expect(snapshots.take({ ...first, revision, bans, services: [], ...part }), what).toBe(false);
    expect(snapshots.refused, what).toMatchObject({ revision, reason: expect.stringMatching(/./) });
    expect(snapshots.current, what).toMatchObject({ revision: 1, bans, services: first.services });
    expect((await call(web)).body, what).toBe('served');
  }
  const revision = 100;
  expect(snapshots.take({ ...first, revision })).toBe(true);
  expect([snapshots.revision, snapshots.refused]).toEqual([revision, undefined]);
});

test('a change with any of it is refused whole, and the next one may mend it', async () => {
  const { web, snapshots, first } = await start();
  let revision: number = first.revision;
  for (const [what, { clusters = [], virtualServices = [] }] of broken) {
    // One entry twice is one entry in a change, and what has no shape is no change at all.
    if (what.includes('twice') || what.includes('not known') || what.includes('length of time')) continue;
    const change = { clusters: { put: clusters, gone: [] }, virtualServices: { put: virtualServices, gone: [] } };
    expect(snapshots.takeChange({ from: revision, revision: revision + 1, ...change }), what).toBe(true);
    expect(snapshots.refused, what).toMatchObject({ revision: revision + 1 });
    expect((await call(web)).body, what).toBe('served');
    const mended = {
      clusters: { put: first.clusters, gone: [] },
      virtualServices: { put: first.virtualServices, gone: [] },
    };
    expect(snapshots.takeChange({ from: revision + 1, revision: revision + 2, ...mended }), what).toBe(true);
    revision += 2;
    expect([snapshots.revision, snapshots.refused], what).toEqual([revision, undefined]);
  }
});
