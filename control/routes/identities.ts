// GET /v1/identities: every SPIFFE ID that was ever issued, and its certificates.
import type { Authority } from '#ca';
import type { App } from '../app.ts';

export function identityRoutes(app: App, { authority }: { readonly authority: Authority }): void {
  app.get('/v1/identities', { config: { caller: 'admin' } }, async () => ({ identities: authority.identities() }));
}
