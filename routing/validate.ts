// What is wrong with the meaning of clusters, virtual services and the mesh whose shape is right? Every problem at once, each where it was written;
// nothing is ever guessed or repaired.
import type { Problem } from '#base/error';
import { type Report, reporterTo } from '#policy';
import type { LocatedResource, MeshResource } from '#wire';
import { checkCluster } from './check/cluster.ts';
import { checkHosts } from './check/hosts.ts';
import { createKnown } from './check/known.ts';
import { checkVirtualService } from './check/virtual-service.ts';

export interface ValidateOptions {
  readonly trustDomain: string;
  /**
   * Names of the services that are enrolled or about to be. With them a route to what is neither a service, nor declared, nor spoken of by a policy
   * is refused; without them nobody can tell.
   */
  readonly services?: ReadonlySet<string> | undefined;
}

export function validateTraffic(
  resources: readonly LocatedResource[],
  { trustDomain, services }: ValidateOptions,
): Problem[] {
  const problems: Problem[] = [];
  const reporter = reporterTo(problems);
  const known = createKnown(resources, { trustDomain, services });
  for (const located of resources) {
    const { resource } = located;
    const report = reporter(located);
    if (resource.kind === 'Cluster') checkCluster(resource, { known, report });
    else if (resource.kind === 'VirtualService') checkVirtualService(resource, { known, report });
    else if (resource.kind === 'Mesh') checkMesh(resource, report);
  }
  checkHosts(resources, { known, reporter });
  return problems;
}

function checkMesh({ tracing }: MeshResource, report: Report): void {
  if (!tracing) return;
  if (!URL.canParse(tracing.otlp)) return report('/tracing/otlp', `${tracing.otlp} is no URL`);
  const { username, password } = new URL(tracing.otlp);
  if (username || password) report('/tracing/otlp', 'a URL with a password in it would be shown to everybody');
}
