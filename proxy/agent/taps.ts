// Which finished exchanges an admin is looking at right now, and how they get there. Off, it costs one check for each record; on, it never holds
// anything up: what does not fit is counted and told. Every tap ends by itself.
import type { Clock } from '#base/clock';
import { isPosternError, messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';
import { type DecisionRecord, type LookEvent, type TapBatch, type TapFilter, tapReceipt, wireVersion } from '#wire';
import type { Channel } from '#wire/channel';
import type { RecordDraft } from '../exchange-record.ts';

export interface Taps {
  /** Whether anybody looks. */
  readonly isOn: boolean;
  /** To be asked only while `isOn`. Never throws. */
  see(record: RecordDraft): void;
  begin(order: TapOrder): void;
  end(id: string): void;
  close(): void;
}
export type TapOrder = Extract<LookEvent, { type: 'tap' }>;

export interface TapsOptions {
  readonly channel: Pick<Channel, 'call'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

interface Tap {
  readonly id: string;
  readonly matches: (record: RecordDraft) => boolean;
  readonly limit: number;
  readonly waiting: { readonly record: DecisionRecord; readonly bytes: number }[];
  /** Of all that wait. */
  bytes: number;
  /** Of those that matched. */
  seen: number;
  dropped: number;
  failures: number;
  isSending: boolean;
  cancelFlush: (() => void) | undefined;
  readonly cancelEnd: () => void;
}

/** Above this a proxy says nothing to a further one; the control plane allows fewer. */
const mostTaps = 8;
const mostWaiting = 1_000;
const mostWaitingBytes = 1024 * 1024;
const mostSent = 250;
const gatherMs = 50;
const mostFailures = 3;

export function createTaps({ channel, clock, log, metrics }: TapsOptions): Taps {
  const taps = new Map<string, Tap>();
  const tapped = metrics.counter({
    name: 'postern_tapped_exchanges_total',
    help: 'Exchanges that a tap asked for, by outcome: sent or dropped',
    labels: ['outcome'],
  });

  const forget = (tap: Tap): void => {
    tap.cancelEnd();
    tap.cancelFlush?.();
    if (taps.get(tap.id) === tap) taps.delete(tap.id);
  };
  const drop = (tap: Tap, count: number): void => {
    tap.dropped += count;
    tapped('dropped').value += count;
  };
  const flushSoon = (tap: Tap): void => {
    if (tap.isSending) return;
    tap.cancelFlush ??= clock.after(gatherMs, () => {
      tap.cancelFlush = undefined;
      void flush(tap);
    });
  };
  /** One batch at a time; whatever comes meanwhile is in the next. */
  const flush = async (tap: Tap): Promise<void> => {
    const taken = tap.waiting.splice(0, mostSent);
    tap.bytes -= taken.reduce((sum, { bytes }) => sum + bytes, 0);
    const records = taken.map(({ record }) => record);
    const { dropped } = tap;
    tap.dropped = 0;
    tap.isSending = true;
    try {
      const body: TapBatch = { version: wireVersion, id: tap.id, records, dropped };
      const { more } = await channel.call({ method: 'POST', path: '/v1/proxy/tap', body, reply: tapReceipt });
      tapped('sent').value += records.length;
      tap.failures = 0;
      if (!more) forget(tap);
    } catch (thrown) {
      drop(tap, records.length);
      tap.dropped += dropped;
      const isRefused = isPosternError(thrown) && thrown.status >= 400 && thrown.status < 500;
      if (isRefused || ++tap.failures >= mostFailures) forget(tap);
      log.debug('tapped exchanges were not received', { tap: tap.id, reason: messageOf(thrown) });
    } finally {
      tap.isSending = false;
    }
    if (!taps.has(tap.id)) return;
    if (tap.waiting.length > 0 || tap.dropped > 0) flushSoon(tap);
    else if (tap.seen >= tap.limit) forget(tap);
  };

  return {
    get isOn() {
      return taps.size > 0;
    },
    see(draft) {
      for (const tap of taps.values()) {
        if (tap.seen >= tap.limit || !tap.matches(draft)) continue;
        const record: DecisionRecord = { v: wireVersion, ...draft, seq: ++tap.seen };
        const bytes = Buffer.byteLength(JSON.stringify(record));
        if (tap.waiting.length >= mostWaiting || tap.bytes + bytes > mostWaitingBytes) drop(tap, 1);
        else {
          tap.waiting.push({ record, bytes });
          tap.bytes += bytes;
        }
        flushSoon(tap);
      }
    },
    begin({ id, filter, limit, forMs }) {
      if (taps.has(id)) return;
      if (taps.size >= mostTaps) return log.warn('a tap was not begun: too many run', { tap: id, most: mostTaps });
      log.info('an admin looks at exchanges', { tap: id, forMs, limit, ...filter });
      taps.set(id, {
        ...{ id, limit, matches: matcherOf(filter), waiting: [], bytes: 0, seen: 0, dropped: 0, failures: 0 },
        ...{ isSending: false, cancelFlush: undefined, cancelEnd: clock.after(forMs, () => end(id)) },
      });
    },
    end: (id) => end(id),
    close() {
      for (const tap of [...taps.values()]) forget(tap);
    },
  };

  function end(id: string): void {
    const tap = taps.get(id);
    if (tap) forget(tap);
  }
}

/** Whether a record is one that the filter asks for. Linear in the path, whatever the template. */
export function matcherOf(filter: TapFilter): (record: RecordDraft) => boolean {
  const from = idMatcher(filter.from);
  const to = idMatcher(filter.to);
  const path = filter.path === undefined ? undefined : templateOf(filter.path);
  const methods = filter.methods && new Set(filter.methods);
  const status = filter.status;
  const isStatus = (found: number | undefined): boolean =>
    found !== undefined &&
    (status!.endsWith('xx') ? Math.floor(found / 100) === Number(status![0]) : found === Number(status));
  return (record) =>
    (filter.hop === undefined || record.hop === filter.hop) &&
    (filter.decision === undefined || record.decision === filter.decision) &&
    (status === undefined || isStatus(record.status)) &&
    (methods === undefined || methods.has(record.method ?? '')) &&
    from(record.peer) &&
    to(record.to) &&
    (path === undefined || path.test(record.path ?? ''));
}

function idMatcher(wanted: string | undefined): (id: string | undefined) => boolean {
  if (wanted === undefined) return () => true;
  if (!wanted.endsWith('/**')) return (id) => id === wanted;
  const prefix = wanted.slice(0, -2);
  return (id) => id?.startsWith(prefix) === true;
}

/** As in policies: {name} or * is one segment, ** the rest and last only. */
function templateOf(template: string): RegExp {
  const segments = template.slice(1).split('/');
  const rest = segments.at(-1) === '**' && segments.pop() !== undefined;
  const steps = segments.map((segment) =>
    segment === '*' || /^\{[^}]*\}$/.test(segment) ? '/[^/]+' : `/${segment.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}`,
  );
  return new RegExp(`^${steps.join('')}${rest ? '(?:/.*)?' : ''}$`);
}
