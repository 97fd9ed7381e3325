// How many requests may pass just now? Token buckets of the limits that routes declare, one for all callers of a route or one for each. A bucket lives on through
// other changes of the configuration; of callers that have not been seen for a while nothing is kept.
import type { RateLimitPlan } from '#routing';

export interface RateLimits {
  /** Takes a place in every bucket, or in none: then the seconds until there is one again. */
  take(plans: readonly RateLimitPlan[], peer: string | undefined): number | undefined;
  readonly size: number;
}

interface Bucket {
  left: number;
  /** Monotonic milliseconds of the last look. */
  at: number;
  /** Full again then, so that nothing is lost when it is forgotten. */
  fullAt: number;
}

const mostBuckets = 16_384;

export interface RateLimitsOptions {
  readonly monotonic: () => number;
  /** This is one of so many threads that share the ports: each lets its part through, and one request at once at least. */
  readonly threads?: number | undefined;
  readonly most?: number;
}

export function createRateLimits(o: RateLimitsOptions): RateLimits {
  const { most = mostBuckets, threads = 1 } = o;
  const burstOf = (plan: RateLimitPlan): number => Math.max(1, plan.burst / threads);
  const perMs = (plan: RateLimitPlan): number => plan.requests / threads / plan.perMs;
  const buckets = new Map<string, Bucket>();
  const bucketOf = (plan: RateLimitPlan, peer: string | undefined, now: number): Bucket => {
    const key = plan.each === 'peer' ? `${plan.key} ${peer ?? ''}` : plan.key;
    let bucket = buckets.get(key);
    if (!bucket) {
      if (buckets.size >= most) forget(now);
      bucket = { left: burstOf(plan), at: now, fullAt: now };
      buckets.set(key, bucket);
    }
    bucket.left = Math.min(burstOf(plan), bucket.left + (now - bucket.at) * perMs(plan));
    bucket.at = now;
    return bucket;
  };
  /** Those that are full say nothing; when that is not enough the oldest go, which favours nobody but them. */
  const forget = (now: number): void => {
    for (const [key, { fullAt }] of buckets) if (fullAt <= now) buckets.delete(key);
    for (const key of buckets.keys()) {
      if (buckets.size < most) return;
      buckets.delete(key);
    }
  };
  return {
    take(plans, peer) {
      const now = o.monotonic();
      let waitMs = 0;
      for (const plan of plans) {
        const { left } = bucketOf(plan, peer, now);
        if (left < 1) waitMs = Math.max(waitMs, (1 - left) / perMs(plan));
      }
      if (waitMs > 0) return Math.max(1, Math.ceil(waitMs / 1_000));
      for (const plan of plans) {
        const bucket = bucketOf(plan, peer, now);
        bucket.left--;
        bucket.fullAt = now + (burstOf(plan) - bucket.left) / perMs(plan);
      }
      return undefined;
    },
    get size() {
      return buckets.size;
    },
  };
}
