// From what operators wrote to what proxies get: names become SPIFFE IDs, short forms the long ones. Call it only on resources in which
// `validateTraffic` finds nothing.
import { parseHostPort } from '#base/host-port';
import { resolveSource } from '#policy';
import type {
  ClusterEntry,
  ClusterResource,
  LocatedResource,
  MeshEntry,
  TcpRoute,
  VirtualServiceEntry,
  VirtualServiceResource,
} from '#wire';

export interface Traffic {
  readonly clusters: readonly ClusterEntry[];
  readonly virtualServices: readonly VirtualServiceEntry[];
  readonly mesh?: MeshEntry;
}

export function buildTraffic(o: {
  readonly resources: readonly Pick<LocatedResource, 'resource'>[];
  readonly trustDomain: string;
}): Traffic {
  const idOf = (service: string): string => `spiffe://${o.trustDomain}/${service}`;
  const resolve = (texts: readonly string[]): string[] => texts.map((text) => resolveSource(text, o.trustDomain));
  const clusters: ClusterEntry[] = [];
  const virtualServices: VirtualServiceEntry[] = [];
  let mesh: MeshEntry | undefined;
  for (const { resource } of o.resources) {
    if (resource.kind === 'Cluster') clusters.push(clusterOf(resource, idOf));
    else if (resource.kind === 'VirtualService') virtualServices.push(virtualServiceOf(resource, idOf, resolve));
    else if (resource.kind === 'Mesh') {
      const { kind, name, description, ...fields } = resource;
      mesh = fields;
    }
  }
  return { clusters, virtualServices, ...(mesh ? { mesh } : {}) };
}

type IdOf = (service: string) => string;

function clusterOf({ kind, description, service, ...fields }: ClusterResource, idOf: IdOf): ClusterEntry {
  return {
    ...fields,
    id: idOf(service ?? fields.name),
    endpoints: longForm(fields.endpoints),
    ...(fields.via === undefined ? {} : { gateway: idOf(fields.via) }),
  };
}

function longForm(endpoints: ClusterResource['endpoints']): ClusterEntry['endpoints'] {
  if (endpoints === 'enrolled') return endpoints;
  if ('static' in endpoints)
    return { static: endpoints.static.map((each) => (typeof each === 'string' ? { address: each } : each)) };
  if (typeof endpoints.dns !== 'string') return endpoints;
  const { host, port } = parseHostPort(endpoints.dns) ?? { host: endpoints.dns, port: undefined };
  return { dns: { name: host, ...(port === undefined ? {} : { port }) } };
}

function virtualServiceOf(
  { kind, description, service, ...fields }: VirtualServiceResource,
  idOf: IdOf,
  resolve: (texts: readonly string[]) => string[],
): VirtualServiceEntry {
  const resolved = <R extends { readonly match?: TcpRoute['match'] }>(route: R): R =>
    route.match
      ? { ...route, match: route.match.map((one) => (one.from ? { ...one, from: resolve(one.from) } : one)) }
      : route;
  return {
    ...fields,
    id: idOf(service ?? fields.name),
    ...(fields.http ? { http: fields.http.map(resolved) } : {}),
    ...(fields.tcp ? { tcp: fields.tcp.map(resolved) } : {}),
    ...(fields.tls ? { tls: fields.tls.map(resolved) } : {}),
  };
}
