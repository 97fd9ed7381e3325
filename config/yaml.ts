// YAML and JSON text as plain values, with the line and column of everything in it. Bounded against bombs: depth, aliases, problems; nothing
// in the text can run, merge or reach a prototype.
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from 'yaml';
import { messageOf, type Problem } from '#base/error';
import { pointerTo } from '#base/schema';

export type Position = readonly [line: number, column: number];

/** One document: its value, and where each part of it is written, by JSON pointer. Lines and columns count from 1. */
export interface LocatedDocument {
  readonly value: unknown;
  readonly positions: ReadonlyMap<string, Position>;
  /** Where the keys of maps are written, by the pointer of their value. */
  readonly keys: ReadonlyMap<string, Position>;
}

const deepestNesting = 32;
/** How many values the aliases of one document may stand for. */
const mostAliased = 10_000;
const mostProblems = 100;

/** Every document that can be read and is not empty, and every problem (at most a hundred, then their number). */
export function readDocuments(text: string, file: string): { documents: LocatedDocument[]; problems: Problem[] } {
  const lines = new LineCounter();
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return [Math.max(1, line), Math.max(1, col)];
  };
  const problems: Problem[] = [];
  const report = (message: string, [line, column]: Position): void =>
    void problems.push({ message, file, line, column });
  const documents: LocatedDocument[] = [];
  try {
    for (const { contents, errors, warnings } of parse(text, lines)) {
      const found = [...errors, ...warnings];
      // The parser recurses into what it reads; a hundred thousand brackets exhaust the stack, which it reports at every level.
      if (found.some(({ message }) => /call stack|stack overflow/i.test(message))) throw new RangeError(tooDeep);
      for (const { pos, message } of found) report(sentence(message), at(pos[0]));
      if (found.length > 0 || contents === null || (isScalar(contents) && contents.value === null)) continue;
      const document = locate(contents, { at, report });
      if (document) documents.push(document);
    }
  } catch (thrown) {
    report(thrown instanceof RangeError ? tooDeep : sentence(messageOf(thrown)), at(deepestPlace(text)));
  }
  const left = problems.length - mostProblems;
  if (left > 0) problems.splice(mostProblems, left, { message: `and ${left} more problems`, file, line: 1, column: 1 });
  return { documents, problems };
}

const tooDeep = `it is nested more than ${deepestNesting} deep`;

function parse(text: string, lineCounter: LineCounter) {
  return parseAllDocuments(text, {
    lineCounter,
    prettyErrors: false,
    strict: true,
    stringKeys: true,
    // Ours is not quadratic.
    uniqueKeys: false,
    merge: false,
    schema: 'core',
    logLevel: 'silent',
  });
}

interface Locating {
  readonly at: (offset: number) => Position;
  readonly report: (message: string, position: Position) => void;
}

/** `undefined` when the document cannot be taken in whole. */
function locate(root: Node, { at, report }: Locating): LocatedDocument | undefined {
  const positions = new Map<string, Position>();
  const keys = new Map<string, Position>();
  const anchors = new Map<string, Node>();
  let aliased = 0;
  let stopped = false;

  function stop(message: string, position: Position): undefined {
    if (!stopped) report(message, position);
    stopped = true;
  }

  /** `place` is set inside an alias: what it stands for is written where the alias is. */
  function visit(node: unknown, pointer: string, depth: number, place: Position | undefined): unknown {
    const offset = (node as Node | null)?.range?.[0];
    const position = place ?? (offset === undefined ? undefined : at(offset)) ?? [1, 1];
    if (stopped) return undefined;
    if (depth > deepestNesting) return stop(tooDeep, position);
    if (place && ++aliased > mostAliased)
      return stop(`its aliases stand for more than ${mostAliased} values`, position);
    if (offset !== undefined) positions.set(pointer, position);
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      return target ? visit(target, pointer, depth + 1, position) : stop(`there is no anchor ${node.source}`, position);
    }
    if ((isMap(node) || isSeq(node) || isScalar(node)) && node.anchor) anchors.set(node.anchor, node);
    if (isSeq(node)) return node.items.map((item, index) => visit(item, pointerTo(pointer, index), depth + 1, place));
    if (!isMap(node)) return isScalar(node) ? node.value : null;
    const value: Record<string, unknown> = {};
    for (const pair of node.items) {
      const key = isScalar(pair.key) ? String(pair.key.value) : '';
      const inner = pointerTo(pointer, key);
      const keyAt = place ?? at((isScalar(pair.key) && pair.key.range?.[0]) || 0);
      if (Object.hasOwn(value, key)) report(`${JSON.stringify(key)} is there twice`, keyAt);
      keys.set(inner, keyAt);
      // Not an assignment: `__proto__` is a key like any other, and an unknown one.
      Object.defineProperty(value, key, {
        value: visit(pair.value, inner, depth + 1, place),
        enumerable: true,
        configurable: true,
        writable: true,
      });
      if (!positions.has(inner)) positions.set(inner, keyAt);
    }
    return value;
  }

  const value = visit(root, '', 0, undefined);
  return stopped ? undefined : { value, positions, keys };
}

/** The place of the pointer, or of the nearest thing around it that has one. */
export function placeOf({ positions, keys }: LocatedDocument, pointer: string, atKey: boolean): Position {
  const key = atKey ? keys.get(pointer) : undefined;
  if (key) return key;
  for (let at = pointer; ; at = at.slice(0, at.lastIndexOf('/'))) {
    const position = positions.get(at);
    if (position) return position;
    if (at === '') return [1, 1];
  }
}

/** Where brackets, or list marks of one line, are first open too deep; a guess that ignores quotes, for text that no parser could read. */
function deepestPlace(text: string): number {
  let brackets = 0;
  let marks = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === '\n') marks = 0;
    else if (character === '[' || character === '{') brackets++;
    else if (character === ']' || character === '}') brackets--;
    else if ((character === '-' || character === '?') && text[at + 1] === ' ') marks++;
    if (brackets > deepestNesting || marks > deepestNesting) return at;
  }
  return 0;
}

/** The parser's words in our manner: lower case, no period, one line. */
function sentence(message: string): string {
  const line = message.split('\n')[0]!.replace(/\.$/, '');
  return line.charAt(0).toLowerCase() + line.slice(1);
}
