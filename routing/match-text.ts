// Does a header or a query parameter match? Any one of its values is enough.
import type { TextMatch } from '#wire';
import { parseRegex } from './regex.ts';

export type TextTest = (value: string) => boolean;

/** `undefined`: it must not be there. */
export function compileText(match: TextMatch): TextTest | undefined {
  if (typeof match === 'string') return (value) => value === match;
  const { exact, prefix, regex, present } = match;
  if (exact !== undefined) return (value) => value === exact;
  if (prefix !== undefined) return (value) => value.startsWith(prefix);
  if (regex !== undefined) {
    const compiled = parseRegex(regex);
    return (value) => compiled.matches(value);
  }
  return present === false ? undefined : () => true;
}

export function hasField(fields: readonly string[], name: string, test: TextTest): boolean {
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name && test(fields[at + 1]!)) return true;
  return false;
}

/** Looks at the parameters of `?a=1&b=2` as forms write them: `+` is a space, escapes are decoded; what is no escape stands for itself. */
export function hasParameter(query: string, name: string, test: TextTest): boolean {
  for (let at = 1; at < query.length; ) {
    const ampersand = query.indexOf('&', at);
    const end = ampersand < 0 ? query.length : ampersand;
    const equals = query.indexOf('=', at);
    const split = equals < 0 || equals > end ? end : equals;
    if (decode(query.slice(at, split)) === name && test(decode(query.slice(split + 1, end)))) return true;
    at = end + 1;
  }
  return false;
}

function decode(text: string): string {
  if (!/[%+]/.test(text)) return text;
  const spaced = text.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}
