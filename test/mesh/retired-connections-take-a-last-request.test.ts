import { expect, test } from 'vitest';
import { formatBundle } from '#spiffe';
import { call, openRaw, openTls, startApp, startPair } from '../helpers/mesh.ts';
import { createTestPki } from '../helpers/pki.ts';

const request = 'POST / HTTP/1.1\r\nhost: payments\r\ncontent-length: 2\r\n\r\nhi';
const app = () => startApp((asked, answer) => void asked.resume().on('end', () => answer.end('ok')));

test('a request that was on its way when the connection retired is answered, with the word that it was the last', async () => {
  const { pki, web, payments } = await startPair({ app: await app(), drainMs: 5_000 });
  const fresh = await openTls({ pki, proxy: payments, identity: web.identity });
  const used = await openTls({ pki, proxy: payments, identity: web.identity });
  used.send(request);
  await used.until(/ok$/);
  const local = await openRaw(web.addresses.outbound.port);
  const drained = [payments.plane.drain()];
  for (const client of [fresh, used]) client.send(request);
  for (const client of [fresh, used])
    expect(await client.closed()).toMatch(/HTTP\/1\.1 200 [\s\S]*connection: close[\s\S]*ok$/);
  drained.push(web.plane.drain());
  local.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
  expect(await local.closed()).toMatch(/^HTTP\/1\.1 \d+ [\s\S]*connection: close/);
  await Promise.all(drained);
});

test('C16: a root that goes while callers open connections costs none of them their first request', async () => {
  const other = createTestPki();
  const { web, payments, pki } = await startPair({ app: await app() });
  const both = { ...pki.bundle, roots: [...pki.bundle.roots, ...other.bundle.roots], sequence: 2n };
  for (const one of [web, payments]) one.apply({ bundle: formatBundle(both) });
  // The called side hears last: what the caller has just opened anew is retired before it was used.
  web.apply({ bundle: formatBundle({ ...pki.bundle, sequence: 3n }) });
  const callers = await Promise.all(
    Array.from({ length: 5 }, () => openTls({ pki, proxy: payments, identity: web.identity })),
  );
  payments.apply({ bundle: formatBundle({ ...pki.bundle, sequence: 3n }) });
  for (const caller of callers) caller.send(request);
  for (const caller of callers) expect(await caller.until(/ok$/)).toMatch(/^HTTP\/1\.1 200 /);
  expect((await call(web)).status).toBe(200);
});
