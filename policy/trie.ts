// Where a rule is found again: path (by segment) -> method -> source. Looking something up visits only rules whose destination, path,
// method and source all match; it never visits the others.
import type { Peer } from './peers.ts';
import type { Template } from './template.ts';

export interface Node<T> {
  next: Map<string, Node<T>> | undefined;
  /** One segment of any text but the empty one. */
  any: Node<T> | undefined;
  /** Templates that end here; the first of a few. */
  here: Place<T> | undefined;
  /** Templates that end in `**` here. */
  rest: Place<T> | undefined;
  /** Of which there are more than a few. */
  many: { here: Many<T> | undefined; rest: Many<T> | undefined } | undefined;
}

/**
 * A few are a list that is walked; more are found by method, then source. Most ends of templates have one or two: maps, or an array around them, would cost
 * many times as much memory, and each step from one object to the next is what a decision waits for.
 */
interface Place<T> {
  /** `undefined`: any. */
  readonly method: string | undefined;
  readonly source: number;
  readonly item: T;
  readonly more: Place<T> | undefined;
}

interface Many<T> {
  readonly methods: Map<string, Sources<T>>;
  readonly every: Sources<T>;
}

type Sources<T> = Map<number, T[]>;

/** The longest list that is walked. */
const mostFew = 6;

/** An item and where it is to be found, at each of its templates. */
export interface Entry<T> {
  /** `undefined`: any method. */
  readonly methods: readonly string[] | undefined;
  readonly sources: readonly number[];
  readonly item: T;
  /** The places of this item alone, made when first needed: one list for all ends of templates that hold nothing else. */
  alone?: Place<T> | undefined;
}

export function createNode<T>(): Node<T> {
  return { next: undefined, any: undefined, here: undefined, rest: undefined, many: undefined };
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
export function insert<T>(root: Node<T>, { steps, rest }: Template, entry: Entry<T>): void {
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
  const end = rest ? 'rest' : 'here';
  const isFree = !node[end] && !node.many?.[end];
  if (isFree && entry.alone) node[end] = entry.alone;
  else {
    putAll(node, end, entry);
    if (isFree) entry.alone = node[end];
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
  if (node.rest) inPlaces(node.rest, asked);
  else if (node.many?.rest) inMany(node.many.rest, asked);
  const { path } = asked;
  if (at === path.length) {
    if (node.here) inPlaces(node.here, asked);
    else if (node.many?.here) inMany(node.many.here, asked);
    return;
  }
  if (!node.next && !node.any) return;
  const slash = path.indexOf('/', at + 1);
  const end = slash < 0 ? path.length : slash;
  const next = node.next?.get(path.slice(at + 1, end));
  if (next) walk(next, end, asked);
  if (node.any && end > at + 1) walk(node.any, end, asked);
}

function inPlaces<T>(first: Place<T>, { method, peer, visit }: Looking<T>): void {
  for (let place: Place<T> | undefined = first; place; place = place.more) {
    if ((place.method === undefined || place.method === method) && peer.holds.has(place.source)) visit(place.item);
  }
}

function inMany<T>({ methods, every }: Many<T>, asked: Looking<T>): void {
  inSources(every, asked);
  const sources = methods.get(asked.method);
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

function putAll<T>(node: Node<T>, end: 'here' | 'rest', { methods, sources, item }: Entry<T>): void {
  for (const method of methods ? distinct(methods) : [undefined]) {
    for (const source of sources) put(node, end, { method, source, item });
  }
}

/** Each text once. Most lists have one alone. */
export function distinct(texts: readonly string[]): readonly string[] {
  return texts.length === 1 ? texts : [...new Set(texts)];
}

function put<T>(node: Node<T>, end: 'here' | 'rest', { method, source, item }: Omit<Place<T>, 'more'>): void {
  const few = node[end];
  if (!node.many?.[end] && isShort(few)) {
    node[end] = { method, source, item, more: few };
    return;
  }
  node.many ??= { here: undefined, rest: undefined };
  node.many[end] ??= { methods: new Map(), every: new Map() };
  const among = node.many[end];
  for (let place = few; place; place = place.more) add(among, place);
  add(among, { method, source, item });
  node[end] = undefined;
}

function add<T>({ methods, every }: Many<T>, { method, source, item }: Omit<Place<T>, 'more'>): void {
  const sources = method === undefined ? every : getOrAdd(methods, method, () => new Map());
  getOrAdd(sources, source, () => []).push(item);
}

/** Whether one more can be put before these. */
function isShort(places: Place<unknown> | undefined): boolean {
  let count = 0;
  for (let place = places; place; place = place.more) count++;
  return count < mostFew;
}
