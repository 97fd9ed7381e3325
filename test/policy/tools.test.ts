// The exact tools agree with deciding every request of a small universe, and every witness shows what it is said to show.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileProgram } from '#policy';
import { canReach, createProver, diffPolicies, lintPolicy, type Witness, whoCan } from '#policy/tools';
import type { PolicySet } from '#wire';
import {
  allStates,
  answersOf,
  type Call,
  callers,
  calls,
  holds,
  methods,
  paths,
  services,
  smallSets,
  versions,
} from './universe.ts';

function effectOf(set: PolicySet, { headers = {}, from, to, method, path, port }: Witness): 'allow' | 'deny' {
  return compileProgram(set).decide({ ...{ from, to, method, path, port }, headers: (name) => headers[name] ?? [] })
    .effect;
}

const all = [...calls()];
const runs = (numRuns: number) => ({ numRuns, seed: 11 });

describe('agreement with every request of a small universe', () => {
  test('diff: exactly the requests whose answer changes, in each direction, and whether always', () => {
    fc.assert(
      fc.property(versions, ([before, after]) => {
        const changes = diffPolicies(before, after);
        for (const { was, now, witness } of changes) {
          expect([effectOf(before, witness), effectOf(after, witness)]).toEqual([was, now]);
        }
        const [old, young] = [answersOf(before), answersOf(after)];
        for (const call of all) {
          const [a, b] = [old(call), young(call)];
          const found = changes.filter((change) => holds(change, call));
          const lost = found.find(({ was }) => was === 'allow');
          const gained = found.find(({ was }) => was === 'deny');
          expect([!!lost, !!gained, found.length <= 2, call]).toEqual([anyOf(a, b), anyOf(b, a), true, call]);
          if (lost) expect(lost.always).toBe(a === allStates && b === 0);
          if (gained) expect(gained.always).toBe(b === allStates && a === 0);
        }
      }),
      runs(20),
    );
  }, 60_000);

  test('who-can and can: exactly the calls that some request may make, and whether every one may', () => {
    fc.assert(
      fc.property(smallSets, fc.constantFrom(...paths), fc.constantFrom(...methods), (set, path, method) => {
        const answers = answersOf(set);
        const check = (call: Call, found: ReturnType<typeof whoCan>): void => {
          const bits = answers(call);
          const entries = found.filter((entry) => holds(entry, call));
          expect([entries.length, call]).toEqual([bits === 0 ? 0 : 1, call]);
          if (bits !== 0) expect(entries[0]!.always).toBe(bits === allStates);
        };
        for (const to of services.slice(0, 3)) {
          const found = whoCan(set, { to, method, path });
          for (const { witness } of found) expect(effectOf(set, witness)).toBe('allow');
          for (const call of calls({ to, method, path })) check(call, found);
        }
        for (const from of callers) {
          const found = canReach(set, from);
          for (const { witness } of found) expect(effectOf(set, witness)).toBe('allow');
          for (const call of calls({ from })) check(call, found);
        }
      }),
      runs(20),
    );
  }, 60_000);

  test('assert: an invariant is broken exactly when some request breaks it', () => {
    const invariants = fc.record({
      kind: fc.constantFrom('never' as const, 'always' as const),
      from: fc.constantFrom(['*'], ['spiffe://td/a'], ['spiffe://td/**']),
      except: fc.constantFrom([], ['spiffe://td/a/x'], ['spiffe://td/a/**', 'spiffe://new.example/**']),
      to: fc.constantFrom([services[0]!], ['spiffe://td/**']),
      methods: fc.constantFrom(undefined, ['GET'], ['OTHER']),
      paths: fc.constantFrom(undefined, ['/a'], ['/a/**'], ['/*/b'], ['/b/{x}/**']),
    });
    let broken = 0;
    fc.assert(
      fc.property(smallSets, invariants, (set, invariant) => {
        const answers = answersOf(set);
        const about = (call: Call): boolean =>
          holds({ ...wordsOf(invariant), from: { include: invariant.from, except: [] } }, call) &&
          !invariant.except.some((text) => inSource(text, call.from));
        const breaks = (call: Call): boolean =>
          invariant.kind === 'never' ? answers(call) !== 0 : answers(call) !== allStates;
        const breach = createProver(set).breach(invariant);
        if (breach) {
          broken++;
          expect(effectOf(set, breach.request)).toBe(invariant.kind === 'never' ? 'allow' : 'deny');
          expect(about(breach.request) || !all.some((call) => about(call) && breaks(call))).toBe(true);
        } else expect(all.filter((call) => about(call) && breaks(call))).toEqual([]);
      }),
      runs(300),
    );
    expect(broken).toBeGreaterThan(30);
  }, 60_000);

  test('lint: a rule is called without effect exactly when every answer is the same without it', () => {
    fc.assert(
      fc.property(smallSets, (set) => {
        const findings = lintPolicy(set);
        const before = answersOf(set);
        const table = all.map(before);
        for (const [index, rule] of set.rules.entries()) {
          if (rule.shadow) continue;
          const name = `p/${rule.id}`;
          const codes = findings.filter((one) => one.rule === name).map(({ code }) => code);
          const after = answersOf({ ...set, rules: set.rules.toSpliced(index, 1) });
          const isIdle = all.every((call, at) => table[at] === after(call));
          const saysIdle = codes.some((code) => ['PL001', 'PL002', 'PL003', 'PL004', 'PL005'].includes(code));
          const isTwin = findings.some(({ code, others }) => code === 'PL004' && others.includes(name));
          if (!isTwin) expect([saysIdle, name, codes]).toEqual([isIdle, name, codes]);
        }
      }),
      runs(20),
    );
  }, 60_000);
});

function anyOf(a: number, b: number): boolean {
  for (let at = 1; at <= allStates; at *= 2)
    if (Math.floor(a / at) % 2 === 1 && Math.floor(b / at) % 2 === 0) return true;
  return false;
}

function inSource(text: string, id: string): boolean {
  return text === '*' || text === id || (text.endsWith('/**') && `${id}/`.startsWith(text.slice(0, -2)));
}

interface Words {
  readonly to: readonly string[];
  readonly methods: readonly string[] | undefined;
  readonly paths: readonly string[] | undefined;
}

function wordsOf({ to, methods: named, paths: at }: Words) {
  const plain = (include: readonly string[]) => ({ include, except: [] });
  const templates = (at ?? ['/**']).map((path) => path.replace(/\{\w+\}/g, '*'));
  return { to: plain(to), methods: plain(named ?? ['*']), paths: plain(templates) };
}
