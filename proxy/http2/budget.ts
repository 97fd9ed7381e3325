// How much of something that costs us work one peer may still do: a bucket of tokens. Never refuses a peer that keeps to its allowance.

import type { Allowance } from './limits.ts';
import { errorCode, LinkError } from './link-error.ts';

export interface Budget {
  /** Takes one token; throws `LinkError` ENHANCE_YOUR_CALM when there is none. `now`: monotonic milliseconds. */
  spend(now: number): void;
  /** The same for what we may do ourselves: false, and nothing is taken, when there is none. */
  take(now: number): boolean;
  earn(): void;
}

/** `what`: for people, as in "too many PING frames"; `limit`: the name under which it is counted. */
export function createBudget(o: { allowance: Allowance; what: string; limit: string }): Budget {
  const { burst, perSecond } = o.allowance;
  let left = burst;
  let filledAt = 0;
  const take = (now: number): boolean => {
    left = Math.min(burst, left + ((now - filledAt) * perSecond) / 1_000);
    filledAt = now;
    if (left < 1) return false;
    left--;
    return true;
  };
  return {
    take,
    spend(now) {
      if (!take(now)) throw new LinkError(errorCode.enhanceYourCalm, `too many ${o.what}`, o.limit);
    },
    earn() {
      if (left < burst) left++;
    },
  };
}
