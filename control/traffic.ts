// What of the declared clusters and virtual services a service's proxies need: what a call that it may make can lead to, and its own. Texts are made
// once for each change of the resources and shared by all snapshots.
import type { Traffic } from '#routing';
import type { ClusterEntry, VirtualServiceEntry } from '#wire';

/** One cluster or virtual service as it goes into snapshots. The same object for as long as its text is the same. */
export interface Piece {
  readonly name: string;
  readonly text: string;
}

export interface TrafficParts {
  /** SPIFFE IDs that clusters and virtual services stand for, beside those of instances. */
  readonly ids: readonly string[];
  /** Of `own`, which may call `callable`. */
  needs(o: { readonly own: string; readonly callable: ReadonlySet<string> }): Needs;
  /** `undefined` when no resource says anything. */
  readonly mesh: string | undefined;
  /** Whether instances can never serve this ID, because declared clusters have it elsewhere. */
  isOutside(id: string): boolean;
  /** SPIFFE IDs of the services outside the mesh to which this one is the way. */
  behind(gateway: string): readonly string[];
}

export interface Needs {
  /** Both by name. */
  readonly clusters: readonly Piece[];
  readonly virtualServices: readonly Piece[];
  /** Services whose instances must be known although no policy lets `own` call them by their own name: gateways on the way out. */
  readonly throughIds: readonly string[];
  /** Services that must be known, but not where they are. */
  readonly bareIds: readonly string[];
}

/** Pieces of `before` whose text has not changed are taken over. */
export function createTrafficParts(traffic: Traffic, trustDomain: string, before?: TrafficParts): TrafficParts {
  const known = before ? piecesOf.get(before) : undefined;
  const pieces = new Map<string, Piece>();
  const pieceOf = (kind: string, entry: { readonly name: string }): Piece => {
    const key = `${kind} ${entry.name}`;
    const text = JSON.stringify(entry);
    const old = known?.get(key);
    const piece = old?.text === text ? old : { name: entry.name, text };
    pieces.set(key, piece);
    return piece;
  };
  const clusters = new Map(
    traffic.clusters.map((entry) => [entry.name, { entry, piece: pieceOf('cluster', entry) }] as const),
  );
  const hosts = traffic.virtualServices.map((entry) => ({
    ...{ entry, piece: pieceOf('virtual service', entry), leadsTo: clustersOf(entry) },
  }));
  const clustersById = grouped([...clusters.values()], ({ entry }) => entry.id);
  const hostsById = grouped(hosts, ({ entry }) => entry.id);
  const behind = grouped([...clusters.values()], ({ entry }) => entry.gateway);
  const isEnrolled = (entry: ClusterEntry): boolean => entry.endpoints === 'enrolled';

  const parts: TrafficParts = {
    ids: [...new Set([...clustersById.keys(), ...hostsById.keys()])],
    mesh: traffic.mesh && JSON.stringify(traffic.mesh),
    isOutside: (id) => clustersById.get(id)?.every(({ entry }) => !isEnrolled(entry)) === true,
    behind: (gateway) => [...new Set((behind.get(gateway) ?? []).map(({ entry }) => entry.id))],
    needs({ own, callable }) {
      const needed = new Map<string, Piece>();
      const [through, bare] = [new Set<string>(), new Set<string>()];
      const addCluster = (name: string): void => {
        const found = clusters.get(name);
        const id = found?.entry.id ?? `spiffe://${trustDomain}/${name}`;
        if (found) needed.set(name, found.piece);
        if ((!found || isEnrolled(found.entry)) && !callable.has(id)) bare.add(id);
        const gateway = found?.entry.gateway;
        if (gateway !== undefined && gateway !== own) (callable.has(id) ? through : bare).add(gateway);
      };
      // Of those behind it a gateway holds the limits.
      const ids = [...new Set([...callable, own, ...parts.behind(own)])];
      const routed = ids.flatMap((id) => hostsById.get(id) ?? []);
      for (const { leadsTo } of routed) for (const name of leadsTo) addCluster(name);
      for (const id of ids) for (const { entry } of clustersById.get(id) ?? []) addCluster(entry.name);
      for (const { entry } of behind.get(own) ?? []) addCluster(entry.name);
      for (const id of [...callable, ...through]) bare.delete(id);
      return {
        clusters: [...needed.values()].sort(byName),
        virtualServices: routed.map(({ piece }) => piece).sort(byName),
        throughIds: [...through],
        bareIds: [...bare],
      };
    },
  };
  piecesOf.set(parts, pieces);
  return parts;
}

const piecesOf = new WeakMap<TrafficParts, ReadonlyMap<string, Piece>>();

/** Every cluster that some route or mirror of it names. */
export function clustersOf({ http = [], tcp = [], tls = [] }: VirtualServiceEntry): readonly string[] {
  const targets = [...http, ...tcp, ...tls].flatMap(({ route = [] }) => route);
  const mirrors = http.flatMap(({ mirror = [] }) => mirror);
  return [...new Set([...targets, ...mirrors].map(({ cluster }) => cluster))];
}

function grouped<T>(all: readonly T[], keyOf: (one: T) => string | undefined): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    if (key === undefined) continue;
    const group = groups.get(key);
    if (group) group.push(one);
    else groups.set(key, [one]);
  }
  return groups;
}

function byName(one: Piece, other: Piece): number {
  return one.name < other.name ? -1 : 1;
}
