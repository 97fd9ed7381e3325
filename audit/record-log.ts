// The proxy's decision log: takes a record in well under a microsecond, makes it durable a moment later, and accounts for every one
// that it could not keep. Never blocks, never throws at the data plane, never grows past its bounds.

import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import { makePrivateFolder } from '#base/files';
import type { Log } from '#base/log';
import { type DecisionRecord, wireVersion } from '#wire';
import { fitRecord } from './canonical.ts';
import { fail } from './errors.ts';
import { createLosses, type Loss } from './losses.ts';
import { createSegmentWriter, type OpenFile } from './segment-writer.ts';

/** What happens when the disk cannot follow: `count` loses records and says how many; `block` has the data plane refuse traffic. */
export type RecordMode = 'count' | 'block';

export interface RecordLogOptions {
  /** Made 0700 when absent; belongs to this log alone. */
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Bytes of disk, 256 MiB by default. */
  readonly maxBytes?: number;
  readonly mode?: RecordMode;
  /** Records waiting for the disk, 16 384 by default. */
  readonly maxQueued?: number;
  /** For fault tests; Node's own by default. */
  readonly open?: OpenFile;
}

export interface RecordLog {
  /** Gives the record its sequence and queues it. */
  append(record: Omit<DecisionRecord, 'v' | 'seq'>): void;
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
  /** Everything up to here is kept elsewhere: whole files below it are removed. */
  release(through: number): void;
  /** Called when further records became readable. */
  onAppend(listener: () => void): void;
  /** Resolves when everything appended so far is durable, or a write has failed (it is tried again later). */
  flush(): Promise<void>;
  /** Flushes once more and closes the file. */
  close(): Promise<void>;
}

const batchMs = 50;
/** Encoding this many holds the event loop for about a millisecond. */
const batchRecords = 256;
const recentRecords = 2_048;
const firstRetryMs = 100;
const longestRetryMs = 5_000;

export function createRecordLog(options: RecordLogOptions): RecordLog {
  const { folder, clock, log, mode = 'count', maxQueued = 16_384 } = options;
  makePrivateFolder(folder);
  const losses = createLosses();
  const disk = createSegmentWriter({
    folder,
    maxBytes: options.maxBytes ?? 256 * 2 ** 20,
    mayDrop: mode === 'count',
    open: options.open,
    onLoss: (loss) => lose(loss),
    onNotice: (message) => log.warn(message, { folder }),
  });

  const queue: DecisionRecord[] = [];
  let recent: DecisionRecord[] = [];
  let lastSeq = disk.lastSeq;
  let author = disk.lastRecord;
  const listeners: (() => void)[] = [];
  let writing: Promise<void> | undefined;
  let cancelTimer: (() => void) | undefined;
  let retryMs = firstRetryMs;
  let failing: string | undefined;
  let closed = false;
  let releasing = Promise.resolve();

  function lose({ reason, from, count, path, why }: Loss & { readonly path: string; readonly why: string }): void {
    losses.add({ reason, from, count });
    log.error(fail(reason, { lost: count, folder, path, reason: why }).message, { code: reason, from, count });
  }

  const take = (record: Omit<DecisionRecord, 'v' | 'seq'>): void => {
    // Made to fit here, so that what is read from memory is what is on the disk.
    queue.push(fitRecord({ ...record, v: wireVersion, seq: ++lastSeq }));
  };

  /** Gap records come after what they account for, and before whatever follows it. */
  const declareLosses = (): void => {
    if (!author || losses.pending === 0) return;
    const { instance, service } = author;
    for (const loss of losses.take()) {
      const time = new Date(clock.now()).toISOString();
      const id = `gap-${lastSeq + 1}-${instance}`.slice(0, 64);
      const fixed = {
        hop: 'inbound',
        kind: 'gap',
        decision: 'error',
        connection: '',
        bytesIn: 0,
        bytesOut: 0,
        ms: 0,
      } as const;
      take({ ...fixed, id, time, instance, service, reason: loss.reason, lost: loss.count, lostFrom: loss.from });
    }
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
      else if (queue.length > 0 || losses.pending > 0) wakeIn(queue.length < batchRecords ? batchMs : 0);
    });
    return writing;
  };

  const writeQueued = async (): Promise<void> => {
    try {
      declareLosses();
      await disk.check();
      const end = queue.length;
      for (let done = 0; done < end; done += batchRecords) {
        await disk.append(queue.slice(done, Math.min(end, done + batchRecords)));
      }
      await disk.sync();
      if (failing) log.info('decision records are written again', { folder, lost: losses.total });
      failing = undefined;
      retryMs = firstRetryMs;
    } catch (thrown) {
      if (failing) retryMs = Math.min(longestRetryMs, retryMs * 2);
      else log.error(`decision records cannot be written: ${messageOf(thrown)}`, { folder, mode });
      failing = messageOf(thrown);
      await disk.rewind();
    }
    publish();
  };

  /** Takes what is durable out of the queue and tells who waits for it. */
  const publish = (): void => {
    const left = queue.findIndex((record) => record.seq > disk.durable);
    const durable = queue.splice(0, left < 0 ? queue.length : left);
    if (durable.length === 0) return;
    recent = recent.concat(durable).slice(-recentRecords);
    for (const listener of listeners) listener();
  };

  if (disk.torn) lose({ reason: 'AUDIT_TAIL_TORN', from: ++lastSeq, count: 1, path: disk.torn, why: '' });

  return {
    append(record) {
      if (closed) return;
      author = record as DecisionRecord;
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
      if (queue.length === batchRecords) void write();
      else wakeIn(batchMs);
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
    async read(from, limit) {
      const oldest = recent[0]?.seq ?? Number.POSITIVE_INFINITY;
      if (from < oldest) {
        const records = await disk.read(from, limit);
        if (losses.pending > 0) wakeIn(batchMs);
        if (records.length > 0) return records;
      }
      const start = recent.findIndex((record) => record.seq >= from);
      return start < 0 ? [] : recent.slice(start, start + limit);
    },
    release(through) {
      recent = recent.filter((record) => record.seq > through);
      releasing = releasing.then(() => disk.release(Math.min(through, disk.durable)));
    },
    onAppend: (listener) => void listeners.push(listener),
    async flush() {
      await writing;
      if (queue.length > 0 || losses.pending > 0 || !disk.synced) await write();
    },
    async close() {
      await writing;
      closed = true;
      cancelTimer?.();
      await write();
      if (queue.length > 0) log.error('decision records are lost at exit', { folder, count: queue.length });
      await releasing;
      await disk.close();
    },
  };
}
