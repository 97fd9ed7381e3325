// The resource files that operators write, as located resources: files and folders, YAML and JSON, many documents in one. All problems at once,
// each with file, line and column; shape is checked here, meaning by #policy. Nothing of a file with problems is returned.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, type Problem } from '#base/error';
import { check } from '#base/schema';
import { suggest } from '#base/suggest';
import { type LocatedResource, type Origin, type Resource, resourceSchemas } from '#wire';
import { type LocatedDocument, type Position, readDocuments } from './yaml.ts';

export interface LoadedResources {
  readonly resources: LocatedResource[];
  readonly problems: Problem[];
}

/** The largest resource file, in bytes. */
export const largestFile = 10 * 1024 * 1024;
const mostFiles = 10_000;
const deepestFolder = 16;
/** Beyond this many places only those of resources and rules are kept: an origin travels with its resource. */
const mostPositions = 100_000;

/** Reads files, and folders with everything in them that ends in .yaml, .yml or .json, in order of name. */
export function loadResources(paths: readonly string[]): LoadedResources {
  const problems: Problem[] = [];
  const files = paths.flatMap((path) => filesIn(path, 0, problems));
  if (files.length > mostFiles) problems.push({ message: `there are ${files.length} files, more than ${mostFiles}` });
  const loaded = files.slice(0, mostFiles).map((file) => readResourceFile(file));
  return {
    resources: loaded.flatMap((each) => each.resources),
    problems: [...problems, ...loaded.flatMap((each) => each.problems)],
  };
}

/** Reads the text of one file; `file` only names it. */
export function parseResources(text: string, file: string): LoadedResources {
  const { documents, problems } = readDocuments(text, file);
  const resources: LocatedResource[] = [];
  for (const document of documents) {
    for (const part of partsOf(document)) {
      const found = problemsOf(part, file);
      problems.push(...found);
      if (found.length === 0) resources.push({ resource: part.value as Resource, origin: originOf(part, file) });
    }
  }
  problems.sort((a, b) => (a.line ?? 1) - (b.line ?? 1));
  return { resources: problems.length > 0 ? [] : resources, problems };
}

function readResourceFile(file: string): LoadedResources {
  const refuse = (message: string, at: Partial<Problem> = { line: 1, column: 1 }): LoadedResources => ({
    resources: [],
    problems: [{ message, file, ...at }],
  });
  try {
    if (statSync(file).size > largestFile) return refuse(tooLarge);
    const bytes = readFileSync(file);
    if (bytes.length > largestFile) return refuse(tooLarge);
    const text = decode(bytes);
    return typeof text === 'string' ? parseResources(text, file) : refuse('it is not UTF-8', text);
  } catch (thrown) {
    return refuse(`it cannot be read: ${reasonOf(thrown)}`, {});
  }
}

const tooLarge = `it is larger than ${largestFile / 1024 / 1024} MiB; split it`;

/** The text, or the place of the first bytes that are not UTF-8. */
function decode(bytes: Uint8Array): string | { line: number; column: number } {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    const before = new TextDecoder('utf-8').decode(bytes).split('\ufffd', 1)[0]!.split('\n');
    return { line: before.length, column: before.at(-1)!.length + 1 };
  }
}

function filesIn(path: string, depth: number, problems: Problem[]): string[] {
  try {
    const facts = statSync(path);
    if (facts.isFile()) return [path];
    if (!facts.isDirectory()) throw new Error('it is neither a file nor a folder');
    if (depth > deepestFolder) throw new Error('folders are nested too deeply');
    const names = readdirSync(path).filter((name) => !name.startsWith('.'));
    const found = names.sort().flatMap((name) => {
      const inner = join(path, name);
      return statSync(inner).isDirectory() || /\.(ya?ml|json)$/.test(name) ? filesIn(inner, depth + 1, problems) : [];
    });
    if (depth === 0 && found.length === 0) throw new Error('it holds no .yaml, .yml or .json file');
    return found;
  } catch (thrown) {
    problems.push({ message: `it cannot be read: ${reasonOf(thrown)}`, file: path });
    return [];
  }
}

/** A document that is a list stands for its items; their pointers begin anew. */
function partsOf(document: LocatedDocument): LocatedDocument[] {
  const { value, positions, keys } = document;
  if (!Array.isArray(value)) return [document];
  const parts = value.map((item) => ({
    value: item as unknown,
    positions: new Map<string, Position>(),
    keys: new Map<string, Position>(),
  }));
  for (const what of ['positions', 'keys'] as const) {
    for (const [pointer, position] of what === 'keys' ? keys : positions) {
      const [, index, rest] = /^\/(\d+)(.*)$/s.exec(pointer) ?? [];
      if (index !== undefined) parts[Number(index)]![what].set(rest!, position);
    }
  }
  return parts;
}

function problemsOf(part: LocatedDocument, file: string): Problem[] {
  const { value } = part;
  const locate = ({ pointer = '', ...problem }: Problem): Problem => {
    const [line, column] = placeOf(part, pointer, problem.message.startsWith('unknown key'));
    return { ...problem, pointer, file, line, column };
  };
  const kinds = Object.keys(resourceSchemas);
  if (typeof value !== 'object' || value === null) {
    return [locate({ message: 'a resource is a map with a kind', hint: `kinds: ${kinds.join(', ')}` })];
  }
  const kind = Object.hasOwn(value, 'kind') ? (value as { kind: unknown }).kind : undefined;
  if (kind === undefined) return [locate({ message: 'kind is missing', hint: `kinds: ${kinds.join(', ')}` })];
  if (typeof kind !== 'string' || !Object.hasOwn(resourceSchemas, kind)) {
    const near = typeof kind === 'string' ? suggest(kind, kinds) : undefined;
    const hint = near ? `did you mean ${near}?` : `kinds: ${kinds.join(', ')}`;
    return [locate({ message: `there is no kind ${JSON.stringify(kind)}`, pointer: '/kind', hint })];
  }
  return check(resourceSchemas[kind as Resource['kind']], value).map((problem) => {
    const key = problem.pointer?.split('/').at(-1);
    const named = key && !problem.message.startsWith('unknown key') && !/^\d+$/.test(key);
    return locate(named ? { ...problem, message: `${key} ${problem.message}` } : problem);
  });
}

/** The place of the pointer, or of the nearest thing around it that has one. */
function placeOf({ positions, keys }: LocatedDocument, pointer: string, atKey: boolean): Position {
  const key = atKey ? keys.get(pointer) : undefined;
  if (key) return key;
  for (let at = pointer; ; at = at.slice(0, at.lastIndexOf('/'))) {
    const position = positions.get(at);
    if (position) return position;
    if (at === '') return [1, 1];
  }
}

function originOf({ positions }: LocatedDocument, file: string): Origin {
  const kept =
    positions.size <= mostPositions ? positions : [...positions].filter(([pointer]) => pointer.split('/').length <= 3);
  return { file, positions: Object.fromEntries([...kept].map(([pointer, place]) => [pointer, [...place]])) };
}

function reasonOf(thrown: unknown): string {
  const { code } = thrown as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file or folder';
  if (code === 'EACCES') return 'permission denied';
  return messageOf(thrown);
}
