// How long to wait before trying again: exponential with full jitter, so that a thousand proxies never knock together.

export interface BackoffOptions {
  readonly firstMs: number;
  readonly longestMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface Backoff {
  /** Milliseconds until the next attempt; grows with each call, at least a tenth of the first wait. */
  next(): number;
  /** Call after a success. */
  reset(): void;
}

export function createBackoff({ firstMs, longestMs, random }: BackoffOptions): Backoff {
  let attempt = 0;
  return {
    next() {
      const ceiling = Math.min(longestMs, firstMs * 2 ** Math.min(attempt++, 30));
      return Math.max(firstMs / 10, random() * ceiling);
    },
    reset: () => {
      attempt = 0;
    },
  };
}
