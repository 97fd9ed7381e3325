// A copy gets the body of its original as it comes. When nobody will send the rest of that, nobody waits for the copy either.
import { expect, test } from 'vitest';
import { openRaw, startRawApp } from '../helpers/mesh.ts';
import { open, startTraffic } from '../helpers/traffic.ts';
import { eventually } from '../helpers/until.ts';

test('an original that is answered before its body has come ends its copy', async () => {
  let closed = 0;
  const shadow = await startRawApp((socket) => {
    socket.resume();
    socket.on('close', () => closed++);
  });
  const traffic = await startTraffic(
    `${open}kind: VirtualService
name: payments
hosts: [payments]
http:
  - mirror: [{ cluster: shadow }]
    rateLimit: { requests: 1, per: 1h }
    route: [{ cluster: payments }]
---
kind: Cluster
name: shadow
endpoints: { static: ["127.0.0.1:${shadow.port}"] }
plaintext: true
`,
    { payments: [{}] },
  );
  const { web } = traffic;
  expect((await traffic.ask()).status).toBe(200);
  const client = await openRaw(web.addresses.outbound.port);
  client.send('POST / HTTP/1.1\r\nhost: payments\r\ncontent-length: 10\r\n\r\n');
  expect(await client.until(/\r\n\r\n/)).toMatch(/^HTTP\/1.1 429 /);
  await eventually(
    () => closed,
    (count) => count === 1,
  );
  const records = await web.recorded(3);
  expect(records.filter(({ mirrored }) => mirrored)).toHaveLength(1);
});
