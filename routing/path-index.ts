// The first of many that matches a path, without looking at those whose path cannot be it. Entries are in order; the first match wins.
import type { PathMatcher } from './match-path.ts';

export interface Indexed {
  readonly path: PathMatcher;
}

export interface PathIndex<T extends Indexed, Q extends { readonly path: string }> {
  first(asked: Q): T | undefined;
}

interface Placed<T> {
  readonly place: number;
  readonly entry: T;
}

/** A step of the paths that are no exact ones. */
interface Node<T> {
  next: Map<string, Node<T>> | undefined;
  /** Any one segment that is not empty. */
  any: Node<T> | undefined;
  /** For paths that end here, in order. */
  readonly here: Placed<T>[];
  /** For those and all below. */
  readonly rest: Placed<T>[];
}

/** `holds`: whether an entry whose path matches matches the rest of what is asked. */
export function indexPaths<T extends Indexed, Q extends { readonly path: string }>(
  entries: readonly T[],
  holds: (entry: T, asked: Q) => boolean,
): PathIndex<T, Q> {
  const exact = new Map<string, Placed<T>[]>();
  const root = createNode<T>();
  for (const [place, entry] of entries.entries()) {
    const placed = { place, entry };
    if (entry.path.exact === undefined) insert(root, placed);
    else {
      const list = exact.get(entry.path.exact);
      if (list) list.push(placed);
      else exact.set(entry.path.exact, [placed]);
    }
  }
  const isFlat = !root.next && !root.any;

  /** The first of the list that matches, if it comes before the best one so far. */
  const search = (list: readonly Placed<T>[], best: Placed<T> | undefined, asked: Q): Placed<T> | undefined => {
    for (const placed of list) {
      if (best !== undefined && placed.place > best.place) return best;
      const { test } = placed.entry.path;
      if ((test === undefined || test(asked.path)) && holds(placed.entry, asked)) return placed;
    }
    return best;
  };
  /** The deepest first: what is said of everything comes last in most lists, and then need not be looked at. */
  const walk = (node: Node<T>, at: number, before: Placed<T> | undefined, asked: Q): Placed<T> | undefined => {
    const { path } = asked;
    let best = before;
    if (at === path.length) best = search(node.here, best, asked);
    else if (node.next || node.any) {
      const slash = path.indexOf('/', at + 1);
      const end = slash < 0 ? path.length : slash;
      const next = node.next?.get(path.slice(at + 1, end));
      if (next) best = walk(next, end, best, asked);
      if (node.any && end > at + 1) best = walk(node.any, end, best, asked);
    }
    return node.rest.length > 0 ? search(node.rest, best, asked) : best;
  };

  return {
    first(asked) {
      const list = exact.get(asked.path);
      const best = list && search(list, undefined, asked);
      // OPTIONS * has no segments.
      const isWhole = isFlat || asked.path.charCodeAt(0) !== 47;
      return (isWhole ? search(root.rest, best, asked) : walk(root, 0, best, asked))?.entry;
    },
  };
}

function createNode<T>(): Node<T> {
  return { next: undefined, any: undefined, here: [], rest: [] };
}

function insert<T extends Indexed>(root: Node<T>, placed: Placed<T>): void {
  const { steps, rest } = placed.entry.path;
  let node = root;
  for (const step of steps) {
    if ('parameter' in step) {
      node.any ??= createNode();
      node = node.any;
      continue;
    }
    node.next ??= new Map();
    const next = node.next.get(step.literal) ?? createNode<T>();
    node.next.set(step.literal, next);
    node = next;
  }
  node[rest ? 'rest' : 'here'].push(placed);
}
