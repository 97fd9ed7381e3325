// The snapshot that a change makes of the one before it. Parts that the change does not name are the same objects afterwards, so whoever made
// something of them need not make it again.
import type { Endpoint, ServiceEntry, Snapshot, SnapshotChange } from '#wire';

/** `undefined` when the change is not one of this snapshot. */
export function applyChange(snapshot: Snapshot, change: SnapshotChange): Snapshot | undefined {
  if (change.from !== snapshot.revision || change.revision <= change.from) return undefined;
  const services = changed(snapshot.services, change.services, ({ id }) => id);
  const moved = services && withEndpoints(services, change.endpoints ?? []);
  const clusters = changed(snapshot.clusters ?? [], change.clusters, ({ name }) => name);
  const virtualServices = changed(snapshot.virtualServices ?? [], change.virtualServices, ({ name }) => name);
  if (!moved || !clusters || !virtualServices) return undefined;
  return { ...snapshot, revision: change.revision, services: moved, clusters, virtualServices };
}

/** Sorted by key, as whole snapshots are. */
function changed<T>(
  before: readonly T[],
  change: { readonly put: readonly T[]; readonly gone: readonly string[] } | undefined,
  keyOf: (one: T) => string,
): readonly T[] | undefined {
  if (!change) return before;
  const all = new Map(before.map((one) => [keyOf(one), one]));
  for (const key of change.gone) if (!all.delete(key)) return undefined;
  for (const one of change.put) all.set(keyOf(one), one);
  return [...all].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, one]) => one);
}

function withEndpoints(
  services: readonly ServiceEntry[],
  changes: NonNullable<SnapshotChange['endpoints']>,
): readonly ServiceEntry[] | undefined {
  if (changes.length === 0) return services;
  const byId = new Map(changes.map((change) => [change.id, change]));
  const after: ServiceEntry[] = [];
  for (const service of services) {
    const change = byId.get(service.id);
    byId.delete(service.id);
    const endpoints = changed<Endpoint>(service.endpoints, change, ({ instance }) => instance);
    if (!endpoints) return undefined;
    after.push(endpoints === service.endpoints ? service : { ...service, endpoints });
  }
  return byId.size > 0 ? undefined : after;
}
