// One request that shows what a tool found, in the words that `policy why` and `policy test` take. Never invented: it comes out of the proof.
import type { Box, Cell, Space } from '../space/cells.ts';
import { requestIn } from '../space/cells.ts';
import type { State } from '../space/states.ts';

export interface Witness {
  readonly from: string;
  readonly to: string;
  readonly method: string;
  readonly path: string;
  /** Absent: not known. */
  readonly port?: number;
  readonly headers?: Readonly<Record<string, readonly string[]>>;
}

export function witnessOf<B extends Box>(space: Space<B>, cell: Cell<B>, { port, headers }: State): Witness {
  const given = Object.entries(headers).filter(([, values]) => values.length > 0);
  return {
    ...requestIn(space, cell),
    ...(port === undefined ? {} : { port }),
    ...(given.length > 0 ? { headers: Object.fromEntries(given) } : {}),
  };
}
