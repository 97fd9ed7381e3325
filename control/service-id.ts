// Which service an admin means: a name in the own trust domain, or a full SPIFFE ID of it; and which there are.
import type { Authority } from '#ca';
import { parseSpiffeId, type SpiffeId, spiffeIdOf } from '#spiffe';
import { fail } from './errors.ts';

/** Throws IDENTITY_ID_INVALID, or TOKEN_SERVICE_INVALID for another trust domain. */
export function readServiceId(text: string, trustDomain: string): SpiffeId {
  const id = text.includes('://') ? parseSpiffeId(text) : spiffeIdOf({ trustDomain, service: text });
  if (id.trustDomain === trustDomain) return id;
  throw fail('TOKEN_SERVICE_INVALID', { service: text, reason: `this server's trust domain is ${trustDomain}` });
}

/** The names of all services that were enrolled, or still may be by a token. */
export function namesOfServices(
  { trustDomain, identities, tokens }: Pick<Authority, 'trustDomain' | 'identities' | 'tokens'>,
  now: number,
): ReadonlySet<string> {
  const alive = tokens().filter(({ expiresAt }) => expiresAt > now);
  const ids = [...identities().map(({ id }) => id), ...alive.map(({ service }) => service)];
  const own = `spiffe://${trustDomain}/`;
  return new Set(ids.filter((id) => id.startsWith(own)).map((id) => id.slice(own.length)));
}
