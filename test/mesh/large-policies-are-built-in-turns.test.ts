import { expect, test } from 'vitest';
import type { PolicyRule, Snapshot } from '#wire';
import { allow, call, idOf, openTls, serviceEntry, startApp, startPair } from '../helpers/mesh.ts';

/** More rules than are compiled at once, of which `web` may use the last. */
const many = (...more: PolicyRule[]): PolicyRule[] => [
  ...Array.from({ length: 3_000 }, (_, index) =>
    allow(`other-${index}`, 'payments', { id: `o${index}`, paths: [`/o/${index}`] }),
  ),
  ...more,
];

async function mesh() {
  const pair = await startPair({ app: await startApp((_, response) => response.end('ok')) });
  const { web, payments, pki } = pair;
  const { formatBundle } = await import('#spiffe');
  const snapshotFor = (revision: number, part: Partial<Snapshot> = {}): Snapshot => ({
    ...{ version: 1, revision, service: idOf('payments'), bundle: formatBundle(pki.bundle), services: [] },
    bans: { ids: [], serials: [] },
    policy: { revision, rules: [allow('web', 'payments')], groups: {} },
    ...part,
  });
  const large = (revision: number, ...rules: PolicyRule[]) =>
    snapshotFor(revision, { policy: { revision, rules: many(...rules), groups: {} } });
  web.apply({ services: [serviceEntry('payments', payments.addresses.inbound.port)] });
  const status = async (): Promise<number> => (await call(web, { path: '/' })).status;
  return { ...pair, snapshotFor, large, status };
}

test('the policy of before decides until the whole new one is there', async () => {
  const { payments, large, status } = await mesh();
  expect(await status()).toBe(200);
  const first = status();
  const built = payments.plane.applySnapshot(large(10, { ...allow('web', 'payments'), effect: 'deny' }));
  expect(built).toBeInstanceOf(Promise);
  let isOver = false;
  void built!.then(() => {
    isOver = true;
  });
  // What is answered before the end of the build was decided by the policy of before.
  for (let during = await first; !isOver; during = await status()) expect(during).toBe(200);
  expect(await built).toBe(true);
  expect(await status()).toBe(403);
});

test('bans do not wait for a build, and are still there after it', async () => {
  const { payments, pki, large } = await mesh();
  const banned = { bans: { ids: [idOf('web')], serials: [] } };
  const open = await openTls({ pki, proxy: payments, identity: pki.identity(idOf('web')) });
  await expect.poll(() => payments.plane.counts.inbound).toBe(1);
  const built = payments.plane.applySnapshot({ ...large(10, allow('web', 'payments')), ...banned });
  // At once, while the policy of before is in force.
  expect(payments.metrics.render()).toContain('postern_connections_cut_total{reason="banned"} 1\n');
  expect(payments.plane.describe()).toMatchObject({ policyRevision: 2 });
  expect(await open.closed()).toBe('');
  const client = await openTls({ pki, proxy: payments, identity: pki.identity(idOf('web')) });
  expect(await client.closed()).toBe('');
  expect(await built).toBe(true);
  const again = await openTls({ pki, proxy: payments, identity: pki.identity(idOf('web')) });
  expect(await again.closed()).toBe('');
});

test('a newer policy takes the place of a build that runs; an older one is refused', async () => {
  const { payments, large, snapshotFor, status } = await mesh();
  const first = payments.plane.applySnapshot(large(10, { ...allow('web', 'payments'), effect: 'deny' }));
  const second = payments.plane.applySnapshot(large(11, allow('web', 'payments')));
  expect(() => payments.plane.applySnapshot(large(9))).toThrow(/revision 11 is in force already/);
  expect(await first).toBe(false);
  expect(await second).toBe(true);
  expect(await status()).toBe(200);
  const third = payments.plane.applySnapshot(large(12, allow('web', 'payments')));
  expect(payments.plane.applySnapshot(snapshotFor(13, { policy: { revision: 13, rules: [], groups: {} } }))).toBe(
    undefined,
  );
  expect(await third).toBe(false);
  expect(await status()).toBe(403);
});

test('what comes with the same policy waits for the same build, however often it comes', async () => {
  const { payments, large } = await mesh();
  const first = large(10, allow('web', 'payments'));
  const digest = 'the same';
  const results = Array.from({ length: 5 }, (_, index) =>
    payments.plane.applySnapshot({ ...first, revision: 10 + index, policy: { ...first.policy, digest } }),
  );
  expect(await Promise.all(results)).toEqual([false, false, false, false, true]);
  expect(payments.plane.describe()).toMatchObject({ revision: 14 });
  expect(payments.plane.applySnapshot({ ...first, revision: 15, policy: { ...first.policy, digest } })).toBe(undefined);
});

test('a policy that cannot be built leaves the one before, and lifts no ban', async () => {
  const { payments, large, status } = await mesh();
  const broken = large(10, allow('web', 'payments', { id: 'x', paths: ['no path'] }));
  const built = payments.plane.applySnapshot({ ...broken, bans: { ids: [idOf('other')], serials: [] } });
  await expect(built).rejects.toMatchObject({ code: 'SNAPSHOT_REFUSED' });
  expect(payments.plane.describe()).toMatchObject({ policyRevision: 2 });
  expect(await status()).toBe(200);
});

test('the event loop goes on while a policy is built', async () => {
  const { payments, large } = await mesh();
  const built = payments.plane.applySnapshot(large(10, allow('web', 'payments')));
  let turns = 0;
  let isOver = false;
  void built!.then(() => {
    isOver = true;
  });
  while (!isOver) {
    turns++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(turns).toBeGreaterThan(2);
});
