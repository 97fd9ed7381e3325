// What a record says of time is what the platform would say.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTimes } from '../../proxy/exchange-record.ts';

test('times are written as ISO 8601, whichever way the clock goes', () => {
  const timeText = createTimes();
  const near = fc.integer({ min: -3_000, max: 3_000 }).map((by) => 1_790_000_000_000 + by);
  fc.assert(
    fc.property(
      fc.oneof(near, fc.integer({ min: 0, max: 4e12 }), fc.double({ min: 1e12, max: 2e12, noNaN: true })),
      (at) => {
        expect(timeText(at)).toBe(new Date(at).toISOString());
      },
    ),
  );
});
