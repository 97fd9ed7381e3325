// What recorded decisions tell: replayed under a candidate, turned into rules, and held against shadow rules.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileProgram } from '#policy';
import { createObserved, type ObservedCall, replay, reportShadows, suggestRules } from '#policy/tools';
import type { DecisionRecord, PolicySet } from '#wire';
import { ask, idOf, setOf } from '../helpers/policy.ts';
import { calls, smallSets, states, versions } from './universe.ts';

function record(part: Partial<DecisionRecord>): DecisionRecord {
  return {
    ...{ v: 1, id: 'd1', seq: 1, time: '2026-01-02T00:00:00.000Z', instance: 'i', service: idOf('payments') },
    ...{ hop: 'inbound', kind: 'exchange', connection: 'c', decision: 'allow', reason: 'allowed' },
    ...{ bytesIn: 0, bytesOut: 0, ms: 1, peer: idOf('web'), to: idOf('payments'), method: 'GET', path: '/' },
    ...part,
  } as DecisionRecord;
}

function observe(...parts: Partial<DecisionRecord>[]): readonly ObservedCall[] {
  const observed = createObserved();
  for (const part of parts) observed.add(record(part));
  return observed.calls;
}

describe('what is counted', () => {
  test('each call once: the called end for what was allowed, the calling end for what never arrived', () => {
    const observed = createObserved();
    const taken = [
      record({}),
      record({ hop: 'outbound' }),
      record({ hop: 'outbound', decision: 'deny', reason: 'default-deny' }),
      record({ decision: 'error', reason: 'UPSTREAM_CONNECT_FAILED' }),
      record({ kind: 'gap', lost: 3 }),
      record({ time: '2026-01-01T00:00:00.000Z' }),
    ].map((one) => observed.add(one));
    expect(taken).toEqual([true, false, true, false, false, true]);
    expect(observed.decisions).toBe(3);
    expect(observed.calls).toMatchObject([
      { effect: 'allow', count: 2, first: '2026-01-01T00:00:00.000Z', last: '2026-01-02T00:00:00.000Z' },
      { effect: 'deny', count: 1 },
    ]);
  });
});

describe('replay', () => {
  const before = setOf([
    { id: 'plain', effect: 'allow', from: ['web'], paths: ['/a'] },
    { id: 'prod', effect: 'allow', paths: ['/b'], when: [{ key: 'header:x-env', in: ['prod'] }] },
  ]);

  test('a flip names the call, how often, and the rules of the candidate', () => {
    const after = setOf([{ id: 'no', effect: 'deny', paths: ['/a'] }]);
    const result = replay(observe({ path: '/a', rule: 'p/plain' }, { path: '/a', rule: 'p/plain' }), after);
    expect(result).toMatchObject({
      decisions: 2,
      same: 0,
      depends: 0,
      flips: [{ now: 'deny', rules: ['p/no'], call: { count: 2 } }],
    });
  });

  test('headers are not recorded: without the old policy an answer that hangs on one depends', () => {
    const call = observe({ path: '/b', rule: 'p/prod', policyRevision: 1 });
    expect(replay(call, before).flips).toMatchObject([{ now: 'depends' }]);
  });

  test('with the old policy what its rules prove about the headers makes the answer certain', () => {
    const call = observe({ path: '/b', rule: 'p/prod', policyRevision: 1 });
    expect(replay(call, before, () => before)).toMatchObject({ same: 1, flips: [] });
    const dev = setOf([{ id: 'dev', effect: 'allow', paths: ['/b'], when: [{ key: 'header:x-env', in: ['dev'] }] }]);
    expect(replay(call, dev, () => before).flips).toMatchObject([{ now: 'deny' }]);
    const denied = observe({ path: '/b', decision: 'deny', reason: 'default-deny', policyRevision: 1 });
    expect(replay(denied, before, () => before)).toMatchObject({ same: 1, flips: [] });
  });

  test('a certain answer is the one that the request really gets, whatever its headers and port were', () => {
    let certain = 0;
    fc.assert(
      fc.property(
        versions,
        fc.constantFrom(...states),
        fc.constantFrom(...calls()),
        ([old, young], { port, given }, call) => {
          const question = { ...call, port, headers: (name: string) => (name === 'x' ? given : []) };
          const { effect, reason, rule, matched } = compileProgram(old).decide(question);
          const taken = observe({
            ...recorded(call),
            decision: effect,
            reason,
            matched: [...matched],
            ...(rule ? { rule } : {}),
            policyRevision: 1,
          });
          const result = replay(taken, young, () => old);
          const now = result.flips[0]?.now ?? effect;
          if (now === 'depends') return;
          certain++;
          expect(now).toBe(compileProgram(young).decide(question).effect);
        },
      ),
      { numRuns: 1_500, seed: 5 },
    );
    expect(certain).toBeGreaterThan(1_000);
  });
});

