import { expect, test } from 'vitest';
import { allow, idOf, openTls, startApp, startPair } from '../helpers/mesh.ts';

test('a permitted caller whose bodies never end keeps no other caller from the application', async () => {
  const app = await startApp((request, response) => {
    request.resume();
    request.on('end', () => response.end('served'));
  });
  const { pki, payments } = await startPair({
    app,
    rules: [allow('*', 'payments')],
    paymentsLimits: { poolConnections: 8, poolPending: 8 },
  });
  const connect = (service: string) => openTls({ pki, proxy: payments, identity: pki.identity(idOf(service)) });
  const slow = await Promise.all(Array.from({ length: 20 }, () => connect('greedy')));
  for (const one of slow) one.send('POST / HTTP/1.1\r\nhost: payments\r\ncontent-length: 9\r\n\r\nslow');
  // Half of the connections, half of the places to wait, and twelve refusals.
  await payments.recorded(12);
  const web = await connect('web');
  web.send('POST / HTTP/1.1\r\nhost: payments\r\ncontent-length: 2\r\n\r\nok');
  expect(await web.until(/served/)).toMatch(/^HTTP\/1\.1 200/);
  expect(app.accepts()).toBe(5);
  expect(payments.metrics.render()).toContain('postern_limits_total{limit="pool-share"} 12');
});
