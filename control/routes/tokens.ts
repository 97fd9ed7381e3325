// POST and GET /v1/tokens: letting one instance of a service in. The token itself is in the answer once and nowhere else.
import type { Authority } from '#ca';
import { type TokenList, type TokenReply, tokenRequest } from '#wire';
import type { App } from '../app.ts';
import { actorOf } from '../caller.ts';
import { fail } from '../errors.ts';
import { claimHost } from '../hosts.ts';
import { readMessage } from '../message.ts';
import { readServiceId } from '../service-id.ts';
import type { Store } from '../store.ts';

export interface TokenRoutes {
  readonly authority: Authority;
  readonly store: Store;
  readonly clock: { now(): number };
  /** The url that tokens carry. */
  readonly url: () => string;
}

const defaultTtlMs = 600_000;

export function tokenRoutes(app: App, { authority, store, clock, url }: TokenRoutes): void {
  const isAlive = (service: string): boolean =>
    authority.identities().some(({ id }) => id === service) ||
    authority.tokens().some((token) => token.service === service && token.expiresAt > clock.now());
  app.post(
    '/v1/tokens',
    { config: { caller: 'admin', action: 'token.create' } },
    async (request): Promise<TokenReply> => {
      const { service: text, ttlMs = defaultTtlMs } = readMessage(tokenRequest, request.body);
      const service = readServiceId(text, authority.trustDomain);
      if (service.isReserved) {
        throw fail('TOKEN_SERVICE_INVALID', { service: text, reason: `/postern/ belongs to the mesh's own parts` });
      }
      claimHost(service, { store, isAlive });
      const { token, id, expiresAt } = await authority.createToken({
        ...{ service, url: url(), ttlMs, by: actorOf(request.caller) },
      });
      return { token, id, service: service.uri, expiresAt };
    },
  );
  app.get(
    '/v1/tokens',
    { config: { caller: 'admin' } },
    async (): Promise<TokenList> => ({ tokens: authority.tokens() }),
  );
}
