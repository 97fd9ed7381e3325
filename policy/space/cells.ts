// Every request there can be, visited as cells within which exactly the same rules can match: destination, then path, then method, then
// caller. What is left to decide inside a cell is ports and conditions (states.ts). Only where a rule in focus can match is looked at.
import type { ReadRule } from '../rule.ts';
import type { Template } from '../template.ts';
import { getOrAdd } from '../trie.ts';
import { createIds, type Described, type Ids } from './ids.ts';
import { type Intervals, overlaps, stretchesOf, unionOf } from './intervals.ts';
import { type Area, areasOf } from './paths.ts';

/** What a rule, an invariant or a question is about: all of a product of sets. */
export interface Box {
  readonly rule?: ReadRule;
  readonly to: readonly string[];
  /** Groups resolved. */
  readonly from: readonly string[];
  readonly methods: readonly string[] | undefined;
  readonly templates: readonly Template[] | undefined;
}

export interface Cell<B extends Box> {
  readonly boxes: readonly B[];
  readonly to: Intervals;
  readonly from: Intervals;
  readonly methods: Methods;
  readonly paths: Area<B>;
}

/** Named methods; with `others`, all that no rule here names too. */
export interface Methods {
  readonly named: readonly string[];
  readonly others: boolean;
  /** The named methods that are not in it, when `others` is true. */
  readonly except: readonly string[];
}

export interface Space<B extends Box> {
  readonly ids: Ids;
  /** `isFocus` is asked again and again: a box that is settled can drop out of focus meanwhile. */
  visit(options: { readonly isFocus: (box: B) => boolean; readonly onCell: (cell: Cell<B>) => void }): void;
}

export function createSpace<B extends Box>(boxes: readonly B[]): Space<B> {
  const ids = createIds(boxes.flatMap((box) => [...box.to, ...box.from]));
  const sets = new Map<readonly string[], Intervals>();
  const setOf = (sources: readonly string[]): Intervals => getOrAdd(sets, sources, () => ids.setOf(sources));
  return {
    ids,
    visit({ isFocus, onCell }) {
      const inFocus = (some: readonly B[]): boolean => some.some(isFocus);
      const wanted = boxes.filter(isFocus);
      const [callers, services] = [
        unionOf(wanted.map((box) => setOf(box.from))),
        unionOf(wanted.map((box) => setOf(box.to))),
      ];
      const near = boxes.filter((box) => overlaps(setOf(box.from), callers) && overlaps(setOf(box.to), services));
      for (const { classes: to, items: called } of stretchesOf(near, (box) => setOf(box.to))) {
        if (!inFocus(called)) continue;
        for (const paths of areasOf(called, (box) => box.templates)) {
          if (!inFocus(paths.items)) continue;
          for (const { methods, items } of methodsOf(paths.items)) {
            if (!inFocus(items)) continue;
            for (const { classes: from, items: held } of stretchesOf(items, (box) => setOf(box.from))) {
              if (inFocus(held)) onCell({ boxes: held, to, from, methods, paths });
            }
          }
        }
      }
    },
  };
}

/** A cell, or several, in words. */
export interface DescribedCell {
  readonly from: Described;
  readonly to: Described;
  /** `*` stands for every other method. */
  readonly methods: Described;
  readonly paths: Described;
}

/** One request of the cell, apart from its state. */
export function requestIn<B extends Box>(
  { ids }: Space<B>,
  { from, to, methods, paths }: Cell<B>,
): { from: string; to: string; method: string; path: string } {
  const other = ['GET', 'POST', 'OTHER'].find(
    (name) => !methods.except.includes(name) && !methods.named.includes(name),
  );
  const method = methods.named[0] ?? other ?? freshMethod(methods.except);
  return { from: ids.witnessOf(from), to: ids.witnessOf(to), method, path: paths.witness };
}

function freshMethod(taken: readonly string[]): string {
  for (let turn = 1; ; turn++) if (!taken.includes(`OTHER${turn}`)) return `OTHER${turn}`;
}

function methodsOf<B extends Box>(boxes: readonly B[]): { methods: Methods; items: readonly B[] }[] {
  const names = [...new Set(boxes.flatMap((box) => box.methods ?? []))].sort();
  const numbers = new Map(names.map((name, index) => [name, index]));
  const every: Intervals = [0, names.length + 1];
  const classesOf = ({ methods }: Box): Intervals =>
    methods
      ? [...new Set(methods)]
          .map((name) => numbers.get(name)!)
          .sort((a, b) => a - b)
          .flatMap((at) => [at, at + 1])
      : every;
  return stretchesOf(boxes, classesOf).map(({ classes, items }) => {
    const held = names.filter((_, index) =>
      classes.some((start, at) => at % 2 === 0 && start <= index && index < classes[at + 1]!),
    );
    const others = classes.at(-1) === names.length + 1;
    return {
      methods: {
        named: others ? [] : held,
        others,
        except: others ? names.filter((name) => !held.includes(name)) : [],
      },
      items,
    };
  });
}
