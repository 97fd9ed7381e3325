// One sidecar with several threads: they share its ports, follow the same policy and bans, and write one sequence of records; one that ends is replaced.
import { Worker } from 'node:worker_threads';
import { describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { formatBundle } from '#spiffe';
import type { Snapshot } from '#wire';
import type { RecordDraft } from '../../proxy/exchange-record.ts';
import { createDataPlanes } from '../../proxy/workers.ts';
import { allow, idOf, openRaw, openTls, type RawClient, serviceEntry, startApp, startProxy } from '../helpers/mesh.ts';
import { createTestPki } from '../helpers/pki.ts';

interface Described {
  readonly workers: readonly { worker: number; inbound: number; outbound: number; restarts?: number }[];
}

/** `web` and its three threads, which call `payments`. */
async function startWorkers(o: { rules?: Snapshot['policy']['rules']; limits?: { connections: number } } = {}) {
  const pki = createTestPki();
  const app = await startApp((_, response) => response.end('hello'));
  const payments = await startProxy({ pki, service: 'payments', appPort: app.port });
  const rules = o.rules ?? [allow('web', 'payments')];
  payments.apply({ policy: { revision: 2, rules, groups: {} } });
  const records: RecordDraft[] = [];
  const metrics = createMetrics();
  const loopback = { host: '127.0.0.1', port: 0 };
  let mayRecord = true;
  const started: Worker[] = [];
  const plane = createDataPlanes({
    workers: 3,
    app: { host: '127.0.0.1', port: app.port, protocol: 'http' },
    inbound: loopback,
    outbound: loopback,
    upstreams: [{ name: 'payments', listen: loopback, protocol: 'http' }],
    instance: 'web-1',
    clock: systemClock,
    log: silentLog,
    metrics,
    random: Math.random,
    record: (record) => void records.push(record),
    assertRecording() {
      if (!mayRecord) throw new Error('the disk is full');
    },
    ...(o.limits && { limits: o.limits }),
    drainMs: 2_000,
    startThread(file, options) {
      const worker = new Worker(file, options);
      started.push(worker);
      return worker;
    },
  });
  plane.setIdentity(pki.identity(idOf('web')));
  let snapshot: Snapshot = {
    version: 1,
    revision: 1,
    service: idOf('web'),
    bundle: formatBundle(pki.bundle),
    bans: { ids: [], serials: [] },
    policy: { revision: 1, rules: [...rules, allow('ledger', 'web')], groups: {} },
    services: [serviceEntry('payments', payments.addresses.inbound.port)],
  };
  const apply = (change: Partial<Snapshot>): void => {
    snapshot = { ...snapshot, ...change, revision: snapshot.revision + 1 };
    void plane.applySnapshot(snapshot);
  };
  void plane.applySnapshot(snapshot);
  const addresses = await plane.listen();
  onTestFinished(() => plane.drain());
  const described = (): Described['workers'] => (plane.describe() as Described).workers;
  return {
    pki,
    plane,
    payments,
    records,
    metrics,
    addresses,
    apply,
    described,
    started,
    setRecording: (may: boolean) => {
      mayRecord = may;
    },
  };
}

const request = 'GET / HTTP/1.1\r\nHost: payments\r\n\r\n';

async function open(port: number, count: number): Promise<RawClient[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => openRaw(port)));
  for (const client of clients) client.send(request);
  for (const client of clients) await client.until(/hello/);
  return clients;
}

/** A thread hears of a change a moment after the main one: asks again until the answer is the one. */
async function askUntil(client: RawClient, answer: RegExp): Promise<void> {
  for (let round = 0; !answer.test(client.text) && round < 500; round++) {
    const before = client.text.length;
    client.send(request);
    await expect.poll(() => client.text.length > before, { timeout: 10_000 }).toBe(true);
  }
  expect(client.text).toMatch(answer);
}

const isSpread = (workers: Described['workers'], hop: 'inbound' | 'outbound'): boolean =>
  workers.every((worker) => worker[hop] > 0);

