// Does the running program still answer as casbin does? Every few seconds one decision is asked of both. When they differ the request is denied, the
// caller is told both answers, and from then on every decision is asked of both until another program takes over. Loads casbin late, and only then.
import type { PolicySet } from '#wire';
import type { CasbinOracle } from './casbin.ts';
import type { Decision, Program, Question } from './program.ts';

export interface Mismatch {
  readonly question: Pick<Question, 'from' | 'to' | 'method' | 'path' | 'port'>;
  readonly program: Decision;
  readonly casbin: 'allow' | 'deny';
}

export interface SelfCheckOptions {
  readonly set: PolicySet;
  /** Milliseconds that never go back. */
  readonly monotonic: () => number;
  readonly onSame: () => void;
  readonly onMismatch: (mismatch: Mismatch) => void;
  /** Casbin could not be had: this program goes on without being checked. */
  readonly onUnavailable: (reason: unknown) => void;
  /** Between two checks, milliseconds. */
  readonly everyMs?: number;
  /** How casbin is made ready; for tests. */
  readonly load?: (set: PolicySet) => Promise<CasbinOracle>;
}

/** Casbin takes some 4 us a rule, on the event loop: larger sets are not checked while they run. */
export const mostChecked = 250;

export function selfChecked(program: Program, options: SelfCheckOptions): Program {
  const { set, monotonic, onSame, onMismatch, onUnavailable, everyMs = 10_000 } = options;
  if (set.rules.length > mostChecked) return program;
  const load = options.load ?? (async (rules: PolicySet) => (await import('./casbin.ts')).createCasbin(rules));
  let oracle: CasbinOracle | undefined;
  let isLoading = false;
  let isDoubted = false;
  let next = monotonic() + everyMs;

  function check(question: Question, decision: Decision): Decision {
    if (!oracle) {
      if (!isLoading) {
        isLoading = true;
        load(set).then((ready) => {
          oracle = ready;
        }, onUnavailable);
      }
      return decision;
    }
    const casbin = oracle.decide(question);
    if (casbin === decision.effect) {
      onSame();
      return decision;
    }
    isDoubted = true;
    const { from, to, method, path, port } = question;
    onMismatch({ question: { from, to, method, path, port }, program: decision, casbin });
    return { ...decision, effect: 'deny', reason: 'self-check' };
  }

  const decide = (question: Question): Decision => {
    const decision = program.decide(question);
    if (!isDoubted) {
      const now = monotonic();
      if (now < next) return decision;
      next = now + everyMs;
    }
    try {
      return check(question, decision);
    } catch {
      return { ...decision, effect: 'deny', reason: 'policy-error' };
    }
  };
  return Object.freeze({
    revision: program.revision,
    decide,
    forPeer: (from: string) => ({ decide: (call: Omit<Question, 'from'>) => decide({ ...call, from }) }),
    asksToken: program.asksToken,
  });
}
