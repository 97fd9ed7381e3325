// How long the control plane keeps records, and how much of them. Removes a bounded piece at a time, so that no caller waits for it.
import type { Clock } from '#base/clock';
import type { Database } from '#base/database';

export interface RetentionSettings {
  /** Records received longer ago go; 30 days by default. */
  readonly keepMs?: number;
  /** The oldest go when the records take more than this; 5 GB by default. */
  readonly keepBytes?: number;
  /** Control-plane events received longer ago go; 400 days by default. */
  readonly keepEventsMs?: number;
}

const day = 86_400_000;
const piece = 2_000;
const everyMs = 10_000;

export function createRetention(o: { database: Database; clock: Clock; settings: RetentionSettings }) {
  const { sql } = o.database;
  const { keepMs = 30 * day, keepBytes = 5e9, keepEventsMs = 400 * day } = o.settings;
  // Rows are numbered as they are received, so the oldest are the lowest and no index on `received` is needed.
  const byAge = sql.prepare(
    'DELETE FROM records WHERE row IN (SELECT row FROM records ORDER BY row LIMIT ?) AND received < ?',
  );
  const bySize = sql.prepare('DELETE FROM records WHERE row IN (SELECT row FROM records ORDER BY row LIMIT ?)');
  const events = sql.prepare(
    'DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?) AND time < ?',
  );
  const gaps = sql.prepare('DELETE FROM gaps WHERE row IN (SELECT row FROM gaps ORDER BY row LIMIT ?) AND noticed < ?');
  let due = o.clock.monotonic() + everyMs;

  const usedBytes = (): number => {
    const pragma = (name: string): number => Number(Object.values(sql.prepare(`PRAGMA ${name}`).get() ?? {})[0]);
    return (pragma('page_count') - pragma('freelist_count')) * pragma('page_size');
  };

  const prune = (): boolean => {
    const now = o.clock.now();
    return o.database.transaction(() => {
      let gone = Number(byAge.run(piece, now - keepMs).changes);
      if (gone === 0 && usedBytes() > keepBytes) gone = Number(bySize.run(piece).changes);
      const others = [events.run(piece, now - keepEventsMs), gaps.run(piece, now - keepEventsMs)];
      return gone === piece || others.some(({ changes }) => changes === piece);
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
