// A clock that stands still until it is told to move; timers fire in order while it moves.
import type { Clock } from '#base/clock';

export interface SettableClock extends Clock {
  /** Moves time forward and runs what came due, oldest first. */
  advance(ms: number): void;
  /** Steps wall time only, as an administrator or NTP would. */
  step(ms: number): void;
}

export function createClock(start = Date.UTC(2026, 0, 1)): SettableClock {
  let elapsed = 0;
  let offset = start;
  const timers = new Set<{ at: number; run: () => void }>();
  return {
    now: () => offset + elapsed,
    monotonic: () => elapsed,
    after(ms, run) {
      const timer = { at: elapsed + Math.max(0, ms), run };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    advance(ms) {
      const target = elapsed + ms;
      for (;;) {
        const [due] = [...timers].filter((timer) => timer.at <= target).sort((a, b) => a.at - b.at);
        if (!due) break;
        timers.delete(due);
        elapsed = Math.max(elapsed, due.at);
        due.run();
      }
      elapsed = target;
    },
    step(ms) {
      offset += ms;
    },
  };
}
