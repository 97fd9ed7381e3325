// How often what was decided, hour by hour: kept up with every batch, so that a question about ten million records reads some thousand rows.
import type { DatabaseSync } from 'node:sqlite';
import type { DecisionRecord } from '#wire';

export interface TallyQuery {
  /** `denied-pairs`: who was refused by whom; `rules`: what decided (the rule, or the reason without one); `hours`: when. */
  readonly by: 'denied-pairs' | 'rules' | 'hours';
  /** Epoch milliseconds; whole hours are counted, those that they are in included. */
  readonly since?: number;
  readonly until?: number;
  readonly limit?: number;
}

export interface TallyRow {
  readonly hour?: string;
  readonly peer?: string;
  readonly service?: string;
  readonly rule?: string;
  readonly decision: string;
  readonly count: number;
}

const hourMs = 3_600_000;

export function createTallies(sql: DatabaseSync) {
  const upsert = sql.prepare(
    `INSERT INTO tallies VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (hour, decision, peer, service, rule) DO UPDATE SET count = count + excluded.count`,
  );
  const columns = {
    'denied-pairs': { select: 'peer, service', where: "AND decision = 'deny'", order: 'count DESC, peer, service' },
    rules: { select: 'rule', where: '', order: 'count DESC, rule' },
    hours: { select: 'hour', where: '', order: 'hour DESC, decision' },
  } as const;
  return {
    /** Call within the transaction that keeps the records. */
    add(records: readonly DecisionRecord[], received: number): void {
      const counts = new Map<string, number>();
      for (const { time, decision, peer = '', to = '', rule, reason, kind } of records) {
        if (kind === 'heartbeat') continue;
        const at = Date.parse(time);
        const hour = Math.floor((Number.isFinite(at) ? at : received) / hourMs);
        const key = JSON.stringify([hour, decision, peer, to, rule ?? reason]);
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      for (const [key, count] of counts)
        upsert.run(...(JSON.parse(key) as [number, string, string, string, string]), count);
    },

    query({ by, since = 0, until = Number.MAX_SAFE_INTEGER, limit = 20 }: TallyQuery): readonly TallyRow[] {
      const { select, where, order } = columns[by];
      const rows = sql
        .prepare(
          `SELECT ${select}, decision, sum(count) AS count FROM tallies WHERE hour >= ? AND hour <= ? ${where}
           GROUP BY ${select}, decision ORDER BY ${order} LIMIT ?`,
        )
        .all(Math.floor(since / hourMs), Math.floor(until / hourMs), limit);
      return rows.map(({ hour, ...row }) => ({
        ...(hour === undefined ? {} : { hour: new Date(Number(hour) * hourMs).toISOString() }),
        ...(row as unknown as TallyRow),
      }));
    },
  };
}
