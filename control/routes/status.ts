// GET /v1/status: each proxy, whether it has what it must have, and when it was last heard of.
import type { StatusReply } from '#wire';
import type { App } from '../app.ts';
import { type StatusParts, statusOfProxies } from '../proxy-status.ts';

export interface StatusRoutes {
  readonly parts: StatusParts;
  readonly server: () => StatusReply['server'];
}

export function statusRoutes(app: App, { parts, server }: StatusRoutes): void {
  app.get(
    '/v1/status',
    { config: { caller: 'admin' } },
    async (): Promise<StatusReply> => ({ server: server(), proxies: statusOfProxies(parts.registry.all(), parts) }),
  );
}
