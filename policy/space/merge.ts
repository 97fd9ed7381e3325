// Findings of many cells as few, larger ones: what differs only in path, caller, method or service becomes one. Nothing is added or lost.
import type { Box, Cell, DescribedCell, Methods, Space } from './cells.ts';
import { type Intervals, unionOf } from './intervals.ts';
import { describePaths } from './paths.ts';

/** One finding in one cell; findings are put together when their `sort` is equal. */
export interface Found<B extends Box, T> {
  readonly cell: Cell<B>;
  readonly sort: string;
  readonly value: T;
}

interface Piece<T> {
  readonly sort: string;
  readonly to: Intervals;
  readonly from: Intervals;
  readonly methods: Methods;
  /** Numbers of path areas, ascending; areas of one tree belong to the same services. */
  readonly areas: readonly number[];
  readonly values: readonly T[];
}

/** In the order first found. `values` are those of all the cells that one stands for. */
export function mergeFound<B extends Box, T>(
  { ids }: Space<B>,
  found: readonly Found<B, T>[],
): (DescribedCell & { readonly values: readonly T[] })[] {
  const areas = new Map<Cell<B>['paths'], number>();
  let pieces: Piece<T>[] = found.map(({ cell: { to, from, methods, paths }, sort, value }) => {
    if (!areas.has(paths)) areas.set(paths, areas.size);
    return { sort, to, from, methods, areas: [areas.get(paths)!], values: [value] };
  });
  const all = [...areas.keys()];
  const join = (key: (piece: Piece<T>) => string, add: (group: readonly Piece<T>[]) => Partial<Piece<T>>): void => {
    const groups = new Map<string, Piece<T>[]>();
    for (const piece of pieces) {
      const name = `${piece.sort}\n${key(piece)}`;
      const group = groups.get(name);
      if (group) group.push(piece);
      else groups.set(name, [piece]);
    }
    pieces = [...groups.values()].map(([first, ...others]) => {
      if (others.length === 0) return first!;
      const group = [first!, ...others];
      const values = group.flatMap((piece) => piece.values);
      return { ...first!, ...add(group), values };
    });
  };
  const methodsKey = ({ named, others, except }: Methods): string => `${named.join()}|${others}|${except.join()}`;
  const [byTo, byFrom, byMethods, byAreas] = [
    ({ to }: Piece<T>) => to.join(),
    ({ from }: Piece<T>) => from.join(),
    ({ methods }: Piece<T>) => methodsKey(methods),
    (piece: Piece<T>) => piece.areas.join(),
  ];
  const keyOf =
    (...parts: ((piece: Piece<T>) => string)[]) =>
    (piece: Piece<T>) =>
      parts.map((part) => part(piece)).join('\n');
  join(keyOf(byTo, byMethods, byFrom), (group) => ({
    areas: group.flatMap((each) => each.areas).sort((a, b) => a - b),
  }));
  join(keyOf(byTo, byMethods, byAreas), (group) => ({ from: unionOf(group.map((each) => each.from)) }));
  join(keyOf(byTo, byFrom, byAreas), (group) => ({
    methods: group.map((each) => each.methods).reduce(bothMethods),
  }));
  return pieces.map(({ to, from, methods, areas: held, values }) => ({
    from: ids.describe(from),
    to: ids.describe(to),
    methods: methods.others ? { include: ['*'], except: methods.except } : { include: methods.named, except: [] },
    paths: describePaths(held.flatMap((area) => all[area]!.cells)),
    values,
  }));
}

function bothMethods(one: Methods, other: Methods): Methods {
  const named = [...new Set([...one.named, ...other.named])].sort();
  if (!one.others && !other.others) return { named, others: false, except: [] };
  const excepts = [one, other].flatMap((each) => (each.others ? [each.except] : []));
  const except = excepts.reduce((left, right) => left.filter((name) => right.includes(name)));
  return { named: [], others: true, except: except.filter((name) => !named.includes(name)) };
}
