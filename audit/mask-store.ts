// Erasing values from the records that the control plane keeps: from their texts, from the columns that find them, and from the counts by the hour. A piece at a
// time, so that no caller waits. What a proxy's own log holds is erased there (`maskLog`).
import type { Database } from '#base/database';
import type { MaskableField } from './entry.ts';

export interface StoreMask {
  readonly fields: readonly MaskableField[];
  /** Records that began before then, epoch milliseconds. */
  readonly before?: number | undefined;
  readonly id?: string | undefined;
}

const piece = 2_000;
const hourMs = 3_600_000;

/** Returns how many values were erased. `pause` lets others run. */
export async function maskStore(database: Database, mask: StoreMask, pause: () => Promise<void>): Promise<number> {
  const { sql } = database;
  const { fields, id, before = Number.MAX_SAFE_INTEGER } = mask;
  const pick = sql.prepare(
    `SELECT row, body FROM records WHERE row > ? AND time < ? ${id === undefined ? '' : 'AND id = ?'} ORDER BY row LIMIT ${piece}`,
  );
  const update = sql.prepare(
    'UPDATE records SET body = ?, peer = iif(?, NULL, peer), path = iif(?, NULL, path), trace = iif(?, NULL, trace) WHERE row = ?',
  );
  let erased = 0;
  for (let after = 0; ; ) {
    const rows = pick.all(...[after, before], ...(id === undefined ? [] : [id]));
    database.transaction(() => {
      for (const { row, body } of rows) {
        const record = JSON.parse(String(body)) as Record<string, unknown>;
        const present = fields.filter((field) => record[field] !== undefined);
        if (present.length === 0) continue;
        for (const field of present) delete record[field];
        erased += present.length;
        update.run(
          JSON.stringify(record),
          Number(present.includes('peer')),
          Number(present.includes('path')),
          Number(present.includes('traceId')),
          Number(row),
        );
      }
    });
    if (rows.length < piece) break;
    after = Number(rows.at(-1)!.row);
    await pause();
  }
  if (fields.includes('peer') && id === undefined)
    database.transaction(() => maskTallies(database, Math.floor(before / hourMs)));
  return erased;
}

/** Of whole hours: an hour that is not over yet is counted on. */
function maskTallies({ sql }: Database, hour: number): void {
  sql
    .prepare(
      `INSERT INTO tallies SELECT hour, decision, '', service, rule, sum(count) FROM tallies WHERE hour < ? AND peer <> ''
       GROUP BY hour, decision, service, rule
       ON CONFLICT (hour, decision, peer, service, rule) DO UPDATE SET count = count + excluded.count`,
    )
    .run(hour);
  sql.prepare(`DELETE FROM tallies WHERE hour < ? AND peer <> ''`).run(hour);
}
