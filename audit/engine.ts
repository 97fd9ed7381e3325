// Where a log's writer runs: in a worker thread that is started by the first record (an idle process has none), or in this thread for
// tests and for logs of few entries. What is asked of it is answered in order.
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Clock } from '#base/clock';
import { threadEnvironment } from '#base/threads';
import type { Disk } from './disk.ts';
import { type Batch, type LogNotice, type LogSettings, openLogWriter, type Standing } from './log-writer.ts';

export interface Engine {
  /** False before `open` and after the writer died: what was added and not committed since must be added again. */
  readonly isOpen: boolean;
  open(): Promise<Standing>;
  add(batch: Batch): void;
  commit(o: { readonly mayWait: boolean }): Promise<Standing>;
  publish(): Promise<string | undefined>;
  release(through: number): void;
  prune(): void;
  close(): Promise<void>;
}

type Question = 'open' | 'commit' | 'commit-full' | 'publish' | 'prune' | 'close';
export type Request =
  | { readonly ask: Question; readonly id: number }
  | { readonly ask: 'add'; readonly batch: Batch }
  | { readonly ask: 'release'; readonly through: number };

export type Reply =
  | { readonly id: number; readonly standing?: Standing; readonly note?: string | undefined }
  | { readonly id: number; readonly failure: string }
  | { readonly notice: LogNotice };

export interface EngineOptions {
  readonly settings: LogSettings;
  readonly notify: (notice: LogNotice) => void;
}

/** In this thread, which waits for the disk. */
export function createLocalEngine({
  settings,
  notify,
  disk,
  clock,
}: EngineOptions & { disk?: Disk; clock: Clock }): Engine {
  let writer: ReturnType<typeof openLogWriter> | undefined;
  const now = (): number => clock.now();
  return {
    get isOpen() {
      return writer !== undefined;
    },
    async open() {
      writer ??= openLogWriter({ ...settings, notify, now, ...(disk ? { disk } : {}) });
      return writer.standing;
    },
    add: (batch) => writer?.add(batch),
    async commit(how) {
      writer!.commit(how);
      return writer!.standing;
    },
    publish: async () => writer?.publish(),
    release: (through) => writer?.release(through),
    prune: () => writer?.prune(),
    async close() {
      writer?.close();
      writer = undefined;
    },
  };
}

/** In a worker, which needs about 9 MB from its first record on. */
export function createWorkerEngine({ settings, notify }: EngineOptions): Engine {
  interface Waiting {
    resolve(reply: { standing?: Standing; note?: string | undefined }): void;
    reject(reason: Error): void;
  }
  let worker: Worker | undefined;
  let next = 1;
  const waiting = new Map<number, Waiting>();

  const died = (reason: Error): void => {
    worker = undefined;
    for (const { reject } of waiting.values()) reject(reason);
    waiting.clear();
  };
  const start = (): Worker => {
    const started = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: settings,
      execArgv: [],
      env: threadEnvironment(),
      resourceLimits: { maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 128 },
    });
    started.on('message', (reply: Reply) => {
      if ('notice' in reply) return notify(reply.notice);
      const asked = waiting.get(reply.id);
      waiting.delete(reply.id);
      // Only a question keeps the process alive.
      if (waiting.size === 0) started.unref();
      if ('failure' in reply) asked?.reject(new Error(reply.failure));
      else asked?.resolve(reply);
    });
    started.on('error', died);
    started.on(
      'exit',
      () => worker === started && died(new Error('the thread that writes decision records has ended')),
    );
    return started;
  };
  const ask = (what: Question) =>
    new Promise<{ standing?: Standing; note?: string | undefined }>((resolve, reject) => {
      if (!worker) return reject(new Error('the thread that writes decision records is not running'));
      const id = next++;
      waiting.set(id, { resolve, reject });
      worker.ref();
      worker.postMessage({ ask: what, id } satisfies Request);
    });

  return {
    get isOpen() {
      return worker !== undefined;
    },
    async open() {
      worker ??= start();
      try {
        return (await ask('open')).standing!;
      } catch (thrown) {
        await worker?.terminate();
        worker = undefined;
        throw thrown;
      }
    },
    add: (batch) => worker?.postMessage({ ask: 'add', batch } satisfies Request),
    commit: async ({ mayWait }) => (await ask(mayWait ? 'commit-full' : 'commit')).standing!,
    publish: async () => (worker ? (await ask('publish')).note : undefined),
    release: (through) => worker?.postMessage({ ask: 'release', through } satisfies Request),
    prune: () => void (worker && ask('prune').catch(() => undefined)),
    async close() {
      if (!worker) return;
      const closing = worker;
      await ask('close').catch(() => undefined);
      worker = undefined;
      await closing.terminate();
    },
  };
}
