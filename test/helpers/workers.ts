// A service whose proxy has three threads in this process, and one that it calls; the threads' own handles, so that tests can end them.
import { Worker } from 'node:worker_threads';
import { onTestFinished } from 'vitest';
import { type Clock, systemClock } from '#base/clock';
import { createLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { formatBundle } from '#spiffe';
import type { PolicyRule, Snapshot } from '#wire';
import type { RecordDraft } from '../../proxy/exchange-record.ts';
import type { Limits } from '../../proxy/limits.ts';
import type { SidecarAddresses } from '../../proxy/ports.ts';
import type { WorkerStart } from '../../proxy/worker-messages.ts';
import { createDataPlanes, type DataPlanesOptions } from '../../proxy/workers.ts';
import { allow, idOf, openRaw, type RawClient, serviceEntry, startApp, startProxy } from './mesh.ts';
import { createTestPki } from './pki.ts';

export interface Described {
  readonly worker: number;
  readonly isListening: boolean;
  readonly inbound: number;
  readonly outbound: number;
  readonly restarts: number;
}

export interface Started {
  readonly worker: Worker;
  readonly start: WorkerStart;
}

export type Workers = Awaited<ReturnType<typeof startWorkers>>;

/** `web` and its three threads, which call `payments`. */
export async function startWorkers(
  o: {
    readonly rules?: readonly PolicyRule[];
    readonly limits?: Partial<Limits>;
    readonly clock?: Clock;
    /** Called with each new thread before it has said anything. */
    readonly onThread?: (worker: Worker, nth: number) => Worker | undefined;
  } & Pick<Partial<DataPlanesOptions>, 'blocked' | 'random' | 'zone'> = {},
) {
  const pki = createTestPki();
  const app = await startApp((_, response) => response.end('hello'));
  const payments = await startProxy({ pki, service: 'payments', appPort: app.port });
  const rules = [...(o.rules ?? [allow('web', 'payments')])];
  payments.apply({ policy: { revision: 2, rules, groups: {} } });
  const records: RecordDraft[] = [];
  const lost: [number, string][] = [];
  const logged: Record<string, unknown>[] = [];
  const metrics = createMetrics();
  const loopback = { host: '127.0.0.1', port: 0 };
  let mayRecord = true;
  const started: Started[] = [];
  const plane = createDataPlanes({
    workers: 3,
    app: { host: '127.0.0.1', port: app.port, protocol: 'http' },
    inbound: loopback,
    outbound: loopback,
    upstreams: [{ name: 'payments', listen: loopback, protocol: 'http' }],
    instance: 'web-1',
    clock: o.clock ?? systemClock,
    log: createLog({ level: 'info', now: () => 0, write: (line) => void logged.push(JSON.parse(line)) }),
    metrics,
    random: o.random ?? Math.random,
    record: (record) => void records.push(record),
    assertRecording() {
      if (!mayRecord) throw new Error('the disk is full');
    },
    lose: (count, reason) => void (count > 0 && lost.push([count, reason])),
    ...(o.blocked && { blocked: o.blocked }),
    ...(o.zone !== undefined && { zone: o.zone }),
    ...(o.limits && { limits: o.limits }),
    drainMs: 2_000,
    startThread(file, options) {
      const worker = new Worker(file, options);
      const used = o.onThread?.(worker, started.length) ?? worker;
      started.push({ worker: used, start: options.workerData as WorkerStart });
      return used;
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
  /** Resolves when it is in force in every thread. */
  const apply = async (change: Partial<Snapshot>): Promise<void> => {
    snapshot = { ...snapshot, ...change, revision: snapshot.revision + 1 };
    await plane.applySnapshot(snapshot);
  };
  void plane.applySnapshot(snapshot);
  const addresses = (await plane.listen()) as SidecarAddresses;
  onTestFinished(() => plane.drain());
  const described = (): readonly Described[] => (plane.describe() as { workers: readonly Described[] }).workers;
  return {
    pki,
    plane,
    payments,
    records,
    lost,
    logged,
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

export const request = 'GET / HTTP/1.1\r\nHost: payments\r\n\r\n';

/** So many connections, each with one answer. */
export async function open(port: number, count: number): Promise<RawClient[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => openRaw(port)));
  for (const client of clients) client.send(request);
  for (const client of clients) await client.until(/hello/);
  return clients;
}

export const isSpread = (workers: readonly Described[], hop: 'inbound' | 'outbound'): boolean =>
  workers.every((worker) => worker[hop] > 0);
