// Is this one asking too often? A token bucket for each name, so that one that floods is slowed and nobody else is (C10).
import type { Clock } from '#base/clock';

export interface FloodLimit {
  /** Takes one from the bucket of `name`; false when it is empty. */
  admit(name: string): boolean;
}

/** Buckets kept at once; beyond that, full ones (which say nothing) are dropped first. */
const mostBuckets = 100_000;

/** `burst` at once, then one in each `everyMs`. */
export function createFloodLimit(o: {
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly burst: number;
  readonly everyMs: number;
}): FloodLimit {
  const buckets = new Map<string, { left: number; at: number }>();
  const refill = (bucket: { left: number; at: number }, now: number): number =>
    Math.min(o.burst, bucket.left + (now - bucket.at) / o.everyMs);
  return {
    admit(name) {
      const now = o.clock.monotonic();
      const bucket = buckets.get(name) ?? { left: o.burst, at: now };
      const left = refill(bucket, now);
      if (left < 1) return false;
      if (buckets.size >= mostBuckets && !buckets.has(name))
        for (const [other, state] of buckets) if (refill(state, now) >= o.burst) buckets.delete(other);
      if (buckets.size < mostBuckets || buckets.has(name)) buckets.set(name, { left: left - 1, at: now });
      return true;
    },
  };
}
