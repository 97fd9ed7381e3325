// Who has the host name under which apps call a service. Two services never share one.
import { hostOf } from '#routing';
import type { SpiffeId } from '#spiffe';
import { fail } from './errors.ts';
import type { Store } from './store.ts';

export { hostOf };

/**
 * Gives the service its host name, for good; throws TOKEN_HOST_TAKEN when another service has it. A holder that never got as far as an
 * identity, and holds no token that still could, gives way.
 */
export function claimHost(service: SpiffeId, { store, isAlive }: ClaimOptions): void {
  const host = hostOf(service.service);
  const holder = store.holderOf(host);
  if (holder === service.uri) return;
  if (holder !== undefined && isAlive(holder))
    throw fail('TOKEN_HOST_TAKEN', { service: service.service, host, holder });
  store.claimHost(host, service.uri);
}

export interface ClaimOptions {
  readonly store: Pick<Store, 'holderOf' | 'claimHost'>;
  /** Whether a service (by SPIFFE ID) was ever enrolled or still may be. */
  readonly isAlive: (service: string) => boolean;
}
