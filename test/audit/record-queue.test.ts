// Records wait as bytes: what is handed over, read and let go is what was added, also when the writer begins anew in the middle of a part.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { entryOfRecord, splitRecord, textOfHalves } from '../../audit/entry.ts';
import { splitBundle, splitLines } from '../../audit/log-files.ts';
import type { Batch } from '../../audit/log-writer.ts';
import { RecordQueue } from '../../audit/record-queue.ts';
import { recordOf } from '../helpers/record.ts';

const maskable = ['host', 'path', 'remote'] as const;
const filled = (count: number): RecordQueue => {
  const queue = new RecordQueue(maskable);
  for (let seq = 1; seq <= count; seq++) queue.add(recordOf({ id: `d-${seq}`, path: `/é"\\${seq}` }), seq);
  return queue;
};
/** What the writer would make of it: sequence and clear path of each. */
const contentOf = ({ rests, clear, seqs }: Batch) => {
  const lines = splitLines(clear);
  return splitBundle(rests).entries.map((rest, at) => ({
    seq: seqs[at],
    same: (JSON.parse(rest.toString()) as { seq: number }).seq === seqs[at],
    path: (JSON.parse(lines[at]!) as { path: [string, string] }).path[1],
  }));
};
const expected = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => ({ seq: from + at, same: true, path: `/é"\\${from + at}` }));

test('everything is handed over once, in order', () => {
  const queue = filled(1_300);
  queue.begin(7);
  expect([...queue.handOver()].flatMap(contentOf)).toEqual(expected(1, 1_300));
  expect([...queue.handOver()]).toEqual([]);
  expect(queue.length).toBe(1_300);
  expect(queue.settle(1_300)).toEqual({ count: 1_300, lastIndex: 1_306 });
  expect(queue.length).toBe(0);
});

test('a writer that begins anew gets what is not durable, and places go on', () => {
  const queue = filled(600);
  Array.from(queue.handOver());
  expect(queue.settle(100)).toEqual({ count: 100, lastIndex: 99 });
  queue.begin(100);
  expect([...queue.handOver()].flatMap(contentOf)).toEqual(expected(101, 600));
  expect(queue.settle(600)).toEqual({ count: 500, lastIndex: 599 });
});

test('only what is durable and not released is read', () => {
  const queue = filled(700);
  Array.from(queue.handOver());
  expect(queue.read(1, 10)).toEqual([]);
  queue.settle(520);
  expect(queue.read(500, 100).map(({ seq }) => seq)).toEqual(Array.from({ length: 21 }, (_, at) => 500 + at));
  expect(JSON.parse(queue.read(519, 1)[0]!.text)).toMatchObject({ seq: 519, id: 'd-519', path: '/é"\\519' });
  queue.release(512);
  // What is in one part goes together.
  expect(queue.first).toBeGreaterThan(200);
  expect(queue.first).toBeLessThanOrEqual(513);
  queue.settle(700);
  queue.release(700);
  expect(queue.first).toBeUndefined();
});

test('memory holds a bounded number of durable records', () => {
  const queue = new RecordQueue(maskable);
  for (let seq = 1; seq <= 10_000; seq++) {
    queue.add(recordOf({}), seq);
    if (seq % 100 > 0) continue;
    Array.from(queue.handOver());
    queue.settle(seq);
  }
  expect(queue.first).toBeGreaterThan(7_900);
});

test('a record is sent as the JSON that gives its entry', () => {
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme-ascii' }));
  const record = fc.record(
    { host: text, path: text, remote: text, id: text, index: fc.nat() },
    { requiredKeys: ['id', 'index'] },
  );
  fc.assert(
    fc.property(record, ({ index, ...some }) => {
      const halves = splitRecord(recordOf(some), 3, maskable);
      const sent = JSON.parse(textOfHalves(halves, index));
      expect(sent.index).toBe(index);
      expect(entryOfRecord(sent).endsWith(`,${halves.rest.slice(1)}`)).toBe(true);
      for (const field of maskable) if (field in some && field !== 'path') expect(sent.salts[field]).toHaveLength(22);
    }),
  );
});
