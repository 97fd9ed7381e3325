// Lets so many through at a time, the others in the order in which they came.

export interface Turnstile {
  /** Calls `run` when there is room, perhaps at once; it calls `leave` once when it is done. The result takes back a turn that has not come. */
  enter(run: (leave: () => void) => void): () => void;
}

export function createTurnstile(most: number): Turnstile {
  const waiting = new Set<(leave: () => void) => void>();
  let inside = 0;
  const admit = (run: (leave: () => void) => void): void => {
    inside++;
    run(() => {
      inside--;
      for (const next of waiting) {
        waiting.delete(next);
        return admit(next);
      }
    });
  };
  return {
    enter(run) {
      if (inside < most) {
        admit(run);
        return () => undefined;
      }
      const own = (leave: () => void): void => run(leave);
      waiting.add(own);
      return () => waiting.delete(own);
    },
  };
}
