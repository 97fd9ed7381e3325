// What is done now and then beside the authority's work: each alarm is raised once, and what expired long ago is forgotten.
import { type StatusParts, warnings } from './status.ts';

/** Expired certificates and tokens are remembered for this long. */
const keptMs = 30 * 86_400_000;
const pruneEveryMs = 60_000;

export interface HousekeepingParts extends StatusParts {
  /** Called once for each new alarm. */
  readonly warn: (words: string) => void;
  readonly tokens: { prune(before: number): void };
  readonly issued: { prune(before: number): void };
}

/** One round, at this moment. */
export function createHousekeeping(parts: HousekeepingParts): (now: number) => void {
  const raised = new Set<string>();
  let prunedAt = Number.NEGATIVE_INFINITY;
  return (now) => {
    for (const { key, words } of warnings(parts, now)) {
      if (raised.has(key)) continue;
      raised.add(key);
      parts.warn(words);
    }
    if (Math.abs(now - prunedAt) < pruneEveryMs) return;
    prunedAt = now;
    parts.tokens.prune(now - keptMs);
    parts.issued.prune(now - keptMs);
  };
}
