// A stream's filter and the store's query never disagree.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { matchesRecord, openRecordStore } from '#audit';
import type { RecordQuery } from '#wire';
import { createClock } from '../helpers/clock.ts';
import { sentRecord } from '../helpers/record.ts';

const word = fc.constantFrom('a', 'b', 'ab', 'a*', '*');

test('the same records match in the store and in a stream', () => {
  const record = fc.record({
    peer: word,
    to: word,
    path: word,
    rule: word,
    reason: word,
    cluster: word,
    traceId: word,
    decision: fc.constantFrom('allow' as const, 'deny' as const, 'error' as const),
    hop: fc.constantFrom('inbound' as const, 'outbound' as const),
    time: fc.integer({ min: 0, max: 9 }).map((n) => new Date(n).toISOString()),
  });
  const time = fc.integer({ min: 0, max: 9 });
  const question: fc.Arbitrary<RecordQuery> = fc.record(
    {
      peer: word,
      service: word,
      path: word,
      rule: word,
      reason: word,
      cluster: word,
      trace: word,
      since: time,
      until: time,
      hop: record.map((r) => r.hop),
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<RecordQuery>;
  fc.assert(
    fc.property(fc.array(record, { maxLength: 10 }), question, (rows, query) => {
      const store = openRecordStore({ path: ':memory:', clock: createClock() });
      const records = rows.map((row, index) => sentRecord(index + 1, row));
      store.add('i-1', records);
      const found = store.query(query).records.map(({ seq }) => seq);
      const matching = records.filter((each) => matchesRecord(query, each)).map(({ seq }) => seq);
      expect(found.toSorted((a, b) => a - b)).toEqual(matching);
      store.close();
    }),
    { numRuns: 150 },
  );
});
