// The proxy's decision log: takes a record in well under a microsecond, makes it durable a moment later, and accounts for every one
// that it could not keep. Never blocks, never throws at the data plane, never grows past its bounds.

import { basename } from 'node:path';
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { DecisionRecord } from '#wire';
import type { NewRecord } from './canonical.ts';
import type { Disk } from './disk.ts';
import { createLocalEngine, createWorkerEngine, type EngineOptions } from './engine.ts';
import { defaultMaskable, type MaskableField } from './entry.ts';
import { createEntryReader } from './entry-reader.ts';
import { fail } from './errors.ts';
import { recoverLog } from './log-recovery.ts';
import type { LogNotice, Release } from './log-writer.ts';
import { createLosses } from './losses.ts';
import { createLogProver, type LogProver } from './prover.ts';
import { type RecordLine, RecordQueue } from './record-queue.ts';
import { readReleased, writeReleased } from './released.ts';

/** What happens when the disk cannot follow: `count` loses records and says how many; `block` has the data plane refuse traffic. */
export type RecordMode = 'count' | 'block';

export interface RecordLogOptions {
  /** Made 0700 when absent; belongs to this log alone. */
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The log's name in its checkpoints, a URL without its scheme; `postern/log/` and the folder's name by default. */
  readonly origin?: string;
  /** Bytes of disk, 256 MiB by default. */
  readonly maxBytes?: number;
  /** Received records go when they are older, 30 days by default. */
  readonly maxAgeMs?: number;
  /** Fields whose values can be erased later without breaking a proof: host, path and remote by default. */
  readonly maskable?: readonly MaskableField[];
  /** A heartbeat is recorded when nothing else was for so long, once there has been a record; five minutes by default. */
  readonly heartbeatMs?: number;
  readonly mode?: RecordMode;
  /** Records waiting for the disk, 32 768 by default: about 25 MB. */
  readonly maxQueued?: number;
  /** Where the log is written: in a `worker` of its own by default, in `this-thread` for few records. */
  readonly writer?: 'worker' | 'this-thread';
  /** For fault tests, with `this-thread`; Node's own by default. */
  readonly disk?: Disk;
}

export interface RecordLog {
  /** Gives the record its sequence and queues it. */
  append(record: NewRecord): void;
  /** So many records are gone before they were appended: they get sequences, and a gap record says why they are missing. */
  lose(count: number, reason: 'AUDIT_QUEUE_FULL' | 'AUDIT_THREAD_ENDED'): void;
  /** The highest sequence given so far, 0 before the first. Rises over restarts and whatever the clock does. */
  readonly lastSeq: number;
  /** False when mode is `block` and decisions cannot be recorded: refuse traffic with `refusal()`. Always true in mode `count`. */
  readonly accepting: boolean;
  /** Records that are gone for good since the start. */
  readonly lost: number;
  /** Records waiting for the disk. */
  readonly queued: number;
  /** `AUDIT_BLOCKED`, with the reason, for requests refused while `accepting` is false. */
  refusal(): Error;
  /** Durable records with a sequence of at least `from`, in order; those no longer kept are left out. Empty only when there is none. */
  read(from: number, limit: number): Promise<DecisionRecord[]>;
  /** The same, each as its JSON. */
  lines(from: number, limit: number): Promise<readonly RecordLine[]>;
  /** Everything up to here is kept elsewhere: it is not read again, and goes first when room or age say so. */
  release(through: number): void;
  /** Checkpoints and proofs about them, for a witness. */
  readonly prover: LogProver;
  /** Called after each new checkpoint. */
  onCheckpoint(listener: () => void): void;
  /** Called when further records became readable. */
  onAppend(listener: () => void): void;
  /** Signs a checkpoint of what is durable now, rather than within a second. */
  sign(): Promise<void>;
  /** Resolves when everything appended so far is durable, or a write has failed (it is tried again later). */
  flush(): Promise<void>;
  /** Flushes once more and closes the file. */
  close(): Promise<void>;
}

