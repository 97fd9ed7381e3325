// Which requests would get another answer? All of them, proved over every possible request: each change is a set of callers, services, methods and
// paths, and a witness. Looks only where a rule of one side is not on the other.
import type { PolicySet } from '#wire';
import { boxesOf, type RuleBox } from '../space/boxes.ts';
import { createSpace, type DescribedCell } from '../space/cells.ts';
import { type Found, mergeFound } from '../space/merge.ts';
import type { State } from '../space/states.ts';
import { createVerdicts, type Judge, sidesOf } from '../space/verdicts.ts';
import { type Witness, witnessOf } from './witness.ts';

export interface Change extends DescribedCell {
  readonly was: 'allow' | 'deny';
  readonly now: 'allow' | 'deny';
  /** False: only for some ports or conditions, such as those of the witness. */
  readonly always: boolean;
  readonly witness: Witness;
  /** Rules that match there, of the side that they are on. */
  readonly rules: { readonly before: readonly string[]; readonly after: readonly string[] };
}

/** Throws `POLICY_INVALID`, `POLICY_TOO_COMPLEX`. */
export function diffPolicies(before: PolicySet, after: PolicySet): Change[] {
  const sides = [boxesOf(before), boxesOf(after)];
  const [first, second] = sides.map((boxes) => new Set(boxes.map(contentOf)));
  const boxes = sides.flatMap((side, number) =>
    side.map((box): SidedBox => {
      const index = box.rule.index * 2 + number;
      const isChanged = !(number === 0 ? second! : first!).has(contentOf(box));
      return { ...box, number, isChanged, judge: { ...box.rule, index } };
    }),
  );
  const space = createSpace(boxes);
  const verdicts = createVerdicts<Judge>();
  const found: Found<SidedBox, Pick<Change, 'was' | 'now' | 'always' | 'witness' | 'rules'>>[] = [];
  space.visit({
    isFocus: (box) => box.isChanged,
    onCell(cell) {
      const [old, young] = [0, 1].map((number) => cell.boxes.filter((box) => box.number === number));
      const rules = { before: namesOf(old!), after: namesOf(young!) };
      for (const [was, now, from, to] of [
        ['allow', 'deny', old!, young!],
        ['deny', 'allow', young!, old!],
      ] as const) {
        const [allowing, denying] = [from, to].map((side) => side.map(({ judge }) => judge));
        const state = differs(allowing!, denying!, verdicts);
        if (!state) continue;
        const always = !verdicts.denied(allowing!) && !verdicts.allowed(denying!);
        const witness = witnessOf(space, cell, state);
        found.push({ cell, sort: `${was} ${now} ${always}`, value: { was, now, always, witness, rules } });
      }
    },
  });
  return mergeFound(space, found).map(({ values, ...where }) => {
    const { was, now, always, witness } = values[0]!;
    const namesIn = (side: 'before' | 'after'): string[] => [...new Set(values.flatMap(({ rules }) => rules[side]))];
    return { was, now, always, ...where, witness, rules: { before: namesIn('before'), after: namesIn('after') } };
  });
}

interface SidedBox extends RuleBox {
  readonly number: number;
  readonly isChanged: boolean;
  readonly judge: Judge;
}

type Verdicts = ReturnType<typeof createVerdicts<Judge>>;

/** A state that the one allows and the other denies. */
function differs(allowing: readonly Judge[], denying: readonly Judge[], verdicts: Verdicts): State | undefined {
  const here = sidesOf(allowing);
  const there = sidesOf(denying);
  for (const allow of here.allows) {
    const byDefault = verdicts.find([allow], [...here.denies, ...there.allows]);
    if (byDefault) return byDefault;
    for (const deny of there.denies) {
      const byRule = verdicts.find([allow, deny], here.denies);
      if (byRule) return byRule;
    }
  }
  return undefined;
}

/** What a rule means, whatever it is called and wherever it is written. */
function contentOf({ rule, to, from, methods }: RuleBox): string {
  const { deny, written } = rule;
  const when = (written.when ?? []).map(({ key, in: values }) => [key, [...values].sort()]);
  const lists = [to, from, methods, written.paths, written.ports?.map(String)].map((list) => list && [...list].sort());
  return JSON.stringify([deny, lists, when.sort()]);
}

function namesOf(boxes: readonly RuleBox[]): string[] {
  return boxes.map(({ rule }) => rule.name);
}
