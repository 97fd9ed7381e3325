// Virtual services of TCP: by port of their own and by CONNECT, written as an operator would.
import { expect, test } from 'vitest';
import { openRaw } from '../helpers/mesh.ts';
import { open, startTraffic, type Traffic } from '../helpers/traffic.ts';

const services = { db: [{ labels: { role: 'main' } }, { labels: { role: 'copy' } }] };
const routes = (tcp: string): string => `${open}kind: Cluster
name: db
endpoints: enrolled
subsets: { main: { labels: { role: main } }, copy: { labels: { role: copy } } }
---
kind: VirtualService
name: db
hosts: [db]
tcp:
${tcp}`;
const startDb = (tcp: string) => startTraffic(routes(tcp), services, { isTcp: true, upstreams: ['db'] });

async function nameOf(traffic: Traffic): Promise<string> {
  const client = await openRaw(traffic.web.addresses.upstreams[0]!.address.port);
  const text = await client.until(/\n/);
  client.socket.destroy();
  return text.trim();
}

test('connections are split by weight, and the record says where each went', async () => {
  const traffic = await startDb(`  - name: shift
    route: [{ cluster: db, subset: main, weight: 75 }, { cluster: db, subset: copy, weight: 25 }]`);
  const names: string[] = [];
  for (let at = 0; at < 80; at++) names.push(await nameOf(traffic));
  const copies = names.filter((name) => name === 'db-2').length;
  expect(names.every((name) => /^db-[12]$/.test(name))).toBe(true);
  // Binomial with p = 0.25: five standard deviations are 19.
  expect(copies).toBeGreaterThan(0);
  expect(copies).toBeLessThan(40);
  const records = await traffic.web.recorded(80);
  expect(new Set(records.map(({ route, cluster }) => `${route} ${cluster}`))).toEqual(
    new Set(['shift db/main', 'shift db/copy']),
  );
});

test('the first route that matches counts: by caller and port', async () => {
  const traffic = await startDb(`  - match: [{ from: [batch] }]
    route: [{ cluster: db, subset: copy }]
  - match: [{ ports: [5433] }]
    route: [{ cluster: db, subset: copy }]
  - route: [{ cluster: db, subset: main }]`);
  expect(await nameOf(traffic)).toBe('db-1');
  const client = await openRaw(traffic.web.addresses.outbound.port);
  client.send('CONNECT db:5433 HTTP/1.1\r\nhost: db:5433\r\n\r\n');
  expect(await client.until(/db-[12]\n/)).toMatch(/^HTTP\/1\.1 200 [\s\S]*db-2\n$/);
  client.send('SELECT 1');
  await client.until(/SELECT 1/);
});

test('a tunnel without a byte for too long is cut', async () => {
  const traffic = await startDb(`  - idleTimeout: 100ms
    route: [{ cluster: db }]`);
  const client = await openRaw(traffic.web.addresses.upstreams[0]!.address.port);
  await client.until(/\n/);
  await client.closed().catch(() => undefined);
  expect((await traffic.web.recorded(1))[0]).toMatchObject({ decision: 'error', reason: 'HTTP_TIMEOUT' });
});

test('an instance whose application is gone is passed over', async () => {
  const traffic = await startDb('  - route: [{ cluster: db }]');
  await new Promise((resolve) => traffic.instances.db![0]!.app.server.close(resolve));
  for (let at = 0; at < 10; at++) expect(await nameOf(traffic)).toBe('db-2');
});
