// What the rules of one cell answer: is there a state in which the request is allowed, or denied? Answers are kept, since the same few rules
// meet in many cells.
import { findState, type State, type Stated } from './states.ts';

/** Anything that states are asked about, told apart by `index`. */
export interface Judge extends Stated {
  readonly index: number;
}

export interface Verdicts<R extends Judge> {
  /** A state that these rules allow. */
  allowed(rules: readonly R[]): State | undefined;
  /** A state that these rules deny, by a deny or because no allow holds. */
  denied(rules: readonly R[]): State | undefined;
  /** A state in which all of one list hold and none of the other. */
  find(holding: readonly R[], failing: readonly R[]): State | undefined;
}

const mostKept = 100_000;

export function createVerdicts<R extends Judge>(): Verdicts<R> {
  const kept = new Map<string, State | undefined>();
  const find = (holding: readonly R[], failing: readonly R[]): State | undefined => {
    if (failing.some(isPlain)) return undefined;
    if (failing.length === 0 && holding.every(isPlain)) return anyState;
    const asking = (rules: readonly R[]): R[] => rules.filter((rule) => !isPlain(rule));
    const [yes, no] = [asking(holding), asking(failing)];
    const key = `${yes.map(indexOf).join()}|${no.map(indexOf).join()}`;
    if (kept.has(key)) return kept.get(key);
    if (kept.size >= mostKept) kept.clear();
    const state = findState(yes, no);
    kept.set(key, state);
    return state;
  };
  const firstOf = (holding: readonly R[], failing: readonly R[]): State | undefined => {
    for (const rule of holding) {
      const state = find([rule], failing);
      if (state) return state;
    }
    return undefined;
  };
  return {
    find,
    allowed: (rules) => {
      const { allows, denies } = sidesOf(rules);
      return firstOf(allows, denies);
    },
    denied: (rules) => {
      const { allows, denies } = sidesOf(rules);
      return find([], allows) ?? firstOf(denies, []);
    },
  };
}

export function sidesOf<R extends Judge>(rules: readonly R[]): { allows: R[]; denies: R[] } {
  return { allows: rules.filter((rule) => !rule.deny), denies: rules.filter((rule) => rule.deny) };
}

const anyState: State = Object.freeze({ port: undefined, headers: Object.freeze({}), claims: Object.freeze({}) });

function isPlain({ ports, conditions }: Stated): boolean {
  return ports === undefined && conditions === undefined;
}

function indexOf({ index }: Judge): number {
  return index;
}
