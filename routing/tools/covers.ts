// Does one match take everything that another one does? Says yes only when it is certain.
import { readSource } from '#policy';
import type { HttpMatch, TextMatch } from '#wire';
import { compilePath, everyPath, type PathMatcher } from '../match-path.ts';
import { compileText } from '../match-text.ts';

export interface ReadMatch {
  readonly match: HttpMatch;
  readonly path: PathMatcher;
}

/** Throws for a match that validation refuses. */
export function readMatch(match: HttpMatch): ReadMatch {
  return { match, path: match.path ? compilePath(match.path) : everyPath };
}

export function covers(wide: ReadMatch, narrow: ReadMatch): boolean {
  const [a, b] = [wide.match, narrow.match];
  return (
    isWithin(a.methods, b.methods) &&
    isWithin(a.ports, b.ports) &&
    coversPath(wide, narrow) &&
    coversSources(a.from, b.from) &&
    coversTexts(a.headers, b.headers) &&
    coversAbsent(a.withoutHeaders, b) &&
    coversTexts(a.query, b.query)
  );
}

/** An absent list is everything. */
function isWithin<T>(wide: readonly T[] | undefined, narrow: readonly T[] | undefined): boolean {
  return !wide || narrow?.every((one) => wide.includes(one)) === true;
}

function coversPath({ match, path: a }: ReadMatch, { match: other, path: b }: ReadMatch): boolean {
  if (match.path?.regex !== undefined && match.path.regex === other.path?.regex) return true;
  if (b.exact !== undefined) return coversExact(a, b.exact);
  // A test narrows what the steps say: what it leaves out is not known.
  if (a.exact !== undefined || (a.test && match.path?.prefix !== other.path?.prefix)) return false;
  if (a.test) return match.path?.prefix !== undefined;
  if (b.test && b.steps.length === 0) return a.steps.length === 0 && a.rest;
  if (a.rest ? a.steps.length > b.steps.length : b.rest || a.steps.length !== b.steps.length) return false;
  return a.steps.every((step, index) => {
    const asked = b.steps[index]!;
    if ('literal' in step) return 'literal' in asked && step.literal === asked.literal;
    return 'parameter' in asked || asked.literal !== '';
  });
}

function coversExact(a: PathMatcher, path: string): boolean {
  if (a.exact !== undefined) return a.exact === path;
  if (a.test && !a.test(path)) return false;
  const segments = path.slice(1).split('/');
  if (a.steps.length === 0) return a.rest;
  if (a.rest ? segments.length < a.steps.length : segments.length !== a.steps.length) return false;
  return a.steps.every((step, index) =>
    'literal' in step ? step.literal === segments[index] : segments[index] !== '',
  );
}

function coversSources(wide: readonly string[] | undefined, narrow: readonly string[] | undefined): boolean {
  if (!wide || wide.includes('*')) return true;
  const bases = wide.flatMap((text) => {
    const source = readSource(text);
    return typeof source !== 'string' && source.kind === 'prefix' ? [source.base] : [];
  });
  const isCovered = (text: string): boolean => {
    const plain = text.replace(/\/\*\*$/, '');
    return wide.includes(text) || bases.some((base) => plain === base || plain.startsWith(`${base}/`));
  };
  return narrow?.every(isCovered) === true;
}

type Texts = Readonly<Record<string, TextMatch>> | undefined;
function coversTexts(wide: Texts, narrow: Texts): boolean {
  return Object.entries(wide ?? {}).every(([name, match]) => {
    const other = narrow && Object.hasOwn(narrow, name) ? narrow[name] : undefined;
    return other !== undefined && coversText(match, other);
  });
}

/** What may not be there is not there: the same is said of it, or that the header is absent. */
function coversAbsent(wide: Texts, { headers, withoutHeaders }: HttpMatch): boolean {
  return Object.entries(wide ?? {}).every(([name, match]) => {
    const [asked, refused] = [headers, withoutHeaders].map((all) =>
      all && Object.hasOwn(all, name) ? all[name] : undefined,
    );
    if (asked !== undefined && compileText(asked) === undefined) return true;
    return refused !== undefined && coversText(refused, match);
  });
}

function coversText(wide: TextMatch, narrow: TextMatch): boolean {
  const [test, other] = [compileText(wide), compileText(narrow)];
  if (!test || !other) return test === other;
  if (typeof wide !== 'string' && wide.present) return true;
  const exact = typeof narrow === 'string' ? narrow : narrow.exact;
  if (exact !== undefined) return test(exact);
  if (typeof wide === 'string' || typeof narrow === 'string') return false;
  if (wide.regex !== undefined) return wide.regex === narrow.regex;
  return wide.prefix !== undefined && narrow.prefix?.startsWith(wide.prefix) === true;
}
