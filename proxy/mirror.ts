// Copies of requests for another cluster, whose answers nobody sees. The original never waits for a copy: one that cannot keep up is given up, and what goes
// wrong with it is in its own record only.
import type { PosternError } from '#base/error';
import { fail } from './errors.ts';
import { type Downstream, Exchange } from './exchange.ts';
import type { Plane } from './plane.ts';

/** The caller of a copy: takes any answer and forgets it. */
class Nobody implements Downstream {
  exchange: Exchange | undefined;

  inform(): void {}
  head(): void {}
  data(): boolean {
    return true;
  }
  end(): void {}
  abort(): void {}

  /** The copy's receiver is full: the original's body comes on all the same. */
  pauseRequest(): void {
    this.exchange?.cut(tooSlow());
  }

  resumeRequest(): void {}
}

const tooSlow = (): PosternError => fail('DOWNSTREAM_CLOSED');

/** A copy of the request; bytes of the body come with the original's. */
export function mirrorOf(original: Exchange, { clock, keeping }: Plane): Exchange {
  const downstream = new Nobody();
  const copy = new Exchange({
    head: original.head,
    downstream,
    responseFields: (fields) => fields,
    clock,
  });
  downstream.exchange = copy;
  // What comes before there is a connection waits; more of it than that ends the copy.
  copy.keepBody(keeping);
  return copy;
}
