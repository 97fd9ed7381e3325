// Who is in a crowd is what a Set would say, whoever comes and goes in whatever order.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Crowd, nowhere } from '../../proxy/crowd.ts';

test('holds whom a Set would hold', () => {
  const steps = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 12 })), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (moves) => {
      const members = Array.from({ length: 13 }, (_, name) => ({ name, place: nowhere }));
      const crowd = new Crowd<(typeof members)[number]>();
      const set = new Set<(typeof members)[number]>();
      for (const [comes, who] of moves) {
        const member = members[who]!;
        if (comes) crowd.add(member);
        else crowd.delete(member);
        if (comes) set.add(member);
        else set.delete(member);
        expect(crowd.size).toBe(set.size);
        expect(new Set(crowd)).toEqual(set);
      }
    }),
  );
});

test('whoever leaves while all are looked at changes nothing for the others', () => {
  const members = Array.from({ length: 5 }, () => ({ place: nowhere }));
  const crowd = new Crowd<{ place: number }>();
  for (const member of members) crowd.add(member);
  const seen: unknown[] = [];
  for (const member of crowd) {
    seen.push(member);
    crowd.delete(member);
  }
  expect(seen).toEqual(members);
  expect(crowd.size).toBe(0);
});
