// Is the caller one of these? Identities byte for byte, prefixes by whole segments.
import { readSource } from '#policy';

/** Takes resolved sources: SPIFFE IDs, prefixes and `*`. `undefined`: everybody. */
export function compileSources(from: readonly string[]): ((id: string) => boolean) | undefined {
  const ids = new Set<string>();
  const bases: string[] = [];
  for (const text of from) {
    const source = readSource(text);
    if (typeof source === 'string' || source.kind === 'group' || source.kind === 'service')
      throw new TypeError(`${text} is no SPIFFE ID, prefix or *`);
    if (source.kind === 'any') return undefined;
    if (source.kind === 'id') ids.add(source.uri);
    else bases.push(source.base);
  }
  if (bases.length === 0) return (id) => ids.has(id);
  return (id) => ids.has(id) || bases.some((base) => isBelow(id, base));
}

function isBelow(id: string, base: string): boolean {
  return id.startsWith(base) && (id.length === base.length || id.charCodeAt(base.length) === 47);
}
