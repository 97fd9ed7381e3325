// The names that a shell completes from the control plane. Only words that need no quoting in a shell.
import type { IdentityStatus, LocatedResource, ServiceName } from '#wire';
import type { CliContext } from './context.ts';
import { kinds, parseKind } from './kinds.ts';
import { shortId } from './names.ts';

/** `identity`, `service`, or a kind of resource. Throws when they cannot be had. */
export async function liveNames(context: CliContext, what: string): Promise<readonly string[]> {
  if (what === 'kind') return kinds.map((kind) => kind.toLowerCase());
  const names = await context.withApi(async (api) => {
    if (what === 'identity') {
      const { identities } = await api.call<{ identities: readonly IdentityStatus[] }>({
        method: 'GET',
        path: '/v1/identities',
      });
      return identities.map(({ id }) => shortId(id, api.trustDomain));
    }
    if (what === 'service') {
      const { services } = await api.call<{ services: readonly ServiceName[] }>({
        method: 'GET',
        path: '/v1/services',
      });
      return services.map(({ name }) => name);
    }
    const { resources } = await api.call<{ resources: readonly LocatedResource[] }>({
      method: 'GET',
      path: `/v1/resources?kind=${parseKind(what)}`,
    });
    return resources.map(({ resource }) => resource.name);
  });
  return names.filter((name) => /^[a-zA-Z0-9._/-]+$/.test(name));
}
