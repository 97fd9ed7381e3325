// Who may begin a TLS handshake when too many are under way? Anybody can begin one, so a full house must not keep out those who mean it:
// whoever has dawdled, or holds the most places, makes room. Knows sockets by their addresses only and never looks at a byte.
import { networkOf } from './network.ts';

/** What is known of a socket in its handshake. */
export interface Handshaking {
  readonly remoteAddress?: string | undefined;
}

export interface Handshakes<S extends Handshaking> {
  /**
   * Takes a place for a socket. `shed` lost its place for it and is to be destroyed: the newcomer itself when nobody else deserved it less.
   */
  begin(socket: S): { readonly shed?: S };
  /** Gives the place back; of no effect for a socket that has none. */
  end(socket: S): void;
  readonly size: number;
}

/** A handshake takes milliseconds, and seconds in a storm: who is shed then was nearly through, and comes again. So not much sooner than this. */
const patienceMs = 2_500;

export function createHandshakes<S extends Handshaking>(o: {
  readonly limit: number;
  readonly monotonic: () => number;
}): Handshakes<S> {
  /** In the order in which they began. */
  const underway = new Map<S, { readonly since: number; readonly from: string }>();

  /** The oldest handshake of the address that holds the most places, if those are more than `from` would hold with one more. */
  const oldestOfGreediest = (from: string): S | undefined => {
    const held = new Map<string, { count: number; oldest: S }>();
    for (const [socket, { from: holder }] of underway) {
      const holding = held.get(holder);
      if (holding) holding.count++;
      else held.set(holder, { count: 1, oldest: socket });
    }
    let most = { count: (held.get(from)?.count ?? 0) + 1, oldest: undefined as S | undefined };
    for (const holding of held.values()) if (holding.count > most.count) most = holding;
    return most.oldest;
  };
  const leastDeserving = (from: string): S | undefined => {
    for (const [socket, { since }] of underway) {
      if (o.monotonic() - since >= patienceMs) return socket;
      break;
    }
    return oldestOfGreediest(from);
  };

  return {
    begin(socket) {
      const from = networkOf(socket.remoteAddress ?? '');
      if (underway.size < o.limit) {
        underway.set(socket, { since: o.monotonic(), from });
        return {};
      }
      const shed = leastDeserving(from);
      if (!shed) return { shed: socket };
      underway.delete(shed);
      underway.set(socket, { since: o.monotonic(), from });
      return { shed };
    },
    end: (socket) => void underway.delete(socket),
    get size() {
      return underway.size;
    },
  };
}
