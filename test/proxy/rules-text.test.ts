// Rules that stay text are to everybody who asks what the same rules are as objects.
import { expect, test } from 'vitest';
import { buildProgram, compileProgram, type Question } from '#policy';
import type { PolicyRule, PolicySet } from '#wire';
import { type RulesText, rulesFrom, textOf } from '../../proxy/rules-text.ts';

const to = 'spiffe://example.org/shop/payments';
const caller = (at: number): string => `spiffe://example.org/shop/s${at % 7}`;

function writtenRules(count: number): PolicyRule[] {
  return Array.from({ length: count }, (_, at) => ({
    ...{ policy: 'päyments', id: `r-${at}`, effect: at % 11 === 3 ? 'deny' : 'allow', to: [to], from: [caller(at)] },
    ...(at % 2 === 0 ? { methods: ['GET', 'HEAD'] } : {}),
    ...(at % 5 === 0 ? {} : { paths: [`/a/${at % 40}`, `/a/${at % 40}/{id}`] }),
    ...(at % 3 === 0 ? { when: [{ key: 'header:x-env', in: ['prod'] }] } : {}),
  }));
}

function kept(rules: readonly PolicyRule[]): RulesText {
  const places = new Int32Array(new SharedArrayBuffer(4 * (rules.length + 1)));
  const parts = rules.map((rule) => Buffer.from(`${JSON.stringify(rule)},`));
  for (const [at, { length }] of parts.entries()) places[at + 1] = places[at]! + length;
  const text = new SharedArrayBuffer(places.at(-1)!);
  Buffer.from(text).set(Buffer.concat(parts));
  return { text, places };
}

test.each([0, 1, 63, 64, 65, 200])('%i of them are an array of them', (count) => {
  const rules = writtenRules(count);
  const text = kept(rules);
  const read = rulesFrom(text);
  expect(textOf(read)).toBe(text);
  expect(textOf(rules)).toBeUndefined();
  expect([Array.isArray(read), read.length]).toEqual([true, count]);
  expect([...read]).toEqual(rules);
  expect([...read.entries()]).toEqual([...rules.entries()]);
  expect(read.map(({ id }) => id)).toEqual(rules.map(({ id }) => id));
  expect(JSON.stringify({ read })).toBe(JSON.stringify({ read: rules }));
  expect([read[0], read[count - 1], read[count], read[-1], read.at(-1)]).toEqual([
    ...[rules[0], rules[count - 1], rules[count], rules[-1], rules.at(-1)],
  ]);
  expect(() => (read as PolicyRule[]).push(writtenRules(1)[0]!)).toThrow(TypeError);
});

test.each([300, 2_000])(
  '%i of them make the program that the objects make, for a caller with an index of its own too',
  async (count) => {
    const rules = writtenRules(count);
    const set: PolicySet = { revision: 1, rules, groups: {} };
    const expected = compileProgram(set);
    const program = await buildProgram(
      { ...set, rules: rulesFrom(kept(rules)) },
      { monotonic: () => 0, pause: async () => undefined },
    );
    for (let from = 0; from < 8; from++) {
      const own = program.forPeer(caller(from));
      for (let at = 0; at < 80; at++) {
        const headers = (): string[] => (at % 3 === 0 ? [] : ['prod']);
        const method = ['GET', 'POST', 'HEAD'][at % 3]!;
        const question: Question = {
          from: caller(from),
          to,
          method,
          path: `/a/${at % 45}${at % 4 ? '' : '/x'}`,
          headers,
        };
        const decision = expected.decide(question);
        expect([program.decide(question), own.decide(question)]).toEqual([decision, decision]);
      }
    }
  },
);
