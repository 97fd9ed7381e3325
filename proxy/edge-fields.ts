// What the edge makes of fields that say where a request came from. Only listed proxies are believed; from everybody else they are claims, and what was
// seen on the connection stands in their place.
import { isAddress } from '#policy';
import type { AddressSet } from './addresses.ts';
import { type FieldList, plainName } from './request-head.ts';

/** Where a request came from, as far as it is known. */
export interface Origin {
  /** Address of the caller: of the connection, or the nearest one in front of trusted proxies. */
  readonly address: string;
  readonly scheme: 'http' | 'https';
  /** Every address that it came by, ending with the one of the connection; what stood before an address that cannot be read is left out. */
  readonly path: readonly string[];
}

/** More proxies than this before ours are nobody's. */
const mostProxies = 32;

export function originOf(
  fields: FieldList,
  o: { readonly remote: string; readonly scheme: 'http' | 'https'; readonly trusted: AddressSet },
): Origin {
  const seen = { address: o.remote, scheme: o.scheme, path: [o.remote] };
  if (!o.trusted.has(o.remote)) return seen;
  const named: string[] = [];
  let scheme: Origin['scheme'] = o.scheme;
  for (let at = 0; at < fields.length; at += 2) {
    const value = fields[at + 1]!;
    if (fields[at] === 'x-forwarded-for') named.push(...value.split(','));
    else if (fields[at] === 'x-forwarded-proto' && (value === 'http' || value === 'https')) scheme = value;
  }
  const path = [o.remote];
  let address = o.remote;
  for (const text of named.reverse().slice(0, mostProxies)) {
    const before = addressIn(text.trim());
    if (before === undefined) break;
    path.unshift(before);
    if (o.trusted.has(address)) address = before;
  }
  return { address, scheme, path };
}

/** The fields without every claim of where they come from, and with what is known of it. */
export function fieldsAtEdge(
  fields: FieldList,
  { scheme, path }: Origin,
  o: { readonly authority: string; readonly port: number },
): string[] {
  const kept: string[] = [];
  for (let at = 0; at < fields.length; at += 2) if (!isClaim(fields[at]!)) kept.push(fields[at]!, fields[at + 1]!);
  kept.push('x-forwarded-for', path.join(', '), 'x-forwarded-proto', scheme);
  kept.push('x-forwarded-host', o.authority, 'x-forwarded-port', String(o.port));
  return kept;
}

/** Also those that applications read an address, a path or a method from though nobody in front of them has set it. */
const claims = new Set([
  'forwarded',
  'forwarded-for',
  'via',
  'x-forwarded',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-original-forwarded-for',
  'x-original-url',
  'x-original-host',
  'x-rewrite-url',
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'client-ip',
  'true-client-ip',
  'cf-connecting-ip',
  'fastly-client-ip',
]);
const beginnings = new Set([...claims].map((name) => name.charCodeAt(0)));

/** Of a name that applications fold (`x_real_ip`), the folded one counts. */
function isClaim(name: string): boolean {
  if (!beginnings.has(name.charCodeAt(0))) return false;
  const plain = plainName(name);
  return claims.has(plain) || plain.startsWith('x-forwarded-') || plain.startsWith('x-postern-');
}

/** An address as proxies write it, some with a port behind it. */
function addressIn(text: string): string | undefined {
  const [, bracketed, plain] = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([0-9.]{7,15}))(?::[0-9]{1,5})?$/.exec(text) ?? [];
  const found = bracketed ?? plain ?? (/^[0-9a-fA-F:.]{2,45}$/.test(text) ? text : undefined);
  return found !== undefined && isAddress(found) ? found : undefined;
}
