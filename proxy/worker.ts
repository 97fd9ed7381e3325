// A thread that runs one more data plane on the ports of the main one. Identity and configuration come from there, decision records and metrics go
// there; a fault here ends this thread, and the main one starts another.
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Fields, Level, Log } from '#base/log';
import { createMetrics } from '#base/metrics';
import { readIdentity } from '#spiffe';
import { createDataPlane } from './data-plane.ts';
import { fail } from './errors.ts';
import type { RecordDraft } from './exchange-record.ts';
import { type FromWorker, slot, type ToWorker, type WorkerStart } from './worker-messages.ts';

/** How old the numbers are that the main thread has of this one, at most. */
const sampleMs = 1_000;

const port = parentPort!;
const { settings, shared } = workerData as WorkerStart;
const numbers = new Int32Array(shared);
const metrics = createMetrics();
const say = (message: FromWorker): void => port.postMessage(message);

let records: RecordDraft[] = [];
const hand = (): void => {
  say({ type: 'records', records });
  records = [];
};

const plane = createDataPlane({
  ...settings,
  sharing: 'more',
  clock: systemClock,
  log: logTo(undefined),
  metrics,
  random: Math.random,
  record(record) {
    if (records.push(record) === 1) setImmediate(hand);
  },
  assertRecording() {
    if (Atomics.load(numbers, slot.mayNotRecord) !== 0)
      throw fail('PROXY_NOT_RECORDING', { reason: 'the decision log takes no more' });
  },
});

port.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'identity':
      return take(() => plane.setIdentity(readIdentity(message)));
    case 'snapshot':
      return take(() => plane.applySnapshot(message.snapshot));
    case 'listen':
      return answer(message.id, plane.listen());
    case 'drain':
      return answer(message.id, plane.drain().then(report));
    case 'describe':
      return answer(message.id, Promise.resolve(plane.describe()));
  }
});

const sampleOften = (): void => {
  report();
  systemClock.after(sampleMs, sampleOften);
};
sampleOften();

function report(): void {
  if (records.length > 0) hand();
  const { inbound, outbound } = plane.counts;
  Atomics.store(numbers, slot.inbound, inbound);
  Atomics.store(numbers, slot.outbound, outbound);
  say({ type: 'sample', sample: metrics.samples() });
}

function take(what: () => unknown): void {
  const refuse = (thrown: unknown): void => say({ type: 'refused', reason: messageOf(thrown) });
  try {
    const taken = what();
    if (taken instanceof Promise) taken.catch(refuse);
  } catch (thrown) {
    refuse(thrown);
  }
}

function answer(id: number, work: Promise<unknown>): void {
  work.then(
    (value) => say({ type: 'answer', id, value }),
    (thrown: unknown) => say({ type: 'answer', id, failure: messageOf(thrown) }),
  );
}

function logTo(bound: Fields | undefined): Log {
  const line =
    (level: Level) =>
    (message: string, fields?: Fields): void =>
      say({ type: 'log', level, message, fields: bound || fields ? plain({ ...bound, ...fields }) : undefined });
  return {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    with: (fields) => logTo({ ...bound, ...fields }),
  };
}

/** What can cross to another thread. */
function plain(fields: Fields): Fields {
  return JSON.parse(JSON.stringify(fields)) as Fields;
}