const batchMs = 50;
const publishMs = 1_000;
const pruneMs = 60_000;
const firstRetryMs = 100;
const longestRetryMs = 5_000;

export function createRecordLog(options: RecordLogOptions): RecordLog {
  const { folder, clock, log, mode = 'count', maxQueued = 32_768, heartbeatMs = 300_000 } = options;
  const recovered = recoverLog(folder, { isLenient: true });
  const losses = createLosses();
  const engineOptions: EngineOptions = {
    settings: {
      folder,
      origin: options.origin ?? `postern/log/${basename(folder)}`,
      maxBytes: options.maxBytes ?? 256 * 2 ** 20,
      maxAgeMs: options.maxAgeMs ?? 30 * 86_400_000,
      mayDrop: mode === 'count',
    },
    notify: (notice) => heed(notice),
  };
  const inThisThread = options.writer === 'this-thread' || options.disk !== undefined;
  const engine = inThisThread
    ? createLocalEngine({ ...engineOptions, clock, ...(options.disk ? { disk: options.disk } : {}) })
    : createWorkerEngine(engineOptions);

  const queue = new RecordQueue(options.maskable ?? defaultMaskable);
  let { size, firstBundle, lastSeq: durable } = recovered;
  let lastSeq = Math.max(durable, recovered.state?.lastSeq ?? 0);
  const noted = readReleased(folder);
  /** Nothing up to here is read again: it was received, or is gone. */
  let released = noted.through;
  let received = noted.through;
  /** Holes whose gap record is not durable: from where on, and the sequence of that record once there is one. */
  let owed: { from: number; gap?: number }[] = [];
  let settled = noted.through;
  let author: Pick<DecisionRecord, 'instance' | 'service'> | undefined = recovered.author;
  const onAppend: (() => void)[] = [];
  const onCheckpoint: (() => void)[] = [];
  let writing: Promise<void> | undefined;
  let cancelTimer: (() => void) | undefined;
  let cancelPublish: (() => void) | undefined;
  let cancelHeartbeat: (() => void) | undefined;
  let lastPrune = clock.monotonic();
  let retryMs = firstRetryMs;
  let failing: string | undefined;
  let closed = false;
  const reader = createEntryReader({
    folder,
    standing: () => ({ firstBundle, size }),
    onMissing: ({ from, to, path }) => {
      const first = Math.max(from, released + 1);
      if (to < first) return;
      lose({ reason: 'AUDIT_FILE_DAMAGED', from: first, count: to - first + 1, path, why: 'it was removed' });
    },
  });

  function lose({ path, why, ...loss }: Extract<LogNotice, { what: 'loss' }>['loss']): void {
    owed.push({ from: loss.from });
    losses.add(loss);
    const { reason, from, count } = loss;
    log.error(fail(reason, { lost: count, folder, path, reason: why }).message, { code: reason, from, count });
  }

  function heed(notice: LogNotice): void {
    if (notice.what === 'notice') return log.warn(notice.message, { folder });
    if (notice.what === 'undeclared') {
      const { from } = notice.loss;
      settled = Math.min(settled, from - 1);
      owed.push({ from });
      return losses.addAgain(notice.loss);
    }
    lose(notice.loss);
    markReleased(notice.loss.from + notice.loss.count - 1);
  }

  /** What the writer may note: a hole is forgotten only when its gap record is durable. */
  const release = (): Release => {
    settled = Math.max(settled, Math.min(released, ...owed.map(({ from }) => from - 1)));
    return { through: received, settled };
  };

  /** Nothing up to here will be read again. The writer notes it with its next checkpoint, if there is one. */
  const markReleased = (through: number): void => {
    if (through <= released) return;
    released = through;
    if (engine.isOpen) return signSoon();
    try {
      const { through, dropped } = readReleased(folder);
      if (release().settled > through) writeReleased(folder, { through: settled, dropped }, { isSynced: false });
    } catch (thrown) {
      log.warn(`what was received could not be noted: ${messageOf(thrown)}`, { folder });
    }
  };

  /** A record of the log itself. */
  const note = (what: Pick<DecisionRecord, 'kind' | 'reason'> & Partial<DecisionRecord>): void => {
    const time = new Date(clock.now()).toISOString();
    const id = `${what.kind}-${lastSeq + 1}-${author!.instance}`.slice(0, 64);
    const { instance, service } = author!;
    const record = {
      id,
      time,
      instance,
      service,
      hop: 'inbound',
      connection: '',
      bytesIn: 0,
      bytesOut: 0,
      ms: 0,
    } as const;
    queue.add({ ...record, decision: what.kind === 'gap' ? 'error' : 'allow', ...what }, ++lastSeq);
  };

  /** Gap records come after what they account for, and before whatever follows it. */
  const declareLosses = (): void => {
    if (!author || losses.pending === 0) return;
    for (const { reason, count, from } of losses.take()) note({ kind: 'gap', reason, lost: count, lostFrom: from });
    for (const each of owed) each.gap ??= lastSeq;
  };

  const wakeIn = (ms: number): void => {
    cancelTimer ??= clock.after(ms, () => {
      cancelTimer = undefined;
      void write({ mayWait: true });
    });
  };

  const write = (how = { mayWait: false }): Promise<void> => {
    cancelTimer?.();
    cancelTimer = undefined;
    writing ??= writeQueued(how).finally(() => {
      writing = undefined;
      if (closed) return;
      if (failing) wakeIn(retryMs);
      else if (queue.length > 0 || losses.pending > 0) wakeIn(batchMs);
    });
    return writing;
  };

  const writeQueued = async (how: { readonly mayWait: boolean }): Promise<void> => {
    try {
      if (!engine.isOpen) await start();
      declareLosses();
      publish((await engine.write({ batches: [...queue.handOver()], released: release(), ...how })).durable);
      if (failing) log.info('decision records are written again', { folder, lost: losses.total });
      failing = undefined;
      retryMs = firstRetryMs;
    } catch (thrown) {
      if (failing) retryMs = Math.min(longestRetryMs, retryMs * 2);
      else log.error(`decision records cannot be written: ${messageOf(thrown)}`, { folder, mode });
      failing = messageOf(thrown);
    }
  };

  /** The writer begins with what is on the disk: records that it has already are not sent again. */
  const start = async (): Promise<void> => {
    const standing = await engine.open();
    publish(standing.durable);
    queue.begin(standing.size);
  };

  /** Tells who waits for it what is durable. */
  const publish = (through: number): void => {
    const { count, lastIndex } = queue.settle(through);
    durable = Math.max(durable, through);
    owed = owed.filter(({ gap }) => gap === undefined || gap > durable);
    if (count === 0) return;
    size = Math.max(size, lastIndex + 1);
    for (const listener of onAppend) listener();
    signSoon();
  };

  const signSoon = (): void => {
    if (!closed) cancelPublish ??= clock.after(publishMs, () => void sign());
  };

  const sign = async (): Promise<void> => {
    cancelPublish = undefined;
    try {
      if ((await engine.publish({ released: release() })) === undefined) return;
      for (const listener of onCheckpoint) listener();
    } catch (thrown) {
      log.error(`a checkpoint could not be written: ${messageOf(thrown)}`, { folder });
      if (!closed) cancelPublish ??= clock.after(longestRetryMs, () => void sign());
    }
    if (clock.monotonic() - lastPrune < pruneMs) return;
    lastPrune = clock.monotonic();
    engine.prune();
  };

  const lines = async (after: number, limit: number): Promise<readonly RecordLine[]> => {
    const from = Math.max(after, released + 1);
    const found: RecordLine[] = [];
    const through = Math.min(durable, (queue.first ?? Number.POSITIVE_INFINITY) - 1);
    while (found.length < limit) {
      const next = (found.at(-1)?.seq ?? from - 1) + 1;
      const part = next > through ? [] : reader.read({ from: next, through, limit: limit - found.length });
      if (part.length === 0) break;
      for (const record of part) found.push({ seq: record.seq, text: JSON.stringify(record) });
    }
    if (losses.pending > 0) wakeIn(batchMs);
    return found.concat(queue.read(from, limit - found.length));
  };

  /** Once there was a record, silence is a sign: a heartbeat says that there was nothing to say. */
  const beat = (): void => {
    cancelHeartbeat?.();
    if (closed) return;
    cancelHeartbeat = clock.after(heartbeatMs, () => {
      if (!author || closed) return;
      note({ kind: 'heartbeat', reason: 'heartbeat' });
      wakeIn(0);
      beat();
    });
  };
  let lastBeat = Number.NEGATIVE_INFINITY;

  const firstKept = reader.accountsFrom();
  if (firstKept !== undefined && firstKept > released + 1) {
    const dropped = Math.max(released, Math.min(noted.dropped, firstKept - 1)) - released;
    const removed = firstKept - 1 - released - dropped;
    const from = released + 1;
    if (dropped > 0) lose({ reason: 'AUDIT_RETENTION', from, count: dropped, path: folder, why: 'the log was full' });
    const why = 'they were removed while nothing was running';
    if (removed > 0) lose({ reason: 'AUDIT_FILE_DAMAGED', from: from + dropped, count: removed, path: folder, why });
    markReleased(firstKept - 1);
  }
  const missing = (recovered.state?.lastSeq ?? 0) - durable;
  if (recovered.torn && missing <= 0)
    lose({ reason: 'AUDIT_TAIL_TORN', from: ++lastSeq, count: 1, path: folder, why: '' });

  return {
    append(record) {
      if (closed) return;
      author = record;
      const now = clock.monotonic();
      // Moving the timer for each record would cost more than the record.
      if (now - lastBeat > heartbeatMs / 10) {
        lastBeat = now;
        beat();
      }
      if (queue.length >= maxQueued) {
        losses.add({ reason: 'AUDIT_QUEUE_FULL', from: ++lastSeq, count: 1 });
        if (!losses.reported) log.error('decision records are being lost: the queue is full', { folder, maxQueued });
        losses.reported = true;
        return;
      }
      losses.reported = false;
      declareLosses();
      queue.add(record, ++lastSeq);
      if (!failing) wakeIn(batchMs);
    },
    lose(count, reason) {
      if (closed || count === 0) return;
      losses.add({ reason, from: lastSeq + 1, count });
      lastSeq += count;
      log.error(fail(reason, { lost: count, folder, reason: 'another thread made more than fit' }).message, {
        code: reason,
        count,
      });
      if (author) wakeIn(0);
    },
    get lastSeq() {
      return lastSeq;
    },
    get accepting() {
      return mode === 'count' || (!failing && queue.length < maxQueued / 2);
    },
    get lost() {
      return losses.total;
    },
    get queued() {
      return queue.length;
    },
    refusal: () => fail('AUDIT_BLOCKED', { folder, reason: failing ?? 'the queue is half full' }),
    read: async (from, limit) => (await lines(from, limit)).map(({ text }) => JSON.parse(text) as DecisionRecord),
    lines,
    release(through) {
      received = Math.max(received, Math.min(through, durable));
      markReleased(received);
      queue.release(released);
    },
    prover: createLogProver(folder),
    onAppend: (listener) => void onAppend.push(listener),
    onCheckpoint: (listener) => void onCheckpoint.push(listener),
    async sign() {
      cancelPublish?.();
      if (engine.isOpen) await sign();
    },
    async flush() {
      await writing;
      if (queue.length > 0 || losses.pending > 0) await write();
    },
    async close() {
      await writing;
      closed = true;
      for (const cancel of [cancelTimer, cancelPublish, cancelHeartbeat]) cancel?.();
      if (queue.length > 0 || (losses.pending > 0 && author)) await write();
      if (queue.length > 0) log.error('decision records are lost at exit', { folder, count: queue.length });
      if (engine.isOpen) await sign();
      await engine.close();
    },
  };
}
