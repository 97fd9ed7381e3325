// All canonical paths there can be, cut into the areas within which exactly the same templates match. A trie of templates is made
// deterministic: a literal branch also holds what `*` beside it holds. Every area has a witness and an exact description.
import { fail } from '../errors.ts';
import type { Template } from '../template.ts';
import { getOrAdd } from '../trie.ts';
import type { Described } from './ids.ts';

/** Where the same items match. */
export interface Area<T> {
  readonly items: readonly T[];
  /** A path in it. */
  readonly witness: string;
  readonly cells: readonly PathCell[];
}

export interface PathCell {
  readonly node: PathNode;
  /** `here`: the node's path itself; `below`: what is below it and in no child; `slash`: only its trailing slash. */
  readonly part: 'here' | 'below' | 'slash';
}

/** A place in the deterministic tree. */
export interface PathNode {
  readonly parent: PathNode | undefined;
  /** The segment that leads here: a literal, or `*` for every segment that no sibling has. */
  readonly step: string;
  /** By step; `*` beside the literals. */
  readonly children: Map<string, PathNode>;
  readonly witness: string;
  /** Cells at and below it. */
  cells: number;
}

/** How many places one tree may have: templates made to explode it are refused, not swallowed. */
export const mostPlaces = 2_000_000;

interface Branch {
  readonly next: Map<string, Branch>;
  any: Branch | undefined;
  readonly here: number[];
  readonly rest: number[];
}

/** `templatesOf` gives `undefined` for an item of any path. Areas where no item holds are left out. Throws `POLICY_TOO_COMPLEX`. */
export function areasOf<T>(items: readonly T[], templatesOf: (item: T) => readonly Template[] | undefined): Area<T>[] {
  const root = branch();
  const everywhere: number[] = [];
  for (const [index, item] of items.entries()) {
    const templates = templatesOf(item);
    if (!templates) everywhere.push(index);
    else for (const template of templates) grow(root, template, index);
  }
  const found = new Map<string, { held: number[]; cells: PathCell[] }>();
  let places = 0;
  const add = (held: readonly number[], node: PathNode, part: PathCell['part']): number => {
    const own = held.length > 1 ? [...new Set(held)].sort((a, b) => a - b) : [...held];
    const key = own.join();
    const area = found.get(key);
    if (area) area.cells.push({ node, part });
    else found.set(key, { held: own, cells: [{ node, part }] });
    return 1;
  };
  const visit = (live: readonly Branch[], before: readonly number[], node: PathNode): number => {
    if (++places > mostPlaces)
      throw fail('POLICY_TOO_COMPLEX', { what: 'its path templates overlap in too many ways' });
    const rests = live.some(({ rest }) => rest.length > 0) ? [...before, ...live.flatMap(({ rest }) => rest)] : before;
    let cells = 0;
    if (node.parent) cells += add([...rests, ...live.flatMap(({ here }) => here)], node, 'here');
    if (node.step === '' && node.parent) return cells;
    const anys = live.flatMap(({ any }) => any ?? []);
    const literals = new Set(live.flatMap(({ next }) => [...next.keys()]));
    const child = (step: string, name: string): PathNode => {
      const inner = { parent: node, step, children: new Map(), cells: 0, witness: `${node.witness}/${name}` };
      node.children.set(step, inner);
      return inner;
    };
    for (const literal of literals) {
      const nexts = live.flatMap(({ next }) => next.get(literal) ?? []);
      const inner = child(literal, literal);
      inner.cells = visit(literal === '' ? nexts : [...nexts, ...anys], rests, inner);
      cells += inner.cells;
    }
    if (anys.length === 0) return cells + add(rests, node, 'below');
    const inner = child('*', freshSegment(literals));
    inner.cells = visit(anys, rests, inner);
    cells += inner.cells;
    return literals.has('') ? cells : cells + add(rests, node, 'slash');
  };
  const top: PathNode = { parent: undefined, step: '', children: new Map(), witness: '', cells: 0 };
  top.cells = visit([root], [], top);
  return [...found.values()].flatMap(({ held, cells }) => {
    const indexes = [...everywhere, ...held].sort((a, b) => a - b);
    if (indexes.length === 0) return [];
    return [{ items: indexes.map((index) => items[index]!), witness: witnessOf(cells[0]!), cells }];
  });
}

