// How a data plane ends: nothing new from outside, then nothing new from inside, and what runs has until one moment for all of it.
import type { Clock } from '#base/clock';
import type { Listeners } from './listeners.ts';
import type { ConnectionKind, LiveConnections } from './live.ts';

export interface Draining {
  readonly clock: Clock;
  readonly live: LiveConnections;
  readonly listeners: Pick<Listeners, 'stopInbound' | 'stop'>;
  readonly drainMs: number;
  /** Nothing is to be sent on any more. */
  readonly closeOnward: () => void;
  readonly onCut: () => void;
}

/** Connections of these kinds finish what they carry and close. */
export function retireAll(live: LiveConnections, kinds: readonly ConnectionKind[]): void {
  for (const kind of kinds) for (const connection of [...live.all(kind)]) connection.retire();
}

/** Whatever is still open ends now. */
export function cutAll({ live, onCut }: Pick<Draining, 'live' | 'onCut'>): void {
  for (const kind of ['inbound', 'outbound', 'upstream'] as const)
    for (const connection of [...live.all(kind)]) {
      connection.cut();
      onCut();
    }
}

/** Inbound first: to finish what it was asked, the application may still have to call others. */
export async function drainAll(o: Draining): Promise<void> {
  const { clock, live, listeners } = o;
  const end = clock.monotonic() + o.drainMs;
  listeners.stopInbound();
  retireAll(live, ['inbound']);
  await live.emptied('inbound', end);
  listeners.stop();
  retireAll(live, ['outbound']);
  await live.emptied('outbound', end);
  o.closeOnward();
  retireAll(live, ['upstream']);
  await live.emptied('upstream', Math.min(end, clock.monotonic() + 1_000));
  cutAll(o);
  live.close();
}
