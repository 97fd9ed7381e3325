// A running program is held to casbin: the same answer goes on, another one denies and is told.
import { describe, expect, test } from 'vitest';
import { compileProgram, type Mismatch, type Program, selfChecked } from '#policy';
import { ask, setOf } from '../helpers/policy.ts';

const set = setOf([{ id: 'a', effect: 'allow', paths: ['/a'] }]);
const casbin = (effect: 'allow' | 'deny') => async () => ({ decide: () => effect, ruleOf: () => undefined });

function checked(program: Program, load?: NonNullable<Parameters<typeof selfChecked>[1]['load']>) {
  const seen = { same: 0, mismatches: [] as Mismatch[], unavailable: [] as unknown[] };
  let now = 0;
  const own = selfChecked(program, {
    set,
    monotonic: () => now,
    everyMs: 10,
    onSame: () => void seen.same++,
    onMismatch: (mismatch) => seen.mismatches.push(mismatch),
    onUnavailable: (reason) => seen.unavailable.push(reason),
    ...(load ? { load } : {}),
  });
  const later = async (): Promise<void> => {
    now += 10;
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { own, seen, later };
}

describe('self-check', () => {
  test('asks casbin once in a while, not for each decision, and not before it is loaded', async () => {
    let loads = 0;
    const load = async () => {
      loads++;
      return { decide: () => 'allow' as const, ruleOf: () => undefined };
    };
    const { own, seen, later } = checked(compileProgram(set), load);
    own.decide(ask({ path: '/a' }));
    expect(loads).toBe(0);
    for (let turn = 0; turn < 4; turn++) {
      await later();
      for (let each = 0; each < 5; each++) expect(own.decide(ask({ path: '/a' })).reason).toBe('allowed');
      await later();
    }
    expect([loads, seen.mismatches, seen.unavailable]).toEqual([1, [], []]);
    expect(seen.same).toBe(3);
  });

  test('a different answer is a deny, is told with both answers, and every decision after it is asked too', async () => {
    const { own, seen, later } = checked(compileProgram(set), casbin('deny'));
    await later();
    own.decide(ask({ path: '/a' }));
    await later();
    expect(own.decide(ask({ path: '/a' }))).toMatchObject({ effect: 'deny', reason: 'self-check', rule: 'p/a' });
    expect(own.forPeer(ask().from).decide(ask({ path: '/a' })).reason).toBe('self-check');
    expect(own.decide(ask({ path: '/b' })).reason).toBe('default-deny');
    expect(seen.mismatches).toHaveLength(2);
    expect(seen.mismatches[0]).toMatchObject({
      casbin: 'deny',
      program: { effect: 'allow', rule: 'p/a' },
      question: { path: '/a' },
    });
  });

  test('an allow of casbin never turns a deny into an allow', async () => {
    const { own, later } = checked(compileProgram(set), casbin('allow'));
    await later();
    own.decide(ask({ path: '/b' }));
    await later();
    expect(own.decide(ask({ path: '/b' }))).toMatchObject({ effect: 'deny', reason: 'self-check' });
  });

  test('without casbin the program goes on and says so once', async () => {
    const { own, seen, later } = checked(compileProgram(set), () => Promise.reject(new Error('no such package')));
    for (let turn = 0; turn < 3; turn++) {
      await later();
      expect(own.decide(ask({ path: '/a' })).effect).toBe('allow');
    }
    expect(seen.unavailable).toHaveLength(1);
  });

  test('with casbin itself a real program is the same', async () => {
    const { own, seen, later } = checked(compileProgram(set));
    for (let turn = 0; seen.same === 0 && turn < 200; turn++) {
      await later();
      await new Promise((resolve) => setTimeout(resolve, 10));
      own.decide(ask({ path: '/a' }));
    }
    expect([seen.same, seen.mismatches]).toEqual([1, []]);
  });
});
