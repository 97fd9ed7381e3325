// Whom a word means: one instance, or the proxies of a service, by name or SPIFFE ID. A word that means nobody gets the nearest one that does.

import { isPosternError } from '#base/error';
import { suggest } from '#base/suggest';
import { fail } from './errors.ts';
import type { Registry } from './registry.ts';
import { readServiceId } from './service-id.ts';

export interface Named {
  /** What it is called in events. */
  readonly subject: string;
  has(proxy: { readonly instance: string; readonly service: string }): boolean;
}

/** Throws PROXY_UNKNOWN. */
export function proxiesNamed(
  word: string,
  { registry, trustDomain }: { readonly registry: Registry; readonly trustDomain: string },
): Named {
  if (registry.get(word)) return { subject: word, has: ({ instance }) => instance === word };
  const service = serviceIdOf(word, trustDomain);
  const services = [...registry.services()];
  if (service !== undefined && services.includes(service))
    return { subject: service, has: (proxy) => proxy.service === service };
  const own = `spiffe://${trustDomain}/`;
  const near = suggest(word, [
    ...services.map((id) => (id.startsWith(own) ? id.slice(own.length) : id)),
    ...[...registry.all()].map(({ instance }) => instance),
  ]);
  throw fail('PROXY_UNKNOWN', { name: word, fix: near ? `did you mean ${near}?` : 'postern status lists them' });
}

/** `undefined` when no service can be called so. */
export function serviceIdOf(word: string, trustDomain: string): string | undefined {
  try {
    return readServiceId(word, trustDomain).uri;
  } catch (thrown) {
    if (isPosternError(thrown)) return undefined;
    throw thrown;
  }
}
