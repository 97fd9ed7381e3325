// Whether one record is what a question asks for: the same answer as the store's query, for streams. Pure.
import type { DecisionRecord, RecordQuery } from '#wire';

/** True when the record satisfies every filter that is given; `limit` and `action` are not filters of records. */
export function matchesRecord(query: RecordQuery, record: DecisionRecord): boolean {
  const time = Date.parse(record.time);
  if (record.kind === 'heartbeat' && query.reason === undefined && query.id === undefined) return false;
  return (
    (query.since === undefined || time >= query.since) &&
    (query.until === undefined || time < query.until) &&
    (query.id === undefined || record.id === query.id) &&
    (query.decision === undefined || record.decision === query.decision) &&
    (query.hop === undefined || record.hop === query.hop) &&
    (query.reason === undefined || record.reason === query.reason) &&
    (query.rule === undefined || record.rule === query.rule) &&
    (query.trace === undefined || record.traceId === query.trace) &&
    matchesPattern(query.cluster, record.cluster) &&
    matchesPattern(query.peer, record.peer) &&
    matchesPattern(query.service, record.to) &&
    matchesPattern(query.path, record.path)
  );
}

function matchesPattern(pattern: string | undefined, text: string | undefined): boolean {
  if (pattern === undefined) return true;
  if (text === undefined) return false;
  return pattern.endsWith('*') ? text.startsWith(pattern.slice(0, -1)) : text === pattern;
}
