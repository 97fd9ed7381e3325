// GET /v1/bundle: the trust bundle, for anybody. What is published here is already in every certificate chain.
import type { Authority } from '#ca';
import { formatBundle } from '#spiffe';
import type { BundleReply } from '#wire';
import type { App } from '../app.ts';

export function bundleRoutes(app: App, { authority }: { readonly authority: Authority }): void {
  app.get('/v1/bundle', { config: { caller: 'public' } }, async (): Promise<BundleReply> => {
    const bundle = authority.bundle();
    return { trustDomain: bundle.trustDomain, bundle: formatBundle(bundle) };
  });
}
