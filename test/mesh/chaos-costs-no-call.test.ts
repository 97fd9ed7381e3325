// Processes that are killed and frozen, a name server that dies and a control plane that is gone, while calls go on: as long as one healthy endpoint is left, each call
// that may be repeated succeeds.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { townOfFile } from '../helpers/gateway.ts';
import { httpCall } from '../helpers/http-call.ts';
import { startNameServer } from '../helpers/name-server.ts';
import { eventually } from '../helpers/until.ts';

const town = townOfFile();

async function startApp(answer: string): Promise<number> {
  const app = createServer((_, response) => response.end(answer));
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    app.closeAllConnections();
    app.close();
  });
  return (app.address() as AddressInfo).port;
}

/** Calls that go on, four at a time, until it is over; what did not succeed. */
function startLoad(call: () => Promise<{ status: number; body: string }>) {
  const failures: string[] = [];
  const waiting = new Set<() => void>();
  let count = 0;
  let isOver = false;
  const caller = async (): Promise<void> => {
    while (!isOver) {
      const { status, body } = await call().catch((thrown: unknown) => ({ status: 0, body: String(thrown) }));
      if (status !== 200) failures.push(`${status} ${body}`);
      count++;
      for (const look of waiting) look();
    }
  };
  const callers = Array.from({ length: 4 }, caller);
  return {
    failures,
    /** When so many more have ended. */
    more: (calls: number) =>
      new Promise<void>((resolve) => {
        const wanted = count + calls;
        const look = (): void => {
          if (count < wanted) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
      }),
    async end(): Promise<void> {
      isOver = true;
      await Promise.all(callers);
    },
  };
}

test('K8: endpoints of a name whose server dies are called on', async () => {
  const names = await startNameServer({ 'partner.test': ['127.0.0.1'] });
  names.ttl = 1;
  const port = await startApp('partner');
  const web = await town.sidecar('shopper', 9, '--dns', names.address);
  await town.apply(`
kind: Cluster
name: partner
endpoints: { dns: { name: partner.test, port: ${port}, refresh: 1s } }
hosts: [partner.test]
plaintext: true
---
kind: Policy
name: partner
to: partner
rules: [{ id: shopper, effect: allow, from: [shopper] }]
`);
  const call = () => httpCall(web.ready.outbound!, { host: 'partner.test' });
  await eventually(call, ({ status }) => status === 200);
  const load = startLoad(call);
  names.close();
  const kept = async (): Promise<number> => {
    const text = await (await fetch(`http://${web.ready.metrics}/metrics`)).text();
    return Number(/postern_dns_answers_total\{outcome="kept"\} (\d+)/.exec(text)?.[1] ?? 0);
  };
  await eventually(kept, (count) => count >= 2);
  await load.more(50);
  await load.end();
  expect(load.failures).toEqual([]);
});

test('K10: instances that are killed and frozen, and then the control plane, cost no call', async () => {
  const instances = [];
  for (const name of ['one', 'other', 'third']) instances.push(await town.sidecar('payments', await startApp(name)));
  const web = await town.sidecar('web', 9);
  await town.apply(`
kind: Policy
name: payments
to: payments
rules: [{ id: web, effect: allow, from: [web] }]
---
kind: Cluster
name: payments
endpoints: enrolled
outlierDetection: { consecutive5xx: 3, maxEjected: 80% }
loadBalancing: { panicThreshold: 10% }
---
kind: VirtualService
name: payments
hosts: [payments]
http:
  - retries: { attempts: 3, perTryTimeout: 500ms, on: [connect-failure, refused-stream, reset, timeout, 5xx] }
    route: [{ cluster: payments }]
`);
  const call = () => httpCall(web.ready.outbound!, { host: 'payments' });
  const seen = new Set<string>();
  await eventually(
    async () => {
      const { status, body } = await call();
      if (status === 200) seen.add(body);
      return seen.size;
    },
    (size) => size === 3,
  );
  const load = startLoad(call);
  await load.more(40);
  instances[0]!.signal('SIGKILL');
  await instances[0]!.outcome;
  await load.more(100);
  instances[1]!.signal('SIGSTOP');
  await load.more(100);
  expect((await town.server.stop('SIGKILL')).signal).toBe('SIGKILL');
  await load.more(100);
  expect((await call()).body).toBe('third');
  instances[1]!.signal('SIGCONT');
  await load.more(40);
  await load.end();
  expect(load.failures).toEqual([]);
});
