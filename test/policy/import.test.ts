// Rows that were exported are read back, and rows of another hand are refused, each with its reason.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileProgram } from '#policy';
import { exportCasbin, importCasbin } from '#policy/casbin';
import { ask, idOf, setOf } from '../helpers/policy.ts';
import { policySets } from './differential.ts';

const set = setOf(
  [
    { id: 'a', effect: 'allow', from: ['web', 'group:g'], methods: ['GET'], paths: ['/x/{id}', '/y/**'], ports: [80] },
    { id: 'd', effect: 'deny', paths: ['/x/7'], when: [{ key: 'header:x-env', in: ['prod', 'a, "b"'] }] },
  ],
  { groups: { g: ['ops', 'spiffe://example.org/audit/**'] } },
);

test('what was exported comes back as rules that make the same rows, and decide alike', () => {
  const { model, csv, rows } = exportCasbin(set);
  const back = importCasbin({ model, csv: csv.replaceAll('\n', '\r\n') });
  expect(exportCasbin({ revision: 1, ...back }).rows).toEqual(rows);
  const [before, after] = [compileProgram(set), compileProgram({ revision: 1, ...back })];
  for (const from of ['web', 'ops', 'audit/x', 'other'])
    for (const path of ['/x/7', '/x/8', '/y', '/z']) {
      const question = ask({ from: idOf(from), path, port: 80 });
      expect(after.decide(question)).toMatchObject({ effect: before.decide(question).effect });
    }
});

test('generated sets come back too; what cannot be said again is refused, never changed', () => {
  let back = 0;
  fc.assert(
    fc.property(policySets, (generated) => {
      const { model, csv, rows } = exportCasbin(generated);
      try {
        const { issuers = [] } = generated;
        expect(exportCasbin({ revision: 1, issuers, ...importCasbin({ model, csv }) }).rows).toEqual(rows);
        back++;
      } catch (thrown) {
        // Overlapping addresses and times over midnight have more than one spelling.
        expect(thrown).toMatchObject({ code: 'POLICY_INVALID' });
        expect(generated.rules.some(({ when }) => when?.some(({ key }) => /^(source|time):/.test(key)))).toBe(true);
      }
    }),
    { numRuns: 300, seed: 2 },
  );
  expect(back).toBeGreaterThan(150);
});

describe('refused', () => {
  const { model, csv } = exportCasbin(set);
  const change = (from: string | RegExp, to: string) => csv.replace(from, to);
  test.each([
    ['another model', { model: model.replace('allow', 'Allow') }, 'the model is not'],
    ['casbin 7: a row cut short', { csv: change(/, allow\n/, '\n') }, 'fields'],
    ['casbin 8: an effect in another case', { csv: change(/, allow\n/, ', Allow\n') }, 'neither allow nor deny'],
    ['casbin 9: a row of another kind', { csv: `${csv}p2, x, y\n` }, 'no rows of kind p2'],
    ['casbin 10: a row with more columns', { csv: change(/, allow\n/, ', x, allow\n') }, 'fields'],
    ['casbin 16: a pattern that is not anchored', { csv: change('^(?:GET)$', 'GET') }, 'not a pattern of ours'],
    ['casbin 16: a pattern that matches more', { csv: change('^(?:GET)$', '^(?:G.T)$') }, 'would not make this row'],
    ['a rule twice', { csv: `${csv}${csv.split('\n')[1]}\n` }, 'would not make this row'],
    ['a row too few', { csv: csv.split('\n').slice(1).join('\n') }, 'a row is missing'],
    ['a role that is no group', { csv: `${csv}g, spiffe://example.org/x, admin\n` }, 'not a group'],
    ['a comment', { csv: `# rules\n${csv}` }, ''],
    ['rows written another way', { csv: csv.replaceAll(', ', ',') }, 'not written as ours'],
  ])('%s', (_, part, reason) => {
    expect(() => importCasbin({ model, csv, ...part })).toThrow(reason);
  });
});
