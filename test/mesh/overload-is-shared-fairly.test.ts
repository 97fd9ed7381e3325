// More requests in progress than there may be: the surplus is shed at once, and one caller's many never keep out another's few.
import { expect, test } from 'vitest';
import { allow, idOf, openRaw, serviceEntry, startApp, startPair, startProxy } from '../helpers/mesh.ts';

test('one caller alone gets half of the exchanges; another is served meanwhile, and what is over is 503 at once', async () => {
  const waiting: (() => void)[] = [];
  const app = await startApp((request, response) => {
    if (request.url === '/wait') waiting.push(() => void response.end('done'));
    else response.end('quick');
  });
  const { pki, web, payments } = await startPair({
    app,
    paymentsLimits: { exchanges: 8 },
    rules: [allow('web', 'payments'), allow('ledger', 'payments')],
  });
  const ledger = await startProxy({ pki, service: 'ledger' });
  ledger.apply({
    policy: { revision: 2, rules: [allow('ledger', 'payments')], groups: {} },
    services: [serviceEntry('payments', payments.addresses.inbound.port)],
  });
  const ask = async (port: number, path: string) => {
    const client = await openRaw(port);
    client.send(`GET ${path} HTTP/1.1\r\nHost: payments\r\n\r\n`);
    return client;
  };
  const held = await Promise.all(Array.from({ length: 4 }, () => ask(web.addresses.outbound.port, '/wait')));
  await expect.poll(() => waiting.length).toBe(4);
  const over = await ask(web.addresses.outbound.port, '/more');
  expect(await over.until(/}\n/)).toMatch(/^HTTP\/1\.1 503 [\s\S]*LIMIT_EXCHANGES/);
  const other = await ask(ledger.addresses.outbound.port, '/quick');
  expect(await other.until(/quick/)).toMatch(/^HTTP\/1\.1 200 /);
  expect(payments.metrics.render()).toContain('postern_limits_total{limit="exchanges"} 1');
  expect(payments.records.find(({ reason }) => reason === 'LIMIT_EXCHANGES')).toMatchObject({
    peer: idOf('web'),
    status: 503,
  });
  for (const answer of waiting) answer();
  for (const client of held) await client.until(/done/);
  const again = await ask(web.addresses.outbound.port, '/quick');
  await again.until(/quick/);
});
