// Connections to one place under one identity, used again while they are good. Bounded both in connections and in who waits for one; never
// shared with another pool, so never with another identity.

import type { Clock } from '#base/clock';
import type { PosternError } from '#base/error';
import type { Http1Upstream } from './http1/upstream.ts';

export interface PoolOptions {
  readonly clock: Clock;
  readonly connections: number;
  readonly pending: number;
  readonly pendingMs: number;
  readonly idleMs: number;
  /** Makes a new connection; `idle` and `gone` of the pool are its `onIdle` and `onGone`. */
  readonly dial: (pool: Pool) => Promise<Http1Upstream>;
  readonly overloaded: () => PosternError;
  readonly onLimit: (limit: string) => void;
}

export interface Pool {
  /** A connection that can carry one exchange now. `fresh` never gives a used one. Rejects with why there is none. */
  take(o?: { readonly fresh?: boolean }): Promise<Http1Upstream> | Http1Upstream;
  /** The connection can carry another exchange. */
  idle(upstream: Http1Upstream, announcedIdleMs?: number): void;
  gone(upstream: Http1Upstream): void;
  /** Nothing new is taken from it; idle connections close, busy ones when their exchange ends. */
  retire(): void;
  readonly size: number;
}

interface Waiter {
  resolve(upstream: Http1Upstream | Promise<Http1Upstream>): void;
  reject(fault: PosternError): void;
  cancel(): void;
}

export function createPool(o: PoolOptions): Pool {
  const idle: Http1Upstream[] = [];
  const waiting: Waiter[] = [];
  let size = 0;
  let isRetired = false;

  const dial = async (): Promise<Http1Upstream> => {
    size++;
    try {
      return await o.dial(pool);
    } catch (thrown) {
      size--;
      serveNext();
      throw thrown;
    }
  };
  /** A place has become free: the one that waits longest gets it. */
  const serveNext = (): void => {
    if (size >= o.connections) return;
    const next = waiting.shift();
    next?.cancel();
    next?.resolve(dial());
  };
  const wait = (): Promise<Http1Upstream> => {
    if (waiting.length >= o.pending) {
      o.onLimit('pool-pending');
      return Promise.reject(o.overloaded());
    }
    return new Promise((resolve, reject) => {
      const cancel = o.clock.after(o.pendingMs, () => {
        waiting.splice(waiting.indexOf(waiter), 1);
        o.onLimit('pool-pending-time');
        reject(o.overloaded());
      });
      const waiter: Waiter = { resolve, reject, cancel };
      waiting.push(waiter);
    });
  };
  const pool: Pool = {
    get size() {
      return size;
    },
    take({ fresh = false } = {}) {
      if (!fresh) {
        for (let upstream = idle.pop(); upstream; upstream = idle.pop()) if (upstream.isIdle) return upstream;
      } else if (size >= o.connections) idle.shift()?.retire();
      return size < o.connections ? dial() : wait();
    },
    idle(upstream, announcedIdleMs) {
      const next = waiting.shift();
      if (next) {
        next.cancel();
        return next.resolve(upstream);
      }
      if (isRetired) return upstream.retire();
      // A second less than the server says, so that we close first.
      const ms = Math.min(o.idleMs, Math.max(0, (announcedIdleMs ?? Number.POSITIVE_INFINITY) - 1_000));
      if (ms === 0) return upstream.retire();
      upstream.connection.deadline = o.clock.monotonic() + ms;
      idle.push(upstream);
    },
    gone(upstream) {
      size--;
      const at = idle.indexOf(upstream);
      if (at >= 0) idle.splice(at, 1);
      serveNext();
    },
    retire() {
      isRetired = true;
      for (const upstream of idle.splice(0)) upstream.retire();
    },
  };
  return pool;
}
