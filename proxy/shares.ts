// How many connections does one identity hold? Nobody may hold so many that there is no place left for the others.

export interface Shares {
  /** Takes one place for the holder; `undefined` when it has all that it may have. Call the result, once, to give the place back. */
  take(holder: string): (() => void) | undefined;
}

/** Keeps only the holders that hold something. */
export function createShares(o: { readonly most: number }): Shares {
  const held = new Map<string, number>();
  return {
    take(holder) {
      const count = held.get(holder) ?? 0;
      if (count >= o.most) return undefined;
      held.set(holder, count + 1);
      return () => {
        const left = held.get(holder)! - 1;
        if (left > 0) held.set(holder, left);
        else held.delete(holder);
      };
    },
  };
}
