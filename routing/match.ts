// What must hold for a match of a route: each condition by itself, so that a route can also say which one did not.
import type { HttpMatch, PathMatch, TextMatch } from '#wire';
import type { Asked } from './action.ts';
import { compileSources } from './match-source.ts';
import { compileText, hasField, hasParameter } from './match-text.ts';

export interface Condition {
  /** As people read it after "not": `method GET`, `header x-beta`. */
  what(): string;
  readonly isMet: (asked: Asked) => boolean;
}

/** All but the path, the cheapest first. */
export function compileConditions({ methods, headers, withoutHeaders, query, from, ports }: HttpMatch): Condition[] {
  const conditions: Condition[] = [];
  if (methods) {
    const [only] = methods;
    const all = new Set(methods);
    conditions.push({
      what: () => `method ${methods.join(', ')}`,
      isMet: methods.length === 1 ? ({ method }) => method === only : ({ method }) => all.has(method),
    });
  }
  if (ports) conditions.push({ what: () => `port ${ports.join(', ')}`, isMet: ({ port }) => ports.includes(port) });
  const isFrom = from && compileSources(from);
  if (isFrom) conditions.push({ what: () => `from ${from.join(', ')}`, isMet: (asked) => isFrom(asked.from) });
  for (const [name, match] of Object.entries(headers ?? {})) {
    const test = compileText(match);
    conditions.push({
      what: () => `header ${name}${wordsOfText(match)}`,
      isMet: test ? ({ fields }) => hasField(fields, name, test) : ({ fields }) => !hasField(fields, name, anyText),
    });
  }
  for (const [name, match] of Object.entries(withoutHeaders ?? {})) {
    const test = compileText(match) ?? anyText;
    conditions.push({
      what: () => `without header ${name}${wordsOfText(match)}`,
      isMet: ({ fields }) => !hasField(fields, name, test),
    });
  }
  for (const [name, match] of Object.entries(query ?? {})) {
    const test = compileText(match);
    conditions.push({
      what: () => `query ${name}${wordsOfText(match)}`,
      isMet: test
        ? (asked) => hasParameter(asked.query, name, test)
        : (asked) => !hasParameter(asked.query, name, anyText),
    });
  }
  return conditions;
}

export function wordsOfPath({ exact, prefix, template, regex }: PathMatch): string {
  if (exact !== undefined) return `path ${exact}`;
  if (prefix !== undefined) return `path ${prefix} or below`;
  return template === undefined ? `path that matches ${regex}` : `path ${template}`;
}

const anyText = (): boolean => true;

export function wordsOfText(match: TextMatch): string {
  if (typeof match === 'string') return ` is ${JSON.stringify(match)}`;
  const { exact, prefix, regex, present } = match;
  if (exact !== undefined) return ` is ${JSON.stringify(exact)}`;
  if (prefix !== undefined) return ` begins with ${JSON.stringify(prefix)}`;
  if (regex !== undefined) return ` matches ${regex}`;
  return present === false ? ' is absent' : ' is there';
}
