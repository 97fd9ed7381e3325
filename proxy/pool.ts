// Connections to the application, used again while they are good. Bounded both in connections and in who waits for one, shared
// fairly among callers; those to other proxies are in link-pool.ts.

import type { Clock } from '#base/clock';
import type { PosternError } from '#base/error';
import type { Connection } from './connection.ts';
import type { Exchange, Upstream } from './exchange.ts';
import type { FieldList, Tunnel } from './request-head.ts';
import { createPlaces } from './shares.ts';
import { createWaiting } from './waiting.ts';

export interface PoolOptions {
  readonly clock: Clock;
  readonly connections: number;
  readonly pending: number;
  readonly pendingMs: number;
  readonly idleMs: number;
  /** Makes a new connection; `idle` and `gone` of the pool are its `onIdle` and `onGone`. */
  readonly dial: (pool: AppPool) => Promise<AppConnection>;
  readonly overloaded: () => PosternError;
  readonly onLimit: (limit: string) => void;
}

export interface TakeOptions {
  /** Never a used connection. */
  readonly fresh?: boolean;
  /** For whom, where several share: nobody gets so many that the others find none. */
  readonly caller?: string | undefined;
  /** What the request asks for, where that decides which connection can carry it. */
  readonly tunnel?: Tunnel | undefined;
}

/** A place for one exchange on a connection: call exactly one of both, at once. */
export interface Place {
  /** Sends the head; the body follows by `data` and `end` unless the head says that there is none. */
  start(exchange: Exchange, fields: FieldList): Upstream;
  /** It is not needed after all. */
  release(): void;
}

export interface Pool {
  /** A place to send one exchange now. Rejects with why there is none. */
  take(o?: TakeOptions): Promise<Place> | Place;
  /** Nothing new is kept: connections close when the exchanges end that they carry. */
  retire(): void;
}

/** A connection that carries one exchange at a time. */
export interface AppConnection extends Place {
  readonly connection: Connection;
  readonly isIdle: boolean;
  /** Closes it unless it carries something. */
  retire(): void;
}

/** Connections that carry one exchange at a time, as applications take them. */
export interface AppPool extends Pool {
  /** A connection that can carry one exchange now. Rejects with why there is none. */
  take(o?: TakeOptions): Promise<AppConnection> | AppConnection;
  /** The connection can carry another exchange. */
  idle(upstream: AppConnection, announcedIdleMs?: number): void;
  gone(upstream: AppConnection): void;
  /** Nothing new is taken from it; idle connections close, busy ones when their exchange ends. */
  retire(): void;
  readonly size: number;
}

const limitNames = { full: 'pool-pending', share: 'pool-share', time: 'pool-pending-time' } as const;

export function createPool(o: PoolOptions): AppPool {
  const idle: AppConnection[] = [];
  /** For whom each connection works, while it does. */
  const work = new Map<AppConnection, { isBusy: boolean; caller: string | undefined }>();
  const places = createPlaces(o.connections);
  const waiting = createWaiting<AppConnection>({
    clock: o.clock,
    most: o.pending,
    ms: o.pendingMs,
    refusal(why) {
      o.onLimit(limitNames[why]);
      return o.overloaded();
    },
  });
  let size = 0;
  let isRetired = false;

  const dial = async (caller: string | undefined): Promise<AppConnection> => {
    size++;
    places.take(caller);
    try {
      const upstream = await o.dial(pool);
      work.set(upstream, { isBusy: true, caller });
      return upstream;
    } catch (thrown) {
      size--;
      places.giveBack(caller);
      serveWaiting();
      throw thrown;
    }
  };
  const use = (upstream: AppConnection, caller: string | undefined): AppConnection => {
    places.take(caller);
    const own = work.get(upstream)!;
    own.isBusy = true;
    own.caller = caller;
    return upstream;
  };
  const release = (upstream: AppConnection): void => {
    const own = work.get(upstream);
    if (!own?.isBusy) return;
    own.isBusy = false;
    places.giveBack(own.caller);
  };
  const takeIdle = (): AppConnection | undefined => {
    for (let upstream = idle.pop(); upstream; upstream = idle.pop()) if (upstream.isIdle) return upstream;
    return undefined;
  };
  /** Something has become free, and with it perhaps a place for more than one. */
  const serveWaiting = (): void => {
    while (waiting.size > 0) {
      const ready = takeIdle();
      if (!ready && size >= o.connections) return;
      if (serve((caller) => (ready ? use(ready, caller) : dial(caller)))) continue;
      if (ready) idle.push(ready);
      return;
    }
  };
  const serve = (make: (caller: string | undefined) => AppConnection | Promise<AppConnection>): boolean =>
    waiting.serve({ may: places.has, holds: places.heldBy, make });
  const pool: AppPool = {
    get size() {
      return size;
    },
    take({ fresh = false, caller } = {}) {
      if (!places.has(caller)) return waiting.join(caller);
      if (!fresh) {
        const upstream = takeIdle();
        if (upstream) return use(upstream, caller);
      } else if (size >= o.connections) idle.shift()?.retire();
      return size < o.connections ? dial(caller) : waiting.join(caller);
    },
    idle(upstream, announcedIdleMs) {
      release(upstream);
      if (waiting.size > 0 && serve((caller) => use(upstream, caller))) return serveWaiting();
      if (isRetired) return upstream.retire();
      // A second less than the server says, so that we close first.
      const ms = Math.min(o.idleMs, Math.max(0, (announcedIdleMs ?? Number.POSITIVE_INFINITY) - 1_000));
      if (ms === 0) return upstream.retire();
      upstream.connection.deadline = o.clock.monotonic() + ms;
      idle.push(upstream);
      serveWaiting();
    },
    gone(upstream) {
      size--;
      release(upstream);
      work.delete(upstream);
      const at = idle.indexOf(upstream);
      if (at >= 0) idle.splice(at, 1);
      serveWaiting();
    },
    retire() {
      isRetired = true;
      for (const upstream of idle.splice(0)) upstream.retire();
    },
  };
  return pool;
}
