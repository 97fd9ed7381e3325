// The chapters of the demo in which traffic is moved: a canary gets a share, and an instance that fails is left out.
import type { Caller } from './client.ts';
import type { Stage } from './stage.ts';
import { apply, joinMesh, until } from './steps.ts';

const routes = (target: string): string => `kind: Cluster
name: payments
endpoints: enrolled
subsets:
  v1: { labels: { version: v1 } }
  v2: { labels: { version: v2 } }
outlierDetection: { consecutive5xx: 3, baseEjection: 60s }
---
kind: VirtualService
name: payments
hosts: [payments]
http:
  - name: reads
    match: [{ methods: [GET] }]
    retries: { attempts: 2, on: [connect-failure, refused-stream, 5xx] }
    route: [${target}]
  - route: [{ cluster: payments, subset: v1 }]
`;
const canary = routes('{ cluster: payments, subset: v1, weight: 80 }, { cluster: payments, subset: v2, weight: 20 }');
const both = routes('{ cluster: payments }');
const url = 'http://payments/charges/7';
const isFromCanary = (body: string): boolean => body.includes('payments-v2');

export async function shiftTraffic(
  stage: Stage,
  { folder, orders }: { folder: string; orders: Caller },
): Promise<void> {
  stage.chapter('A second version of payments gets a fifth of the reads');
  // Before there is a second one: no read of this chapter goes astray.
  await apply(stage, folder, 'routes', canary);
  const { app } = await joinMesh(stage, folder, { service: 'payments', version: 'v2' });
  await until(
    () => orders.call('GET', url),
    ({ body }) => isFromCanary(body),
  );
  const calls = 200;
  let fromCanary = 0;
  for (let at = 0; at < calls; at++) if (isFromCanary((await orders.call('GET', url)).body)) fromCanary++;
  stage.claim(
    `${fromCanary} of ${calls} reads went to version 2`,
    // Five standard deviations around forty.
    fromCanary > 11 && fromCanary < 69,
  );
  const writes = await orders.call('POST', 'http://payments/charges');
  stage.claim('writes stay with version 1', writes.status === 200 && !isFromCanary(writes.body));

  await stage.postern('route', 'orders', url);

  stage.chapter('An instance that fails is left out');
  await apply(stage, folder, 'routes', both);
  await until(
    () => orders.call('GET', url),
    ({ body }) => isFromCanary(body),
  );
  app.fail(true);
  const before = await app.served();
  let failed = 0;
  for (let at = 0; at < calls; at++) if ((await orders.call('GET', url)).status !== 200) failed++;
  const tries = (await app.served()) - before;
  stage.claim(`version 2 answers 500: ${calls} reads, ${failed} failed`, failed === 0);
  stage.claim(`it was asked ${tries} times, then no more`, tries <= 4);
  await stage.postern('describe', 'payments');
  app.fail(false);
}
