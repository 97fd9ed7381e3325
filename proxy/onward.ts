// Whatever a data plane sends to: the clusters of its configuration, the group behind it, hosts that nothing declares; and what health checks find of all those
// and of the application.
import type { Clock } from '#base/clock';
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';
import { createLiveCluster, type Part, type RoutedCluster } from '#routing';
import type { SpiffeId } from '#spiffe';
import type { AppAddress } from './app-protocol.ts';
import { type Clusters, createClusters } from './clusters.ts';
import type { DataPlaneMetrics } from './data-plane-metrics.ts';
import type { Dns } from './discovery/dns.ts';
import { createDnsNotes } from './discovery/dns-notes.ts';
import { createGroup, type GroupCluster } from './group.ts';
import { createAppHealth } from './health/app-health.ts';
import { createHealthChecks, type Failing } from './health/health-checks.ts';
import { createForbids, createUndeclared, type Undeclared } from './undeclared.ts';
import type { Upstreams } from './upstreams.ts';

export interface OnwardOptions {
  readonly app: AppAddress | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Where counts are registered, and those of the data plane among them. */
  readonly metrics: Metrics;
  readonly counts: DataPlaneMetrics;
  readonly random: () => number;
  readonly dns: Dns;
  readonly upstreams: Upstreams;
  readonly zone: string | undefined;
  readonly part: Part | undefined;
  /** Another thread makes the health checks. */
  readonly isTold: boolean;
  readonly onFailing: (() => void) | undefined;
  readonly onHealth: (() => void) | undefined;
  readonly forbids: ((address: string) => string | undefined) | undefined;
}

export interface Onward {
  readonly clusters: Clusters;
  readonly group: GroupCluster;
  readonly undeclared: Undeclared;
  readonly health: 'healthy' | 'unhealthy' | undefined;
  readonly failing: Failing;
  tellFailing(failing: Failing): void;
  /** Checks everything and changes nothing; the result puts it in force and cannot fail. Throws what is wrong. */
  prepare(o: { readonly clusters: ReadonlyMap<string, RoutedCluster>; readonly own: SpiffeId }): () => void;
  close(): void;
}

export function createOnward(o: OnwardOptions): Onward {
  const { app, clock, log, metrics, random, dns, upstreams } = o;
  const { openPool, openOutside, changed } = upstreams;
  const { isTold, onFailing = () => undefined } = o;
  const health = createHealthChecks({ clock, log, metrics, random, openPool, isTold, onFailing });
  const appHealth =
    app &&
    createAppHealth({
      app,
      createChecker: health.createChecker,
      onChange(state, reason) {
        if (state === 'healthy') log.info('the application is healthy again');
        else if (reason !== undefined) log.warn('the application is not healthy', { reason });
        o.onHealth?.();
      },
    });
  const shared = {
    createLive: ({ name }: { name: string }) =>
      createLiveCluster({
        ...{ name, monotonic: () => clock.monotonic(), random, zone: o.zone, part: o.part },
        onEjection: (ejection) => o.counts.ejected(name, ejection),
      }),
    onChange: changed,
    clock,
    random,
    dns,
    onDnsAnswer: createDnsNotes({ log, metrics }),
    createChecker: health.createChecker,
    onHealth: health.onHealth,
  };
  const clusters = createClusters(shared);
  const group = createGroup({
    ...shared,
    onHealth(one) {
      health.onHealth(one);
      o.onHealth?.();
    },
  });
  const undeclared = createUndeclared({ dns, forbids: o.forbids ?? createForbids({ clock }), openPool: openOutside });
  return {
    clusters,
    group,
    undeclared,
    get health() {
      return app ? appHealth?.state : group.state;
    },
    get failing() {
      return health.failing;
    },
    tellFailing: health.tell,
    prepare({ clusters: routed, own }) {
      const useClusters = clusters.prepare({ clusters: routed, own: own.uri });
      const checkApp = appHealth?.prepare({ clusters: routed, own });
      return () => {
        useClusters();
        if (!isTold) checkApp?.();
      };
    },
    close() {
      clusters.close();
      group.close();
      appHealth?.close();
      undeclared.retire();
    },
  };
}
