// What differs between two texts, line by line.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { diffLines, inOrderOf } from '../../cli/diff.ts';

test('lines that differ, with two lines around them and the rest left out', () => {
  const before = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const after = ['a', 'b', 'c', 'D', 'e', 'f', 'g', 'h', 'i'];
  expect(diffLines(before, after)).toEqual(['...', '  b', '  c', '- d', '+ D', '  e', '  f', '  g', '  h', '+ i']);
  expect(diffLines(before, before)).toEqual([]);
  expect(diffLines([], ['x'])).toEqual(['+ x']);
});

test('whatever two texts are, removed and added lines account for all of the difference', () => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 5 });
  fc.assert(
    fc.property(text, text, (before, after) => {
      const lines = diffLines(before, after).filter((line) => line !== '...');
      const count = (mark: string, of: string): number => lines.filter((line) => line === `${mark} ${of}`).length;
      for (const letter of ['a', 'b', 'c']) {
        const had = before.filter((one) => one === letter).length;
        const has = after.filter((one) => one === letter).length;
        expect(had - count('-', letter) + count('+', letter)).toBe(has);
      }
    }),
  );
});

test('two large texts with nothing in common are shown whole, without comparing each with each', () => {
  const lines = (name: string): string[] => Array.from({ length: 100_000 }, (_, nth) => `${name} ${nth}`);
  const shown = diffLines(lines('old'), lines('new'));
  expect([shown.length, shown[0], shown.at(-1)]).toEqual([200_000, '- old 0', '+ new 99999']);
});

test('the order of keys is no difference', () => {
  const model = { kind: 'Cluster', name: 'a', subsets: { one: 1, two: 2 }, list: [{ x: 1, y: 2 }] };
  const value = { list: [{ y: 3, x: 1 }], more: 1, subsets: { two: 2, one: 1 }, name: 'a', kind: 'Cluster' };
  expect(JSON.stringify(inOrderOf(model, value))).toBe(
    JSON.stringify({ kind: 'Cluster', name: 'a', subsets: { one: 1, two: 2 }, list: [{ x: 1, y: 3 }], more: 1 }),
  );
});
