// Do targets exist, and does each get a share that makes sense?
import type { Report } from '#policy';
import type { WeightedTarget } from '#wire';
import { checkHeaders } from './header.ts';
import type { Known } from './known.ts';

export function checkTargets(
  targets: readonly WeightedTarget[],
  o: { readonly pointer: string; readonly protocol: 'http' | 'tcp'; readonly known: Known; readonly report: Report },
): void {
  const { pointer, report } = o;
  for (const [index, target] of targets.entries()) {
    const at = `${pointer}/${index}`;
    checkTarget(target, { ...o, pointer: at });
    checkHeaders(target.headers, `${at}/headers`, report);
    if (o.protocol === 'tcp' && target.headers) report(`${at}/headers`, 'a connection has no headers');
    if (targets.length > 1 && target.weight === undefined)
      report(at, `target ${target.cluster} has no weight`, 'each of several needs one');
  }
  if (targets.every(({ weight }) => weight === 0))
    report(pointer, 'the weights sum to 0: nothing could be sent anywhere');
}

export function checkTarget(
  { cluster, subset }: Pick<WeightedTarget, 'cluster' | 'subset'>,
  o: { readonly pointer: string; readonly protocol: 'http' | 'tcp'; readonly known: Known; readonly report: Report },
): void {
  const { pointer, protocol, known, report } = o;
  const declared = known.clusters.get(cluster);
  if (!declared && !known.isService(cluster)) {
    const near = known.nearest(cluster, () => [...known.clusters.keys(), ...(known.services ?? [])]);
    report(
      `${pointer}/cluster`,
      `there is no cluster and no service ${cluster}`,
      near ? `did you mean ${near}?` : 'declare the cluster, or make a token for the service first',
    );
  }
  if (declared?.protocol === 'tcp' && protocol === 'http')
    report(`${pointer}/cluster`, `cluster ${cluster} speaks TCP; only tcp and tls routes lead there`);
  if (subset === undefined || Object.hasOwn(declared?.subsets ?? {}, subset)) return;
  if (!declared && !known.isService(cluster)) return;
  const near = known.nearest(subset, () => Object.keys(declared?.subsets ?? {}));
  report(
    `${pointer}/subset`,
    `cluster ${cluster} has no subset ${subset}`,
    near ? `did you mean ${near}?` : 'write it into subsets of the cluster',
  );
}
