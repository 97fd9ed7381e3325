// Whether the application beside this proxy serves, when the cluster of its own service says how that is found out: asked here, once, and reported, so that
// its callers need not ask each by itself.
import { formatHostPort } from '#base/host-port';
import type { RoutedCluster } from '#routing';
import type { SpiffeId } from '#spiffe';
import type { AppAddress } from '../app-protocol.ts';
import type { ExternalLink } from '../cluster-link.ts';
import { readHealthCheck } from './check.ts';
import type { Checker, CheckerOptions } from './checker.ts';

export type AppState = 'healthy' | 'unhealthy';

export interface AppHealth {
  /** `undefined`: nobody asks, or it was not asked yet. */
  readonly state: AppState | undefined;
  /** Checks the configuration and changes nothing; the result puts it in force and cannot fail. Throws what is wrong. */
  prepare(o: { readonly clusters: ReadonlyMap<string, RoutedCluster>; readonly own: SpiffeId }): () => void;
  close(): void;
}

export function createAppHealth(o: {
  readonly app: AppAddress;
  readonly createChecker: (name: string, onChange: CheckerOptions['onChange']) => Checker;
  /** `reason` with one that is not healthy. */
  readonly onChange: (state: AppState | undefined, reason: string | undefined) => void;
}): AppHealth {
  const { app } = o;
  const address = formatHostPort(app);
  const link: ExternalLink = {
    kind: 'external',
    name: 'the application',
    protocol: app.protocol,
    tls: undefined,
    hosts: [],
    authority: undefined,
    maxConnections: undefined,
    maxPending: undefined,
  };
  let checker: Checker | undefined;
  const close = (): void => {
    checker?.close();
    checker = undefined;
  };
  const stateNow = (): AppState | undefined => {
    const isHealthy = checker?.isHealthy(address);
    return isHealthy === undefined ? undefined : isHealthy ? 'healthy' : 'unhealthy';
  };
  return {
    get state() {
      return stateNow();
    },
    prepare({ clusters, own }) {
      const entry = ownEntry(clusters, own);
      const check = entry?.healthCheck && readHealthCheck(entry.name, entry.healthCheck);
      return () => {
        if (!check) {
          const before = stateNow();
          close();
          if (before === 'unhealthy') o.onChange(undefined, undefined);
          return;
        }
        checker ??= o.createChecker(link.name, ({ reason }) => o.onChange(stateNow(), reason));
        checker.use({ check, link, endpoints: [app] });
      };
    },
    close,
  };
}

/** Of the enrolled clusters of this service the one of its own name, or the first that has a check. */
function ownEntry(clusters: ReadonlyMap<string, RoutedCluster>, own: SpiffeId): RoutedCluster['entry'] {
  const entries = [...clusters.values()].flatMap(({ id, entry }) =>
    id === own.uri && entry?.endpoints === 'enrolled' ? [entry] : [],
  );
  return entries.find(({ name }) => name === own.service) ?? entries.find(({ healthCheck }) => healthCheck);
}
