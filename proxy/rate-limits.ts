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

/** Of limits of a route, and again of limits of each peer: however many peers come, what all of them share is not forgotten for it. */
const mostBuckets = 16_384;
/** Between two looks for buckets that are full again: each is at all of them. */
const sweepMs = 1_000;

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
  const ofRoutes = createBuckets(most);
  const ofPeers = createBuckets(most);
  const bucketOf = (plan: RateLimitPlan, peer: string | undefined, now: number): Bucket => {
    const make = (): Bucket => ({ left: burstOf(plan), at: now, fullAt: now });
    const bucket =
      plan.each === 'peer' ? ofPeers.get(`${plan.key} ${peer ?? ''}`, now, make) : ofRoutes.get(plan.key, now, make);
    bucket.left = Math.min(burstOf(plan), bucket.left + (now - bucket.at) * perMs(plan));
    bucket.at = now;
    return bucket;
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
      return ofRoutes.size + ofPeers.size;
    },
  };
}

/** Those that are full say nothing and go first; when that is not enough, the one that was not asked for the longest. */
function createBuckets(most: number) {
  const buckets = new Map<string, Bucket>();
  let sweptAt = Number.NEGATIVE_INFINITY;
  const makeRoom = (now: number): void => {
    if (now - sweptAt >= sweepMs) {
      sweptAt = now;
      for (const [key, { fullAt }] of buckets) if (fullAt <= now) buckets.delete(key);
    }
    for (const key of buckets.keys()) {
      if (buckets.size < most) return;
      buckets.delete(key);
    }
  };
  return {
    get(key: string, now: number, make: () => Bucket): Bucket {
      const known = buckets.get(key);
      if (known) buckets.delete(key);
      else if (buckets.size >= most) makeRoom(now);
      const bucket = known ?? make();
      buckets.set(key, bucket);
      return bucket;
    },
    get size() {
      return buckets.size;
    },
  };
}
