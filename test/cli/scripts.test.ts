import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { matches, parseScript, runScript } from '../helpers/script.ts';

const folder = new URL('.', import.meta.url);

describe('command scripts', () => {
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.txt'))) {
    test(name, { timeout: 60_000 }, async () => {
      const mismatch = await runScript(parseScript(readFileSync(new URL(name, folder), 'utf8')));
      if (mismatch)
        expect(mismatch.actual, `${name}:${mismatch.step.line}: ${mismatch.step.command}`).toBe(mismatch.expected);
    });
  }
});

test('the scripts can fail: a wrong line, a missing one, one too many', () => {
  expect(matches(['a 1'], ['a <...>'])).toBe(true);
  expect(matches(['a', 'x', 'y', 'b'], ['a', '[...]', 'b'])).toBe(true);
  expect(matches(['b'], ['a'])).toBe(false);
  expect(matches([], ['a'])).toBe(false);
  expect(matches(['a', 'b'], ['a'])).toBe(false);
  expect(matches(['a.c'], ['abc'])).toBe(false);
});
