// What would yesterday's calls get under another policy? Records have no headers and no port; what the old rules said about them is known,
// though, and used: an answer is certain whenever every request with the recorded outcome would get it, and else it is said to depend.
import type { PolicySet } from '#wire';
import { type Models, unloadedModels } from '../models.ts';
import { compileProgram } from '../program.ts';
import { readRules } from '../rule.ts';
import { createVerdicts, type Judge, sidesOf, type Verdicts } from '../space/verdicts.ts';
import type { ObservedCall } from './observed.ts';

export interface Flip {
  readonly call: ObservedCall;
  /** `depends`: on headers or a port that the record does not have. */
  readonly now: 'allow' | 'deny' | 'depends';
  /** Rules of the candidate that can match it. */
  readonly rules: readonly string[];
}

export interface Replay {
  /** Decisions, counting each of equal calls. */
  readonly decisions: number;
  readonly same: number;
  readonly depends: number;
  /** Most frequent first. */
  readonly flips: readonly Flip[];
}

/**
 * `policyOf`: the policy that was in force at a revision, when it is still known. `models`: those of the candidate, loaded; without them calls that they decide
 * about depend. Throws `POLICY_INVALID`, `POLICY_TOO_COMPLEX`.
 */
export function replay(
  calls: readonly ObservedCall[],
  candidate: PolicySet,
  policyOf: (revision: number) => PolicySet | undefined = () => undefined,
  models: Models = unloadedModels(candidate),
): Replay {
  const numbers = { next: 0 };
  const after = createCandidates(candidate, numbers);
  const before = new Map<number, Candidates | undefined>();
  const verdicts = createVerdicts<NamedJudge>();
  const flips: Flip[] = [];
  let [decisions, same, depends] = [0, 0, 0];
  for (const call of calls) {
    decisions += call.count;
    if (!before.has(call.revision)) {
      const set = policyOf(call.revision);
      before.set(call.revision, set && createCandidates(set, numbers));
    }
    const rules = [...after(call)];
    const said = models.answers({ ...call, headers: () => [] });
    for (const { effect, rule = '' } of said)
      if (effect === 'allow' || effect === 'deny')
        rules.push({
          name: rule,
          index: numbers.next++,
          deny: effect === 'deny',
          ports: undefined,
          conditions: undefined,
        });
    const isOpen = said.some(({ effect }) => effect === 'fault');
    const now = isOpen ? 'depends' : answer(rules, knownOf(call, before.get(call.revision), verdicts), verdicts);
    if (now === call.effect) same += call.count;
    else flips.push({ call, now, rules: rules.map(({ name }) => name) });
    if (now === 'depends') depends += call.count;
  }
  flips.sort((one, other) => other.call.count - one.call.count);
  return { decisions, same, depends, flips };
}

/** A rule of any of the sets, with a number of its own. */
interface NamedJudge extends Judge {
  readonly name: string;
}
type Candidates = (call: ObservedCall) => readonly NamedJudge[];

/** The enforced rules that match a call, ports and conditions left open. */
function createCandidates(set: PolicySet, numbers: { next: number }): Candidates {
  const names: string[] = [];
  const program = compileProgram(set, {
    onCandidate: (name) => names.push(name),
    narrowAbove: Number.POSITIVE_INFINITY,
  });
  const rules = new Map(
    readRules(set).map(({ name, shadow, deny, ports, conditions }) => {
      return [name, shadow ? undefined : { name, index: numbers.next++, deny, ports, conditions }] as const;
    }),
  );
  return ({ from, to, method, path }) => {
    names.length = 0;
    program.decide({ from, to, method, path, headers: () => [] });
    return names.flatMap((name) => rules.get(name) ?? []);
  };
}

interface Known {
  readonly held: readonly NamedJudge[];
  readonly failed: readonly NamedJudge[];
}

/** What the record proves about its headers and port: which of the old rules held, and which did not. */
function knownOf(call: ObservedCall, before: Candidates | undefined, { find }: Verdicts<NamedJudge>): Known {
  const rules = before?.(call) ?? [];
  const deciders = [...(call.rule === undefined ? [] : [call.rule]), ...call.matched];
  // Rows of a Casbin model say nothing about headers.
  const named = new Set(deciders.filter((name) => !name.startsWith('casbin:')));
  const held = rules.filter(({ name }) => named.has(name));
  // A set that does not have the rules that decided is not the one that was in force.
  if (held.length !== named.size) return { held: [], failed: [] };
  const failed = rules.filter(({ name }) => !named.has(name));
  return find(held, failed) ? { held, failed } : { held: [], failed: [] };
}

function answer(rules: readonly NamedJudge[], { held, failed }: Known, { find }: Verdicts<NamedJudge>): Flip['now'] {
  const { allows, denies } = sidesOf(rules);
  const canAllow = allows.some((allow) => find([...held, allow], [...failed, ...denies]));
  if (!canAllow) return 'deny';
  const canDeny =
    find(held, [...failed, ...allows]) !== undefined || denies.some((deny) => find([...held, deny], failed));
  return canDeny ? 'depends' : 'allow';
}
