// Does a path match? Exact, by whole segments of a prefix, by a template, or by an expression for all of it.
import { readTemplate, type Step } from '#policy';
import type { PathMatch } from '#wire';
import { parseRegex } from './regex.ts';

export interface PathMatcher {
  /** Where it is looked for: under exactly this path, */
  readonly exact: string | undefined;
  /** or under everything below this one, which has no slash at its end; the empty one is looked at for every path. */
  readonly below: string;
  /** What is left to ask of a path that was found so. */
  readonly test: ((path: string) => boolean) | undefined;
  /** What a rewrite or redirect of a prefix replaces. */
  readonly prefix: string | undefined;
}

export const everyPath: PathMatcher = { exact: undefined, below: '', test: undefined, prefix: undefined };

export function compilePath({ exact, prefix, template, regex }: PathMatch): PathMatcher {
  if (exact !== undefined) return { ...everyPath, exact };
  if (prefix !== undefined) return compilePrefix(prefix);
  if (template !== undefined) return compileTemplate(template);
  if (regex === undefined) return everyPath;
  const compiled = parseRegex(regex);
  return { ...everyPath, test: (path) => compiled.matches(path) };
}

/** `/v2` is itself and all below; `/v2/` only what begins so. */
function compilePrefix(prefix: string): PathMatcher {
  const below = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
  const test = prefix.endsWith('/') ? (path: string) => path.startsWith(prefix) : undefined;
  return { exact: undefined, below, test, prefix };
}

function compileTemplate(text: string): PathMatcher {
  const template = readTemplate(text);
  if (typeof template === 'string') throw new TypeError(`${text}: ${template}`);
  const { steps, rest } = template;
  const firstParameter = steps.findIndex((step) => 'parameter' in step);
  const fixed = firstParameter < 0 ? steps.length : firstParameter;
  const literal = steps.slice(0, fixed).map((step) => `/${'literal' in step ? step.literal : ''}`);
  if (fixed === steps.length && !rest) return { ...everyPath, exact: literal.join('') };
  return { ...everyPath, below: literal.join(''), test: (path) => fits(path, steps, rest) };
}

/** As policies read templates: a parameter is one segment that is not empty, the rest may be nothing. */
function fits(path: string, steps: readonly Step[], rest: boolean): boolean {
  let at = 0;
  for (const step of steps) {
    if (path.charCodeAt(at) !== 47) return false;
    const slash = path.indexOf('/', at + 1);
    const end = slash < 0 ? path.length : slash;
    if ('parameter' in step) {
      if (end === at + 1) return false;
    } else if (end - at - 1 !== step.literal.length || !path.startsWith(step.literal, at + 1)) return false;
    at = end;
  }
  return at === path.length || (rest && path.charCodeAt(at) === 47);
}
