// Which sequences an instance never sent, and whether it owned up to it. A hole that nobody declared is what a deleted record looks like.
import type { DatabaseSync } from 'node:sqlite';
import type { DecisionRecord } from '#wire';

export interface Gap {
  readonly instance: string;
  readonly first: number;
  readonly last: number;
  /** Epoch milliseconds. */
  readonly noticedAt: number;
  /** The proxy itself wrote a gap record for these sequences. */
  readonly declared: boolean;
  /** An AUDIT_ code, when one is known. */
  readonly reason?: string;
}

interface State {
  epoch: number;
  last: number;
}

/** Call within the transaction that keeps the records. */
export function createSequences(sql: DatabaseSync) {
  const select = sql.prepare('SELECT epoch, last FROM instances WHERE instance = ?');
  const upsert = sql.prepare(
    `INSERT INTO instances VALUES (?, ?, ?, ?)
     ON CONFLICT (instance) DO UPDATE SET epoch = excluded.epoch, last = excluded.last, seen = excluded.seen`,
  );
  const idOf = sql.prepare('SELECT id FROM records WHERE instance = ? AND epoch = ? AND seq = ?');
  const insertGap = sql.prepare(
    'INSERT INTO gaps (instance, epoch, first, last, noticed, declared, reason) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const overlapping = sql.prepare(
    'SELECT row, first, last, noticed FROM gaps WHERE instance = ? AND epoch = ? AND declared = 0 AND first <= ? AND last >= ?',
  );
  const withdrawn = sql.prepare(
    'DELETE FROM gaps WHERE instance = ? AND epoch = ? AND declared = 1 AND first >= ? AND last <= ?',
  );
  const deleteGap = sql.prepare('DELETE FROM gaps WHERE row = ?');
  /** Only for the batch in hand: an aborted transaction must not leave anything behind. */
  let current: { instance: string; state: State } | undefined;

  const stateOf = (instance: string): State => {
    if (current?.instance === instance) return current.state;
    const row = select.get(instance);
    const state = { epoch: Number(row?.epoch ?? 0), last: Number(row?.last ?? 0) };
    current = { instance, state };
    return state;
  };

  /** Takes `first..last` out of the undeclared gaps, leaving what sticks out on either side. */
  const carve = (instance: string, range: { first: number; last: number }): number => {
    const { epoch } = stateOf(instance);
    let carved = 0;
    for (const gap of overlapping.all(instance, epoch, range.last, range.first)) {
      const [first, last, noticed] = [Number(gap.first), Number(gap.last), Number(gap.noticed)];
      deleteGap.run(Number(gap.row));
      if (first < range.first) insertGap.run(instance, epoch, first, range.first - 1, noticed, 0, null);
      if (last > range.last) insertGap.run(instance, epoch, range.last + 1, last, noticed, 0, null);
      carved++;
    }
    return carved;
  };

  return {
    epoch: (instance: string): number => stateOf(instance).epoch,

    /** Whether another record was kept under this sequence before. */
    isReused({ instance, seq, id }: { instance: string; seq: number; id: string }): boolean {
      const kept = idOf.get(instance, stateOf(instance).epoch, seq);
      return kept !== undefined && kept.id !== id;
    },

    /** The instance counts from below what it had reached: its records from here on are kept apart from the earlier ones. */
    restart({ instance, seq, at }: { instance: string; seq: number; at: number }): void {
      const state = stateOf(instance);
      insertGap.run(instance, state.epoch, seq, state.last, at, 0, 'AUDIT_SEQUENCE_RESTARTED');
      state.epoch++;
      state.last = 0;
    },

    /** Takes account of one record that was just kept. */
    note({ instance, record, at }: { instance: string; record: DecisionRecord; at: number }): void {
      const state = stateOf(instance);
      if (record.seq > state.last) {
        // The first record ever heard of may have any sequence: a proxy keeps its log when it enrols again.
        if (state.last > 0 && record.seq > state.last + 1)
          insertGap.run(instance, state.epoch, state.last + 1, record.seq - 1, at, 0, null);
        state.last = record.seq;
      } else carve(instance, { first: record.seq, last: record.seq });
      if (record.kind !== 'gap' || !record.lost || !record.lostFrom) return;
      const range = { first: record.lostFrom, last: record.lostFrom + record.lost - 1 };
      carve(instance, range);
      // Declared before, by a gap record that may not have come.
      withdrawn.run(instance, state.epoch, range.first, range.last);
      insertGap.run(instance, state.epoch, range.first, range.last, at, 1, record.reason);
    },

    save(instance: string, at: number): void {
      const { epoch, last } = stateOf(instance);
      upsert.run(instance, epoch, last, at);
      current = undefined;
    },

    forget(): void {
      current = undefined;
    },

    gaps({ instance, declared }: { readonly instance?: string; readonly declared?: boolean }): readonly Gap[] {
      const rows = sql
        .prepare(
          `SELECT instance, first, last, noticed, declared, reason FROM gaps
           WHERE (?1 IS NULL OR instance = ?1) AND (?2 IS NULL OR declared = ?2) ORDER BY row DESC LIMIT 1000`,
        )
        .all(instance ?? null, declared === undefined ? null : Number(declared));
      return rows.reverse().map((row) => ({
        instance: String(row.instance),
        first: Number(row.first),
        last: Number(row.last),
        noticedAt: Number(row.noticed),
        declared: row.declared === 1,
        ...(row.reason === null ? {} : { reason: String(row.reason) }),
      }));
    },
  };
}
