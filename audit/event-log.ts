// The control plane's own deeds: enrolments, issuances, refusals, bans, changes. Each is durable before the caller goes on.
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '#base/clock';
import { type ControlEvent, type EventReply, type RecordQuery, wireVersion } from '#wire';
import { canonicalJson } from './canonical.ts';
import { createConditions, defaultLimit } from './record-query.ts';

export function createEventLog({ sql, clock }: { readonly sql: DatabaseSync; readonly clock: Clock }) {
  const insert = sql.prepare(
    "INSERT INTO events (time, action, outcome, actor, subject, reason, body) VALUES (?, ?, ?, ?, ?, ?, '')",
  );
  const complete = sql.prepare('UPDATE events SET body = ? WHERE seq = ?');
  const listeners = new Set<(event: ControlEvent) => void>();

  const store = (event: Omit<ControlEvent, 'v' | 'seq' | 'time'>): ControlEvent => {
    const now = clock.now();
    const { action, outcome, actor, subject = null, reason = null } = event;
    const { lastInsertRowid } = insert.run(now, action, outcome, actor, subject, reason);
    const kept = { ...event, v: wireVersion, seq: Number(lastInsertRowid), time: new Date(now).toISOString() } as const;
    complete.run(canonicalJson(kept), lastInsertRowid);
    return kept;
  };

  return {
    add(event: Omit<ControlEvent, 'v' | 'seq' | 'time'>): ControlEvent {
      const outer = sql.isTransaction;
      if (!outer) sql.exec('BEGIN IMMEDIATE');
      try {
        const kept = store(event);
        if (!outer) sql.exec('COMMIT');
        for (const listener of listeners) listener(kept);
        return kept;
      } catch (thrown) {
        if (!outer && sql.isTransaction) sql.exec('ROLLBACK');
        throw thrown;
      }
    },

    /** `peer` is the actor and `service` the subject; both may end in `*`. */
    query(query: RecordQuery): EventReply {
      const limit = query.limit ?? defaultLimit;
      const where = createConditions();
      where.add('time >= ?', query.since);
      where.add('time < ?', query.until);
      where.add('action = ?', query.action);
      where.add('reason = ?', query.reason);
      addPattern(where, 'actor', query.peer);
      addPattern(where, 'subject', query.service);
      const rows = sql
        .prepare(`SELECT body FROM events ${where.text()} ORDER BY seq DESC LIMIT ?`)
        .all(...where.values, limit + 1);
      const events = rows
        .slice(0, limit)
        .reverse()
        .map(({ body }) => JSON.parse(String(body)) as ControlEvent);
      return { events, more: rows.length > limit };
    },

    tail(listener: (event: ControlEvent) => void): () => void {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

function addPattern(where: ReturnType<typeof createConditions>, column: string, text: string | undefined): void {
  if (text === undefined) return;
  if (!text.endsWith('*')) return where.add(`${column} = ?`, text);
  where.add(`${column} >= ?`, text.slice(0, -1));
  where.add(`${column} < ?`, `${text.slice(0, -1)}\u{10ffff}`);
}
