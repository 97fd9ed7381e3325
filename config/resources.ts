// The resource files that operators write, as located resources: files and folders, YAML and JSON, many documents in one. All problems at once,
// each with file, line and column; shape is checked here, meaning by #policy. Nothing of a file with problems is returned.
import { readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Problem } from '#base/error';
import { check } from '#base/schema';
import { suggest } from '#base/suggest';
import { parseCasbinCsv } from '#policy';
import { type LocatedResource, type Origin, type Resource, resourceSchemas } from '#wire';
import { largestFile, readText, reasonOf } from './text-file.ts';
import { type LocatedDocument, type Position, placeOf, readDocuments } from './yaml.ts';

export type { LoadedCases, PolicyCase } from './policy-cases.ts';
export { loadCases } from './policy-cases.ts';
export { largestFile };

export interface LoadedResources {
  readonly resources: LocatedResource[];
  readonly problems: Problem[];
}

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
      if (found.length > 0) continue;
      const inlined = inlineFiles(part, file);
      if ('problem' in inlined) problems.push(inlined.problem);
      else resources.push({ resource: inlined.resource, origin: originOf(part, file) });
    }
  }
  problems.sort((a, b) => (a.line ?? 1) - (b.line ?? 1));
  return { resources: problems.length > 0 ? [] : resources, problems };
}

function readResourceFile(file: string): LoadedResources {
  const read = readText(file);
  return 'text' in read ? parseResources(read.text, file) : { resources: [], problems: [read.problem] };
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

/** What a resource has in files of its own, which are beside the one that names them. */
function inlineFiles(part: LocatedDocument, file: string): { resource: Resource } | { problem: Problem } {
  const { kind } = part.value as Resource;
  if (kind === 'CasbinModel') return inlineModel(part, file);
  return kind === 'Cluster' ? inlineCertificates(part, file) : inlineKeys(part, file);
}

/** A Casbin model's text and rows, as other Casbins keep them. */
function inlineModel(part: LocatedDocument, file: string): { resource: Resource } | { problem: Problem } {
  let resource = part.value as Extract<Resource, { kind: 'CasbinModel' }>;
  for (const [from, into] of [
    ['modelFile', 'model'],
    ['rowsFile', 'rows'],
  ] as const) {
    const { [from]: named, ...rest } = resource;
    if (named === undefined) continue;
    const [line, column] = placeOf(part, `/${from}`, false);
    const refuse = (message: string) => ({ problem: { message: `${from} ${message}`, file, line, column } });
    if (rest[into] !== undefined) return refuse(`stands beside ${into}; write one of them`);
    const read = readText(join(dirname(file), named));
    if ('problem' in read) return refuse(`${named}: ${read.problem.message}`);
    const parsed = into === 'rows' ? parseCasbinCsv(read.text) : undefined;
    if (parsed && 'fault' in parsed) return refuse(`${named}:${parsed.line}: ${parsed.fault}`);
    resource = { ...rest, [into]: parsed ? parsed.rows : read.text } as typeof resource;
    const [fault] = check(resourceSchemas.CasbinModel, resource);
    if (fault) return refuse(`${named}: ${fault.pointer} ${fault.message}`);
  }
  return { resource };
}

/** An issuer's keys from the file that it names. */
function inlineKeys(part: LocatedDocument, file: string): { resource: Resource } | { problem: Problem } {
  const resource = part.value as Resource;
  if (resource.kind !== 'JwtIssuer' || resource.jwksFile === undefined) return { resource };
  const { jwksFile, ...rest } = resource;
  const [line, column] = placeOf(part, '/jwksFile', false);
  const refuse = (message: string) => ({ problem: { message: `jwksFile ${message}`, file, line, column } });
  if (rest.jwks !== undefined) return refuse('stands beside jwks; write one of them');
  const read = readText(join(dirname(file), jwksFile));
  if ('problem' in read) return refuse(`${jwksFile}: ${read.problem.message}`);
  try {
    const inlined = { ...rest, jwks: JSON.parse(read.text) } as Resource;
    const [fault] = check(resourceSchemas.JwtIssuer, inlined);
    return fault ? refuse(`${jwksFile}: ${fault.pointer} ${fault.message}`) : { resource: inlined };
  } catch {
    return refuse(`${jwksFile}: it is not JSON`);
  }
}

/** The CA certificates that a cluster outside the mesh trusts. */
function inlineCertificates(part: LocatedDocument, file: string): { resource: Resource } | { problem: Problem } {
  const resource = part.value as Extract<Resource, { kind: 'Cluster' }>;
  if (resource.tls?.caFile === undefined) return { resource };
  const { caFile, ...tls } = resource.tls;
  const [line, column] = placeOf(part, '/tls/caFile', false);
  const refuse = (message: string) => ({ problem: { message: `caFile ${message}`, file, line, column } });
  if (tls.ca !== undefined) return refuse('stands beside ca; write one of them');
  const read = readText(join(dirname(file), caFile));
  if ('problem' in read) return refuse(`${caFile}: ${read.problem.message}`);
  if (!read.text.includes('-----BEGIN CERTIFICATE-----')) return refuse(`${caFile}: there is no certificate in it`);
  const inlined = { ...resource, tls: { ...tls, ca: read.text } };
  const [fault] = check(resourceSchemas.Cluster, inlined);
  return fault ? refuse(`${caFile}: ${fault.pointer} ${fault.message}`) : { resource: inlined };
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

function originOf({ positions }: LocatedDocument, file: string): Origin {
  const kept =
    positions.size <= mostPositions ? positions : [...positions].filter(([pointer]) => pointer.split('/').length <= 3);
  return { file, positions: Object.fromEntries([...kept].map(([pointer, place]) => [pointer, [...place]])) };
}
