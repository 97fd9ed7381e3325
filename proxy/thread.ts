// One further data-plane thread as the main one sees it, through all its lives: started with what is in force, told what changes, asked what it has
// seen. One that ends or is silent is replaced, ever more slowly when it goes on; the records that ended with it are counted.
import { extname } from 'node:path';
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { createBackoff } from '#base/backoff';
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import { countedOnly, type Samples, sumOfSamples } from '#base/metrics';
import { threadEnvironment } from '#base/threads';
import type { Snapshot } from '#wire';
import type { RecordDraft } from './exchange-record.ts';
import type { Ports } from './ports.ts';
import { type FromWorker, type Outcome, slot, type ToWorker, type WorkerStart } from './worker-messages.ts';
import { tellSnapshot } from './worker-snapshot.ts';

export interface ThreadOptions {
  readonly index: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** Asked before each start. */
  readonly begin: () => Omit<WorkerStart, 'shared'>;
  /** It has been started: what it was not begun with can be sent. */
  readonly onStarted: () => void;
  readonly onRestart: () => void;
  readonly record: (record: RecordDraft) => void;
  readonly lose: (count: number, reason: 'AUDIT_QUEUE_FULL' | 'AUDIT_THREAD_ENDED') => void;
  readonly startThread?: ((file: URL, options: WorkerOptions) => Worker) | undefined;
}

export interface Thread {
  readonly index: number;
  /** Resolves when it listens; later lives begin by themselves. */
  start(): Promise<void>;
  send(message: Exclude<ToWorker, { type: 'snapshot' | 'ports' }>): void;
  /** Resolves when it listens there, or is gone: then the next one begins with it. */
  usePorts(ports: Ports): Promise<void>;
  /** What becomes of it there; `undefined` when the thread ends first or is not running: then the next one begins with it. */
  apply(snapshot: Snapshot): Promise<Outcome | undefined>;
  /** Ends what runs; another one takes its place. */
  replace(reason: string): void;
  /** Brings `samples` and `description` up to date, unless the thread is busy or gone. */
  look(): Promise<void>;
  readonly isListening: boolean;
  readonly samples: Samples;
  readonly description: unknown;
  readonly restarts: number;
  count(what: 'inbound' | 'outbound'): number;
  /** Resolves when it carries nothing any more, or is gone; it is not started again. A second call cuts now. */
  drain(mostMs: number): Promise<void>;
  end(): Promise<void>;
}

const firstRestartMs = 100;
const longestRestartMs = 10_000;
/** After so long without an end the next one is an accident again. */
const steadyMs = 60_000;
/** A thread that owes so many answers hangs; it is asked once a second. Loading its code on a crowded machine may take long, too. */
const mostOwed = 30;

/** One life of a thread. */
interface Life {
  readonly worker: Worker;
  readonly numbers: Int32Array;
  readonly since: number;
  readonly settling: Map<number, (outcome: Outcome | undefined) => void>;
  readonly looking: Map<number, () => void>;
  readonly changing: Map<number, () => void>;
  readonly listening: PromiseWithResolvers<void>;
  readonly drained: PromiseWithResolvers<void>;
  /** What it was told last. */
  told: Snapshot | undefined;
  isListening: boolean;
  fault: string | undefined;
}

