// The program and stock casbin agree.
import { expect, test } from 'vitest';
import { compare } from './differential.ts';

// The long run is `node test/policy/differential.ts 1000000 SEED`.
test('Z9: 50 000 generated decisions are the same by program, scoped program, explanation and stock casbin', async () => {
  const { decisions, allowed, different, decidedBy } = await compare({ count: 50_000, seed: 7 });
  expect(different.slice(0, 1)).toEqual([]);
  expect(decisions).toBe(50_000);
  // A comparison in which hardly anything is allowed would prove little.
  expect(allowed).toBeGreaterThan(decisions / 10);
  for (const field of ['methods', 'paths', 'ports', 'when']) {
    for (const effect of ['allow', 'deny']) expect(decidedBy[`${effect} by ${field}`]).toBeGreaterThan(200);
  }
}, 60_000);
