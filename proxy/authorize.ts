// May this request go on? Gives a `Permit`, without which nothing further down can be called, or a `Denial`. Whatever goes wrong is a denial.
import type { Decision, Program } from '#policy';
import type { Facts } from './facts.ts';
import type { Peer } from './identity.ts';
import type { RequestHead } from './request-head.ts';
import { valuesOf } from './request-head.ts';

export interface Asked {
  readonly program: Program;
  readonly from: Peer;
  /** SPIFFE URI of the called service. */
  readonly to: string;
  /** The application's port, when it is known. */
  readonly port: number | undefined;
  readonly head: RequestHead;
  readonly facts: Facts;
}

/** Proof that policy allowed one request. Made only by `authorize`. */
export class Permit {
  readonly isPermit = true;
  readonly decision: Decision;
  readonly to: string;

  private constructor(decision: Decision, to: string) {
    this.decision = decision;
    this.to = to;
  }

  static decide({ program, from, to, port, head, facts }: Asked): Permit | Denial {
    let decision: Decision;
    try {
      decision = program.decide({
        from: from.uri,
        to,
        method: head.method,
        path: head.path,
        port,
        headers: (name) => headerValues(head, name),
        address: facts.address,
        time: facts.time,
        claims: typeof facts.token === 'function' ? facts.token : undefined,
        token: facts.token === 'refused' || facts.token === 'unread' ? 'refused' : undefined,
      });
    } catch {
      decision = { effect: 'deny', reason: 'policy-error', matched: [], shadow: [], revision: program.revision };
    }
    return decision.effect === 'allow' ? new Permit(decision, to) : { isPermit: false, decision };
  }
}

export interface Denial {
  readonly isPermit: false;
  readonly decision: Decision;
}

/** Policy first, on every hop: before a route is looked at and before a byte is sent on. */
export function authorize(asked: Asked): Permit | Denial {
  return Permit.decide(asked);
}

/** Fields that the head holds in a form of its own are found under their names too. */
function headerValues(head: RequestHead, name: string): readonly string[] {
  if (name === 'host') return [head.authority];
  if (name === 'content-length') return head.length >= 0 ? [String(head.length)] : [];
  return valuesOf(head.fields, name);
}
