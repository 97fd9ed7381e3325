// Decision records on their way to the control plane: read from the log in batches, released only when the receipt says that they are
// kept there. Holds one batch in memory at most; sending again is safe (records are known by instance and sequence).

import type { RecordLine, RecordLog } from '#audit/log';
import { createBackoff } from '#base/backoff';
import type { Clock } from '#base/clock';
import { isPosternError, messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';
import { s } from '#base/schema';
import { wireVersion } from '#wire';
import { type Channel, JsonText } from '#wire/channel';

export interface Uploader {
  /** Stops, after sending what is there; `signal` cuts that short. */
  close(signal: AbortSignal): Promise<void>;
}

export interface UploaderOptions {
  readonly records: Pick<RecordLog, 'lines' | 'release' | 'onAppend' | 'lastSeq'>;
  readonly channel: Channel;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
  /** How long new records may gather before they are sent; 250 ms by default. */
  readonly gatherMs?: number;
}

/** Bounds of one batch, far below what the server takes. */
const mostRecords = 1_000;
const mostBytes = 768 * 1024;
const receipt = s.object({ through: s.integer({ minimum: 0 }) });

export function startUploader(options: UploaderOptions): Uploader {
  const { records, channel, clock, random, log, gatherMs = 250 } = options;
  const backoff = createBackoff({ firstMs: 500, longestMs: 30_000, random });
  const sent = options.metrics.counter({
    name: 'postern_records_uploaded_total',
    help: 'Decision records that the control plane keeps',
  })();
  const failures = options.metrics.counter({
    name: 'postern_record_uploads_failed_total',
    help: 'Batches of decision records that were not received',
  })();
  let through = 0;
  let limit = mostRecords;
  let cancel: (() => void) | undefined;
  let running: Promise<void> | undefined;
  let failing = false;
  let more = false;
  let closed = false;
  options.metrics.gauge({
    name: 'postern_records_waiting',
    help: 'Decision records not yet kept by the control plane',
    read: () => (through === 0 ? 0 : records.lastSeq - through),
  });

  /** Sends one batch; false when there was nothing to send. */
  const sendBatch = async (): Promise<boolean> => {
    const batch = withinBytes(await records.lines(through + 1, limit));
    const last = batch.at(-1);
    if (!last) return false;
    // A `recordBatch`.
    const body = new JsonText(`{"version":${wireVersion},"records":[${batch.map(({ text }) => text).join()}]}`);
    const reply = await channel.call({ method: 'POST', path: '/v1/proxy/records', body, reply: receipt });
    // A receipt for less than was sent is believed; one for more is not.
    const kept = Math.min(reply.through, last.seq);
    if (kept <= through) throw new TypeError(`the receipt is for ${reply.through}, and ${last.seq} was sent`);
    sent.value += batch.filter(({ seq }) => seq <= kept).length;
    through = kept;
    records.release(kept);
    limit = mostRecords;
    return true;
  };

  const drain = async (signal?: AbortSignal): Promise<void> => {
    try {
      while (!signal?.aborted && (!closed || signal)) if (!(await sendBatch())) break;
      if (failing) log.info('decision records are received again', { through });
      failing = false;
      backoff.reset();
    } catch (thrown) {
      failures.value++;
      // A batch that is refused for its size or content is cut down until the odd record stands alone and can be seen.
      if (isPosternError(thrown) && [400, 413, 422].includes(thrown.status)) limit = Math.max(1, limit >> 1);
      const fields = { reason: messageOf(thrown), after: through, lastSeq: records.lastSeq };
      if (!failing) log.warn('decision records could not be sent; they wait on disk', fields);
      failing = true;
      if (!closed) wakeIn(backoff.next());
    }
  };

  const wakeIn = (ms: number): void => {
    cancel ??= clock.after(ms, () => {
      cancel = undefined;
      start();
    });
  };

  const start = (): void => {
    more = false;
    running ??= drain().finally(() => {
      running = undefined;
      if (more && !closed) wakeIn(gatherMs);
    });
  };

  records.onAppend(() => {
    if (running) more = true;
    else if (!closed) wakeIn(gatherMs);
  });
  start();

  return {
    async close(signal) {
      closed = true;
      cancel?.();
      await running;
      await drain(signal);
    },
  };
}

function withinBytes(lines: readonly RecordLine[]): readonly RecordLine[] {
  let bytes = 0;
  const end = lines.findIndex(({ text }, index) => {
    bytes += text.length;
    return index > 0 && bytes > mostBytes;
  });
  return end < 0 ? lines : lines.slice(0, end);
}
