// A request that matches: shown to people as the witness of what is said about a route.
import { readSource } from '#policy';
import type { HttpMatch, PathMatch, TextMatch } from '#wire';
import type { Asked } from '../action.ts';
import { compileText, hasField } from '../match-text.ts';

/** `undefined` when an expression stands in the way. `from` in matches are SPIFFE IDs, prefixes and `*`. */
export function sampleOf(match: HttpMatch, anybody: string): Asked | undefined {
  const path = match.path ? pathOf(match.path) : '/';
  const fields = textsOf(match.headers);
  const query = textsOf(match.query);
  if (path === undefined || !fields || !query) return undefined;
  for (const [name, text] of Object.entries(match.withoutHeaders ?? {}))
    if (hasField(fields, name, compileText(text) ?? (() => true))) return undefined;
  const pairs: string[] = [];
  for (let at = 0; at < query.length; at += 2)
    pairs.push(`${encodeURIComponent(query[at]!)}=${encodeURIComponent(query[at + 1]!)}`);
  return {
    method: match.methods?.[0] ?? 'GET',
    port: match.ports?.[0] ?? 80,
    path,
    query: pairs.length > 0 ? `?${pairs.join('&')}` : '',
    fields,
    from: callerOf(match.from?.[0], anybody),
  };
}

function pathOf({ exact, prefix, template }: PathMatch): string | undefined {
  if (exact !== undefined) return exact;
  if (prefix !== undefined) return prefix.endsWith('/') && prefix !== '/' ? `${prefix}x` : prefix;
  const named = template?.replace(/\/\*\*$/, '').replace(/\{[^}]*\}|\*/g, 'x');
  return named === '' ? '/' : named;
}

function textsOf(given: Readonly<Record<string, TextMatch>> | undefined): string[] | undefined {
  const texts: string[] = [];
  for (const [name, match] of Object.entries(given ?? {})) {
    if (typeof match === 'string') texts.push(name, match);
    else if (match.regex !== undefined) return undefined;
    else if (match.present !== false) texts.push(name, match.exact ?? match.prefix ?? 'x');
  }
  return texts;
}

function callerOf(text: string | undefined, anybody: string): string {
  const source = text === undefined ? 'none' : readSource(text);
  if (typeof source === 'string') return anybody;
  if (source.kind === 'prefix') return `${source.base}/x`;
  return source.kind === 'id' ? source.uri : anybody;
}
