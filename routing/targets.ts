// Weighted targets: one number says which.
import type { WeightedTarget } from '#wire';
import type { Target } from './action.ts';
import { compileEdits } from './header-edits.ts';

export interface Targets {
  readonly targets: readonly Target[];
  target(at: number): Target;
}

/** A target of weight 0 is never chosen. Throws when there would be nothing to choose from. */
export function compileTargets(given: readonly WeightedTarget[]): Targets {
  const targets = given.map(targetOf);
  const weights = given.map(({ weight }) => weight ?? 1);
  const [only] = targets;
  if (targets.length === 1) return { targets, target: () => only! };
  const sum = weights.reduce((total, weight) => total + weight, 0);
  if (sum === 0) throw new TypeError('the weights of its targets sum to 0');
  let before = 0;
  const ends = weights.map((weight) => {
    before += weight;
    return before / sum;
  });
  const last = weights.findLastIndex((weight) => weight > 0);
  return {
    targets,
    target(at) {
      for (let index = 0; index < last; index++) if (at < ends[index]!) return targets[index]!;
      return targets[last]!;
    },
  };
}

export function targetOf({ cluster, subset, headers }: WeightedTarget): Target {
  return { cluster, subset, request: compileEdits(headers?.request), response: compileEdits(headers?.response) };
}
