// Which service an admin means: a name in the own trust domain, or a full SPIFFE ID of it.
import { parseSpiffeId, type SpiffeId, spiffeIdOf } from '#spiffe';
import { fail } from './errors.ts';

/** Throws IDENTITY_ID_INVALID, or TOKEN_SERVICE_INVALID for another trust domain. */
export function readServiceId(text: string, trustDomain: string): SpiffeId {
  const id = text.includes('://') ? parseSpiffeId(text) : spiffeIdOf({ trustDomain, service: text });
  if (id.trustDomain === trustDomain) return id;
  throw fail('TOKEN_SERVICE_INVALID', { service: text, reason: `this server's trust domain is ${trustDomain}` });
}
