// Of several threads one asks endpoints outside the mesh whether they serve; all of them go by what it finds, a thread that starts later too.
import { expect, test } from 'vitest';
import type { ClusterEntry } from '#wire';
import { allow, idOf, openRaw, startApp } from '../helpers/mesh.ts';
import { eventually } from '../helpers/until.ts';
import { startWorkers } from '../helpers/workers.ts';

test('one thread asks, and all of them leave out what it finds unhealthy, also one that starts later', async () => {
  let isBadServing = false;
  let open = 0;
  let most = 0;
  const bad = await startApp((request, response) => {
    if (request.url !== '/healthz') return void response.end('bad');
    most = Math.max(most, ++open);
    setTimeout(() => {
      open--;
      response.writeHead(isBadServing ? 200 : 500).end();
    }, 30);
  });
  const good = await startApp((_, response) => response.end('good'));
  const shop: ClusterEntry = {
    name: 'shop',
    id: idOf('shop'),
    endpoints: { static: [`127.0.0.1:${bad.port}`, `127.0.0.1:${good.port}`] },
    hosts: ['shop.example'],
    plaintext: true,
    loadBalancing: { panicThreshold: '0%' },
    healthCheck: { http: { path: '/healthz' }, interval: '100ms', timeout: '5s' },
  };
  const { addresses, apply, started, described } = await startWorkers({ rules: [allow('web', 'shop')] });
  await apply({ clusters: [shop] });
  /** The answers of many connections, so of all threads. */
  const answers = () =>
    Promise.all(
      Array.from({ length: 60 }, async () => {
        const client = await openRaw(addresses.outbound.port);
        client.send('GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n');
        const text = await client.closed();
        return text.endsWith('good') ? 'good' : 'bad';
      }),
    );
  const areAll = (bodies: readonly string[]): boolean => bodies.every((body) => body === 'good');
  await eventually(answers, areAll);
  const before = started.length;
  await started[0]!.worker.terminate();
  await eventually(() => started.length > before && described().every(({ isListening }) => isListening), Boolean);
  expect(started.at(-1)!.start.failing).toEqual({ shop: { [`127.0.0.1:${bad.port}`]: 'it answered 500' } });
  expect(areAll(await answers())).toBe(true);
  expect(most).toBe(1);
  isBadServing = true;
  await eventually(answers, (bodies) => bodies.includes('bad'));
});
