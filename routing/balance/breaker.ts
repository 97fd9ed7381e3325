// How many requests and retries of a cluster there may be at a time. A retry needs a place in the budget, so that a cluster that fails is
// not asked ever more often because it fails.
import type { BreakerBounds } from './settings.ts';

export class Breaker {
  bounds: BreakerBounds;
  /** In progress. */
  requests = 0;
  retries = 0;
  /** Times that a bound has bitten. */
  readonly refused = { maxRequests: 0, maxRetries: 0, retryBudget: 0 };

  constructor(bounds: BreakerBounds) {
    this.bounds = bounds;
  }

  /** The result ends the request; to call it again does nothing. `undefined`: no place. */
  admit(): (() => void) | undefined {
    if (this.requests >= this.bounds.maxRequests) {
      this.refused.maxRequests++;
      return undefined;
    }
    this.requests++;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.requests--;
    };
  }

  /** The same for a retry, whose request is counted already. */
  admitRetry(): (() => void) | undefined {
    const { maxRetries, minRetries, retryBudget } = this.bounds;
    const isOverBudget = this.retries >= Math.max(minRetries, retryBudget * this.requests);
    if (this.retries >= maxRetries || isOverBudget) {
      this.refused[isOverBudget ? 'retryBudget' : 'maxRetries']++;
      return undefined;
    }
    this.retries++;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.retries--;
    };
  }
}
