// The first of many that matches a path, without looking at those whose path cannot be it. Entries are in order; the first match wins.
import type { PathMatcher } from './match-path.ts';

export interface Indexed {
  readonly path: PathMatcher;
}

export interface PathIndex<T extends Indexed> {
  /** The first entry whose path matches and for which `holds` is true. */
  first<Q extends { readonly path: string }>(asked: Q, holds: (entry: T, asked: Q) => boolean): T | undefined;
}

interface Placed<T> {
  readonly place: number;
  readonly entry: T;
}

export function indexPaths<T extends Indexed>(entries: readonly T[]): PathIndex<T> {
  const exact = new Map<string, Placed<T>[]>();
  const below = new Map<string, Placed<T>[]>();
  for (const [place, entry] of entries.entries()) {
    const [map, key] = entry.path.exact === undefined ? [below, entry.path.below] : [exact, entry.path.exact];
    const list = map.get(key);
    if (list) list.push({ place, entry });
    else map.set(key, [{ place, entry }]);
  }
  const anywhere = below.get('');
  below.delete('');
  /** Lengths that prefixes have at all. */
  const lengths = new Set([...below.keys()].map((prefix) => prefix.length));
  const longest = Math.max(0, ...lengths);

  return {
    first(asked, holds) {
      const { path } = asked;
      let best = search(exact.get(path), undefined, asked, holds);
      for (let slash = path.indexOf('/', 1); longest > 0; slash = path.indexOf('/', slash + 1)) {
        const end = slash < 0 ? path.length : slash;
        if (end > longest) break;
        if (lengths.has(end)) best = search(below.get(path.slice(0, end)), best, asked, holds);
        if (slash < 0) break;
      }
      return search(anywhere, best, asked, holds)?.entry;
    },
  };
}

/** The first of the list that matches, if it comes before the best one so far. */
function search<T extends Indexed, Q extends { readonly path: string }>(
  list: readonly Placed<T>[] | undefined,
  best: Placed<T> | undefined,
  asked: Q,
  holds: (entry: T, asked: Q) => boolean,
): Placed<T> | undefined {
  if (list === undefined) return best;
  for (const placed of list) {
    if (best !== undefined && placed.place > best.place) return best;
    const { test } = placed.entry.path;
    if ((test === undefined || test(asked.path)) && holds(placed.entry, asked)) return placed;
  }
  return best;
}
