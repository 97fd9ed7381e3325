// How often one caller may ask: a token bucket for each key, in bounded memory. When the table is full the fullest buckets are forgotten,
// which can only be kinder to those who asked least.
import type { Clock } from '#base/clock';
import type { Rate } from './limits.ts';

export interface RateLimiter {
  /** Takes one token of `key`; false when there is none. */
  take(key: string): boolean;
}

const mostKeys = 50_000;

export function createRateLimiter({ burst, perSecond, clock }: Rate & { readonly clock: Clock }): RateLimiter {
  const buckets = new Map<string, { tokens: number; at: number }>();
  const refill = (bucket: { tokens: number; at: number }, now: number): void => {
    bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1_000) * perSecond);
    bucket.at = now;
  };
  const forgetFull = (now: number): void => {
    for (const [key, bucket] of buckets) {
      refill(bucket, now);
      if (bucket.tokens >= burst) buckets.delete(key);
    }
    // Everybody is busy: forget the longest known, half of the table at a time so that this stays rare.
    if (buckets.size < mostKeys) return;
    for (const key of buckets.keys()) {
      if (buckets.size <= mostKeys / 2) return;
      buckets.delete(key);
    }
  };
  return {
    take(key) {
      const now = clock.monotonic();
      let bucket = buckets.get(key);
      if (!bucket) {
        if (buckets.size >= mostKeys) forgetFull(now);
        bucket = { tokens: burst, at: now };
        buckets.set(key, bucket);
      }
      refill(bucket, now);
      if (bucket.tokens < 1) return false;
      bucket.tokens -= 1;
      return true;
    },
  };
}