function recorded({ from, to, method, path }: { from: string; to: string; method: string; path: string }) {
  return { peer: from, to, method, path };
}

describe('suggest', () => {
  test('identifiers become parameters, equal callers one rule, with the evidence', () => {
    const seen = observe(
      ...[1, 2, 3].map((id) => ({ path: `/charges/${id}/refunds/`, method: 'POST' })),
      { path: '/charges/4' },
      { path: '/charges', time: '2026-01-01T00:00:00.000Z' },
      { path: '/charges', peer: idOf('ops') },
      { path: '/charges/0f8fad5b-d9cb-469f-a165-70867728950e', peer: idOf('ops') },
    );
    expect(suggestRules(seen)).toMatchObject([
      {
        to: idOf('payments'),
        rules: [
          {
            id: '2-callers-get',
            from: [idOf('ops'), idOf('web')],
            methods: ['GET'],
            paths: ['/charges', '/charges/{id}'],
            count: 4,
          },
          {
            id: 'web-post',
            from: [idOf('web')],
            methods: ['POST'],
            paths: ['/charges/{id}/refunds/'],
            count: 3,
            distinct: 3,
          },
        ],
      },
    ]);
  });

  test('many different names in one place are identifiers, a few are names', () => {
    const seen = observe(
      ...Array.from({ length: 40 }, (_, at) => ({ path: `/users/u${String.fromCharCode(97 + (at % 26))}${at}/x` })),
      ...['get', 'set', 'del'].map((name) => ({ path: `/ops/${name}` })),
    );
    expect(suggestRules(seen)[0]!.rules[0]!.paths).toEqual(['/ops/del', '/ops/get', '/ops/set', '/users/{id}/x']);
  });

  test('every call that it was given is allowed by the rules, and no other method, caller or service is', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...calls()), { minLength: 1, maxLength: 30 }), (some) => {
        const seen = observe(...some.map(recorded));
        const set: PolicySet = {
          revision: 1,
          groups: {},
          rules: suggestRules(seen).flatMap(({ to, rules }, at) =>
            rules.map(({ id, from, methods, paths }) => ({
              policy: `s${at}`,
              id,
              effect: 'allow' as const,
              to: [to],
              from,
              methods,
              paths,
            })),
          ),
        };
        const program = compileProgram(set);
        const known = new Set(some.map(({ from, to, method }) => JSON.stringify([from, to, method])));
        for (const call of some) expect(program.decide({ ...call, headers: () => [] }).effect).toBe('allow');
        for (const call of calls({ path: some[0]!.path })) {
          if (known.has(JSON.stringify([call.from, call.to, call.method]))) continue;
          expect(program.decide({ ...call, headers: () => [] }).effect).toBe('deny');
        }
      }),
      { numRuns: 60, seed: 3 },
    );
  });
});

test('the shadow report says what each rule would have changed, and names rules that never matched', () => {
  const set = setOf([
    { id: 'close', effect: 'deny', shadow: true, paths: ['/a'] },
    { id: 'open', effect: 'allow', shadow: true, paths: ['/b'] },
    { id: 'idle', effect: 'deny', shadow: true, paths: ['/c'] },
  ]);
  const seen = observe(
    { path: '/a', shadow: ['p/close'] },
    { path: '/a', shadow: ['p/close'], decision: 'deny', reason: 'default-deny' },
    { path: '/b', shadow: ['p/open'], decision: 'deny', reason: 'default-deny' },
    { path: '/b', shadow: ['p/open', 'p/gone'], decision: 'deny', reason: 'denied-by-rule' },
  );
  expect(reportShadows(seen, set).map(({ rule, effect, matched, flips }) => [rule, effect, matched, flips])).toEqual([
    ['p/close', 'deny', 2, 1],
    ['p/gone', undefined, 1, 0],
    ['p/idle', 'deny', 0, 0],
    ['p/open', 'allow', 2, 1],
  ]);
});

test('a call from a generated set is never both certain and wrong when nothing about the old policy is known', () => {
  fc.assert(
    fc.property(smallSets, fc.constantFrom(...states), fc.constantFrom(...calls()), (set, { port, given }, call) => {
      const question = ask({ ...call, ...(port === undefined ? {} : { port }), headers: { x: given } });
      const now = replay(observe({ ...recorded(call), decision: 'allow' }), set).flips[0]?.now ?? 'allow';
      if (now !== 'depends') expect(now).toBe(compileProgram(set).decide(question).effect);
    }),
    { numRuns: 500, seed: 9 },
  );
});
