// One request that shows what a tool found, in the words that `policy why` and `policy test` take. Never invented: it comes out of the proof.
import type { Box, Cell, Space } from '../space/cells.ts';
import { requestIn } from '../space/cells.ts';
import type { State } from '../space/states.ts';
import { formatAddress } from '../span.ts';

export interface Witness {
  readonly from: string;
  readonly to: string;
  readonly method: string;
  readonly path: string;
  /** Absent: not known. */
  readonly port?: number;
  readonly headers?: Readonly<Record<string, readonly string[]>>;
  /** Of a verified token. */
  readonly claims?: Readonly<Record<string, readonly string[]>>;
  /** Where it comes from; absent: any. */
  readonly address?: string;
  /** RFC 3339, in some week; absent: any. */
  readonly time?: string;
}

/** A Monday, 00:00 UTC. */
const monday = Date.UTC(2026, 0, 5);

export function witnessOf<B extends Box>(space: Space<B>, cell: Cell<B>, state: State): Witness {
  const { port, address, minute } = state;
  const [headers, claims] = [state.headers, state.claims].map((lists) =>
    Object.fromEntries(Object.entries(lists).filter(([, values]) => values.length > 0)),
  );
  const any = (lists: object | undefined): boolean => Object.keys(lists ?? {}).length > 0;
  return {
    ...requestIn(space, cell),
    ...(port === undefined ? {} : { port }),
    ...(any(headers) ? { headers: headers! } : {}),
    ...(any(claims) ? { claims: claims! } : {}),
    ...(address === undefined ? {} : { address: formatAddress(address) }),
    ...(minute === undefined ? {} : { time: new Date(monday + minute * 60_000).toISOString() }),
  };
}
