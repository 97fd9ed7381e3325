// Does an invariant hold for every possible request? Proved, not tried: when it does not, the answer is a request that breaks it and the
// rule that lets it.
import type { PolicySet } from '#wire';
import { readCondition } from '../condition.ts';
import { boxesOf } from '../space/boxes.ts';
import { type Box, createSpace } from '../space/cells.ts';
import { without } from '../space/intervals.ts';
import type { State } from '../space/states.ts';
import { createVerdicts, type Judge, type Verdicts } from '../space/verdicts.ts';
import { readTemplate, type Template } from '../template.ts';
import { type Witness, witnessOf } from './witness.ts';

/** Sources as in a `PolicySet`: SPIFFE IDs, prefixes, `*`, groups resolved. */
export interface Invariant {
  /** `never`: no request of these is allowed. `always`: every one is. */
  readonly kind: 'never' | 'always';
  readonly from: readonly string[];
  /** Callers that it says nothing about. */
  readonly except: readonly string[];
  readonly to: readonly string[];
  readonly methods?: readonly string[] | undefined;
  readonly paths?: readonly string[] | undefined;
  /** The app ports; absent: any, and one that is not known. */
  readonly ports?: readonly number[] | undefined;
  /** Only requests whose header has values, all of them listed. */
  readonly when?: readonly { readonly key: string; readonly in: readonly string[] }[] | undefined;
}

export interface Counterexample {
  readonly request: Witness;
  /** The rules that match it. */
  readonly rules: readonly string[];
}

/** Checks invariants against one set; the set is read once. */
export interface Prover {
  /** A request that breaks it, or `undefined` when it holds. Throws `POLICY_TOO_COMPLEX`. */
  breach(invariant: Invariant): Counterexample | undefined;
}

/** Throws `POLICY_INVALID`. */
export function createProver(set: PolicySet): Prover {
  const rules = { never: boxesOf(withModelsAs('allow', set)), always: boxesOf(withModelsAs('deny', set)) };
  return {
    breach(invariant) {
      const asked: Box = {
        to: invariant.to,
        from: invariant.from,
        methods: invariant.methods,
        templates: invariant.paths?.map(templateOf),
      };
      const known: Box = { to: [], from: invariant.except, methods: [], templates: [] };
      const space = createSpace<Box>([...rules[invariant.kind], asked, known]);
      const excepted = space.ids.setOf(invariant.except);
      const verdicts = createVerdicts<Judge>();
      const scope = scopeOf(invariant);
      let found: Counterexample | undefined;
      space.visit({
        isFocus: (box) => box === asked && !found,
        onCell(cell) {
          const from = without(cell.from, excepted);
          if (from.length === 0) return;
          const inside = cell.boxes.flatMap(({ rule }) => rule ?? []);
          const state =
            invariant.kind === 'never' ? allowedIn(scope, inside, verdicts) : deniedIn(scope, inside, verdicts);
          if (!state) return;
          const matching = inside.filter((rule) => verdicts.find([scope, rule], []));
          found = { request: witnessOf(space, { ...cell, from }, state), rules: matching.map(({ name }) => name) };
        },
      });
      return found;
    },
  };
}

/** What only casbin can tell is taken for the worst: to break `never` a model may allow everything, to break `always` deny it. */
function withModelsAs(effect: 'allow' | 'deny', set: PolicySet): PolicySet {
  const worst = (set.models ?? []).map(({ name, to }) => ({
    policy: `casbin:${name}`,
    id: 'any',
    effect,
    to,
    from: ['*'],
  }));
  return worst.length === 0 ? set : { ...set, rules: [...set.rules, ...worst] };
}

function allowedIn(scope: Judge, rules: readonly Judge[], { find }: Verdicts<Judge>): State | undefined {
  const denies = rules.filter((rule) => rule.deny);
  for (const rule of rules) {
    const state = rule.deny ? undefined : find([scope, rule], denies);
    if (state) return state;
  }
  return undefined;
}

function deniedIn(scope: Judge, rules: readonly Judge[], { find }: Verdicts<Judge>): State | undefined {
  const byDefault = find(
    [scope],
    rules.filter((rule) => !rule.deny),
  );
  if (byDefault) return byDefault;
  for (const rule of rules) {
    const state = rule.deny ? find([scope, rule], []) : undefined;
    if (state) return state;
  }
  return undefined;
}

/** The requests that the invariant is about, as a rule that would allow them. */
function scopeOf({ ports, when }: Invariant): Judge {
  return {
    index: -1,
    deny: false,
    ports: ports && new Set(ports),
    conditions: when?.map((condition) => {
      const read = readCondition(condition);
      if ('faults' in read) throw new TypeError(read.faults[0]!.fault);
      return read.condition;
    }),
  };
}

function templateOf(path: string): Template {
  const template = readTemplate(path);
  if (typeof template === 'string') throw new TypeError(`${path}: ${template}`);
  return template;
}
