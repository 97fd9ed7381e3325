// The control plane's own record: who did what, and what was refused. Written before the answer leaves; when the disk does not take it,
// changes stop until it does. A flood of refusals is counted, never written one by one, so that it cannot fill the disk.
import { AsyncLocalStorage } from 'node:async_hooks';
import type { RecordStore } from '#audit';
import type { Clock } from '#base/clock';
import { diskReason } from '#base/database';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { ControlEvent } from '#wire';
import { fail } from './errors.ts';

export type NewEvent = Omit<ControlEvent, 'v' | 'seq' | 'time'>;

export interface Events {
  /** Something that happened. Durable on return, unless the disk refuses: then it is kept, and `assertWritable` throws from now on. */
  record(event: NewEvent): void;
  /** Something that was refused: durable like the others until one kind of refusal comes too often, then counted and summed up each minute. */
  refuse(event: NewEvent): void;
  /** Throws SERVER_EVENTS_UNWRITABLE while events wait for the disk; tries again first. */
  assertWritable(): void;
  readonly waiting: number;
  /** Tries to write what waits. */
  retry(): void;
  /** Runs `work` so that events recorded meanwhile, by whatever part, carry the address of the caller. */
  within<T>(request: RequestContext, work: () => T): T;
  /** Writes the sums. */
  close(): void;
}

/** One request, as far as its events go. */
export interface RequestContext {
  readonly remote: string;
  /** Set when somebody has recorded why it was refused; nobody else does so again. */
  isRefused: boolean;
}

export interface EventsOptions {
  readonly records: RecordStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly refusalsPerMinute: number;
}

const minuteMs = 60_000;
const mostWaiting = 10_000;
const mostKinds = 1_000;

export function createEvents({ records, clock, log, refusalsPerMinute }: EventsOptions): Events {
  const caller = new AsyncLocalStorage<RequestContext>();
  const waiting: NewEvent[] = [];
  let kinds = new Map<string, { count: number; last: NewEvent }>();
  let reason = '';

  const drain = (): boolean => {
    while (waiting.length > 0) {
      try {
        records.addEvent(waiting[0]!);
      } catch (thrown) {
        if (reason === '') log.error('an event could not be written', { reason: messageOf(thrown) });
        reason = diskReason(thrown) ?? messageOf(thrown);
        return false;
      }
      waiting.shift();
    }
    reason = '';
    return true;
  };
  const record = (event: NewEvent): void => {
    const remote = event.remote ?? caller.getStore()?.remote;
    // Full only when the disk has been refusing for long, and then every change is refused too: what is lost here is refusals.
    if (waiting.length < mostWaiting) waiting.push(remote === undefined ? event : { ...event, remote });
    drain();
  };
  const sumUp = (): void => {
    const full = kinds;
    kinds = new Map();
    for (const { count, last } of full.values()) {
      const unwritten = count - refusalsPerMinute;
      if (unwritten <= 0) continue;
      const details = { ...last.details, unwritten, note: 'refusals of this kind that were counted, not written' };
      record({ ...last, details });
    }
  };
  let disarm = (): void => undefined;
  const everyMinute = (): void => {
    disarm = clock.after(minuteMs, () => {
      sumUp();
      everyMinute();
    });
  };
  everyMinute();

  return {
    record,
    refuse(event) {
      const request = caller.getStore();
      if (request) request.isRefused = true;
      let key = `${event.action} ${event.reason}`;
      if (!kinds.has(key) && kinds.size >= mostKinds) key = 'other';
      const count = (kinds.get(key)?.count ?? 0) + 1;
      const remote = event.remote ?? caller.getStore()?.remote;
      kinds.set(key, { count, last: remote === undefined ? event : { ...event, remote } });
      if (count <= refusalsPerMinute) record(event);
    },
    assertWritable() {
      if (!drain()) throw fail('SERVER_EVENTS_UNWRITABLE', { reason });
    },
    get waiting() {
      return waiting.length;
    },
    retry: () => void drain(),
    within: (request, work) => caller.run(request, work),
    close() {
      disarm();
      sumUp();
    },
  };
}
