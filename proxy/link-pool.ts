// Links to one service at one address under one identity, used again while they are good: one exchange at a time over HTTP/1.1, many over HTTP/2. Bounded
// both in connections and in who waits for one; never shared with another pool, so never with another identity.
import type { Clock } from '#base/clock';
import type { PosternError } from '#base/error';
import type { Exchange, Upstream } from './exchange.ts';
import type { Place, Pool } from './pool.ts';
import type { FieldList } from './request-head.ts';

/** A connection that carries exchanges, whatever it speaks. */
export interface Carrier {
  /** How many more exchanges it could carry now. */
  readonly room: number;
  /** Sends the head; the body follows by `data` and `end` unless the head says that there is none. */
  start(exchange: Exchange, fields: FieldList): Upstream;
  /** Takes nothing new and closes when what it carries has ended. */
  retire(): void;
}

/** What a carrier tells its pool. */
export interface CarrierEvents {
  /** It has room for an exchange (again). */
  onRoom(): void;
  /** It takes no further exchange. */
  onGone(): void;
}

export interface LinkPoolOptions {
  readonly clock: Clock;
  readonly connections: number;
  readonly pending: number;
  readonly pendingMs: number;
  /** So many exchanges are expected to share a connection, until the first one shows what it can carry. */
  readonly expected: number;
  /** Makes a new connection, within a time of its own. */
  readonly dial: (events: CarrierEvents) => Promise<Carrier>;
  readonly overloaded: () => PosternError;
  readonly onLimit: (limit: string) => void;
}

interface Waiter {
  readonly fresh: boolean;
  resolve(place: Place): void;
  reject(fault: unknown): void;
  cancel(): void;
}

export function createLinkPool(o: LinkPoolOptions): Pool {
  const all = new Set<Seats>();
  /** Those that may have room; the one used last is at the end. */
  const free: Seats[] = [];
  const waiting: Waiter[] = [];
  let dialling = 0;
  let expected = o.expected;
  let isRetired = false;

  const dial = (): void => {
    dialling++;
    const seats = new Seats(rest);
    const events: CarrierEvents = { onRoom: () => offer(seats, false), onGone: () => gone(seats) };
    o.dial(events).then(
      (carrier) => {
        dialling--;
        seats.carrier = carrier;
        if (!seats.isGone) all.add(seats);
        expected = Math.max(1, carrier.room);
        offer(seats, true);
        dialForWaiting();
      },
      (thrown: unknown) => {
        dialling--;
        // Those who counted on this connection hear why there is none; who is left over gets another try.
        for (const waiter of waiting.splice(0, Math.max(0, Math.min(expected, waiting.length - dialling * expected)))) {
          waiter.cancel();
          waiter.reject(thrown);
        }
        dialForWaiting();
      },
    );
  };
  const dialForWaiting = (): void => {
    while (waiting.length > dialling * expected && all.size + dialling < o.connections) dial();
  };
  /** Gives the room of a connection to those who wait longest, and keeps what is left of it. */
  const offer = (seats: Seats, isNew: boolean): void => {
    if (seats.isFree && waiting.length === 0 && !isRetired) return;
    // One at least for each that was made, so that nobody waits for ever: a request on a dead connection fails as such.
    let isOwed = isNew;
    for (let at = 0; at < waiting.length && (isOwed || seats.left > 0); isOwed = false) {
      const waiter = waiting[at]!;
      if (waiter.fresh && !isNew) {
        at++;
        continue;
      }
      waiting.splice(at, 1);
      waiter.cancel();
      seats.reserved++;
      waiter.resolve(seats);
    }
    if (isRetired) return retireUnused(seats);
    if (seats.left <= 0 || seats.isFree) return;
    seats.isFree = true;
    free.push(seats);
  };
  const gone = (seats: Seats): void => {
    seats.isGone = true;
    all.delete(seats);
    if (seats.isFree) free.splice(free.indexOf(seats), 1);
    seats.isFree = false;
    dialForWaiting();
  };
  const rest = (seats: Seats): void => {
    if (!seats.isGone) offer(seats, false);
  };
  /** Whoever has a place already shall find the connection open. */
  const retireUnused = (seats: Seats): void => {
    if (seats.reserved === 0) seats.carrier?.retire();
  };
  /** A place on the connection used last that has one. */
  const placeNow = (): Place | undefined => {
    for (let seats = free.at(-1); seats; seats = free.at(-1)) {
      const { left } = seats;
      if (left <= 1) {
        free.pop();
        seats.isFree = false;
      }
      if (left < 1) continue;
      seats.reserved++;
      return seats;
    }
    return undefined;
  };
  const wait = (fresh: boolean): Promise<Place> => {
    if (waiting.length - dialling * expected >= o.pending) {
      o.onLimit('pool-pending');
      return Promise.reject(o.overloaded());
    }
    return new Promise((resolve, reject) => {
      const overdue = (): void => {
        // A connection is being made for it, which takes its own time and not longer.
        if (waiting.indexOf(waiter) < dialling * expected) {
          waiter.cancel = o.clock.after(o.pendingMs, overdue);
          return;
        }
        waiting.splice(waiting.indexOf(waiter), 1);
        o.onLimit('pool-pending-time');
        reject(o.overloaded());
      };
      const waiter: Waiter = { fresh, resolve, reject, cancel: o.clock.after(o.pendingMs, overdue) };
      waiting.push(waiter);
    });
  };
  return {
    take({ fresh = false } = {}) {
      const place = fresh ? undefined : placeNow();
      if (place) return place;
      if (fresh && all.size + dialling >= o.connections) free.find(({ reserved }) => reserved === 0)?.carrier?.retire();
      if (waiting.length >= dialling * expected && all.size + dialling < o.connections) dial();
      return wait(fresh);
    },
    retire() {
      isRetired = true;
      for (const seats of [...all]) retireUnused(seats);
    },
  };
}

/** One connection and the places on it that are given away but not taken yet. */
class Seats implements Place {
  carrier: Carrier | undefined;
  reserved = 0;
  isFree = false;
  isGone = false;
  readonly #rest: (seats: Seats) => void;

  /** `rest`: a place has been taken or given back. */
  constructor(rest: (seats: Seats) => void) {
    this.#rest = rest;
  }

  get left(): number {
    return this.isGone || !this.carrier ? 0 : this.carrier.room - this.reserved;
  }

  start(exchange: Exchange, fields: FieldList): Upstream {
    this.reserved--;
    const upstream = this.carrier!.start(exchange, fields);
    this.#rest(this);
    return upstream;
  }

  release(): void {
    this.reserved--;
    this.#rest(this);
  }
}
