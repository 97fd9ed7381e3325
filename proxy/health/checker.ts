// Asks endpoints again and again whether they serve, and says when that changes. Never more than one question at a time to one endpoint, and a bounded
// number to all of them together. An endpoint is used before it was asked; its first answer, which is asked for at once, counts by itself.
import type { Clock } from '#base/clock';
import { formatHostPort, type HostPort } from '#base/host-port';
import type { ExternalLink } from '../cluster-link.ts';
import type { HealthCheck } from './check.ts';
import { type OpenPool, probe } from './probe.ts';
import type { Turnstile } from './turnstile.ts';

export interface CheckerOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly openPool: OpenPool;
  readonly turnstile: Turnstile;
  /** It is healthy now, or is not any more and why. Not called for one that is healthy from its first answer on. */
  readonly onChange: (o: { readonly address: string; readonly reason: string | undefined }) => void;
  /** Each answer: `undefined` for a good one. */
  readonly onAnswer: (reason: string | undefined) => void;
}

export interface Checker {
  /** From now on these and no others, in this way. What is known of those that stay is kept. */
  use(o: { readonly check: HealthCheck; readonly link: ExternalLink; readonly endpoints: readonly HostPort[] }): void;
  /** `undefined`: it was not asked yet. */
  isHealthy(address: string): boolean | undefined;
  close(): void;
}

interface Watched {
  readonly endpoint: HostPort;
  isHealthy: boolean | undefined;
  /** Answers in a row that speak against `isHealthy`. */
  against: number;
  isGone: boolean;
  cancel: (() => void) | undefined;
}

export function createChecker(o: CheckerOptions): Checker {
  const watched = new Map<string, Watched>();
  let check: HealthCheck;
  let link: ExternalLink;

  const plan = (one: Watched, ms: number): void => {
    one.cancel = o.clock.after(ms, () => {
      one.cancel = o.turnstile.enter((leave) => void ask(one).finally(leave));
    });
  };
  const ask = async (one: Watched): Promise<void> => {
    if (one.isGone) return;
    const reason = await probe({ ...o, check, link, endpoint: one.endpoint });
    if (one.isGone) return;
    o.onAnswer(reason);
    note(one, reason);
    plan(one, check.intervalMs * (0.9 + 0.2 * o.random()));
  };
  const note = (one: Watched, reason: string | undefined): void => {
    const isGood = reason === undefined;
    if (one.isHealthy === isGood) {
      one.against = 0;
      return;
    }
    const isFirst = one.isHealthy === undefined;
    if (!isFirst && ++one.against < (isGood ? check.healthyThreshold : check.unhealthyThreshold)) return;
    one.against = 0;
    one.isHealthy = isGood;
    if (!isFirst || !isGood) o.onChange({ address: formatHostPort(one.endpoint), reason });
  };
  const forget = (address: string, one: Watched): void => {
    watched.delete(address);
    one.isGone = true;
    one.cancel?.();
  };

  return {
    use(next) {
      ({ check, link } = next);
      const endpoints = new Map(next.endpoints.map((endpoint) => [formatHostPort(endpoint), endpoint]));
      for (const [address, one] of watched) if (!endpoints.has(address)) forget(address, one);
      for (const [address, endpoint] of endpoints) {
        if (watched.has(address)) continue;
        const one: Watched = {
          endpoint,
          isHealthy: undefined,
          against: 0,
          isGone: false,
          cancel: undefined,
        };
        watched.set(address, one);
        plan(one, (check.intervalMs / 10) * o.random());
      }
    },
    isHealthy: (address) => watched.get(address)?.isHealthy,
    close() {
      for (const [address, one] of watched) forget(address, one);
    },
  };
}
