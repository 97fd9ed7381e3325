// A change of the snapshot that a proxy holds: it makes exactly the next one, or none.
import { expect, test } from 'vitest';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { parseSpiffeId } from '#spiffe';
import type { ServiceEntry, Snapshot, SnapshotChange } from '#wire';
import { applyChange } from '../../../proxy/agent/change.ts';
import { openSidecarFolder } from '../../../proxy/agent/disk.ts';
import { createSnapshots } from '../../../proxy/agent/snapshots.ts';
import { createTestCa, snapshotFor } from '../../helpers/fake-control.ts';
import { temporaryFolder } from '../../helpers/folder.ts';

const service = 'web';
const idOf = (name: string): string => `spiffe://example.org/${name}`;
const endpoint = (instance: string, port: number) => ({ instance, address: `127.0.0.1:${port}`, labels: {} });
const entry = (name: string, ...instances: string[]): ServiceEntry => ({
  ...{ id: idOf(name), hosts: [name], ports: [8080] },
  endpoints: instances.map((instance, nth) => endpoint(instance, 4_000 + nth)),
});
const ca = await createTestCa();
const snapshot = snapshotFor(ca, service, {
  revision: 5,
  services: [entry('beta', 'b1', 'b2'), entry('delta', 'd1')],
  clusters: [{ name: 'beta', id: idOf('beta'), endpoints: 'enrolled' }],
  virtualServices: [],
});

function keep(o: { readonly home?: string; readonly refuse?: (snapshot: Snapshot) => boolean } = {}) {
  const applied: Snapshot[] = [];
  const home = o.home ?? temporaryFolder();
  const snapshots = createSnapshots({
    service: parseSpiffeId(idOf(service)),
    folder: openSidecarFolder(home),
    apply: (next) => {
      if (o.refuse?.(next)) throw new Error('a route is broken');
      applied.push(next);
    },
    bundle: () => ca.bundle,
    adoptBundle: () => undefined,
    log: silentLog,
    metrics: createMetrics(),
  });
  return { home, snapshots, applied };
}

test('puts, moves and removes what it names, in order, and leaves everything else the very same object', () => {
  const next = applyChange(snapshot, {
    from: 5,
    revision: 7,
    services: { put: [entry('alpha', 'a1'), entry('gamma')], gone: [idOf('delta')] },
    endpoints: [{ id: idOf('beta'), put: [endpoint('b0', 4_100), endpoint('b2', 4_200)], gone: ['b1'] }],
    virtualServices: { put: [{ name: 'beta', id: idOf('beta'), hosts: ['beta'] }], gone: [] },
  })!;
  expect(next.services.map(({ id }) => id)).toEqual([idOf('alpha'), idOf('beta'), idOf('gamma')]);
  expect(next.services[1]?.endpoints).toEqual([endpoint('b0', 4_100), endpoint('b2', 4_200)]);
  expect([next.revision, next.virtualServices?.length]).toEqual([7, 1]);
  expect([next.policy, next.clusters, next.bans]).toEqual([snapshot.policy, snapshot.clusters, snapshot.bans]);
  expect(next.policy).toBe(snapshot.policy);
  expect(next.clusters).toBe(snapshot.clusters);
});

const unfit: readonly (readonly [string, SnapshotChange])[] = [
  ['an older snapshot', { from: 4, revision: 6 }],
  ['a newer snapshot', { from: 6, revision: 7 }],
  ['a revision that does not rise', { from: 5, revision: 5 }],
  ['a service that is not there', { from: 5, revision: 6, services: { put: [], gone: [idOf('nobody')] } }],
  ['endpoints of such a service', { from: 5, revision: 6, endpoints: [{ id: idOf('nobody'), put: [], gone: [] }] }],
  ['an instance that is not there', { from: 5, revision: 6, endpoints: [{ id: idOf('beta'), put: [], gone: ['b9'] }] }],
  ['a cluster that is not there', { from: 5, revision: 6, clusters: { put: [], gone: ['none'] } }],
];
test.each(unfit)('of %s fits nothing', (_, change) => {
  expect(applyChange(snapshot, change)).toBeUndefined();
});

test('is in force and on disk as the whole snapshot that it makes', () => {
  const { snapshots, applied, home } = keep();
  snapshots.take(snapshot);
  const put = [entry('gamma', 'g1')];
  expect(snapshots.takeChange({ from: 5, revision: 6, services: { put, gone: [] } })).toBe(true);
  expect([snapshots.revision, applied.at(-1)?.services.length]).toEqual([6, 3]);
  expect(applied.at(-1)?.policy).toBe(applied[0]?.policy);
  snapshots.keep();
  const restarted = keep({ home });
  restarted.snapshots.restore();
  expect(restarted.snapshots.current).toEqual(snapshots.current);
});

test('of any other shape, or before any snapshot, changes nothing', () => {
  const { snapshots, applied } = keep();
  expect(snapshots.takeChange({ from: 5, revision: 6 })).toBe(false);
  snapshots.take(snapshot);
  const good = { from: 5, revision: 6 };
  for (const bad of [
    undefined,
    null,
    'change',
    { ...good, extra: 1 },
    { ...good, policy: snapshot.policy },
    { ...good, services: { put: [{ id: 'x' }], gone: [] } },
    {
      ...good,
      virtualServices: { put: [{ name: 'x', id: idOf('x'), hosts: ['x'], http: [{ routes: [] }] }], gone: [] },
    },
    { ...good, from: '5' },
    { ...good, from: 4 },
  ])
    expect(snapshots.takeChange(bad), JSON.stringify(bad)).toBe(false);
  expect([snapshots.revision, applied.length, snapshots.refused]).toEqual([5, 1, undefined]);
  expect(snapshots.takeChange(good)).toBe(true);
});

test('that the data plane refuses is refused whole and told, and the next change is one of what was sent', () => {
  const isBroken = ({ virtualServices = [] }: Snapshot): boolean => virtualServices.some(({ name }) => name === 'bad');
  const { snapshots } = keep({ refuse: isBroken });
  snapshots.take(snapshot);
  const bad = { name: 'bad', id: idOf('beta'), hosts: ['bad'] };
  const put = [entry('gamma', 'g1')];
  const virtualServices = { put: [bad], gone: [] };
  expect(snapshots.takeChange({ from: 5, revision: 6, services: { put, gone: [] }, virtualServices })).toBe(true);
  expect([snapshots.revision, snapshots.refused]).toEqual([5, { revision: 6, reason: 'a route is broken' }]);
  expect(snapshots.current?.services).toHaveLength(2);
  // Bans do not wait for a better virtual service.
  const bans = { ids: [idOf('evil')], serials: [] };
  const whole = { ...snapshot, bans, services: [...snapshot.services, ...put], virtualServices: [bad] };
  expect(snapshots.take({ ...whole, revision: 7 })).toBe(false);
  expect(snapshots.current).toMatchObject({ revision: 5, bans });
  expect(snapshots.takeChange({ from: 7, revision: 8, virtualServices: { put: [], gone: ['bad'] } })).toBe(true);
  expect([snapshots.revision, snapshots.refused]).toEqual([8, undefined]);
  expect(snapshots.current).toMatchObject({ bans, services: [{}, {}, { id: idOf('gamma') }] });
});
