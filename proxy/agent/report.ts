// What the control plane is told, every few seconds and at once after a change: the revision in force, a refusal, the state.
// It is the heartbeat that keeps the instance in discovery, so it goes on for ever and never piles up.
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';
import { type InstanceFacts, type ProxyReport, reportEveryMs, wireVersion } from '#wire';
import type { Channel } from '#wire/channel';
import { isRefusedIdentity } from './standing.ts';

export interface Reporter {
  /** Sends a report now, or right after the one under way; resolves when it was received or failed. */
  reportNow(): Promise<void>;
  /** Stops the heartbeat, sends one last report and resolves when it was received or failed. */
  close(): Promise<void>;
}

export interface ReporterOptions {
  readonly channel: Channel;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
  /** All but the facts, as it is at this moment. */
  readonly report: () => Omit<ProxyReport, 'version' | 'facts'>;
  readonly facts: () => InstanceFacts;
  readonly everyMs?: number;
}

/** A banned instance reports this much less often. */
const bannedFactor = 12;

export function startReporter(options: ReporterOptions): Reporter {
  const { channel, clock, random, log, everyMs = reportEveryMs } = options;
  const outcomes = options.metrics.counter({
    name: 'postern_reports_total',
    help: 'Reports to the control plane by outcome',
    labels: ['outcome'],
  });
  let sentFacts = '';
  let cancel: (() => void) | undefined;
  let sending: Promise<void> | undefined;
  let wanted = false;
  let closed = false;
  let slow = false;

  const send = async (): Promise<void> => {
    const facts = options.facts();
    const text = JSON.stringify(facts);
    const body: ProxyReport = { version: wireVersion, ...options.report(), ...(text !== sentFacts && { facts }) };
    try {
      await channel.call({ method: 'POST', path: '/v1/proxy/report', body });
      sentFacts = text;
      slow = false;
      outcomes('received').value++;
    } catch (thrown) {
      // The server may have lost what it knew of this instance: the next report says everything again.
      sentFacts = '';
      slow = isRefusedIdentity(thrown);
      outcomes('failed').value++;
      log.debug('a report was not received', { reason: messageOf(thrown) });
    }
  };

  const loop = async (): Promise<void> => {
    do {
      wanted = false;
      await send();
    } while (wanted);
  };

  const beat = (): Promise<void> => {
    cancel?.();
    sending ??= loop().finally(() => {
      sending = undefined;
      const waitMs = everyMs * (0.9 + 0.2 * random()) * (slow ? bannedFactor : 1);
      if (!closed) cancel = clock.after(waitMs, () => void beat());
    });
    return sending;
  };
  void beat();

  const reportNow = (): Promise<void> => {
    wanted = true;
    return beat();
  };
  return {
    reportNow: async () => {
      if (!closed) await reportNow();
    },
    async close() {
      closed = true;
      await reportNow();
      cancel?.();
    },
  };
}
