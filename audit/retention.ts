// How long the control plane keeps records, and how much of them. Removes a bounded piece at a time, so that no caller waits for it. When the store is full
// the instance that has most of it loses its oldest first: one that makes up records pushes out its own, never those of others.
import type { Clock } from '#base/clock';
import type { Database } from '#base/database';

export interface RetentionSettings {
  /** Records received longer ago go; 30 days by default. */
  readonly keepMs?: number;
  /** When the records take more than this, the oldest of the instance that has most go; 5 GB by default. */
  readonly keepBytes?: number;
  /** Control-plane events received longer ago go; 400 days by default. */
  readonly keepEventsMs?: number;
}

const day = 86_400_000;
const piece = 2_000;
const everyMs = 10_000;
/** Of a record's text. */
const usualBytes = 400;

export function createRetention(o: { database: Database; clock: Clock; settings: RetentionSettings }) {
  const { sql } = o.database;
  const { keepMs = 30 * day, keepBytes = 5e9, keepEventsMs = 400 * day } = o.settings;
  // Rows are numbered as they are received, so the oldest are the lowest and no index on `received` is needed.
  const byAge = sql.prepare(
    `DELETE FROM records WHERE row IN (SELECT row FROM records ORDER BY row LIMIT ?) AND received < ?
     RETURNING instance, length(body) AS bytes`,
  );
  const heaviest = sql.prepare('SELECT instance FROM shares ORDER BY bytes DESC LIMIT 1');
  const whole = sql.prepare('SELECT sum(bytes) AS bytes FROM shares');
  const ofInstance = sql.prepare(
    `DELETE FROM records WHERE row IN (SELECT row FROM records WHERE instance = ? ORDER BY epoch, seq LIMIT ?)
     RETURNING instance, length(body) AS bytes`,
  );
  const shrink = sql.prepare('UPDATE shares SET bytes = max(0, bytes - ?) WHERE instance = ?');
  const leave = sql.prepare('DELETE FROM shares WHERE instance = ?');
  const forget = sql.prepare('DELETE FROM shares WHERE bytes = 0');
  const events = sql.prepare(
    'DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?) AND time < ?',
  );
  const gaps = sql.prepare('DELETE FROM gaps WHERE row IN (SELECT row FROM gaps ORDER BY row LIMIT ?) AND noticed < ?');
  let due = o.clock.monotonic() + everyMs;

  const usedBytes = (): number => {
    const pragma = (name: string): number => Number(Object.values(sql.prepare(`PRAGMA ${name}`).get() ?? {})[0]);
    return (pragma('page_count') - pragma('freelist_count')) * pragma('page_size');
  };

  /** Takes what was removed off the shares, and gives how many records it was. */
  const noteGone = (rows: readonly Record<string, unknown>[]): number => {
    const bytesOf = new Map<string, number>();
    for (const { instance, bytes } of rows) {
      const name = String(instance);
      bytesOf.set(name, (bytesOf.get(name) ?? 0) + Number(bytes));
    }
    for (const [instance, bytes] of bytesOf) shrink.run(bytes, instance);
    if (rows.length > 0) forget.run();
    return rows.length;
  };

  const prune = (): boolean => {
    const now = o.clock.now();
    return o.database.transaction(() => {
      let gone = noteGone(byAge.all(piece, now - keepMs));
      const used = usedBytes();
      if (gone === 0 && used > keepBytes) {
        const most = heaviest.get()?.instance as string | undefined;
        // No more than is too much: the one that has most today need not be left with nothing.
        const tooMuch = (Number(whole.get()?.bytes ?? 0) * (used - keepBytes)) / used;
        const count = Math.min(piece, Math.ceil(tooMuch / usualBytes));
        if (most !== undefined) gone = noteGone(ofInstance.all(most, count));
        // A share of nothing is a sum that was not exact.
        if (gone === 0 && most !== undefined) gone = Number(leave.run(most).changes);
      }
      const others = [events.run(piece, now - keepEventsMs), gaps.run(piece, now - keepEventsMs)];
      return gone === piece || (gone > 0 && usedBytes() > keepBytes) || others.some(({ changes }) => changes === piece);
    });
  };

  return {
    prune,
    /** Prunes a piece when it is time; soon again while there is more to remove. */
    step(): void {
      if (o.clock.monotonic() < due) return;
      due = o.clock.monotonic() + (prune() ? 0 : everyMs);
    },
  };
}
