// What conditions of policies ask about beyond the request's own head: where it comes from, when, and what its token claims. Read once for
// each request; a token that is there and bad is `refused`, never `missing`.
import type { Claims } from '#policy';
import type { Plane, View } from './plane.ts';
import { type RequestHead, valuesOf } from './request-head.ts';

export interface Facts {
  /** Where the caller is; `null` on the calling side, which cannot know what the called one will see. */
  readonly address: string | null | undefined;
  /** Epoch milliseconds. */
  readonly time: number;
  /** `unread`: there may be one, but no rule asked when the request came; refused should one ask later. */
  readonly token: Claims | 'missing' | 'refused' | 'unread';
}

export interface FactsOptions {
  readonly plane: Plane;
  readonly view: View;
  /** SPIFFE ID of the called service. */
  readonly to: string;
  readonly head: RequestHead;
  readonly address: string | null | undefined;
}

/** At once, unless a rule for the called service asks about a token and there is one. Never throws. */
export function factsOf({ plane, view, to, head, address }: FactsOptions): Facts | Promise<Facts> {
  const time = plane.clock.now();
  const given = valuesOf(head.fields, 'authorization');
  if (given.length === 0) return { address, time, token: 'missing' };
  if (!view.program.asksToken(to)) return { address, time, token: 'unread' };
  if (!view.tokens) return { address, time, token: 'refused' };
  return view.tokens.read(given, time).then((token) => ({ address, time, token }));
}
