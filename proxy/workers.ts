// Several data planes on the same ports, one for each thread, seen as one: the main thread has the first of them, what it takes the others get, and
// their decision records come together here, so that there is one log with one sequence. A thread that ends is replaced; nobody else notices.
import { extname } from 'node:path';
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { createBackoff } from '#base/backoff';
import { messageOf } from '#base/error';
import { countedOnly, type Samples, sumOfSamples } from '#base/metrics';
import type { Identity } from '#spiffe';
import type { Snapshot } from '#wire';
import { type Addresses, createDataPlane, type DataPlane, type DataPlaneOptions } from './data-plane.ts';
import { fail } from './errors.ts';
import { defaultLimits, type Limits } from './limits.ts';
import { type FromWorker, slot, type ToWorker, type WorkerStart } from './worker-messages.ts';

export interface DataPlanesOptions extends DataPlaneOptions {
  /** Threads in all. */
  readonly workers: number;
  /** A new thread that runs this file. */
  readonly startThread?: (file: URL, options: WorkerOptions) => Worker;
}

/** Bounds of the whole process, of which each thread gets its part. */
const divided = [
  'connections',
  'peerConnections',
  'exchanges',
  'handshakes',
  'processBytes',
  'poolConnections',
  'poolPending',
  'refusalsPerSecond',
] as const satisfies readonly (keyof Limits)[];

/** How often the threads hear whether decisions can be recorded. */
const recordingMs = 100;
const firstRestartMs = 100;
const longestRestartMs = 10_000;

/** Throws `PROXY_LISTEN_FAILED` where ports cannot be shared. */
export function createDataPlanes(o: DataPlanesOptions): DataPlane {
  const restarts = o.metrics.counter({
    name: 'postern_worker_restarts_total',
    help: 'Data-plane threads that ended and were started again.',
  });
  if (o.workers <= 1) return createDataPlane(o);
  if (process.platform !== 'linux')
    throw fail('PROXY_LISTEN_FAILED', {
      address: 'shared ports',
      reason: 'only Linux shares a port among threads; use one worker',
    });
  const limits = partOf({ ...defaultLimits, ...o.limits }, o.workers);
  const main = createDataPlane({ ...o, limits, sharing: 'first' });
  let identity: Identity | undefined;
  let snapshot: Snapshot | undefined;
  /** Whether this thread has taken the newest snapshot; known later when its policy takes long to build. */
  let isTaken = Promise.resolve(true);
  let addresses: Addresses | undefined;
  let isDraining = false;
  let isOver = false;

  const threads = Array.from({ length: o.workers - 1 }, (_, index) =>
    createThread({
      index: index + 1,
      o,
      limits,
      identity: () => identity,
      snapshot: () => snapshot,
      addresses: () => addresses,
      isTaken: () => isTaken,
      isWanted: () => !isDraining,
      onRestart: () => restarts().value++,
    }),
  );
  o.metrics.include(() => threads.map(({ sample }) => sample));
  const tellRecording = (): void => {
    if (isOver) return;
    let mayNotRecord = 0;
    try {
      o.assertRecording?.();
    } catch {
      mayNotRecord = 1;
    }
    for (const thread of threads) thread.setRecording(mayNotRecord);
    o.clock.after(recordingMs, tellRecording);
  };

  const counts = (what: 'inbound' | 'outbound'): number =>
    main.counts[what] + threads.reduce((sum, thread) => sum + thread.count(what), 0);
  return {
    get counts() {
      return { inbound: counts('inbound'), outbound: counts('outbound') };
    },
    get isReady() {
      return main.isReady;
    },
    setIdentity(next) {
      main.setIdentity(next);
      identity = next;
      for (const thread of threads) thread.sendIdentity();
    },
    applySnapshot(next) {
      // Refused here, it reaches nobody.
      const taken = main.applySnapshot(next);
      const before = snapshot;
      snapshot = next;
      isTaken = taken
        ? taken.then(
            () => true,
            () => {
              if (snapshot === next) snapshot = before;
              return false;
            },
          )
        : Promise.resolve(true);
      for (const thread of threads) thread.sendSnapshot();
      return taken;
    },
    async listen() {
      addresses = await main.listen();
      tellRecording();
      try {
        await Promise.all(threads.map((thread) => thread.start()));
      } catch (thrown) {
        isDraining = isOver = true;
        for (const thread of threads) thread.end();
        await main.drain();
        throw thrown;
      }
      return addresses;
    },
    async drain() {
      isDraining = true;
      await Promise.all([main.drain(), ...threads.map((thread) => thread.drain())]);
      isOver = true;
      for (const thread of threads) thread.end();
    },
    describe: () => ({
      ...(main.describe() as object),
      workers: [
        { worker: 0, ...main.counts },
        ...threads.map((thread) => ({
          worker: thread.index,
          inbound: thread.count('inbound'),
          outbound: thread.count('outbound'),
          restarts: thread.restarts,
        })),
      ],
    }),
  };
}