/**
 * The cells as templates. Of those that match a path, the most specific one says whether it is in: compared step by step from the left, a
 * literal is more specific than `*`, and `*` than `**`.
 */
export function describePaths(cells: readonly PathCell[]): Described {
  const inside = new Map<PathNode, number>();
  const parts = new Map<PathNode, Set<PathCell['part']>>();
  for (const { node, part } of cells) {
    const held = parts.get(node) ?? new Set();
    parts.set(node, held.add(part));
    for (let at: PathNode | undefined = node; at; at = at.parent) inside.set(at, (inside.get(at) ?? 0) + 1);
  }
  const isWhole = (node: PathNode): boolean => inside.get(node) === node.cells;
  const include = new Set<string>();
  const except = new Set<string>();
  const leaveOut = (node: PathNode, end: PathCell['part'] | 'whole'): void => {
    const isIn = end === 'whole' ? isWhole(node) : parts.get(node)?.has(end);
    if (!isIn) except.add(textOf(node, end));
  };
  for (const { node, part } of cells) {
    let whole: PathNode | undefined;
    for (let at: PathNode | undefined = node; at; at = at.parent) if (isWhole(at)) whole = at;
    const place = whole ?? node;
    const end = whole ? 'whole' : part;
    const text = textOf(place, end);
    if (include.has(text)) continue;
    include.add(text);
    for (const sibling of siblingsOf(place)) leaveOut(sibling, end);
    if (whole || part !== 'below') continue;
    for (const child of node.children.values()) leaveOut(child, 'whole');
    if (node.parent) leaveOut(node, 'here');
  }
  return { include: [...include].sort(), except: [...except].filter((text) => !include.has(text)).sort() };
}

/** A whole node stands for everything at and below it; nothing is below a trailing slash. */
function textOf(node: PathNode, end: PathCell['part'] | 'whole'): string {
  const text = stepsOf(node)
    .map(({ step }) => `/${step}`)
    .join('');
  if (end === 'here' || (node.step === '' && node.parent)) return text;
  return end === 'slash' ? `${text}/` : `${text}/**`;
}

function witnessOf({ node, part }: PathCell): string {
  if (part === 'here') return node.witness;
  return part === 'slash' ? `${node.witness}/` : `${node.witness}/${freshSegment(node.children)}`;
}

/** The places that a path under this pattern belongs to when one of the pattern's `*` is a literal that has a place of its own. */
function siblingsOf(node: PathNode): PathNode[] {
  const steps = stepsOf(node);
  return steps.flatMap(({ step, parent }, index) => {
    if (step !== '*') return [];
    const beside = [...parent!.children.values()].filter((one) => one.step !== '*' && one.step !== '');
    return beside.flatMap((sibling) => {
      let at: PathNode | undefined = sibling;
      for (const { step: next } of steps.slice(index + 1)) at = at?.children.get(next);
      return at ?? [];
    });
  });
}

function stepsOf(node: PathNode): PathNode[] {
  const steps: PathNode[] = [];
  for (let at = node; at.parent; at = at.parent) steps.unshift(at);
  return steps;
}

function freshSegment(taken: { has(name: string): boolean }): string {
  for (let turn = 0; ; turn++) {
    const name = turn === 0 ? 'any' : `any${turn}`;
    if (!taken.has(name)) return name;
  }
}

function branch(): Branch {
  return { next: new Map(), any: undefined, here: [], rest: [] };
}

function grow(root: Branch, { steps, rest }: Template, index: number): void {
  let at = root;
  for (const step of steps) {
    if ('parameter' in step) {
      at.any ??= branch();
      at = at.any;
    } else {
      at = getOrAdd(at.next, step.literal, branch);
    }
  }
  (rest ? at.rest : at.here).push(index);
}
