// A thread that runs one more data plane on the ports of the main one. Identity and configuration come from there, decision records and metrics go
// there. It takes no connection before all of it is in force, and whatever it cannot follow ends it: the main thread starts another.
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '#base/clock';
import { messageOf, PosternError } from '#base/error';
import type { Fields, Level, Log } from '#base/log';
import { collectIfExposed } from '#base/memory';
import { createMetrics } from '#base/metrics';
import { readIdentity } from '#spiffe';
import type { Snapshot } from '#wire';
import { createDataPlane } from './data-plane.ts';
import type { RecordDraft } from './exchange-record.ts';
import {
  type FromWorker,
  mostUnderway,
  type PlainError,
  slot,
  type ToWorker,
  type WorkerStart,
} from './worker-messages.ts';
import { hearSnapshot } from './worker-snapshot.ts';

const port = parentPort!;
const { settings, shared, identity, snapshot, failing, blocked } = workerData as WorkerStart;
const numbers = new Int32Array(shared);
const metrics = createMetrics();
const say = (message: FromWorker): void => port.postMessage(message);

let refusal: PlainError | undefined;
let records: RecordDraft[] = [];
/** Both count on for ever, and past 2^31; their difference is right all the same. */
const underway = (): number => (Atomics.load(numbers, slot.made) - Atomics.load(numbers, slot.taken)) | 0;
const handOver = (): void => {
  if (records.length > 0) say({ type: 'records', text: JSON.stringify(records) });
  records = [];
  noteCounts();
};
const noteCounts = (): void => {
  const { inbound, outbound } = plane.counts;
  Atomics.store(numbers, slot.inbound, inbound);
  Atomics.store(numbers, slot.outbound, outbound);
};

const plane = createDataPlane({
  ...settings,
  sharing: 'more',
  clock: systemClock,
  log: logTo({}),
  metrics,
  random: Math.random,
  record(record) {
    if (underway() >= mostUnderway) return void Atomics.add(numbers, slot.lost, 1);
    Atomics.add(numbers, slot.made, 1);
    if (records.push(record) === 1) setImmediate(handOver);
  },
  assertRecording() {
    const reason = refusal ?? (underway() >= mostUnderway / 2 ? blocked : undefined);
    if (reason) throw new PosternError(reason.code, reason, {});
  },
});

/** What the main thread has told last, whatever became of it here. */
let heard = snapshot;
/** Settles with the newest policy that takes long to build. */
let building: Promise<void> = Promise.resolve();

port.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'identity':
      return plane.setIdentity(readIdentity(message));
    case 'snapshot':
      heard = hearSnapshot(message.told, heard);
      return apply(message.id, heard);
    case 'ports':
      // A thread that cannot listen where the others do ends, and another one takes its place.
      return void plane.usePorts(message.ports).then(() => say({ type: 'listens', id: message.id }));
    case 'recording':
      refusal = message.refusal;
      return;
    case 'health':
      return plane.tellFailing(message.failing);
    case 'look':
      noteCounts();
      return say({ type: 'seen', id: message.id, samples: metrics.samples(), description: plane.describe() });
    case 'drain':
      return void plane.drain().then(() => {
        handOver();
        say({ type: 'drained' });
      });
  }
});
await begin();

async function begin(): Promise<void> {
  if (identity) plane.setIdentity(readIdentity(identity));
  plane.tellFailing(failing);
  if (snapshot) apply(0, snapshot);
  // A newer one may have come meanwhile, whose policy takes long too.
  for (let seen: Promise<void> | undefined; seen !== building; ) {
    seen = building;
    await seen;
  }
  if (snapshot && !plane.isReady) throw new Error('the configuration in force could not be put in force here');
  collectIfExposed();
  await plane.listen();
  say({ type: 'listening' });
}

function apply(id: number, next: Snapshot): void {
  const refuse = (thrown: unknown): void => say({ type: 'settled', id, outcome: 'refused', reason: messageOf(thrown) });
  try {
    const built = plane.applySnapshot(next);
    if (!built) return say({ type: 'settled', id, outcome: 'in-force' });
    building = built.then(
      (isInForce) => say({ type: 'settled', id, outcome: isInForce ? 'in-force' : 'superseded' }),
      refuse,
    );
  } catch (thrown) {
    refuse(thrown);
  }
}

function logTo(bound: Fields): Log {
  const line =
    (level: Level) =>
    (message: string, fields?: Fields): void =>
      say({ type: 'log', level, message, fields: plain({ ...bound, ...fields }) });
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
  return JSON.parse(
    JSON.stringify(fields, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)),
  ) as Fields;
}
