// Does the process hold more than it may for all connections together? Each of them has bounds of its own, but there may be ten thousand: when they
// add up to too much, whoever makes us hold the most loses connections, the fullest first, and nobody else notices.
import type { Connection } from './connection.ts';

/** Cuts what must be cut until at most `limit` bytes are held; `onCut` hears of each. To be called when more are. */
export function relieve(
  connections: readonly Connection[],
  { limit, onCut }: { limit: number; onCut: (connection: Connection) => void },
): void {
  let total = 0;
  const holders = new Map<string, { bytes: number; connections: Connection[] }>();
  for (const connection of connections) {
    const { held } = connection;
    if (held === 0) continue;
    // What has no identity of its own is the application's beside us.
    const name = connection.peer?.id ?? '';
    const holder = holders.get(name) ?? { bytes: 0, connections: [] };
    holder.bytes += held;
    total += held;
    holder.connections.push(connection);
    holders.set(name, holder);
  }
  for (const holder of holders.values()) holder.connections.sort((a, b) => a.held - b.held);
  while (total > limit) {
    const [most] = [...holders.values()].sort((a, b) => b.bytes - a.bytes);
    const fullest = most?.connections.pop();
    if (!most || !fullest) return;
    const { held } = fullest;
    most.bytes -= held;
    total -= held;
    fullest.cut();
    onCut(fullest);
  }
}
