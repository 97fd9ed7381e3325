// Does the process hold more than it may for all connections together? Each of them has bounds of its own, but there may be ten thousand: when they
// add up to too much, whoever makes us hold the most loses what is held, the largest piece first, and nobody else notices.
import type { Connection } from './connection.ts';
import { fail } from './errors.ts';

/** Bytes that are let go of together. */
interface Share {
  readonly bytes: number;
  cut(): void;
}

/** Cuts what must be cut until at most `limit` bytes are held; `onCut` hears of each. To be called when more are. */
export function relieve(
  connections: readonly Connection[],
  { limit, onCut }: { readonly limit: number; readonly onCut: () => void },
): void {
  let total = 0;
  /** By identity. What has none of its own is the application's beside us. */
  const holders = new Map<string, { bytes: number; readonly shares: Share[] }>();
  const add = (name = '', share: Share): void => {
    if (share.bytes <= 0) return;
    const holder = holders.get(name) ?? { bytes: 0, shares: [] };
    holders.set(name, holder);
    holder.bytes += share.bytes;
    holder.shares.push(share);
    total += share.bytes;
  };
  for (const connection of connections) {
    let own = connection.held;
    // What waits on a link for a caller that does not read is that caller's, whoever else shares the link.
    for (const { bytes, exchange } of connection.handler.heldFor?.() ?? []) {
      own -= bytes;
      add(exchange.downstream.caller, { bytes, cut: () => exchange.cut(fail('LIMIT_BYTES', { limit })) });
    }
    add(connection.peer?.id, { bytes: own, cut: () => connection.cut() });
  }
  for (const { shares } of holders.values()) shares.sort((a, b) => a.bytes - b.bytes);
  while (total > limit) {
    const [most] = [...holders.values()].sort((a, b) => b.bytes - a.bytes);
    const largest = most?.shares.pop();
    if (!most || !largest) return;
    most.bytes -= largest.bytes;
    total -= largest.bytes;
    largest.cut();
    onCut();
  }
}
