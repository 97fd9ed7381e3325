// How many connections or places does one identity hold? Nobody may hold so many that there is no place left for the others.

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

/** Holders remembered that hold nothing. */
const keptHolders = 64;

/** A number of places that several take from, each at most as many as it leaves free. */
export interface Places {
  /** Whether the holder may have one more; nobody in particular (`undefined`) only needs one to be free. */
  has(holder: string | undefined): boolean;
  take(holder: string | undefined): void;
  giveBack(holder: string | undefined): void;
  heldBy(holder: string | undefined): number;
}

/** One holder alone gets half of them; after two that take all they can, a quarter is there for whoever comes next. */
export function createPlaces(count: number): Places {
  const held = new Map<string | undefined, { count: number }>();
  let free = count;
  const heldBy = (holder: string | undefined): number => held.get(holder)?.count ?? 0;
  return {
    heldBy,
    has: (holder) => free > 0 && (holder === undefined || heldBy(holder) < free),
    take(holder) {
      free--;
      const own = held.get(holder);
      if (own) own.count++;
      else held.set(holder, { count: 1 });
    },
    giveBack(holder) {
      free++;
      const own = held.get(holder)!;
      // Who holds nothing will mostly be back at once; of many, only those who hold something are kept.
      if (--own.count === 0 && held.size > keptHolders) held.delete(holder);
    },
  };
}
