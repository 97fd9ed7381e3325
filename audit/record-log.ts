// The proxy's decision log: takes a record in well under a microsecond, makes it durable a moment later, and accounts for every one
// that it could not keep. Never blocks, never throws at the data plane, never grows past its bounds.

import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { DecisionRecord } from '#wire';
import { Bytes } from './bytes.ts';
import { fitRecord } from './canonical.ts';
import type { Disk } from './disk.ts';
import { createLocalEngine, createWorkerEngine, type EngineOptions } from './engine.ts';
import { defaultMaskable, type MaskableField, splitRecord } from './entry.ts';
import { createEntryReader } from './entry-reader.ts';
import { fail } from './errors.ts';
import { logFile, readIfThere } from './log-files.ts';
import { recoverLog } from './log-recovery.ts';
import type { Batch, LogNotice } from './log-writer.ts';
import { createLosses } from './losses.ts';
import { createLogProver, type LogProver } from './prover.ts';

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
  /** Records waiting for the disk, 16 384 by default. */
  readonly maxQueued?: number;
  /** Where the log is written: in a `worker` of its own by default, in `this-thread` for few records. */
  readonly writer?: 'worker' | 'this-thread';
  /** For fault tests, with `this-thread`; Node's own by default. */
  readonly disk?: Disk;
}

export interface RecordLog {
  /** Gives the record its sequence and queues it. */
  append(record: Omit<DecisionRecord, 'v' | 'seq'>): void;
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
/** Encoding this many holds the event loop for about a millisecond. */
const batchRecords = 512;
const recentRecords = 2_048;
const publishMs = 1_000;
const pruneMs = 60_000;
const firstRetryMs = 100;
const longestRetryMs = 5_000;

export function createRecordLog(options: RecordLogOptions): RecordLog {
  const { folder, clock, log, mode = 'count', maxQueued = 16_384, heartbeatMs = 300_000 } = options;
  const maskable = [...(options.maskable ?? defaultMaskable)].sort();
  const recovered = recoverLog(folder);
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

  const queue: DecisionRecord[] = [];
  /** How many of them the writer has. */
  let sent = 0;
  let nextIndex = 0;
  let recent: DecisionRecord[] = [];
  let { size, firstBundle, lastSeq: durable } = recovered;
  let lastSeq = Math.max(durable, recovered.state?.lastSeq ?? 0);
  let released = Number(readIfThere(logFile.released(folder))?.toString() ?? 0) || 0;
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
    losses.add(loss);
    const { reason, from, count } = loss;
    log.error(fail(reason, { lost: count, folder, path, reason: why }).message, { code: reason, from, count });
  }

  function heed(notice: LogNotice): void {
    if (notice.what === 'notice') return log.warn(notice.message, { folder });
    lose(notice.loss);
    markReleased(notice.loss.from + notice.loss.count - 1);
  }

  /** Nothing up to here will be read again. The writer notes it with its next checkpoint, if there is one. */
  const markReleased = (through: number): void => {
    if (through <= released) return;
    released = through;
    if (engine.isOpen) {
      engine.release(released);
      return signSoon();
    }
    try {
      // Lost in a power cut, it only makes records be sent twice.
      writeFileSync(logFile.released(folder), String(released), { mode: 0o600 });
    } catch (thrown) {
      log.warn(`what was received could not be noted: ${messageOf(thrown)}`, { folder });
    }
  };

  const take = (record: Omit<DecisionRecord, 'v' | 'seq'>): void => {
    // Made to fit here, so that what is read from memory is what is on the disk.
    queue.push(fitRecord(record, ++lastSeq));
  };

  /** A record of the log itself. */
  const note = (what: Pick<DecisionRecord, 'kind' | 'reason'> & Partial<DecisionRecord>): void => {
    const time = new Date(clock.now()).toISOString();
    const id = `${what.kind}-${lastSeq + 1}-${author!.instance}`.slice(0, 64);
    const { instance, service } = author!;
    take({
      ...{ id, time, instance, service, hop: 'inbound', connection: '', bytesIn: 0, bytesOut: 0, ms: 0 },
      ...{ decision: what.kind === 'gap' ? 'error' : 'allow', ...what },
    });
  };

  /** Gap records come after what they account for, and before whatever follows it. */
  const declareLosses = (): void => {
    if (!author || losses.pending === 0) return;
    for (const { reason, count, from } of losses.take()) note({ kind: 'gap', reason, lost: count, lostFrom: from });
  };

  const wakeIn = (ms: number): void => {
    cancelTimer ??= clock.after(ms, () => {
      cancelTimer = undefined;
      void write();
    });
  };

