// The streams of a connection are found by number as in a Map, also when some outlast thousands of others.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LinkStream } from '../../../proxy/http2/stream.ts';
import { StreamTable } from '../../../proxy/http2/stream-table.ts';

/** The table looks at nothing but the number. */
const streamOf = (id: number) => ({ id }) as LinkStream;
const sorted = (streams: Iterable<LinkStream>) => [...streams].map(({ id }) => id).sort((a, b) => a - b);

test('holds what a Map would hold', () => {
  // Opens a stream with the next number, or ends the nth of those that are open.
  const steps = fc.array(fc.option(fc.nat({ max: 400 })), { maxLength: 600 });
  fc.assert(
    fc.property(fc.constantFrom(1, 2), steps, (first, moves) => {
      const table = new StreamTable();
      const map = new Map<number, LinkStream>();
      let next = first;
      for (const ends of moves) {
        const id = ends === null ? undefined : [...map.keys()][ends % (map.size || 1)];
        if (id === undefined) {
          const stream = streamOf(next);
          table.add(stream);
          map.set(next, stream);
          next += 2;
        } else {
          table.delete(id);
          map.delete(id);
        }
        expect(table.size).toBe(map.size);
        if (id !== undefined) expect(table.get(id)).toBeUndefined();
      }
      for (const [id, stream] of map) expect(table.get(id)).toBe(stream);
      expect(sorted(table.all())).toEqual(sorted(map.values()));
    }),
  );
});

test('streams that stay are found after many rounds of others', () => {
  const table = new StreamTable();
  const staying = [1, 65, 129, 131].map(streamOf);
  for (const stream of staying) table.add(stream);
  for (let id = 201; id < 20_001; id += 2) {
    table.add(streamOf(id));
    if (id > 401) table.delete(id - 200);
  }
  for (const stream of staying) expect(table.get(stream.id)).toBe(stream);
  table.delete(99_999);
  table.delete(65);
  expect(table.get(65)).toBeUndefined();
});