describe('three threads', () => {
  test('serve the connections of one port together; what they record and count comes together', async () => {
    const { addresses, records, metrics, described } = await startWorkers();
    await open(addresses.outbound.port, 60);
    await expect.poll(() => isSpread(described(), 'outbound'), { timeout: 10_000 }).toBe(true);
    await expect.poll(() => records.length, { timeout: 10_000 }).toBe(60);
    expect(new Set(records.map(({ id }) => id)).size).toBe(60);
    await expect
      .poll(() => metrics.render(), { timeout: 10_000 })
      .toContain('postern_requests_total{hop="outbound",decision="allow",status="2xx"} 60\n');
    expect(metrics.render()).toContain('postern_connections_open_outbound 60\n');
    await open(addresses.upstreams[0]!.address.port, 3);
  });

  test('all follow a changed policy, on connections that are open', async () => {
    const { addresses, apply, described } = await startWorkers();
    const clients = await open(addresses.outbound.port, 40);
    await expect.poll(() => isSpread(described(), 'outbound'), { timeout: 10_000 }).toBe(true);
    apply({ policy: { revision: 3, rules: [], groups: {} } });
    await Promise.all(clients.map((client) => askUntil(client, / 403 /)));
  });

  test('a ban reaches the connections of each', async () => {
    const { addresses, apply, described, pki, plane } = await startWorkers();
    const ledger = pki.identity(idOf('ledger'));
    const callers = await Promise.all(
      Array.from({ length: 30 }, () =>
        openTls({ pki, proxy: { service: 'web', addresses } as never, identity: ledger } as never),
      ),
    );
    await expect.poll(() => isSpread(described(), 'inbound'), { timeout: 10_000 }).toBe(true);
    apply({ bans: { ids: [idOf('ledger')], serials: [] } });
    await Promise.all(callers.map((caller) => (caller as unknown as RawClient).closed()));
    await expect.poll(() => plane.counts.inbound, { timeout: 10_000 }).toBe(0);
  });

  test('none serves what cannot be recorded', async () => {
    const { addresses, described, setRecording } = await startWorkers();
    const clients = await open(addresses.outbound.port, 30);
    await expect.poll(() => isSpread(described(), 'outbound'), { timeout: 10_000 }).toBe(true);
    setRecording(false);
    for (const client of clients) await askUntil(client, / 50[03] /);
    setRecording(true);
    const [last] = clients;
    const refusals = last!.text.length;
    await askUntil(last!, new RegExp(`^[^]{${refusals},}hello`));
  });

  test('F4: one that ends is replaced, and the others lose nothing; what it counted stays counted', async () => {
    const { addresses, described, started, metrics } = await startWorkers();
    const clients = await open(addresses.outbound.port, 40);
    await expect.poll(() => isSpread(described(), 'outbound'), { timeout: 10_000 }).toBe(true);
    await expect.poll(() => metrics.render(), { timeout: 10_000 }).toContain('status="2xx"} 40\n');
    await started[0]!.terminate();
    await expect.poll(() => started.length, { timeout: 10_000 }).toBe(3);
    const isKept = await Promise.all(
      clients.map((client) => {
        const answers = client.text.split('hello').length;
        client.send(request);
        const again = client.until(new RegExp(`(?:hello[^]*){${answers}}`));
        return again.then(
          () => true,
          () => false,
        );
      }),
    );
    expect(isKept).toContain(true);
    expect(isKept).toContain(false);
    await expect
      .poll(
        async () => {
          await open(addresses.outbound.port, 10).catch(() => undefined);
          return described()[1]!.outbound;
        },
        { timeout: 10_000 },
      )
      .toBeGreaterThan(0);
    expect(described()[1]!.restarts).toBe(1);
    expect(metrics.render()).toContain('postern_worker_restarts_total 1\n');
    expect(Number(/status="2xx"} (\d+)/.exec(metrics.render())![1])).toBeGreaterThanOrEqual(40);
  });

  test('a drain ends all of them, and nothing listens any more', async () => {
    const { addresses, plane } = await startWorkers();
    const clients = await open(addresses.outbound.port, 20);
    await plane.drain();
    await Promise.all(clients.map((client) => client.closed()));
    await expect(openRaw(addresses.outbound.port)).rejects.toThrow(/ECONNREFUSED/);
  });
});

test('F5: a port that another process has is refused, though it could be shared', async () => {
  const app = await startApp((_, response) => response.end());
  const pki = createTestPki();
  const plane = createDataPlanes({
    workers: 2,
    app: { host: '127.0.0.1', port: 1, protocol: 'http' },
    inbound: { host: '127.0.0.1', port: app.port },
    outbound: { host: '127.0.0.1', port: 0 },
    upstreams: [],
    instance: 'web-1',
    clock: systemClock,
    log: silentLog,
    metrics: createMetrics(),
    random: Math.random,
    record: () => undefined,
    drainMs: 0,
  });
  plane.setIdentity(pki.identity(idOf('web')));
  await expect(plane.listen()).rejects.toMatchObject({ code: 'PROXY_LISTEN_FAILED' });
});
