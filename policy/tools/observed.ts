// What was decided, from decision records: equal calls counted once, so that a day of a million decisions is a few thousand questions. Keeps no
// record, only what a question needs.
import type { DecisionRecord } from '#wire';

/** Calls that were alike in everything that is recorded and decides. */
export interface ObservedCall {
  readonly from: string;
  readonly to: string;
  readonly method: string;
  readonly path: string;
  readonly effect: 'allow' | 'deny';
  readonly reason: string;
  readonly rule?: string;
  readonly matched: readonly string[];
  readonly shadow: readonly string[];
  /** Of the policy that decided; 0 when it was not recorded. */
  readonly revision: number;
  count: number;
  /** RFC 3339. */
  first: string;
  last: string;
  /** A decision to look at. */
  readonly example: string;
}

export interface Observed {
  /** False for a record that tells nothing: no decision, or one that the other end has recorded too. */
  add(record: DecisionRecord): boolean;
  readonly calls: readonly ObservedCall[];
  readonly decisions: number;
}

/** Different calls that are kept apart; calls beyond them make `add` throw `RangeError`. */
export const mostCalls = 2_000_000;

export function createObserved(): Observed {
  const found = new Map<string, ObservedCall>();
  const calls: ObservedCall[] = [];
  let decisions = 0;
  return {
    calls,
    get decisions() {
      return decisions;
    },
    add(record) {
      const { peer, to, method, path, decision, reason, rule, hop, time } = record;
      const isDecision = record.kind === 'exchange' && decision !== 'error';
      if (!isDecision || peer === undefined || to === undefined || method === undefined || path === undefined)
        return false;
      // An allowed call is recorded at both ends, and the called one's word counts; a call denied at the caller's end never arrives.
      if (hop === 'outbound' && decision === 'allow') return false;
      const { matched = [], shadow = [], policyRevision: revision = 0 } = record;
      const key = JSON.stringify([peer, to, method, path, reason, rule, matched, shadow, revision]);
      decisions++;
      const known = found.get(key);
      if (known) {
        known.count++;
        if (time < known.first) known.first = time;
        if (time > known.last) known.last = time;
        return true;
      }
      if (calls.length >= mostCalls) throw new RangeError('too many different calls; ask about less time');
      const call: ObservedCall = {
        ...{ from: peer, to, method, path, effect: decision, reason, matched, shadow, revision },
        ...(rule === undefined ? {} : { rule }),
        ...{ count: 1, first: time, last: time, example: record.id },
      };
      found.set(key, call);
      calls.push(call);
      return true;
    },
  };
}
