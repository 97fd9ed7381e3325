// Which kept records match a question. Values are always bound, never spliced into the SQL; the answer is bounded by the limit.
import type { DatabaseSync, SQLInputValue, SQLOutputValue } from 'node:sqlite';
import type { DecisionRecord, RecordQuery, RecordReply } from '#wire';

export const defaultLimit = 100;
/** A prefix that more records than this share is not worth an index: walking back in time finds the newest ones sooner. */
const selective = 20_000;

/** Matching records, the newest last; `more` when older ones match too. */
export function queryRecords(sql: DatabaseSync, query: RecordQuery): RecordReply {
  const limit = query.limit ?? defaultLimit;
  const where = createConditions();
  where.add('row > ?', query.after);
  if (query.reason === undefined && query.id === undefined) where.add("reason <> 'heartbeat'");
  where.add('time >= ?', query.since);
  where.add('time < ?', query.until);
  where.add('id = ?', query.id);
  where.add('decision = ?', query.decision);
  if (query.decision !== undefined && query.decision !== 'allow') where.add("decision <> 'allow'");
  where.add('hop = ?', query.hop);
  where.add('reason = ?', query.reason);
  where.add('rule = ?', query.rule);
  where.add('trace = ?', query.trace);
  where.pattern(sql, 'cluster', query.cluster);
  where.pattern(sql, 'peer', query.peer);
  where.pattern(sql, 'service', query.service);
  where.pattern(sql, 'path', query.path);
  if (query.after !== undefined) return pageOfRecords(sql, { where, limit, after: query.after });
  const rows = sql
    .prepare(`SELECT instance, body FROM records ${where.text()} ORDER BY time DESC, row DESC LIMIT ?`)
    .all(...where.values, limit + 1);
  return { records: rows.slice(0, limit).reverse().map(recordOf), more: rows.length > limit };
}

/** In the order in which they were received, so that none is missed however many come meanwhile. */
function pageOfRecords(
  sql: DatabaseSync,
  { where, limit, after }: { where: ReturnType<typeof createConditions>; limit: number; after: number },
): RecordReply {
  const rows = sql
    .prepare(`SELECT row, instance, body FROM records ${where.text()} ORDER BY row LIMIT ?`)
    .all(...where.values, limit);
  const next = Number(rows.at(-1)?.row ?? after);
  return { records: rows.map(recordOf), more: rows.length === limit, next };
}

/** The kept text, except that the instance is the one that was authenticated. */
function recordOf(row: Record<string, SQLOutputValue>): DecisionRecord {
  const record = JSON.parse(String(row.body)) as DecisionRecord;
  return record.instance === row.instance ? record : { ...record, instance: String(row.instance) };
}

export function createConditions() {
  const terms: string[] = [];
  const values: SQLInputValue[] = [];
  return {
    values,
    /** Adds a term when its value is given; a term without a placeholder always. */
    add(term: string, value?: SQLInputValue): void {
      if (term.includes('?')) {
        if (value === undefined) return;
        values.push(value);
      }
      terms.push(term);
    },
    /** Equality, or a prefix when the text ends in `*`. */
    pattern(sql: DatabaseSync, column: 'peer' | 'service' | 'path' | 'cluster', text: string | undefined): void {
      if (text === undefined) return;
      if (!text.endsWith('*')) return this.add(`${column} = ?`, text);
      const range = [text.slice(0, -1), `${text.slice(0, -1)}\u{10ffff}`] as const;
      const sample = sql.prepare(
        `SELECT count(*) AS found FROM (SELECT 1 FROM records WHERE ${column} >= ? AND ${column} < ? LIMIT ${selective})`,
      );
      // A unary plus keeps the planner from using the column's index.
      const indexed = Number(sample.get(...range)?.found) < selective ? column : `+${column}`;
      this.add(`${indexed} >= ?`, range[0]);
      this.add(`${indexed} < ?`, range[1]);
    },
    text: (): string => (terms.length > 0 ? `WHERE ${terms.join(' AND ')}` : ''),
  };
}
