// When may a CA rotation take its next step? The authority knows the steps; this knows who already holds the new bundle.

import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { Authority } from '#ca';
import type { Registry } from './registry.ts';
import type { Snapshots } from './snapshots.ts';

export interface RotationOptions {
  readonly authority: Authority;
  readonly registry: Registry;
  readonly snapshots: Snapshots;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Rotation {
  /** Lets the authority look whether it may go on; call it each second. */
  tick(): void;
  /** Somebody has acknowledged a snapshot: looks once for all who do so at about the same time. */
  acknowledged(): void;
}

export function createRotation({ authority, registry, snapshots, clock, log }: RotationOptions): Rotation {
  /**
   * Every instance whose certificate is still valid counts, connected or not: until it acknowledged a snapshot with that bundle it would
   * refuse what a new root signed.
   */
  const bundleHeldByAll = (sequence: bigint): boolean => {
    const now = clock.now();
    for (const { notAfter, service, report } of registry.all()) {
      if (notAfter <= now) continue;
      if (!report || !snapshots.holdsBundle({ service, revision: report.revision, sequence })) return false;
    }
    return true;
  };
  let failing = false;
  let isDue = false;
  const tick = (): void => {
    isDue = false;
    try {
      authority.tick({ bundleHeldByAll });
      failing = false;
    } catch (thrown) {
      if (!failing) log.error('the rotation cannot go on; trying again', { reason: messageOf(thrown) });
      failing = true;
    }
  };
  return {
    tick,
    acknowledged() {
      if (isDue) return;
      isDue = true;
      setImmediate(() => isDue && tick());
    },
  };
}
