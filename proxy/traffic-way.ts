// The way of one exchange in the names that metrics may use: those of configuration and of verified identities. What a peer sends is never among them.
import type { Routes } from '#routing';
import type { RecordDraft } from './exchange-record.ts';

/** What the configuration in force says of the names in a record. */
export interface KnownNames {
  readonly trustDomain: string;
  /** Istio's metrics are wanted too. */
  readonly istioNames: boolean;
  /** The service of a cluster. */
  serviceOf(cluster: string): string | undefined;
  hasService(id: string): boolean;
}

export interface Way {
  readonly reporter: 'source' | 'destination';
  /** SPIFFE IDs, absent for what nobody has proved or configuration does not name. */
  readonly from: string | undefined;
  readonly to: string | undefined;
  /** The same as labels: the service's name in the own trust domain, or `unknown`. */
  readonly source: string;
  readonly destination: string;
  readonly virtualService: string;
  readonly route: string;
  /** As the record has it. */
  readonly cluster: string;
  readonly subset: string | undefined;
  /** There is nothing in it that would not be there again. */
  readonly isKnown: boolean;
}

export function wayOf(record: RecordDraft, names: KnownNames | undefined): Way {
  const { hop, peer, virtualService = '', route = '', cluster = '' } = record;
  const { service, subset } = clusterOf(cluster, names);
  const to = hop === 'inbound' ? record.to : (service ?? knownOf(record.to, names));
  const isKnown = to !== undefined && (cluster === '' || service !== undefined);
  return {
    reporter: hop === 'inbound' ? 'destination' : 'source',
    from: peer,
    to,
    source: shortOf(peer, names),
    destination: shortOf(to, names),
    // A cluster that configuration has just lost, or never had.
    cluster: service === undefined && cluster !== '' ? 'unknown' : cluster,
    ...{ virtualService, route, subset, isKnown },
  };
}

/** Names of clusters may have slashes, and the one before a subset is the last. */
function clusterOf(cluster: string, names: KnownNames | undefined): { service?: string; subset?: string | undefined } {
  const whole = names?.serviceOf(cluster);
  if (whole !== undefined) return { service: whole };
  const at = cluster.lastIndexOf('/');
  const service = at < 0 ? undefined : names?.serviceOf(cluster.slice(0, at));
  return service === undefined ? {} : { service, subset: cluster.slice(at + 1) };
}

function knownOf(id: string | undefined, names: KnownNames | undefined): string | undefined {
  return id !== undefined && names?.hasService(id) ? id : undefined;
}

function shortOf(id: string | undefined, names: KnownNames | undefined): string {
  if (id === undefined) return 'unknown';
  const own = `spiffe://${names?.trustDomain ?? ''}/`;
  return id.startsWith(own) ? id.slice(own.length) : id;
}

/** The names of one view; what they are is looked up only when a way is seen for the first time. */
export function knownNames(o: { routes: Routes; trustDomain: string; istioNames: boolean }): KnownNames {
  const { routes, trustDomain, istioNames } = o;
  let ids: Set<string> | undefined;
  return {
    trustDomain,
    istioNames,
    serviceOf: (cluster) => routes.clusters.get(cluster)?.id,
    hasService(id) {
      ids ??= new Set([...routes.virtualHosts, ...routes.clusters.values()].map((one) => one.id));
      return ids.has(id);
    },
  };
}
