// Which configuration is in force: whole or not at all, never older, and back from disk while the control plane is away.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { formatBundle, parseSpiffeId, type TrustBundle } from '#spiffe';
import type { Snapshot } from '#wire';
import { openSidecarFolder } from '../../../proxy/agent/disk.ts';
import { createSnapshots } from '../../../proxy/agent/snapshots.ts';
import { createTestCa, snapshotFor, type TestCa } from '../../helpers/fake-control.ts';
import { temporaryFolder } from '../../helpers/folder.ts';
import { allow, idOf, openTls, startApp, startProxy } from '../../helpers/mesh.ts';
import { createTestPki } from '../../helpers/pki.ts';

const service = 'shop/payments';

function keep(ca: TestCa, home = temporaryFolder(), refuse: (snapshot: Snapshot) => boolean = () => false) {
  const applied: number[] = [];
  let bundle: TrustBundle = ca.bundle;
  const snapshots = createSnapshots({
    service: parseSpiffeId(`spiffe://example.org/${service}`),
    folder: openSidecarFolder(home),
    apply: (snapshot) => {
      if (refuse(snapshot)) throw new Error('listener 2 cannot be made');
      applied.push(snapshot.revision);
    },
    bundle: () => bundle,
    adoptBundle: (next) => {
      bundle = next;
    },
    log: silentLog,
    metrics: createMetrics(),
  });
  return { home, snapshots, applied, bundle: () => bundle };
}

test('a snapshot is applied, kept, and in force again after a restart', async () => {
  const ca = await createTestCa();
  const { home, snapshots, applied } = keep(ca);
  expect([snapshots.revision, snapshots.take(snapshotFor(ca, service, { revision: 7 }))]).toEqual([0, true]);
  expect([snapshots.revision, applied]).toEqual([7, [7]]);
  snapshots.keep();
  const restarted = keep(ca, home);
  restarted.snapshots.restore();
  expect([restarted.snapshots.revision, restarted.applied]).toEqual([7, [7]]);
});

test('the same snapshot sent again is in force without being applied again', async () => {
  const ca = await createTestCa();
  const { snapshots, applied } = keep(ca);
  snapshots.take(snapshotFor(ca, service));
  expect(snapshots.take(structuredClone(snapshotFor(ca, service)))).toBe(true);
  expect(applied).toEqual([1]);
});

test('Z2: older, torn, foreign or unknown snapshots change nothing and say why', async () => {
  const ca = await createTestCa();
  const { snapshots, applied, home } = keep(ca);
  const good = snapshotFor(ca, service, { revision: 5 });
  snapshots.take(good);
  snapshots.keep();
  const rows: readonly [unknown, RegExp][] = [
    [{ ...good, revision: 4 }, /older than revision 5/],
    [{ ...good, revision: 6, extra: 1 }, /unknown key "extra"/],
    [{ ...good, revision: 6, policy: { revision: 6, rules: [] } }, /groups is missing/],
    [
      { ...good, revision: 6, service: 'spiffe://example.org/shop/billing' },
      /for spiffe:\/\/example.org\/shop\/billing/,
    ],
    [{ ...good, revision: 6, version: 2 }, /must be 1/],
    [{ ...good, revision: 6, bundle: '{"keys":[],"spiffe_sequence":9}' }, /trust bundle is empty/],
    [{ ...good, revision: 6, bundle: 'no' }, /not JSON/],
    [
      { ...good, revision: 6, bundle: ca.bundleText.replace('"spiffe_sequence": 1', '"spiffe_sequence": 0') },
      /older than the one held/,
    ],
    [undefined, /must be a map/],
    [JSON.stringify(good).slice(0, 50), /must be a map/],
  ];
  for (const [value, words] of rows) {
    expect(snapshots.take(value), String(words)).toBe(false);
    expect(snapshots.refused?.reason).toMatch(words);
    snapshots.keep();
  }
  expect([snapshots.revision, applied]).toEqual([5, [5]]);
  const restarted = keep(ca, home);
  restarted.snapshots.restore();
  expect(restarted.snapshots.revision).toBe(5);
});

