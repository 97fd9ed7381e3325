// Taps: an admin looks at exchanges of many proxies as they end. Few at a time, each with a bound in number and time; a reader that is too slow is
// told how many it missed. When the admin goes, the proxies are told to stop, and one that did not hear it is told with its next batch.
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Clock } from '#base/clock';
import type { LookEvent, TapBatch, TapFilter, TapLine } from '#wire';
import { fail } from './errors.ts';

export interface Taps {
  /** Takes over the response; throws TAP_FULL. `isAsked` says which proxies it is about, also of those that connect later. */
  open(o: {
    readonly filter: TapFilter;
    readonly limit: number;
    readonly forMs: number;
    readonly isAsked: (proxy: TappedProxy) => boolean;
    readonly start: () => ServerResponse;
  }): void;
  /** Of a proxy that has just connected. */
  greet(proxy: TappedProxy): void;
  /** Takes what a proxy has seen; false when its tap is over, or was never its. */
  receive(proxy: TappedProxy, batch: TapBatch): boolean;
  close(): void;
}

export interface TappedProxy {
  readonly instance: string;
  /** SPIFFE ID. */
  readonly service: string;
}

export interface TapsOptions {
  readonly connected: () => Iterable<TappedProxy>;
  readonly tell: (instance: string, event: LookEvent) => boolean;
  readonly clock: Clock;
  readonly limit: number;
}

interface Tap {
  readonly order: Extract<LookEvent, { type: 'tap' }>;
  readonly isAsked: (proxy: TappedProxy) => boolean;
  readonly raw: ServerResponse;
  /** Monotonic. */
  readonly until: number;
  shown: number;
  isBlocked: boolean;
  /** By instance, what the reader has not been told of. */
  readonly missed: Map<string, number>;
  cancel: () => void;
}

export function createTaps({ connected, tell, clock, limit }: TapsOptions): Taps {
  const taps = new Map<string, Tap>();

  const write = (tap: Tap, line: TapLine): void => {
    if (!tap.raw.writableEnded && !tap.raw.destroyed) tap.isBlocked = !tap.raw.write(`${JSON.stringify(line)}\n`);
  };
  const tellMissed = (tap: Tap): void => {
    for (const [instance, count] of tap.missed) write(tap, { type: 'dropped', instance, count });
    tap.missed.clear();
  };
  const miss = (tap: Tap, instance: string, count: number): void => {
    if (count > 0) tap.missed.set(instance, (tap.missed.get(instance) ?? 0) + count);
  };
  /** Forgets it first, so that nothing that follows comes back here. */
  const end = (tap: Tap, why?: 'limit' | 'time' | 'server'): void => {
    const { id } = tap.order;
    if (!taps.delete(id)) return;
    tap.cancel();
    for (const proxy of connected()) if (tap.isAsked(proxy)) tell(proxy.instance, { type: 'untap', id });
    if (!why) return;
    tellMissed(tap);
    write(tap, { type: 'end', why, shown: tap.shown });
    tap.raw.end();
  };

  return {
    open({ filter, limit: most, forMs, isAsked, start }) {
      if (taps.size >= limit) throw fail('TAP_FULL', { limit });
      const raw = start();
      const order = { type: 'tap', id: randomUUID(), filter, limit: most, forMs } as const;
      const until = clock.monotonic() + forMs;
      const tap: Tap = {
        ...{ order, isAsked, raw, until, shown: 0, isBlocked: false, missed: new Map() },
        cancel: clock.after(forMs, () => end(tap, 'time')),
      };
      taps.set(order.id, tap);
      raw.on('drain', () => {
        tap.isBlocked = false;
        tellMissed(tap);
      });
      raw.on('error', () => raw.destroy());
      raw.once('close', () => end(tap));
      raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
      let proxies = 0;
      for (const proxy of connected()) if (isAsked(proxy) && tell(proxy.instance, order)) proxies++;
      write(tap, { type: 'begin', proxies });
    },
    greet(proxy) {
      for (const { order, isAsked, until } of taps.values()) {
        const forMs = Math.round(until - clock.monotonic());
        if (forMs >= 100 && isAsked(proxy)) tell(proxy.instance, { ...order, forMs });
      }
    },
    receive(proxy, { id, records, dropped }) {
      const tap = taps.get(id);
      if (!tap?.isAsked(proxy)) return false;
      miss(tap, proxy.instance, dropped);
      for (const [index, record] of records.entries()) {
        if (tap.isBlocked) {
          miss(tap, proxy.instance, records.length - index);
          break;
        }
        tap.shown++;
        write(tap, { type: 'exchange', record });
        if (tap.shown < tap.order.limit) continue;
        end(tap, 'limit');
        return false;
      }
      if (!tap.isBlocked) tellMissed(tap);
      return true;
    },
    close() {
      for (const tap of [...taps.values()]) end(tap, 'server');
    },
  };
}
