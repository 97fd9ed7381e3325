import { expect, test } from 'vitest';
import type { ClusterEntry } from '#wire';
import { idOf, startApp, startProxy } from '../helpers/mesh.ts';
import { createTestPki } from '../helpers/pki.ts';
import { eventually } from '../helpers/until.ts';

const own = (more: Partial<ClusterEntry> = {}): ClusterEntry => ({
  name: 'payments',
  id: idOf('payments'),
  endpoints: 'enrolled',
  healthCheck: { http: { path: '/healthz' }, interval: '100ms', timeout: '2s', unhealthyThreshold: 2 },
  ...more,
});

async function start() {
  const state = { good: true, asked: 0 };
  const app = await startApp((request, response) => {
    if (request.url === '/healthz') state.asked++;
    response.writeHead(state.good ? 200 : 503).end();
  });
  const proxy = await startProxy({ pki: createTestPki(), service: 'payments', appPort: app.port });
  const becomes = (wanted: string | undefined) =>
    eventually(
      () => proxy.plane.health,
      (found) => found === wanted,
      { everyMs: 10 },
    );
  return { state, proxy, becomes };
}

test('the application is asked as the cluster of its own service says, and only then', async () => {
  const { state, proxy, becomes } = await start();
  proxy.apply({ clusters: [own({ name: 'other', id: idOf('other') })] });
  expect(proxy.plane.health).toBeUndefined();
  expect(state.asked).toBe(0);
  proxy.apply({ clusters: [own()] });
  await becomes('healthy');
  state.good = false;
  await becomes('unhealthy');
  state.good = true;
  await becomes('healthy');
});

test('a check that is taken away says nothing any more, and a changed one is asked anew', async () => {
  const { state, proxy, becomes } = await start();
  state.good = false;
  proxy.apply({ clusters: [own()] });
  await becomes('unhealthy');
  proxy.apply({ clusters: [] });
  await becomes(undefined);
  proxy.apply({ clusters: [own({ healthCheck: { tcp: {}, interval: '100ms' } })] });
  await becomes('healthy');
});

test('a check that makes no sense is refused with the snapshot', async () => {
  const { proxy } = await start();
  expect(() => proxy.apply({ clusters: [own({ healthCheck: {} })] })).toThrow(/SNAPSHOT|snapshot/);
});
