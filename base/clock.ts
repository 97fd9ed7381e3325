// What time it is, and when to be called again. The only file that reads the system clock; tests pass a settable one.

export interface Clock {
  /** Wall time, milliseconds since the Unix epoch. May step backwards. */
  now(): number;
  /** Milliseconds since an arbitrary start; never steps backwards. */
  monotonic(): number;
  /** Calls `run` once after `ms`; the timer does not keep the process alive. The result cancels it. */
  after(ms: number, run: () => void): () => void;
}

/** Node truncates timers above 2^31-1 ms to 1 ms; longer waits are cut into steps. */
const longestTimer = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, run) {
    let timer: NodeJS.Timeout;
    const arm = (left: number): void => {
      timer = setTimeout(() => (left > longestTimer ? arm(left - longestTimer) : run()), Math.min(left, longestTimer));
      timer.unref();
    };
    arm(Math.max(0, ms));
    return () => clearTimeout(timer);
  },
};
