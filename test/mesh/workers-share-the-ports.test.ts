// One sidecar with several threads: they share its ports, its bounds and its numbers, and each is under the same policy, bans and identity.
import { createSecureContext, type TLSSocket } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { tlsContext } from '#spiffe';
import { createDataPlanes } from '../../proxy/workers.ts';
import { allow, idOf, openRaw, openTls, type RawClient, startApp, type TestProxy } from '../helpers/mesh.ts';
import { createTestPki } from '../helpers/pki.ts';
import { isSpread, open, request, startWorkers, type Workers } from '../helpers/workers.ts';

/** Connections of `ledger` to the inbound listener, over all threads. */
function openLedger({ pki, addresses }: Workers, count: number): Promise<RawClient[]> {
  const secureContext = createSecureContext(tlsContext({ identity: pki.identity(idOf('ledger')), bundle: pki.bundle }));
  const proxy = { service: 'web', addresses } as unknown as TestProxy;
  return Promise.all(Array.from({ length: count }, () => openTls({ pki, proxy, secureContext })));
}

describe('three threads', () => {
  test('serve the connections of one port together; what they record and count comes together', async () => {
    const { addresses, plane, records, metrics, described } = await startWorkers();
    await open(addresses.outbound.port, 60);
    await plane.gather!();
    expect(isSpread(described(), 'outbound')).toBe(true);
    expect(plane.counts.outbound).toBeGreaterThan(0);
    await expect.poll(() => records.length, { timeout: 10_000 }).toBe(60);
    expect(new Set(records.map(({ id }) => id)).size).toBe(60);
    await plane.gather!();
    expect(plane.describe()).toMatchObject({ connections: { outbound: 60 }, limits: { connections: 10_000 } });
    expect(metrics.render()).toContain('postern_requests_total{hop="outbound",decision="allow",status="2xx"} 60\n');
    expect(metrics.render()).toContain('postern_connections_open_outbound 60\n');
    await open(addresses.upstreams[0]!.address.port, 3);
  });

  test('all know in which zone they run, and which part of the bounds of clusters is theirs', async () => {
    const { started } = await startWorkers({ zone: 'eu-1' });
    expect(started.map(({ start }) => start.settings.zone)).toEqual(started.map(() => 'eu-1'));
    expect(started.map(({ start }) => start.settings.part)).toEqual(started.map((_, at) => ({ index: at + 1, of: 3 })));
    expect(started.length).toBeGreaterThan(1);
  });

  test('all follow a changed policy, on connections that are open, and it is in force when that is said', async () => {
    const { addresses, apply, described, plane } = await startWorkers();
    const clients = await open(addresses.outbound.port, 40);
    await plane.gather!();
    expect(isSpread(described(), 'outbound')).toBe(true);
    const all = async (answer: RegExp): Promise<void> => {
      for (const client of clients) client.send(request);
      for (const client of clients) await client.until(answer);
    };
    await apply({ policy: { revision: 3, rules: [], groups: {} } });
    await all(/hello[\s\S]* 403 [\s\S]*default-deny[\s\S]*\}\n/);
    // Takes long enough to be built in turns, in each thread.
    const rules = [allow('web', 'payments')];
    while (rules.length < 6_000) rules.push(allow(`caller-${rules.length}`, 'web'));
    await apply({ policy: { revision: 4, rules, groups: {} } });
    await all(/ 403 [\s\S]*hello/);
  });

  test('a ban reaches the connections of each', async () => {
    const workers = await startWorkers();
    const { apply, described, plane } = workers;
    const callers = await openLedger(workers, 40);
    await plane.gather!();
    expect(isSpread(described(), 'inbound')).toBe(true);
    await apply({ bans: { ids: [idOf('ledger')], serials: [] } });
    await Promise.all(callers.map((caller) => caller.closed()));
  });

  test('a renewed certificate is the one of each', async () => {
    const workers = await startWorkers();
    const { pki, plane } = workers;
    const next = pki.identity(idOf('web'));
    plane.setIdentity(next);
    // Asked after it was sent, answered after it was taken.
    await plane.gather!();
    const callers = await openLedger(workers, 40);
    const serials = callers.map(({ socket }) => (socket as TLSSocket).getPeerX509Certificate()!.serialNumber);
    expect(new Set(serials.map((serial) => BigInt(`0x${serial}`)))).toEqual(new Set([BigInt(`0x${next.serial}`)]));
  });

  test('have parts of the bounds that add up to the whole', async () => {
    const { started } = await startWorkers({ limits: { connections: 11, poolConnections: 2, headBytes: 4_096 } });
    const parts = started.map(({ start }) => start.settings.limits!);
    expect(parts.map(({ connections }) => connections)).toEqual([4, 3]);
    // None can do without any.
    expect(parts.map(({ poolConnections }) => poolConnections)).toEqual([1, 1]);
    expect(parts.map(({ headBytes }) => headBytes)).toEqual([4_096, 4_096]);
  });

  test('a drain ends all of them, once what runs has ended, and nothing listens any more', async () => {
    const { addresses, plane } = await startWorkers();
    const clients = await open(addresses.outbound.port, 20);
    await plane.drain();
    await Promise.all(clients.map((client) => client.closed()));
    await expect(openRaw(addresses.outbound.port)).rejects.toThrow(/ECONNREFUSED/);
    expect(plane.counts).toEqual({ inbound: 0, outbound: 0 });
  });
});

describe('threads that cannot share ports are refused', () => {
  const create = (o: { port: number; platform?: NodeJS.Platform }) =>
    createDataPlanes({
      workers: 2,
      app: { host: '127.0.0.1', port: 1, protocol: 'http' },
      inbound: { host: '127.0.0.1', port: o.port },
      outbound: { host: '127.0.0.1', port: 0 },
      upstreams: [],
      instance: 'web-1',
      clock: systemClock,
      log: silentLog,
      metrics: createMetrics(),
      random: Math.random,
      record: () => undefined,
      drainMs: 0,
      ...(o.platform && { platform: o.platform }),
    });

  test('F5: a port that another process has, though it could be shared', async () => {
    const plane = create({ port: (await startApp((_, response) => response.end())).port });
    plane.setIdentity(createTestPki().identity(idOf('web')));
    await expect(plane.listen()).rejects.toMatchObject({ code: 'PROXY_LISTEN_FAILED' });
  });

  test('where the system cannot, with what to do instead', () => {
    const refused = { code: 'PROXY_WORKERS_UNSUPPORTED', hint: expect.stringContaining('--workers at 1') };
    expect(() => create({ port: 0, platform: 'darwin' })).toThrow(expect.objectContaining(refused));
  });
});
