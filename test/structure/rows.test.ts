// Every hostile input and every SPIFFE rule that this version promises to stand has a test that carries its id in its name.
import { expect, test } from 'vitest';
import { readSources } from './sources.ts';

const span = (letter: string, from: number, to: number, width = 1): string[] =>
  Array.from({ length: to - from + 1 }, (_, n) => `${letter}${String(from + n).padStart(width, '0')}`);
const promised = [
  ...span('T', 1, 35),
  ...span('H', 1, 38),
  ...span('P', 1, 18),
  ...span('C', 1, 16),
  ...span('Z', 1, 12),
  ...span('L', 1, 8),
  ...['C18', 'C19', 'F3', 'F5'],
  ...span('K', 1, 10),
  ...span('ID-', 1, 18, 2),
  ...span('X-', 1, 16, 2),
];

/** Of the second list, of classes of authorization holes, which has numbers alone. */
const holes = span('', 1, 43);
/** Here a number means a footgun of casbin: asked of what we generate, and of a model of somebody's own. */
const footguns = ['test/policy/casbin-footguns.test.ts', 'test/policy/casbin-model-footguns.test.ts'];

/** The ids in the names of a file's tests: before a colon at the beginning of a string, alone (`'T6: ...'`) or in a list (`'C3, C13: ...'`). */
function idsIn(text: string): string[] {
  const names = [...text.matchAll(/['"`]((?:[A-Z]+-?)?\d+(?:(?:, | and )(?:[A-Z]+-?)?\d+)*)(?::|['"`])/g)];
  return names.flatMap(([, list]) => list!.split(/, | and /)).filter((id) => /^[A-Z]/.test(id));
}

/** The same of numbers, which count only before a colon. */
function numbersIn(text: string): string[] {
  const names = [...text.matchAll(/['"`]((?:[A-Z]+-?)?\d+(?:(?:, | and )(?:[A-Z]+-?)?\d+)*): /g)];
  return names.flatMap(([, list]) => list!.split(/, | and /)).filter((id) => /^\d/.test(id));
}

/** Names of tests stand in the test files, and in this table that two of them share. */
const table = 'test/helpers/hostile-requests.ts';
const tests = readSources().filter(({ path }) => path === table || /^test\/.*\.(test|peers)\.ts$/.test(path));

test('every promised row has a test under its name', () => {
  const found = new Set(tests.flatMap(({ text }) => idsIn(text)));
  expect(promised.filter((id) => !found.has(id))).toEqual([]);
});

test('every class of authorization holes has a test under its number', () => {
  const found = new Set(tests.filter(({ path }) => !footguns.includes(path)).flatMap(({ text }) => numbersIn(text)));
  expect(holes.filter((id) => !found.has(id))).toEqual([]);
});

test.each(footguns)('every footgun of casbin has a test under its number in %s', (file) => {
  const text = tests.find(({ path }) => path === file)?.text.replaceAll(/(['"`])casbin (?=\d)/g, '$1') ?? '';
  const found = new Set(numbersIn(text));
  expect(span('', 1, 31).filter((id) => !found.has(id))).toEqual([]);
});

test('an id counts in the name of a test, and not in passing', () => {
  expect(idsIn("test('T6: two names', f); it(\"C3, C13: both\", f); ['X-01: one', 1], ['T9', 2]")).toEqual([
    ...['T6', 'C3', 'C13', 'X-01', 'T9'],
  ]);
  expect(numbersIn("test('5: one', f); ['Z11, 23: both', 1], '27, H34: and' + '80' + `a 9: b`")).toEqual([
    '5',
    '23',
    '27',
  ]);
  expect(idsIn("// T6: see\nconst a = 'as T6 says'; f(T6);")).toEqual([]);
});
