// The numbers of snapshots: each larger than any before it, also after a restart, a restored backup or a clock that stepped back.
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { Store } from './store.ts';

export interface Revisions {
  next(): number;
}

/** Numbers are reserved this many at a time, so that a change of endpoints costs no write. Wall milliseconds, roughly. */
const reserve = 60_000;

export function createRevisions({ store, clock, log }: { store: Store; clock: Clock; log: Log }): Revisions {
  let reserved = store.counter('snapshot');
  let last = reserved;
  return {
    next() {
      last = Math.max(last + 1, clock.now());
      if (last <= reserved) return last;
      try {
        reserved = store.raise('snapshot', last + reserve);
      } catch (thrown) {
        // Proxies must go on while the disk is full; the clock still keeps the numbers rising.
        log.error('the snapshot counter could not be written', { reason: messageOf(thrown) });
      }
      return last;
    },
  };
}
