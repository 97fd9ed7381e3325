// Where the endpoints of a cluster come from, as it was declared: the enrolled instances of a service, addresses that were written down, or a question
// for DNS.
import { parseDuration } from '#base/duration';
import { formatHostPort, parseHostPort } from '#base/host-port';
import type { Endpoint } from '#routing';
import type { ClusterEntry, DnsEndpoints, ServiceEntry } from '#wire';
import type { ClusterLink } from '../cluster-link.ts';
import type { DnsQuestion } from './dns-endpoints.ts';

/** Throws what makes no sense in it. */
export function endpointsOf(o: {
  readonly name: string;
  readonly entry: ClusterEntry | undefined;
  readonly link: ClusterLink;
  /** Whose instances they are when it is in the mesh. */
  readonly service: ServiceEntry | undefined;
}): readonly Endpoint[] | DnsQuestion {
  const { name, entry, link, service } = o;
  if (link.kind === 'mesh') return service ? enrolled(service) : [];
  const { endpoints } = entry!;
  if (typeof endpoints === 'string') return [];
  return 'static' in endpoints ? staticEndpoints(name, endpoints.static) : questionOf(name, endpoints.dns);
}

/** The longest between two questions, unless the cluster says otherwise. */
const usualRefreshMs = 30_000;

function questionOf(cluster: string, dns: string | DnsEndpoints): DnsQuestion {
  const [, written = '', digits] = /^(.*?)(?::([0-9]{1,5}))?$/.exec(typeof dns === 'string' ? dns : dns.name) ?? [];
  const { type = 'address', refresh, port } = typeof dns === 'string' ? { port: Number(digits ?? 0) } : dns;
  if (type === 'address' && !(port && port <= 65_535))
    throw new TypeError(`the cluster ${cluster} names no port for ${written}`);
  const refreshMs = refresh === undefined ? usualRefreshMs : parseDuration(refresh);
  if (refreshMs === undefined) throw new TypeError(`the cluster ${cluster} has the refresh ${refresh}`);
  return { name: written.toLowerCase(), port: port ?? 0, type, refreshMs };
}

/** An address that makes no sense is only left out: it is the word of one instance, which must not keep its callers from the next policy or ban. */
function enrolled({ endpoints }: ServiceEntry): readonly Endpoint[] {
  return endpoints.flatMap(({ address, instance, labels, weight = 1, zone, unhealthy }) => {
    const place = parseHostPort(address);
    return place ? [{ ...place, address, instance, labels, weight, zone, isUnhealthy: unhealthy === true }] : [];
  });
}

function staticEndpoints(
  cluster: string,
  given: Extract<ClusterEntry['endpoints'], { static: unknown }>['static'],
): readonly Endpoint[] {
  const found = new Map<string, Endpoint>();
  for (const one of given) {
    const { address: written, weight = 1, zone, labels = {} } = typeof one === 'string' ? { address: one } : one;
    const place = parseHostPort(written);
    if (!place || place.port === 0) throw new TypeError(`the cluster ${cluster} has the address ${written}`);
    const address = formatHostPort(place);
    found.set(address, { ...place, address, instance: address, labels, weight, zone, isUnhealthy: false });
  }
  return [...found.values()];
}