interface ThreadOptions {
  readonly index: number;
  readonly o: DataPlanesOptions;
  readonly limits: Limits;
  readonly identity: () => Identity | undefined;
  readonly snapshot: () => Snapshot | undefined;
  readonly addresses: () => Addresses | undefined;
  readonly isTaken: () => Promise<boolean>;
  /** Whether it is started again when it ends. */
  readonly isWanted: () => boolean;
  readonly onRestart: () => void;
}

/** One further thread, through all its lives. */
function createThread(options: ThreadOptions) {
  const { index, o, limits, identity, snapshot, addresses, isTaken, isWanted, onRestart } = options;
  const shared = new SharedArrayBuffer(slot.count * 4);
  const numbers = new Int32Array(shared);
  const backoff = createBackoff({ firstMs: firstRestartMs, longestMs: longestRestartMs, random: o.random });
  const waiting = new Map<number, { resolve(value: unknown): void; reject(thrown: Error): void }>();
  let next = 0;
  let worker: Worker | undefined;
  /** What the threads before this one have counted stays counted. */
  let before: Samples = {};
  let sample: Samples = {};
  let restarts = 0;

  const send = (message: ToWorker): void => worker?.postMessage(message);
  const ask = (type: 'listen' | 'drain' | 'describe'): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const id = next++;
      waiting.set(id, { resolve, reject });
      send({ type, id });
    });
  const sendIdentity = (): void => {
    const own = identity();
    if (own) send({ type: 'identity', key: own.key, chain: own.chain });
  };
  const sendSnapshot = (): void => {
    const held = snapshot();
    if (held) send({ type: 'snapshot', snapshot: held });
  };
  const heard = (message: FromWorker, from: Worker): void => {
    if (message.type === 'records') for (const record of message.records) o.record(record);
    else if (message.type === 'log') o.log[message.level](message.message, { ...message.fields, worker: index });
    else if (message.type === 'sample') sample = message.sample;
    else if (message.type === 'refused') void refused(message.reason, from);
    else {
      const asked = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.failure === undefined) asked?.resolve(message.value);
      else asked?.reject(new Error(message.failure));
    }
  };
  /** What all of them refuse changes nothing; one alone would decide by something that is out of date. */
  const refused = async (reason: string, from: Worker): Promise<void> => {
    if (!(await isTaken())) return;
    o.log.error('a data-plane thread refused what the others have taken: another one takes its place', {
      worker: index,
      reason,
    });
    await from.terminate();
  };
  const start = async (): Promise<void> => {
    const at = addresses()!;
    const settings: WorkerStart['settings'] = {
      app: o.app,
      inbound: at.inbound,
      outbound: at.outbound,
      upstreams: o.upstreams.map((port, nth) => ({ ...port, listen: at.upstreams[nth]!.address })),
      instance: o.instance,
      drainMs: o.drainMs,
      limits,
      ...(o.linkProtocols && { linkProtocols: o.linkProtocols }),
    };
    const file = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
    const workerOptions = { workerData: { settings, shared } satisfies WorkerStart, execArgv: [] };
    const started = o.startThread?.(file, workerOptions) ?? new Worker(file, workerOptions);
    worker = started;
    started.on('message', (message: FromWorker) => heard(message, started));
    started.on('error', (thrown) =>
      o.log.error('a data-plane thread failed', { worker: index, reason: messageOf(thrown) }),
    );
    started.once('exit', () => ended(started));
    sendIdentity();
    sendSnapshot();
    await ask('listen');
    backoff.reset();
  };
  const ended = (one: Worker): void => {
    if (worker !== one) return;
    worker = undefined;
    before = sumOfSamples([before, countedOnly(sample)]);
    sample = {};
    Atomics.store(numbers, slot.inbound, 0);
    Atomics.store(numbers, slot.outbound, 0);
    for (const { reject } of waiting.values()) reject(new Error('the thread has ended'));
    waiting.clear();
    if (!isWanted()) return;
    restarts++;
    onRestart();
    const ms = backoff.next();
    o.log.error('a data-plane thread has ended: another one takes its place', { worker: index, ms });
    o.clock.after(ms, () => {
      if (!isWanted()) return;
      start().catch((thrown: Error) => {
        o.log.error('a data-plane thread could not be started', { worker: index, reason: thrown.message });
        void worker?.terminate();
      });
    });
  };
  return {
    index,
    start,
    sendIdentity,
    sendSnapshot,
    get sample() {
      return sumOfSamples([before, sample]);
    },
    get restarts() {
      return restarts;
    },
    count: (what: 'inbound' | 'outbound') => Atomics.load(numbers, slot[what]),
    setRecording: (mayNot: number) => void Atomics.store(numbers, slot.mayNotRecord, mayNot),
    /** Resolves when it carries nothing any more, or is gone. */
    drain: async (): Promise<void> => {
      if (worker) await ask('drain').catch(() => undefined);
    },
    end: () => void worker?.terminate(),
  };
}

function partOf(limits: Limits, workers: number): Limits {
  const parts = divided.map((name) => [name, Math.max(1, Math.ceil(limits[name] / workers))]);
  return { ...limits, ...Object.fromEntries(parts) };
}