test('K5: a snapshot that the data plane refuses leaves the old one in force, here and on disk, until a good one comes', async () => {
  const ca = await createTestCa();
  const { snapshots, home } = keep(ca, undefined, ({ revision }) => revision === 2);
  snapshots.take(snapshotFor(ca, service, { revision: 1 }));
  snapshots.keep();
  expect(snapshots.take(snapshotFor(ca, service, { revision: 2 }))).toBe(false);
  snapshots.keep();
  expect([snapshots.revision, snapshots.refused]).toEqual([1, { revision: 2, reason: 'listener 2 cannot be made' }]);
  expect(openSidecarFolder(home).readSnapshot()).toMatchObject({ value: { revision: 1 } });
  expect(snapshots.take(snapshotFor(ca, service, { revision: 3 }))).toBe(true);
  expect([snapshots.revision, snapshots.refused]).toEqual([3, undefined]);
});

test('C14: a broken snapshot on disk is not used and does not stop the start', async () => {
  const ca = await createTestCa();
  const { home, snapshots } = keep(ca);
  snapshots.take(snapshotFor(ca, service));
  snapshots.keep();
  writeFileSync(join(home, 'sidecar', 'snapshot.json'), '{"sha256":"');
  const restarted = keep(ca, home);
  restarted.snapshots.restore();
  expect([restarted.snapshots.revision, restarted.applied]).toEqual([0, []]);
  expect(restarted.snapshots.take(snapshotFor(ca, service))).toBe(true);
});

test('a newer trust bundle is taken over, the same one is left alone', async () => {
  const [ca, other] = [await createTestCa(), await createTestCa()];
  const { snapshots, bundle } = keep(ca);
  snapshots.take(snapshotFor(ca, service));
  expect(bundle()).toBe(ca.bundle);
  const both = { ...ca.bundle, roots: [...ca.bundle.roots, ...other.bundle.roots], sequence: 2n };
  snapshots.take(snapshotFor(ca, service, { revision: 2, bundle: formatBundle(both) }));
  expect([bundle().sequence, bundle().roots.length]).toEqual([2n, 2]);
});

test('F5: a snapshot that cannot be kept on disk is in force all the same', async () => {
  const ca = await createTestCa();
  const { home, snapshots } = keep(ca);
  const { rmSync } = await import('node:fs');
  rmSync(join(home, 'sidecar'), { recursive: true });
  expect(snapshots.take(snapshotFor(ca, service))).toBe(true);
  snapshots.keep();
  expect(snapshots.revision).toBe(1);
});

