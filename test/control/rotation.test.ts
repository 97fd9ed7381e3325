// Rotations driven by what proxies acknowledged: nothing is signed by a root that somebody does not hold yet.
import { describe, expect, test } from 'vitest';
import { parseBundle } from '#spiffe';
import type { CaStatus } from '#wire';
import { createMesh, type Mesh, type MeshProxy, watch } from '../helpers/control-plane.ts';

const rotate = (mesh: Mesh, what: 'root' | 'issuing') =>
  mesh.admin.call<CaStatus>({ method: 'POST', path: '/v1/ca/rotate', body: { version: 1, what } });
const status = (mesh: Mesh) => mesh.admin.call<CaStatus>({ method: 'GET', path: '/v1/ca' });
const report = (proxy: MeshProxy, revision: number) =>
  proxy.channel.call({
    method: 'POST',
    path: '/v1/proxy/report',
    body: { version: 1, revision, notAfter: 0, connections: { inbound: 0, outbound: 0 }, state: 'serving' },
  });

describe('the root', () => {
  test('C16: is used only after every proxy acknowledged the bundle that has it; then all are asked to renew', async () => {
    const mesh = await createMesh();
    const [one, two] = [await mesh.enrol('one'), await mesh.enrol('two')];
    const [first, second] = [watch(one), watch(two)];
    await report(one, (await first.snapshot()).revision);
    await report(two, (await second.snapshot()).revision);
    expect((await rotate(mesh, 'root')).rootRotation.phase).toBe('prepared');
    const [told, toldToo] = [await first.snapshot(), await second.snapshot()];
    expect(parseBundle('example.org', told.bundle).roots).toHaveLength(2);
    await report(one, told.revision);
    mesh.clock.advance(2_000);
    expect((await status(mesh)).rootRotation.phase).toBe('prepared');
    await report(two, toldToo.revision);
    expect(await first.next()).toEqual({ type: 'renew' });
    expect(await second.next()).toEqual({ type: 'renew' });
    expect((await status(mesh)).rootRotation.phase).toBe('retiring');
    expect(await mesh.events('rotate')).not.toEqual([]);
  });

  test('C16: waits for an instance that is away until its certificate has expired', async () => {
    const mesh = await createMesh({ svidTtlMs: 20_000 });
    const [here] = [await mesh.enrol('here'), await mesh.enrol('away')];
    const stream = watch(here);
    await stream.snapshot();
    await rotate(mesh, 'root');
    await report(here, (await stream.snapshot()).revision);
    mesh.clock.advance(2_000);
    expect((await status(mesh)).rootRotation.phase).toBe('prepared');
    mesh.clock.advance(20_000);
    await expect.poll(async () => (await status(mesh)).rootRotation.phase).not.toBe('prepared');
  });
});

test('an issuing CA that an admin rotates is in use at once, by the server too, and everybody is asked to renew', async () => {
  const mesh = await createMesh();
  const proxy = await mesh.enrol('payments');
  const stream = watch(proxy);
  await stream.snapshot();
  const before = await status(mesh);
  const after = await rotate(mesh, 'issuing');
  const active = (found: CaStatus) => found.issuing.find(({ state }) => state === 'active')?.fingerprint;
  expect(active(after)).not.toBe(active(before));
  expect(await stream.next()).toEqual({ type: 'renew' });
  expect((await mesh.ask({ path: '/livez' })).status).toBe(200);
  expect((await mesh.ask({ path: '/readyz', identity: proxy.identity })).status).toBe(200);
  expect((await mesh.events('rotate'))[0]).toMatchObject({ actor: 'spiffe://example.org/postern/admin/ada' });
});
