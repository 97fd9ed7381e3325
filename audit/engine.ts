// Where a log's writer runs: in a worker thread that is started by the first record (an idle process has none), or in this thread for
// tests and for logs of few entries. What is asked of it is answered in order. All that is to be done goes in one message: each one wakes a thread.
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Clock } from '#base/clock';
import { threadEnvironment } from '#base/threads';
import type { Disk } from './disk.ts';
import {
  type Batch,
  type LogNotice,
  type LogSettings,
  openLogWriter,
  type Release,
  type Standing,
} from './log-writer.ts';

export interface Engine {
  /** False before `open` and after the writer died: what was added and not committed since must be added again. */
  readonly isOpen: boolean;
  open(): Promise<Standing>;
  /** Adds the batches, of which the writer has heard even when this rejects, and makes everything durable that was added. */
  write(work: Work): Promise<Standing>;
  publish(o: { readonly released: Release }): Promise<string | undefined>;
  prune(): void;
  close(): Promise<void>;
}

/** What a writer is to do. */
export interface Work {
  readonly batches: readonly Batch[];
  readonly released: Release;
  readonly mayWait: boolean;
}

type Question =
  | { readonly ask: 'open' | 'prune' | 'close' }
  | { readonly ask: 'publish'; readonly released: Release }
  | ({ readonly ask: 'write' } & Work);
export type Request = Question & { readonly id: number };

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
    async write({ batches, released, mayWait }) {
      for (const batch of batches) writer!.add(batch);
      writer!.release(released);
      writer!.commit({ mayWait });
      return writer!.standing;
    },
    async publish({ released }) {
      writer?.release(released);
      return writer?.publish();
    },
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
  const ask = (question: Question) =>
    new Promise<{ standing?: Standing; note?: string | undefined }>((resolve, reject) => {
      if (!worker) return reject(new Error('the thread that writes decision records is not running'));
      const id = next++;
      waiting.set(id, { resolve, reject });
      worker.ref();
      worker.postMessage({ ...question, id } satisfies Request);
    });

  return {
    get isOpen() {
      return worker !== undefined;
    },
    async open() {
      worker ??= start();
      try {
        return (await ask({ ask: 'open' })).standing!;
      } catch (thrown) {
        await worker?.terminate();
        worker = undefined;
        throw thrown;
      }
    },
    write: async (work) => (await ask({ ask: 'write', ...work })).standing!,
    publish: async ({ released }) => (worker ? (await ask({ ask: 'publish', released })).note : undefined),
    prune: () => void (worker && ask({ ask: 'prune' }).catch(() => undefined)),
    async close() {
      if (!worker) return;
      const closing = worker;
      await ask({ ask: 'close' }).catch(() => undefined);
      worker = undefined;
      await closing.terminate();
    },
  };
}
