// How much of something that costs us work one peer may still do: a bucket of tokens. Never refuses a peer that keeps to its allowance.

import type { Allowance } from './limits.ts';
import { errorCode, LinkError } from './link-error.ts';

export interface Budget {
  /** Takes one token; throws `LinkError` ENHANCE_YOUR_CALM when there is none. `now`: monotonic milliseconds. */
  spend(now: number): void;
  earn(): void;
}

/** `what`: for people, as in "too many PING frames"; `limit`: the name under which it is counted. */
export function createBudget(o: { allowance: Allowance; what: string; limit: string }): Budget {
  const { burst, perSecond } = o.allowance;
  let left = burst;
  let filledAt = 0;
  return {
    spend(now) {
      left = Math.min(burst, left + ((now - filledAt) * perSecond) / 1_000);
      filledAt = now;
      if (left < 1) throw new LinkError(errorCode.enhanceYourCalm, `too many ${o.what}`, o.limit);
      left--;
    },
    earn() {
      if (left < burst) left++;
    },
  };
}
