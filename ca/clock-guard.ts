// Can the clock be believed right now? Wall time is compared with time that never steps; after a jump nothing is issued until the clock has
// been steady for a while, so that a certificate never carries a time that somebody is just about to correct (C15).
import type { Clock } from '#base/clock';
import { fail } from './errors.ts';

/** A smaller step is what time daemons do all day. */
const toleratedMs = 60_000;
const steadyMs = 30_000;
/** Times that a certificate can carry: 2000 to 9998. */
const earliest = Date.UTC(2000, 0, 1);
const latest = Date.UTC(9998, 0, 1);

export interface ClockGuard {
  /** The wall time; throws `CA_CLOCK_STEPPED` or `CA_CLOCK_WRONG` when it cannot be believed. */
  now(): number;
}

export function createClockGuard(clock: Pick<Clock, 'now' | 'monotonic'>): ClockGuard {
  let offset = clock.now() - clock.monotonic();
  let steppedAt: number | undefined;
  let stepMs = 0;
  return {
    now() {
      const wall = clock.now();
      const monotonic = clock.monotonic();
      const step = wall - monotonic - offset;
      if (Math.abs(step) > toleratedMs) [steppedAt, stepMs] = [monotonic, step];
      offset = wall - monotonic;
      if (steppedAt !== undefined && monotonic - steppedAt < steadyMs)
        throw fail('CA_CLOCK_STEPPED', { seconds: Math.round(stepMs / 1_000), steadySeconds: steadyMs / 1_000 });
      steppedAt = undefined;
      if (!(wall >= earliest && wall <= latest)) throw fail('CA_CLOCK_WRONG', { now: String(wall) });
      return wall;
    },
  };
}
