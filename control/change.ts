// What a proxy that holds one content of its snapshot must be told to hold the next, when that is little: services, endpoints, clusters and virtual
// services that were put or are gone. Both sides are sorted, so one walk along them is enough.
import { type Entry, endpointsChanged } from './entries.ts';
import type { Piece } from './traffic.ts';

/** What may change without a whole snapshot; each sorted by name. */
export interface Changeable {
  readonly services: readonly Entry[];
  readonly clusters: readonly Piece[];
  readonly virtualServices: readonly Piece[];
}

/** The fields of a `SnapshotChange` beside its revisions, each with a comma before it. */
export function changeText(before: Changeable, after: Changeable): string {
  const endpoints: string[] = [];
  const services = differ(before.services, after.services, (from, to) => {
    const text = endpointsChanged(from, to);
    if (text !== undefined) endpoints.push(text);
    return text === undefined;
  });
  const clusters = differ(before.clusters, after.clusters);
  const virtualServices = differ(before.virtualServices, after.virtualServices);
  return [
    services && `,"services":${services}`,
    endpoints.length > 0 ? `,"endpoints":[${endpoints.join()}]` : '',
    clusters && `,"clusters":${clusters}`,
    virtualServices && `,"virtualServices":${virtualServices}`,
  ].join('');
}

type Named = Pick<Piece, 'name' | 'text'>;

/** `isPut`: whether one that was there before is put as a whole. */
function differ<T extends Named>(
  before: readonly T[],
  after: readonly T[],
  isPut: (from: T, to: T) => boolean = () => true,
): string {
  const put: string[] = [];
  const gone: string[] = [];
  let at = 0;
  for (const one of after) {
    for (; at < before.length && before[at]!.name < one.name; at++) gone.push(before[at]!.name);
    const same = before[at]?.name === one.name ? before[at++] : undefined;
    if (!same || (same !== one && isPut(same, one))) put.push(one.text);
  }
  for (; at < before.length; at++) gone.push(before[at]!.name);
  return put.length + gone.length === 0 ? '' : `{"put":[${put.join()}],"gone":${JSON.stringify(gone)}}`;
}
