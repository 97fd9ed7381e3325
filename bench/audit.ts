// What recording costs: CPU for each decision with the worker included, what a reader waits for, and a soak at 10 000 decisions a second
// (five seconds, or as many as the argument after the name says: `node bench/run.ts audit 600`).
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkReceipt, createRecordLog, findRecord, keyBeside, receiptOf, verifyLog } from '#audit';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import type { DecisionRecord } from '#wire';
import { type Bench, cpuMicros, residentMb } from './bench.ts';

const rate = 10_000;
/** Until the code is compiled and the log is at its size limit, where a busy one always is: each new bundle makes an old one go. */
const warmSeconds = 4;
const maxBytes = 16 * 2 ** 20;

const recordOf = (n: number): Omit<DecisionRecord, 'v' | 'seq'> => ({
  ...{ id: `d${n}`, time: '2026-01-01T00:00:00.000Z', instance: 'i-1', service: 'spiffe://example.org/payments' },
  ...{ hop: 'inbound', kind: 'exchange', connection: 'c-1', remote: '127.0.0.1:51234', serial: 'aabbccddeeff0011' },
  ...{ peer: 'spiffe://example.org/checkout', to: 'spiffe://example.org/payments', method: 'POST', host: 'payments' },
  ...{ path: '/charges', decision: 'allow', reason: 'allowed', rule: 'payments-access/checkout-charges' },
  ...{ policyRevision: 7, status: 200, bytesIn: 12, bytesOut: 345, ms: 1.5 },
});

/** Makes records at the rate, whether they are kept or not. */
async function produce(seconds: number, keep: (record: Omit<DecisionRecord, 'v' | 'seq'>) => void): Promise<number> {
  const started = performance.now();
  let made = 0;
  while (performance.now() - started < seconds * 1_000) {
    const due = Math.floor(((performance.now() - started) / 1_000) * rate);
    while (made < due) keep(recordOf(made++));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return made;
}

export async function run(
  seconds = Number(process.argv.slice(2).find((word) => /^[0-9]+$/.test(word)) ?? 5),
): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  try {
    let made = 0;
    const idle = await measure(Math.min(seconds, 5), (record) => {
      made += record.id.length;
    });
    if (made === 0) throw new Error('nothing was made');
    const log = createRecordLog({ folder, clock: systemClock, log: silentLog, origin: 'bench.example/log', maxBytes });
    const before = residentMb(process.pid);
    log.onAppend(() => log.release(log.lastSeq - log.queued));
    await produce(warmSeconds, (record) => log.append(record));
    await log.flush();
    const warm = residentMb(process.pid);
    const kept = await measure(
      seconds,
      (record) => log.append(record),
      () => log.flush(),
    );
    const after = residentMb(process.pid);
    const { lost } = log;
    await log.close();
    const key = keyBeside(folder)!;
    const started = performance.now();
    const { faults, checked } = verifyLog({ folder, key });
    const verifyMs = performance.now() - started;
    const found = findRecord(folder, `d${kept.made - 1}`)!;
    const receipt = receiptOf(found) ?? '';
    const prove = await cpuMicros(20, () => receiptOf(found));
    const check = await cpuMicros(200, () => checkReceipt(receipt, { key }));
    const cost = kept.micros - idle.micros;
    const own = kept.ownMicros - idle.ownMicros;
    return {
      title: 'Audit',
      how: `${rate} decisions a second for ${seconds} s into a log with its worker, at its size limit and after ${warmSeconds} s to warm up: encoding, commitments, hashes, tiles, signatures, syncs and pruning; the cost of making the records (${idle.micros.toFixed(1)} us) is taken off.`,
      figures: [
        {
          what: 'CPU for each decision, worker included',
          measured: `${cost.toFixed(1)} us`,
          bar: 'at most 12 us with the decision',
          holds: cost <= 11,
        },
        { what: 'of it in the thread that decides', measured: `${own.toFixed(1)} us` },
        {
          what: 'decisions made / dropped',
          measured: `${kept.made} / ${lost}`,
          bar: 'none dropped',
          holds: lost === 0,
        },
        {
          what: 'resident: before the first, warm, at the end',
          measured: `${before.toFixed(0)} / ${warm.toFixed(0)} / ${after.toFixed(0)} MB`,
        },
        {
          what: 'verified',
          measured: `${checked} records in ${verifyMs.toFixed(0)} ms, ${faults.length} faults`,
          bar: 'no fault',
          holds: faults.length === 0,
        },
        { what: 'a receipt made / checked', measured: `${prove.toFixed(0)} / ${check.toFixed(0)} us` },
      ],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(
  seconds: number,
  keep: (record: Omit<DecisionRecord, 'v' | 'seq'>) => void,
  finish: () => Promise<void> = async () => undefined,
): Promise<{ made: number; micros: number; ownMicros: number }> {
  let made = 0;
  const before = process.threadCpuUsage();
  const total = await cpuMicros(1, async () => {
    made = await produce(seconds, keep);
    await finish();
  });
  const own = process.threadCpuUsage(before);
  return { made, micros: total / Math.max(1, made), ownMicros: (own.user + own.system) / Math.max(1, made) };
}
