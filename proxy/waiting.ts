// Who gets the next free connection? Whoever's callers hold the least, and of one caller's requests the oldest: many requests of one do not
// stand in front of the few of another. Bounded in number and in time.
import type { Clock } from '#base/clock';
import { createPlaces } from './shares.ts';

export interface WaitingOptions {
  readonly clock: Clock;
  readonly most: number;
  readonly ms: number;
  /** Why somebody waits no longer, or does not begin to: `share` when only this caller waits too often already. */
  readonly refusal: (why: 'full' | 'share' | 'time') => Error;
}

export interface Waiting<T> {
  /** How many wait. */
  readonly size: number;
  /** Resolves with what `serve` gives it. Rejects with the refusal. */
  join(caller: string | undefined): Promise<T>;
  /** Gives what `make` makes to the next one, by how little its caller `holds`; only to callers that `may`. False when there is none. */
  serve(o: {
    readonly may: (caller: string | undefined) => boolean;
    readonly holds: (caller: string | undefined) => number;
    readonly make: (caller: string | undefined) => T | Promise<T>;
  }): boolean;
}

interface Waiter<T> {
  resolve(value: T | Promise<T>): void;
  cancel(): void;
}

export function createWaiting<T>(o: WaitingOptions): Waiting<T> {
  // In the order in which callers were last served, so that equals take turns.
  const queues = new Map<string | undefined, Waiter<T>[]>();
  const places = createPlaces(o.most);
  let count = 0;

  const leave = (caller: string | undefined, waiter: Waiter<T>): void => {
    const queue = queues.get(caller)!;
    queue.splice(queue.indexOf(waiter), 1);
    queues.delete(caller);
    if (queue.length > 0) queues.set(caller, queue);
    places.giveBack(caller);
    count--;
  };

  return {
    get size() {
      return count;
    },
    join(caller) {
      if (!places.has(caller)) return Promise.reject(o.refusal(count >= o.most ? 'full' : 'share'));
      return new Promise((resolve, reject) => {
        const cancel = o.clock.after(o.ms, () => {
          leave(caller, waiter);
          reject(o.refusal('time'));
        });
        const waiter: Waiter<T> = { resolve, cancel };
        const queue = queues.get(caller);
        if (queue) queue.push(waiter);
        else queues.set(caller, [waiter]);
        places.take(caller);
        count++;
      });
    },
    serve({ may, holds, make }) {
      let chosen: { readonly caller: string | undefined; readonly held: number; readonly first: Waiter<T> } | undefined;
      for (const [caller, [first]] of queues) {
        if (!may(caller)) continue;
        const held = holds(caller);
        if (first && (!chosen || held < chosen.held)) chosen = { caller, held, first };
      }
      if (!chosen) return false;
      leave(chosen.caller, chosen.first);
      chosen.first.cancel();
      chosen.first.resolve(make(chosen.caller));
      return true;
    },
  };
}