describe('of a snapshot whose policy is refused', () => {
  const banned = { ids: ['spiffe://example.org/shop/web'], serials: ['0a1b'] };
  const wasPolicy = { revision: 1, rules: [], groups: {} };
  const start = async () => {
    const ca = await createTestCa();
    const kept = keep(ca, undefined, ({ policy }) => policy.revision !== 1);
    kept.snapshots.take(snapshotFor(ca, service, { revision: 1, policy: wasPolicy }));
    return { ...kept, ca, bad: { policy: { ...wasPolicy, revision: 2 } } };
  };

  test('the bans are in force and kept at once, and the refusal is still reported', async () => {
    const { ca, snapshots, home, bad } = await start();
    expect(snapshots.take(snapshotFor(ca, service, { revision: 2, bans: banned, ...bad }))).toBe(false);
    snapshots.keep();
    expect(snapshots.refused).toMatchObject({ revision: 2, reason: 'listener 2 cannot be made' });
    expect([snapshots.revision, snapshots.newest]).toEqual([1, 2]);
    expect(snapshots.current).toMatchObject({ revision: 1, bans: banned, policy: wasPolicy });
    const restarted = keep(ca, home);
    restarted.snapshots.restore();
    expect(restarted.snapshots.current).toMatchObject({ revision: 1, bans: banned });
  });

  test('the bans are taken also when its policy or its services have no shape that is known here', async () => {
    const { ca, snapshots } = await start();
    const good = snapshotFor(ca, service, { revision: 2, bans: banned });
    expect(snapshots.take({ ...good, services: 'none', policy: { rules: 1 }, more: true })).toBe(false);
    expect(snapshots.current?.bans).toEqual(banned);
  });

  test('a newer trust bundle is taken over; one that is not valid holds no ban back', async () => {
    const { ca, snapshots, bundle, bad } = await start();
    const both = formatBundle({
      ...ca.bundle,
      roots: [...ca.bundle.roots, ...(await createTestCa()).bundle.roots],
      sequence: 2n,
    });
    snapshots.take(snapshotFor(ca, service, { revision: 2, bundle: both, ...bad }));
    expect([bundle().sequence, snapshots.current?.bundle]).toEqual([2n, both]);
    for (const [revision, broken] of [
      [3, 'no'],
      [4, ca.bundleText],
    ] as const) {
      const bans = { ids: [], serials: [`0${revision}`] };
      snapshots.take(snapshotFor(ca, service, { revision, bundle: broken, bans, ...bad }));
      expect([snapshots.current?.bans, snapshots.current?.bundle]).toEqual([bans, both]);
    }
  });

  test('Z2: an older one lifts no ban, and neither does one for another service', async () => {
    const { ca, snapshots, bad } = await start();
    snapshots.take(snapshotFor(ca, service, { revision: 5, bans: banned, ...bad }));
    expect(snapshots.take(snapshotFor(ca, service, { revision: 4, policy: wasPolicy }))).toBe(false);
    snapshots.take(snapshotFor(ca, service, { revision: 4, ...bad }));
    snapshots.take({ ...snapshotFor(ca, 'shop/web', { revision: 9 }), ...bad });
    expect(snapshots.current?.bans).toEqual(banned);
    expect(snapshots.take(snapshotFor(ca, service, { revision: 6, policy: wasPolicy }))).toBe(true);
    expect([snapshots.revision, snapshots.newest, snapshots.current?.bans.ids]).toEqual([6, 6, []]);
  });

  test('T26: live connections of a banned peer are cut, and it can make no other', async () => {
    const pki = await createTestPki();
    const app = await startApp((_, response) => void response.write('first'));
    const payments = await startProxy({ pki, service: 'payments', appPort: app.port, bare: true });
    const snapshots = createSnapshots({
      service: parseSpiffeId(idOf('payments')),
      folder: openSidecarFolder(temporaryFolder()),
      apply: (snapshot) => payments.plane.applySnapshot(snapshot),
      bundle: () => pki.bundle,
      adoptBundle: () => undefined,
      log: silentLog,
      metrics: createMetrics(),
    });
    const first = {
      ...{ version: 1, service: idOf('payments'), bundle: formatBundle(pki.bundle), services: [] },
      policy: { revision: 1, rules: [allow('*', 'payments')], groups: {} },
    };
    expect(snapshots.take({ ...first, revision: 1, bans: { ids: [], serials: [] } })).toBe(true);
    const web = await openTls({ pki, proxy: payments, identity: pki.identity(idOf('web')) });
    web.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    await web.until(/first/);
    const policy = { revision: 2, rules: [{ ...allow('*', 'payments'), paths: ['no path'] }], groups: {} };
    expect(snapshots.take({ ...first, revision: 2, policy, bans: { ids: [idOf('web')], serials: [] } })).toBe(false);
    await web.closed();
    expect((await payments.recorded(1))[0]).toMatchObject({ decision: 'deny', reason: 'PEER_BANNED' });
    const again = await openTls({ pki, proxy: payments, identity: pki.identity(idOf('web')) });
    expect(await again.closed()).toBe('');
  });
});
