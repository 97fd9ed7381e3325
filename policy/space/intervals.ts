// Sets of equivalence classes as sorted, disjoint, half-open intervals of their numbers: groups and prefixes are a few numbers, however many
// identities they hold. Pure arithmetic; knows nothing of what the classes stand for.

/** `[start, end, start, end, ...]`, ascending and disjoint. */
export type Intervals = readonly number[];

/** The union of any intervals, in any order. */
export function unionOf(lists: readonly Intervals[]): Intervals {
  if (lists.length === 1) return lists[0]!;
  const pairs: [number, number][] = [];
  for (const list of lists) for (let at = 0; at < list.length; at += 2) pairs.push([list[at]!, list[at + 1]!]);
  pairs.sort((a, b) => a[0] - b[0]);
  const union: number[] = [];
  for (const [start, end] of pairs) {
    if (union.length > 0 && start <= union.at(-1)!) union[union.length - 1] = Math.max(union.at(-1)!, end);
    else union.push(start, end);
  }
  return union;
}

export function without(set: Intervals, taken: Intervals): Intervals {
  const left: number[] = [];
  let next = 0;
  for (let at = 0; at < set.length; at += 2) {
    let start = set[at]!;
    const end = set[at + 1]!;
    while (next < taken.length && taken[next + 1]! <= start) next += 2;
    for (let cut = next; cut < taken.length && taken[cut]! < end; cut += 2) {
      if (taken[cut]! > start) left.push(start, taken[cut]!);
      start = Math.max(start, taken[cut + 1]!);
    }
    if (start < end) left.push(start, end);
  }
  return left;
}

export function overlaps(one: Intervals, other: Intervals): boolean {
  for (let left = 0, right = 0; left < one.length && right < other.length; ) {
    if (one[left + 1]! <= other[right]!) left += 2;
    else if (other[right + 1]! <= one[left]!) right += 2;
    else return true;
  }
  return false;
}

export function holdsClass(set: Intervals, number: number): boolean {
  let low = 0;
  let high = set.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (set[middle * 2 + 1]! <= number) low = middle + 1;
    else high = middle;
  }
  return low * 2 < set.length && set[low * 2]! <= number;
}

/** Items that hold at the same classes, with those classes; classes that no item holds are left out. */
export interface Stretch<T> {
  readonly classes: Intervals;
  readonly items: readonly T[];
}

/** Cuts the classes into the fewest sets within which exactly the same items hold. Items keep their order. */
export function stretchesOf<T>(items: readonly T[], classesOf: (item: T) => Intervals): Stretch<T>[] {
  const edges: { at: number; index: number; opens: boolean }[] = [];
  for (const [index, item] of items.entries()) {
    const classes = classesOf(item);
    for (let at = 0; at < classes.length; at += 2) {
      edges.push({ at: classes[at]!, index, opens: true }, { at: classes[at + 1]!, index, opens: false });
    }
  }
  edges.sort((a, b) => a.at - b.at);
  const open = new Set<number>();
  const found = new Map<string, { classes: number[]; held: number[] }>();
  for (let next = 0; next < edges.length; ) {
    const { at } = edges[next]!;
    for (; next < edges.length && edges[next]!.at === at; next++) {
      const { index, opens } = edges[next]!;
      if (opens) open.add(index);
      else open.delete(index);
    }
    if (open.size === 0) continue;
    const held = [...open].sort((a, b) => a - b);
    const key = held.join();
    const end = edges[next]!.at;
    const stretch = found.get(key);
    if (!stretch) found.set(key, { classes: [at, end], held });
    else if (stretch.classes.at(-1) === at) stretch.classes[stretch.classes.length - 1] = end;
    else stretch.classes.push(at, end);
  }
  return [...found.values()].map(({ classes, held }) => ({ classes, items: held.map((index) => items[index]!) }));
}
