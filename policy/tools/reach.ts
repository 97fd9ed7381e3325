// Who can make this call, and what can this caller call? Exact sets over every possible request, never samples: callers that always may,
// callers that may under conditions, and what each condition is.
import type { PolicySet } from '#wire';
import { boxesOf } from '../space/boxes.ts';
import { type Box, createSpace, type DescribedCell } from '../space/cells.ts';
import { type Found, mergeFound } from '../space/merge.ts';
import { createVerdicts, type Judge } from '../space/verdicts.ts';
import { readTemplate } from '../template.ts';
import { type Witness, witnessOf } from './witness.ts';

export interface Reach extends DescribedCell {
  /** False: only for some ports or conditions: one of `rules` must hold and none of `unless`. */
  readonly always: boolean;
  /** The allows and the denies that match there, with the conditions that each adds. */
  readonly rules: readonly Needs[];
  readonly unless: readonly Needs[];
  /** A request that is allowed. */
  readonly witness: Witness;
}

export interface Needs {
  readonly rule: string;
  readonly ports?: readonly number[];
  readonly when?: readonly { readonly key: string; readonly in: readonly string[] }[];
}

export interface Call {
  /** SPIFFE ID of the called service. */
  readonly to: string;
  readonly method: string;
  /** Canonical, or a template. */
  readonly path: string;
}

/** Throws `POLICY_INVALID`, `POLICY_TOO_COMPLEX`, and `TypeError` for a path that is no template. */
export function whoCan(set: PolicySet, { to, method, path }: Call): Reach[] {
  const template = readTemplate(path);
  if (typeof template === 'string') throw new TypeError(template);
  return reach(set, { to: [to], from: ['*'], methods: [method], templates: [template] });
}

/** Everything that the caller can call. Throws as `whoCan`. */
export function canReach(set: PolicySet, from: string): Reach[] {
  return reach(set, { to: ['*'], from: [from], methods: undefined, templates: undefined });
}

function reach(set: PolicySet, asked: Box): Reach[] {
  const space = createSpace<Box>([...boxesOf(set), asked]);
  const verdicts = createVerdicts<Judge>();
  const found: Found<Box, Pick<Reach, 'always' | 'rules' | 'unless' | 'witness'>>[] = [];
  space.visit({
    isFocus: (box) => box === asked,
    onCell(cell) {
      const inside = cell.boxes.flatMap(({ rule }) => rule ?? []);
      const state = verdicts.allowed(inside);
      if (!state) return;
      const always = !verdicts.denied(inside);
      const [allows, denies] = [false, true].map((deny) => inside.filter((rule) => rule.deny === deny));
      const rules = allows!.filter((rule) => verdicts.find([rule], denies!)).map(needsOf);
      const unless = denies!.filter((rule) => allows!.some((allow) => verdicts.find([allow, rule], []))).map(needsOf);
      const sort = always ? 'always' : JSON.stringify([rules, unless]);
      found.push({ cell, sort, value: { always, rules, unless, witness: witnessOf(space, cell, state) } });
    },
  });
  const merged = mergeFound(space, found).map(({ values, ...where }) => {
    const { always, unless, witness } = values[0]!;
    const rules = new Map(values.flatMap((value) => value.rules).map((needs) => [needs.rule, needs]));
    return { always, ...where, rules: [...rules.values()], unless, witness };
  });
  return merged.sort((one, other) => Number(other.always) - Number(one.always));
}

function needsOf({
  name,
  written: { ports, when },
}: {
  readonly name: string;
  readonly written: Omit<Needs, 'rule'>;
}): Needs {
  return { rule: name, ...(ports ? { ports } : {}), ...(when ? { when } : {}) };
}
