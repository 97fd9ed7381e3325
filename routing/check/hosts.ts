// Is every host claimed once, and by those whose it is? A host that is a service's own is the way to that service and to no other.
import { type Report, whereIs } from '#policy';
import type { LocatedResource } from '#wire';
import type { Known } from './known.ts';

export function checkHosts(
  resources: readonly LocatedResource[],
  { known, reporter }: { readonly known: Known; readonly reporter: (located: LocatedResource) => Report },
): void {
  const claims = { VirtualService: new Map<string, LocatedResource>(), Cluster: new Map<string, LocatedResource>() };
  for (const located of resources) {
    const { resource } = located;
    if (resource.kind !== 'VirtualService' && resource.kind !== 'Cluster') continue;
    const report = reporter(located);
    const service = resource.service ?? resource.name;
    const own = new Set<string>();
    for (const [index, host] of (resource.hosts ?? []).entries()) {
      const at = `/hosts/${index}`;
      const owner = known.ownerOf(host);
      if (owner !== undefined && owner !== service)
        report(
          at,
          `${host} is the host of the service ${owner}`,
          `only what is for ${owner} may claim it: service: ${owner}`,
        );
      const before = claims[resource.kind].get(host);
      if (own.has(host)) report(at, `${host} is there twice`);
      else if (before)
        report(at, `${host} is also claimed by ${before.resource.kind} ${before.resource.name}${whereIs(before)}`);
      else claims[resource.kind].set(host, located);
      own.add(host);
    }
  }
  // A virtual service may speak for the hosts of a cluster, when both are the same to policies.
  for (const [host, located] of claims.Cluster) {
    const other = claims.VirtualService.get(host);
    if (!other || serviceOf(other) === serviceOf(located)) continue;
    const index = 'hosts' in other.resource ? (other.resource.hosts ?? []).indexOf(host) : -1;
    reporter(other)(
      `/hosts/${index}`,
      `${host} is a host of Cluster ${located.resource.name}, which is ${serviceOf(located)} to policies`,
      `say so here too: service: ${serviceOf(located)}`,
    );
  }
}

function serviceOf({ resource }: LocatedResource): string {
  return ('service' in resource ? resource.service : undefined) ?? resource.name;
}
