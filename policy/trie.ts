// Where a rule is found again: path (by segment) -> method -> source. Looking something up visits only rules whose destination, path,
// method and source all match; it never visits the others.
import type { Peer } from './peers.ts';
import type { Step } from './template.ts';

export interface Node<T> {
  next: Map<string, Node<T>> | undefined;
  /** One segment of any text but the empty one. */
  any: Node<T> | undefined;
  /** Templates that end here. */
  here: Leaf<T> | undefined;
  /** Templates that end in `**` here. */
  rest: Leaf<T> | undefined;
}

/** Few items are a list that is walked; more are found by method, then source. Most leaves have one or two: maps would cost ten times as much. */
export interface Leaf<T> {
  few: Place<T>[];
  many: Many<T> | undefined;
}

interface Place<T> {
  /** `undefined`: any. */
  readonly method: string | undefined;
  readonly source: number;
  readonly item: T;
}

interface Many<T> {
  readonly methods: Map<string, Sources<T>>;
  readonly every: Sources<T>;
}

type Sources<T> = Map<number, T[]>;

/** The longest list of a leaf that is walked. */
const mostFew = 6;

export interface Entry<T> {
  readonly steps: readonly Step[];
  readonly rest: boolean;
  /** `undefined`: any method. */
  readonly methods: readonly string[] | undefined;
  readonly sources: readonly number[];
  readonly item: T;
}

export function createNode<T>(): Node<T> {
  return { next: undefined, any: undefined, here: undefined, rest: undefined };
}

/** What the map holds under the key, made when it holds nothing. */
export function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}

/** Adds one template of one item. */
export function insert<T>(root: Node<T>, { steps, rest, methods, sources, item }: Entry<T>): void {
  let node = root;
  for (const step of steps) {
    if ('parameter' in step) {
      node.any ??= createNode();
      node = node.any;
    } else {
      node.next ??= new Map();
      node = getOrAdd(node.next, step.literal, createNode<T>);
    }
  }
  const leaf: Leaf<T> = (rest ? node.rest : node.here) ?? { few: [], many: undefined };
  if (rest) node.rest = leaf;
  else node.here = leaf;
  for (const method of methods ? new Set(methods) : [undefined]) {
    for (const source of sources) put(leaf, { method, source, item });
  }
}

/** One question to a trie; reused from question to question, so that asking allocates nothing. */
export interface Looking<T> {
  /** Starts with a slash. */
  path: string;
  method: string;
  peer: Peer;
  readonly visit: (item: T) => void;
}

/** Calls `visit` with every item whose template, method and source match; an item can come more than once. */
export function look<T>(root: Node<T>, asked: Looking<T>): void {
  walk(root, 0, asked);
}

function walk<T>(node: Node<T>, at: number, asked: Looking<T>): void {
  if (node.rest) inLeaf(node.rest, asked);
  const { path } = asked;
  if (at === path.length) {
    if (node.here) inLeaf(node.here, asked);
    return;
  }
  if (!node.next && !node.any) return;
  const slash = path.indexOf('/', at + 1);
  const end = slash < 0 ? path.length : slash;
  const next = node.next?.get(path.slice(at + 1, end));
  if (next) walk(next, end, asked);
  if (node.any && end > at + 1) walk(node.any, end, asked);
}

function inLeaf<T>({ few, many }: Leaf<T>, asked: Looking<T>): void {
  const { method, peer, visit } = asked;
  for (const place of few) {
    if ((place.method === undefined || place.method === method) && peer.holds.has(place.source)) visit(place.item);
  }
  if (!many) return;
  inSources(many.every, asked);
  const sources = many.methods.get(method);
  if (sources) inSources(sources, asked);
}

function inSources<T>(sources: Sources<T>, { peer, visit }: Looking<T>): void {
  if (sources.size <= peer.tokens.length) {
    for (const [token, items] of sources) if (peer.holds.has(token)) for (const item of items) visit(item);
  } else {
    for (const token of peer.tokens) {
      const items = sources.get(token);
      if (items) for (const item of items) visit(item);
    }
  }
}

function put<T>(leaf: Leaf<T>, place: Place<T>): void {
  if (!leaf.many && leaf.few.length < mostFew) {
    leaf.few.push(place);
    return;
  }
  leaf.many ??= { methods: new Map(), every: new Map() };
  const { methods, every } = leaf.many;
  for (const { method, source, item } of [...leaf.few, place]) {
    const sources = method === undefined ? every : getOrAdd(methods, method, () => new Map());
    getOrAdd(sources, source, () => []).push(item);
  }
  leaf.few = [];
}
