// Which paths does a match mean? Exact, by whole segments of a prefix, by a template, or by an expression for all of it.
import { readTemplate, type Step } from '#policy';
import type { PathMatch } from '#wire';
import { parseRegex } from './regex.ts';

export interface PathMatcher {
  /** Exactly this path, */
  readonly exact: string | undefined;
  /** or one of these steps, */
  readonly steps: readonly Step[];
  /** and with `rest` anything below them too, */
  readonly rest: boolean;
  /** for which this holds. */
  readonly test: ((path: string) => boolean) | undefined;
  /** What a rewrite or redirect of a prefix replaces. */
  readonly prefix: string | undefined;
}

export const everyPath: PathMatcher = { exact: undefined, steps: [], rest: true, test: undefined, prefix: undefined };

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
  const segments = prefix.slice(1).split('/');
  const isOpen = segments.at(-1) === '';
  if (isOpen) segments.pop();
  return {
    ...everyPath,
    steps: segments.map((literal) => ({ literal })),
    test: isOpen && segments.length > 0 ? (path) => path.startsWith(prefix) : undefined,
    prefix,
  };
}

/** As policies read templates: a parameter is one segment that is not empty, the rest may be nothing. */
function compileTemplate(text: string): PathMatcher {
  const template = readTemplate(text);
  if (typeof template === 'string') throw new TypeError(`${text}: ${template}`);
  const { steps, rest } = template;
  if (rest || steps.some((step) => 'parameter' in step)) return { ...everyPath, steps, rest };
  return { ...everyPath, exact: text };
}
