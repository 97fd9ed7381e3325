// Snapshots that would hold the event loop: what comes of the thread that reads them is what reading them here gives, and so is what it keeps.
import { renameSync } from 'node:fs';
import { expect, test } from 'vitest';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { check } from '#base/schema';
import { parseSpiffeId } from '#spiffe';
import { type Snapshot, snapshotSchema } from '#wire';
import { openSidecarFolder } from '../../../proxy/agent/disk.ts';
import { createLargeSnapshots } from '../../../proxy/agent/large-snapshot.ts';
import { createSnapshots } from '../../../proxy/agent/snapshots.ts';
import { createTestCa, snapshotFor } from '../../helpers/fake-control.ts';
import { temporaryFolder } from '../../helpers/folder.ts';

const service = 'shop/payments';
async function start(count: number, o: Partial<Snapshot> = {}) {
  const ca = await createTestCa();
  const rules = Array.from({ length: count }, (_, at) => ({
    ...{ policy: 'payments-access', id: `r-${at}`, effect: 'allow' as const },
    ...{ to: [`spiffe://example.org/${service}`], from: ['*'], paths: [`/ü/${at}/"\\\\`] },
  }));
  const groups = { g: ['spiffe://example.org/shop/web'] };
  const snapshot = { ...snapshotFor(ca, service), policy: { revision: 4, rules, groups, digest: `d${count}` }, ...o };
  return { ca, snapshot, line: (event: unknown) => new TextEncoder().encode(JSON.stringify(event)) };
}

test.each([0, 1, 2_000])('%i rules are read as they were sent', async (count) => {
  const { snapshot, line } = await start(count);
  const read = await createLargeSnapshots().read(line({ type: 'snapshot', snapshot }));
  expect(JSON.parse(JSON.stringify(read))).toEqual({ event: { type: 'snapshot', snapshot }, problems: [] });
});

test('what is wrong is what checking it here finds, and the bans of it are in force', async () => {
  const { ca, snapshot, line } = await start(300);
  const bans = { ids: ['spiffe://example.org/shop/web'], serials: [] };
  const bad = { ...snapshot, revision: 9, bans, policy: { ...snapshot.policy, rules: [{ id: 1 }] } };
  const { event, problems } = await createLargeSnapshots().read(line({ type: 'snapshot', snapshot: bad }));
  expect(problems).toEqual(check(snapshotSchema, bad));
  const { snapshots } = hold(ca, createLargeSnapshots());
  snapshots.take(snapshot);
  expect(snapshots.take((event as { snapshot: unknown }).snapshot, problems)).toBe(false);
  expect(snapshots.refused).toMatchObject({ revision: 9, reason: expect.stringContaining('/policy/rules/0') });
  expect([snapshots.current?.bans, snapshots.current?.policy]).toEqual([bans, snapshot.policy]);
});

test('what is no snapshot comes as it is, and what is no JSON or no UTF-8 is an error', async () => {
  const large = createLargeSnapshots();
  const { line } = await start(0);
  expect(await large.read(line({ type: 'ping' }))).toEqual({ event: { type: 'ping' } });
  await expect(large.read(new TextEncoder().encode('{"type":'))).rejects.toMatchObject({
    code: 'SIDECAR_SNAPSHOT_REFUSED',
  });
  await expect(large.read(Uint8Array.of(0x22, 0xff, 0x22))).rejects.toMatchObject({ code: 'SIDECAR_SNAPSHOT_REFUSED' });
});

function hold(ca: Awaited<ReturnType<typeof createTestCa>>, large: ReturnType<typeof createLargeSnapshots>) {
  const folder = openSidecarFolder(temporaryFolder());
  const snapshots = createSnapshots({
    ...{ service: parseSpiffeId(`spiffe://example.org/${service}`), folder, large },
    ...{ apply: () => undefined, bundle: () => ca.bundle, adoptBundle: () => undefined },
    ...{ log: silentLog, metrics: createMetrics() },
  });
  return { folder, snapshots };
}

test('a large one is kept by a thread, with what has changed beside its policy since; a small one that comes meanwhile is kept after it', async () => {
  const { ca, snapshot, line } = await start(500);
  const large = createLargeSnapshots();
  const { folder, snapshots } = hold(ca, large);
  const { event, problems } = await large.read(line({ type: 'snapshot', snapshot }));
  expect(snapshots.take((event as { snapshot: unknown }).snapshot, problems)).toBe(true);
  snapshots.takeChange({ from: snapshot.revision, revision: 8, services: { put: [], gone: [] } });
  await snapshots.keep();
  expect(folder.readSnapshot()).toMatchObject({ value: { ...snapshot, revision: 8 } });
  const later = { ...snapshot, revision: 9, policy: (await start(500)).snapshot.policy };
  const again = await large.read(line({ type: 'snapshot', snapshot: later }));
  snapshots.take((again.event as { snapshot: unknown }).snapshot, again.problems);
  const first = snapshots.keep();
  snapshots.take(snapshotFor(ca, service, { revision: 10 }));
  const second = snapshots.keep();
  await Promise.all([first, second]);
  expect(folder.readSnapshot()).toMatchObject({ value: { revision: 10 } });
});

test('a disk that does not take it is said, and it is tried again the next time', async () => {
  const { ca, snapshot, line } = await start(10);
  const large = createLargeSnapshots();
  const { folder, snapshots } = hold(ca, large);
  const { event, problems } = await large.read(line({ type: 'snapshot', snapshot }));
  snapshots.take((event as { snapshot: unknown }).snapshot, problems);
  renameSync(folder.path, `${folder.path}-away`);
  await snapshots.keep();
  renameSync(`${folder.path}-away`, folder.path);
  expect(folder.readSnapshot()).toBeUndefined();
  await snapshots.keep();
  expect(folder.readSnapshot()).toMatchObject({ value: snapshot });
});
