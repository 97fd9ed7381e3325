// A wait that can be cut short. It does not keep the process alive.
import type { Clock } from '#base/clock';

/** Resolves after `ms`, or as soon as `signal` aborts. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancel = clock.after(ms, resolve);
  const cut = (): void => {
    cancel();
    resolve();
  };
  signal.addEventListener('abort', cut, { once: true });
  return promise;
}