  const write = (): Promise<void> => {
    cancelTimer?.();
    cancelTimer = undefined;
    writing ??= writeQueued().finally(() => {
      writing = undefined;
      if (closed) return;
      if (failing) wakeIn(retryMs);
      else if (queue.length > 0 || losses.pending > 0) wakeIn(batchMs);
    });
    return writing;
  };

  const writeQueued = async (): Promise<void> => {
    try {
      if (!engine.isOpen) await start();
      declareLosses();
      for (const end = queue.length; sent < end; ) handOver(end);
      publish((await engine.commit()).durable);
      if (failing) log.info('decision records are written again', { folder, lost: losses.total });
      failing = undefined;
      retryMs = firstRetryMs;
    } catch (thrown) {
      if (failing) retryMs = Math.min(longestRetryMs, retryMs * 2);
      else log.error(`decision records cannot be written: ${messageOf(thrown)}`, { folder, mode });
      failing = messageOf(thrown);
    }
  };

  /** Gives the writer a batch of what it does not have. */
  const handOver = (end: number): void => {
    const part = queue.slice(sent, Math.min(end, sent + batchRecords));
    engine.add(batchOf(part));
    sent += part.length;
  };

  /** The writer begins with what is on the disk: records that it has already are not sent again. */
  const start = async (): Promise<void> => {
    const standing = await engine.open();
    nextIndex = standing.size;
    publish(standing.durable);
    sent = 0;
    engine.release(released);
  };

  const rests = new Bytes();
  const batchOf = (records: readonly DecisionRecord[]): Batch => {
    rests.empty();
    let clear = '';
    for (const record of records) {
      const halves = splitRecord(record, maskable);
      rests.frame(halves.rest);
      clear += `${halves.clear}\n`;
      (record as { index?: number }).index = nextIndex++;
    }
    return { rests: new Uint8Array(rests.from(0)), clear, seqs: records.map(({ seq }) => seq) };
  };

  /** Takes what is durable out of the queue and tells who waits for it. */
  const publish = (through: number): void => {
    const left = queue.findIndex(({ seq }) => seq > through);
    const written = queue.splice(0, left < 0 ? queue.length : left);
    sent = Math.max(0, sent - written.length);
    durable = Math.max(durable, through);
    if (written.length === 0) return;
    size = Math.max(size, (written.at(-1)!.index ?? -1) + 1);
    recent = recent.concat(written).slice(-recentRecords);
    for (const listener of onAppend) listener();
    signSoon();
  };

  const signSoon = (): void => {
    if (!closed) cancelPublish ??= clock.after(publishMs, () => void sign());
  };

  const sign = async (): Promise<void> => {
    cancelPublish = undefined;
    try {
      if ((await engine.publish()) === undefined) return;
      for (const listener of onCheckpoint) listener();
    } catch (thrown) {
      log.error(`a checkpoint could not be written: ${messageOf(thrown)}`, { folder });
      if (!closed) cancelPublish ??= clock.after(longestRetryMs, () => void sign());
    }
    if (clock.monotonic() - lastPrune < pruneMs) return;
    lastPrune = clock.monotonic();
    engine.prune();
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

  const firstKept = reader.firstSeq();
  if (firstKept !== undefined && firstKept > released + 1) {
    const loss = { reason: 'AUDIT_FILE_DAMAGED', from: released + 1, count: firstKept - released - 1 } as const;
    lose({ ...loss, path: folder, why: 'they were removed while nothing was running' });
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
      take(record);
      if (failing) return;
      wakeIn(batchMs);
      if (queue.length - sent >= batchRecords && engine.isOpen && !writing) handOver(queue.length);
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
    async read(after, limit) {
      const from = Math.max(after, released + 1);
      const oldest = recent[0]?.seq ?? Number.POSITIVE_INFINITY;
      const records: DecisionRecord[] = [];
      const through = Math.min(durable, oldest - 1);
      while (records.length < limit) {
        const next = (records.at(-1)?.seq ?? from - 1) + 1;
        const part = next > through ? [] : reader.read({ from: next, through, limit: limit - records.length });
        if (part.length === 0) break;
        records.push(...part);
      }
      if (losses.pending > 0) wakeIn(batchMs);
      const start = recent.findIndex((record) => record.seq >= from);
      return start < 0 ? records : records.concat(recent.slice(start, start + limit - records.length));
    },
    release(through) {
      markReleased(Math.min(through, durable));
      recent = recent.filter((record) => record.seq > released);
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
