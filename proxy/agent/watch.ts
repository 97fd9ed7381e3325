// The one long-lived stream from the control plane: configuration, and the word to renew. Opened again for ever, with back-off and
// jitter, whatever ends it; never more than one at a time.
import { createBackoff } from '#base/backoff';
import type { Clock } from '#base/clock';
import { messageOf, type Problem } from '#base/error';
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';
import { isValid } from '#base/schema';
import { type LookEvent, lookEvent, type WatchRequest, watchPingMs, wireVersion } from '#wire';
import type { Channel } from '#wire/channel';
import { type LargeEvent, largeBytes } from './large-snapshot.ts';
import { pause } from './pause.ts';
import { isRefusedIdentity } from './standing.ts';

export interface Watch {
  readonly connected: boolean;
  /** Opens the stream anew at once, as after a renewal: it must not outlive the certificate it was opened with. */
  reopen(): void;
  close(): void;
}

export interface WatchOptions {
  readonly channel: Channel;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
  /** The revision in force, told to the server on each opening. */
  readonly revision: () => number;
  /** `problems`: what is wrong with it, when that has been looked for already. */
  readonly onSnapshot: (snapshot: unknown, problems?: readonly Problem[]) => void;
  /** Reads an event that would hold the event loop. What follows it on the stream waits. */
  readonly readLarge: (line: Uint8Array<ArrayBuffer>) => Promise<LargeEvent>;
  /** What has changed since; false when it does not fit: the stream is opened again, which brings the whole. */
  readonly onChange: (change: unknown) => boolean;
  readonly onRenew: () => void;
  /** An admin wants to see something of this proxy. */
  readonly onLook: (event: LookEvent) => void;
  /** A stream that says nothing for so long is dead; three pings by default. */
  readonly silenceMs?: number;
}

const firstRetryMs = 200;
const longestRetryMs = 15_000;
/** A banned identity is let in again about as long after the ban is lifted as the ban has lasted, and never later than this. */
const bannedRetryMs = 5_000;

export function startWatch(options: WatchOptions): Watch {
  const { channel, clock, random, log, silenceMs = 3 * watchPingMs } = options;
  const backoff = createBackoff({ firstMs: firstRetryMs, longestMs: longestRetryMs, random });
  const reconnects = options.metrics.counter({
    name: 'postern_watch_connects_total',
    help: 'Times the stream to the control plane was opened',
  })();
  let connected = false;
  options.metrics.gauge({
    name: 'postern_watch_connected',
    help: '1 while the stream to the control plane is open',
    read: () => Number(connected),
  });
  let closed = false;
  let again = false;
  let current = new AbortController();
  let announced = false;

  const listen = async (): Promise<void> => {
    reconnects.value++;
    const body: WatchRequest = { version: wireVersion, revision: options.revision(), changes: true };
    const request = {
      method: 'POST',
      path: '/v1/proxy/watch',
      body,
      silenceMs,
      largeBytes,
      signal: current.signal,
    } as const;
    for await (const event of channel.stream(request)) {
      if (!connected) log.info('connected to the control plane');
      connected = true;
      announced = false;
      backoff.reset();
      const { signal } = current;
      const read = event instanceof Uint8Array ? await options.readLarge(event as Uint8Array<ArrayBuffer>) : { event };
      if (signal.aborted || !handle(read)) return;
    }
  };

  /** False when this stream is of no use any more. */
  const handle = ({ event, problems }: LargeEvent): boolean => {
    const { type, snapshot, change } = (event ?? {}) as { type?: unknown; snapshot?: unknown; change?: unknown };
    if (type === 'snapshot') options.onSnapshot(snapshot, problems);
    else if (type === 'change') return takeChange(change);
    else if (type === 'renew') options.onRenew();
    else if (type === 'goodbye') return false;
    else if (isValid(lookEvent, event)) options.onLook(event);
    else if (type !== 'ping')
      log.warn('the control plane sent an event that is not known here', { type: String(type) });
    return true;
  };

  const takeChange = (change: unknown): boolean => {
    const isTaken = options.onChange(change);
    if (!isTaken) log.warn('a change of the configuration does not fit the one held here; asking for the whole');
    return isTaken;
  };

  const run = async (): Promise<void> => {
    while (!closed) {
      current = new AbortController();
      again = false;
      let refused = false;
      try {
        await listen();
        if (!closed && !again) log.info('the control plane ended the stream; connecting again');
      } catch (thrown) {
        refused = isRefusedIdentity(thrown);
        const fields = { reason: messageOf(thrown) };
        // Said once for each outage: the attempts go on quietly.
        if (!announced) log.warn('the control plane is not reachable; the configuration in force stays', fields);
        else log.debug('the control plane is still not reachable', fields);
        announced = true;
      }
      connected = false;
      if (closed || again) continue;
      const waitMs = backoff.next();
      await pause(clock, refused ? Math.min(waitMs, bannedRetryMs) : waitMs, current.signal);
    }
  };
  void run();

  return {
    get connected() {
      return connected;
    },
    reopen() {
      again = true;
      current.abort();
    },
    close() {
      closed = true;
      current.abort();
    },
  };
}
