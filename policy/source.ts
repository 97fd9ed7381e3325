// Who a rule's `from`, `to` and a group's members can name: one identity, all below a prefix, a group, or anyone. Never a pattern: an
// identity is compared byte for byte and a prefix by whole segments.
import { messageOf } from '#base/error';
import { parseSpiffeId, parseTrustDomain, spiffeIdOf } from '#spiffe';

export type Source =
  | { readonly kind: 'any' }
  | { readonly kind: 'group'; readonly name: string }
  /** A full SPIFFE ID. */
  | { readonly kind: 'id'; readonly uri: string }
  /** A service's name, in whatever trust domain the policy is for. */
  | { readonly kind: 'service'; readonly name: string }
  /** The ID `base` itself and all below it; `base` has no slash at its end. */
  | { readonly kind: 'prefix'; readonly base: string };

/** What the text names, or (as a string) why it names nothing. */
export function readSource(text: string): Source | string {
  if (text === '*') return { kind: 'any' };
  if (text.startsWith('group:')) {
    return text.length > 6 ? { kind: 'group', name: text.slice(6) } : 'the group has no name';
  }
  if (text.includes('*')) return text.startsWith('spiffe://') ? readPrefix(text) : loosePrefix(text);
  try {
    if (text.startsWith('spiffe://')) return { kind: 'id', uri: parseSpiffeId(text).uri };
    return { kind: 'service', name: spiffeIdOf({ trustDomain: 'local', service: text }).service };
  } catch (thrown) {
    const reason = messageOf(thrown);
    return reason.slice(reason.indexOf(': ', reason.lastIndexOf('" is not')) + 2);
  }
}

/** As `readSource`, for text of a `PolicySet`, where service names are already SPIFFE IDs. */
export function readResolved(text: string): Exclude<Source, { kind: 'service' }> | string {
  const source = readSource(text);
  return typeof source !== 'string' && source.kind === 'service' ? 'it is not a SPIFFE ID' : source;
}

/** The text of a source inside a `PolicySet` of this trust domain. */
export function resolveSource(text: string, trustDomain: string): string {
  const source = readSource(text);
  return typeof source !== 'string' && source.kind === 'service' ? `spiffe://${trustDomain}/${source.name}` : text;
}

/** Whether the text can be a peer's ID at all. What is not is never matched by any rule, not even by `*`. */
export function isPeerId(text: string): boolean {
  if (!text.startsWith('spiffe://')) return false;
  const slash = text.indexOf('/', 9);
  return slash > 9 && slash < text.length - 1;
}

/** Every base that a prefix holding this ID can have: the trust domain, each leading part of the path, and the ID itself. */
export function basesOf(id: string): string[] {
  const bases: string[] = [];
  for (let slash = id.indexOf('/', 9); slash > 0; slash = id.indexOf('/', slash + 1)) bases.push(id.slice(0, slash));
  bases.push(id);
  return bases;
}

function readPrefix(text: string): Source | string {
  if (!text.endsWith('/**') || text.indexOf('*') !== text.length - 2) {
    return 'a prefix ends in /** and has no other *, so that it covers whole segments only';
  }
  const base = text.slice(0, -3);
  try {
    if (base.includes('/', 9)) parseSpiffeId(base);
    else parseTrustDomain(base.slice(9));
    return { kind: 'prefix', base };
  } catch (thrown) {
    return messageOf(thrown);
  }
}

function loosePrefix(text: string): string {
  return text.endsWith('/**')
    ? `a prefix is written with its trust domain: spiffe://TRUST-DOMAIN/${text}`
    : '* stands alone, or ends a prefix as spiffe://trust-domain/prefix/**';
}