export function createThread(o: ThreadOptions): Thread {
  const { index, clock, log } = o;
  const backoff = createBackoff({ firstMs: firstRestartMs, longestMs: longestRestartMs, random: o.random });
  let life: Life | undefined;
  let isWanted = true;
  let cancelStart: (() => void) | undefined;
  let nextId = 1;
  let restarts = 0;
  /** What the threads before this one have counted stays counted. */
  let before: Samples = {};
  let samples: Samples = {};
  let description: unknown;

  const start = (): Promise<void> => {
    const shared = new SharedArrayBuffer(slot.count * 4);
    const start: WorkerStart = { ...o.begin(), shared };
    const file = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
    const options: WorkerOptions = { workerData: start, execArgv: [], env: threadEnvironment() };
    const worker = o.startThread?.(file, options) ?? new Worker(file, options);
    const own: Life = {
      worker,
      numbers: new Int32Array(shared),
      since: clock.monotonic(),
      settling: new Map(),
      looking: new Map(),
      changing: new Map(),
      listening: Promise.withResolvers(),
      drained: Promise.withResolvers(),
      told: start.snapshot,
      isListening: false,
      fault: undefined,
    };
    life = own;
    worker.on('message', (message: FromWorker) => heed(own, message));
    worker.on('error', (thrown: unknown) => {
      own.fault ??= messageOf(thrown);
    });
    worker.once('exit', () => ended(own));
    o.onStarted();
    return own.listening.promise;
  };

  const heed = (own: Life, message: FromWorker): void => {
    switch (message.type) {
      case 'records': {
        const records = JSON.parse(message.text) as RecordDraft[];
        Atomics.add(own.numbers, slot.taken, records.length);
        for (const record of records) o.record(record);
        return;
      }
      case 'log':
        return log[message.level](message.message, { ...message.fields, worker: index });
      case 'settled': {
        if (message.reason !== undefined) own.fault ??= message.reason;
        own.settling.get(message.id)?.(message.outcome);
        return void own.settling.delete(message.id);
      }
      case 'seen':
        if (own === life) ({ samples, description } = message);
        own.looking.get(message.id)?.();
        return void own.looking.delete(message.id);
      case 'listens':
        own.changing.get(message.id)?.();
        return void own.changing.delete(message.id);
      case 'listening':
        own.isListening = true;
        return own.listening.resolve();
      case 'drained':
        return own.drained.resolve();
    }
  };

  const ended = (own: Life): void => {
    const { numbers } = own;
    const lost = (Atomics.load(numbers, slot.made) - Atomics.load(numbers, slot.taken)) | 0;
    o.lose(lost, 'AUDIT_THREAD_ENDED');
    o.lose(Atomics.exchange(numbers, slot.lost, 0), 'AUDIT_QUEUE_FULL');
    const connections = Atomics.load(numbers, slot.inbound) + Atomics.load(numbers, slot.outbound);
    if (own === life) {
      life = undefined;
      before = sumOfSamples([before, countedOnly(samples)]);
      samples = {};
      description = undefined;
    }
    const reason = own.fault ?? 'it was ended';
    for (const settle of own.settling.values()) settle(undefined);
    for (const seen of own.looking.values()) seen();
    for (const changed of own.changing.values()) changed();
    own.drained.resolve();
    own.listening.reject(new Error(reason));
    if (!isWanted) return;
    if (clock.monotonic() - own.since >= steadyMs) backoff.reset();
    const ms = Math.round(backoff.next());
    log.error('a data-plane thread has ended: another one takes its place', { worker: index, reason, connections, ms });
    cancelStart = clock.after(ms, () => {
      restarts++;
      o.onRestart();
      // Its end is heeded here already.
      start().catch(() => undefined);
    });
  };

  const apply = (snapshot: Snapshot): Promise<Outcome | undefined> => {
    const own = life;
    if (!own) return Promise.resolve(undefined);
    const told = tellSnapshot(snapshot, own.told);
    own.told = snapshot;
    const id = nextId++;
    return new Promise((resolve) => {
      own.settling.set(id, resolve);
      own.worker.postMessage({ type: 'snapshot', id, told } satisfies ToWorker);
    });
  };

  const replace = (own: Life, reason: string): void => {
    own.fault ??= reason;
    void own.worker.terminate();
  };

  return {
    index,
    start,
    send: (message) => life?.worker.postMessage(message),
    apply,
    usePorts(ports) {
      const own = life;
      if (!own) return Promise.resolve();
      const id = nextId++;
      return new Promise((resolve) => {
        own.changing.set(id, resolve);
        own.worker.postMessage({ type: 'ports', id, ports } satisfies ToWorker);
      });
    },
    replace: (reason) => life && replace(life, reason),
    look() {
      const own = life;
      if (!own) return Promise.resolve();
      if (own.looking.size >= mostOwed) replace(own, 'it does not answer any more');
      o.lose(Atomics.exchange(own.numbers, slot.lost, 0), 'AUDIT_QUEUE_FULL');
      const id = nextId++;
      return new Promise((resolve) => {
        own.looking.set(id, resolve);
        own.worker.postMessage({ type: 'look', id } satisfies ToWorker);
      });
    },
    get isListening() {
      return life?.isListening === true;
    },
    get samples() {
      return sumOfSamples([before, samples]);
    },
    get description() {
      return description;
    },
    get restarts() {
      return restarts;
    },
    count: (what) => (life ? Atomics.load(life.numbers, slot[what]) : 0),
    async drain(mostMs) {
      isWanted = false;
      cancelStart?.();
      const own = life;
      if (!own) return;
      if (!own.isListening) return replace(own, 'it is not needed any more');
      own.worker.postMessage({ type: 'drain' } satisfies ToWorker);
      const cancel = clock.after(mostMs, () => own.drained.resolve());
      await own.drained.promise;
      cancel();
    },
    async end() {
      isWanted = false;
      cancelStart?.();
      await life?.worker.terminate();
    },
  };
}
