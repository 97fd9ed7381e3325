// What would shadow rules have done? Counted from what was recorded when they matched; nothing is decided anew.
import type { PolicySet } from '#wire';
import type { ObservedCall } from './observed.ts';

export interface ShadowRow {
  readonly rule: string;
  /** Absent for a rule that the policy no longer has. */
  readonly effect?: 'allow' | 'deny';
  readonly matched: number;
  /** Decisions that would have been others, were the rule in force. */
  readonly flips: number;
  /** Who would have noticed, most often first, at most ten. */
  readonly calls: readonly { readonly call: ObservedCall; readonly now: 'allow' | 'deny' }[];
}

/** One row for each shadow rule of the set, matched or not, and for each that was recorded. */
export function reportShadows(calls: readonly ObservedCall[], set: PolicySet): ShadowRow[] {
  const effects = new Map<string, 'allow' | 'deny'>(
    set.rules.filter((rule) => rule.shadow).map(({ policy, id, effect }) => [`${policy}/${id}`, effect] as const),
  );
  const names = new Set([...effects.keys(), ...calls.flatMap(({ shadow }) => shadow)]);
  return [...names].sort().map((rule) => {
    const own = calls.filter(({ shadow }) => shadow.includes(rule));
    const effect = effects.get(rule);
    const flips = own.filter((call) => wouldFlip(call, effect)).sort((one, other) => other.count - one.count);
    return {
      rule,
      ...(effect ? { effect } : {}),
      matched: total(own),
      flips: total(flips),
      calls: flips.slice(0, 10).map((call) => ({ call, now: effect! })),
    };
  });
}

/** A deny takes every allow away; an allow helps only where nothing denied by rule. */
function wouldFlip({ effect, reason }: ObservedCall, would: 'allow' | 'deny' | undefined): boolean {
  return would === 'deny' ? effect === 'allow' : would === 'allow' && reason === 'default-deny';
}

function total(calls: readonly ObservedCall[]): number {
  return calls.reduce((sum, { count }) => sum + count, 0);
}
