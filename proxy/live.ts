// Every connection and exchange that is open now, so that time limits, expiry, bans and changed policy reach what is already running.
// One timer looks at all of them; each is registered before it is checked and leaves by itself when its socket is gone.
import type { Clock } from '#base/clock';
import type { Connection } from './connection.ts';
import { Crowd } from './crowd.ts';
import type { Exchange } from './exchange.ts';
import { relieve } from './overload.ts';

export type ConnectionKind = 'inbound' | 'outbound' | 'upstream';

export interface LiveConnections {
  add(connection: Connection, kind: ConnectionKind): void;
  count(kind: ConnectionKind): number;
  all(kind: ConnectionKind): Iterable<Connection>;
  /** Resolves when no connection of this kind is left, and at `end` (monotonic milliseconds) at the latest. */
  emptied(kind: ConnectionKind, end: number): Promise<void>;
  /** Cuts every connection whose peer the test names. */
  cutPeers(isOut: (peer: { readonly id: string; readonly serial: string }) => boolean): number;
  /** Runs until the result is removed. */
  readonly exchanges: Crowd<Exchange>;
  /** Lets every running exchange be decided again. */
  recheck(): void;
  close(): void;
}

/** How long after the last connection has gone `emptied` may say so, milliseconds: drains are rare and short. */
const lookMs = 20;
/** How late a time limit may bite, milliseconds. */
const sweepMs = 250;

export function createLive(o: {
  readonly clock: Clock;
  /** Bytes that may be held for all connections together. */
  readonly processBytes: number;
  readonly onCut: (reason: string) => void;
}): LiveConnections {
  const kinds: Readonly<Record<ConnectionKind, Set<Connection>>> = {
    inbound: new Set(),
    outbound: new Set(),
    upstream: new Set(),
  };
  const exchanges = new Crowd<Exchange>();

  const sweep = (): void => {
    const monotonic = o.clock.monotonic();
    const wall = o.clock.now();
    let held = 0;
    for (const set of Object.values(kinds)) {
      for (const connection of set) {
        if (connection.cutAt <= wall) {
          o.onCut('expired');
          connection.cut();
        } else if (connection.retireAt <= wall) connection.retire();
        held += connection.held;
        if (connection.deadline === 0 || connection.deadline > monotonic) continue;
        connection.deadline = 0;
        connection.handler.expired();
      }
    }
    if (held > o.processBytes)
      relieve([...kinds.inbound, ...kinds.outbound, ...kinds.upstream], {
        limit: o.processBytes,
        onCut: () => o.onCut('overload'),
      });
    cancel = o.clock.after(sweepMs, sweep);
  };
  let cancel = o.clock.after(sweepMs, sweep);

  return {
    exchanges,
    add(connection, kind) {
      if (connection.isClosed) return;
      kinds[kind].add(connection);
      connection.socket.once('close', () => kinds[kind].delete(connection));
    },
    count: (kind) => kinds[kind].size,
    all: (kind) => kinds[kind],
    emptied: (kind, end) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (kinds[kind].size === 0 || o.clock.monotonic() >= end) resolve();
          else o.clock.after(lookMs, look);
        };
        look();
      }),
    cutPeers(isOut) {
      let cut = 0;
      for (const set of Object.values(kinds)) {
        for (const connection of set) {
          if (!connection.peer || !isOut(connection.peer)) continue;
          connection.cut();
          o.onCut('banned');
          cut++;
        }
      }
      return cut;
    },
    recheck() {
      for (const exchange of exchanges) exchange.recheck?.();
    },
    close: () => cancel(),
  };
}
