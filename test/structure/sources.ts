// Every source file of the repository with what it imports, read from its text. The one reader that all structure tests share.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Import {
  /** As written: `./x.ts`, `#base/error`, `node:fs`, `casbin`. */
  readonly specifier: string;
  /** Repository path, when it leads to a file of ours. */
  readonly target: string | undefined;
  /** `import type`, `export type`: gone at run time. */
  readonly typeOnly: boolean;
  /** `import()` inside a function: loaded when it is needed. */
  readonly dynamic: boolean;
  readonly line: number;
}

export interface Source {
  /** From the repository's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  /** The text with comments and the content of strings blanked out; same lines. */
  readonly code: string;
  readonly imports: readonly Import[];
}

/** Product folders by layer, lowest first; folders of one layer never import each other (docs/design, "Layers"). */
export const layers: readonly (readonly string[])[] = [
  ['base'],
  ['ca/spiffe'],
  ['wire'],
  ['ca', 'policy', 'audit'],
  ['routing'],
  ['proxy', 'control'],
  ['config'],
  ['cli'],
];
export const folders = layers.flat();

/** The folder of the layer table that a file belongs to; `undefined` for test/, bench/ and files at the top. */
export function folderOf(path: string): string | undefined {
  if (path.startsWith('ca/spiffe/')) return 'ca/spiffe';
  const top = path.split('/')[0]!;
  return folders.includes(top) && path.includes('/') ? top : undefined;
}

const doorTargets = (
  JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { imports: Record<string, string> }
).imports;

/** The doors of package.json's imports. */
export const doors = Object.keys(doorTargets);

/** Every .ts file that is committed or about to be. */
export function readSources(): readonly Source[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '*.ts', '*.js'], {
    cwd: root,
    encoding: 'utf8',
  });
  const paths = [...new Set(listed.split('\0'))].filter((path) => path !== '' && existsSync(join(root, path)));
  return paths.sort().map((path) => parseSource(path, readFileSync(join(root, path), 'utf8')));
}

export function parseSource(path: string, text: string): Source {
  const { code, withStrings } = blank(text);
  const imports: Import[] = [];
  const pattern =
    /^[ \t]*(?:import|export)\s+(type\s+)?(?:[\w$*\s{},]+\s+from\s+)?'([^'\n]+)'|\b(?:import|require)\s*\(\s*'([^'\n]+)'/gm;
  for (const match of withStrings.matchAll(pattern)) {
    const specifier = (match[2] ?? match[3])!;
    imports.push({
      specifier,
      target: resolve(path, specifier),
      typeOnly: match[1] !== undefined,
      dynamic: match[2] === undefined,
      line: text.slice(0, match.index).split('\n').length,
    });
  }
  return { path, text, code, imports };
}

function resolve(from: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return relative(root, join(root, dirname(from), specifier)).replaceAll('\\', '/');
  if (!specifier.startsWith('#')) return undefined;
  if (doorTargets[specifier]) return doorTargets[specifier].replace(/^\.\//, '');
  const star = Object.entries(doorTargets).find(
    ([door]) => door.endsWith('*') && specifier.startsWith(door.slice(0, -1)),
  );
  return star?.[1].replace('*', specifier.slice(star[0].length - 1)).replace(/^\.\//, '');
}

/** Spaces out comments (and, for `code`, what is in strings), so that words in prose are not taken for code. */
function blank(text: string): { code: string; withStrings: string } {
  const space = (found: string): string => found.replace(/[^\n]/g, ' ');
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[\s\S])*`|(?<=[=(,:!&|?[{};\n]\s*)\/(?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\//g;
  const withStrings = text.replace(token, (found) => (/^['"`]/.test(found) ? found : space(found)));
  // What a template computes (`${...}`) is code, its words are not.
  const code = text.replace(token, (found) => {
    if (!found.startsWith('`')) return space(found);
    return found.replace(/\$\{[^}]*\}|[^$]|\$/g, (part) => (part.startsWith('${') ? part : space(part)));
  });
  return { code, withStrings };
}

/** Lines on which a pattern is found in the code, as `path:line`. */
export function placesOf(source: Source, pattern: RegExp): string[] {
  const lines = source.code.split('\n');
  return lines.flatMap((line, index) => (pattern.test(line) ? [`${source.path}:${index + 1}`] : []));
}
