// Callers and endpoints without sockets: requests arrive at a rate, each is placed and retried as a proxy does it (proxy/forward.ts), and
// endpoints do what a test tells them. Everything happens on a clock that only the test moves.
import { type ClusterSettings, createLiveCluster, type Endpoint, type LiveCluster, type Outcome } from '#routing';
import { createClock, type SettableClock } from './clock.ts';
import { nothingTried, seeded } from './live-cluster.ts';

/** What an endpoint does with a request; a function is asked for each. */
export type Behaviour =
  | { readonly kind: 'answers'; readonly status: number; readonly ms: number }
  /** Nobody listens. */
  | { readonly kind: 'killed' }
  /** Takes requests and never answers. */
  | { readonly kind: 'frozen' };

export const works: Behaviour = { kind: 'answers', status: 200, ms: 10 };
export const failsAll: Behaviour = { kind: 'answers', status: 500, ms: 10 };
export const slow: Behaviour = { kind: 'answers', status: 200, ms: 1_000 };

export interface SimulatedMeshOptions {
  readonly endpoints: readonly Endpoint[];
  readonly settings: ClusterSettings;
  readonly attempts: number;
  readonly perTryTimeoutMs?: number;
  readonly seed?: number;
}

export interface SimulatedMesh {
  readonly cluster: LiveCluster;
  readonly clock: SettableClock;
  readonly behaviours: Map<string, Behaviour | (() => Behaviour)>;
  readonly seen: {
    succeeded: number;
    failed: number;
    refused: number;
    /** Sent to an endpoint, connections that failed not counted. */
    tries: number;
    retries: number;
    /** The most retries in progress above three or a fifth of the requests in progress, as one was granted. */
    overBudget: number;
    mostRequests: number;
  };
  /** So many requests a second for so long. */
  load(o: { perSecond: number; ms: number }): void;
  /** Until nothing is in progress. */
  settle(): void;
}

export function createSimulatedMesh(o: SimulatedMeshOptions): SimulatedMesh {
  const clock = createClock();
  const random = seeded(o.seed ?? 1);
  const cluster = createLiveCluster({ name: 'backend', monotonic: () => clock.monotonic(), random, zone: undefined });
  cluster.update({ settings: o.settings, endpoints: o.endpoints });
  const behaviours: SimulatedMesh['behaviours'] = new Map(o.endpoints.map(({ address }) => [address, works]));
  const seen: SimulatedMesh['seen'] = {
    succeeded: 0,
    failed: 0,
    refused: 0,
    tries: 0,
    retries: 0,
    overBudget: Number.NEGATIVE_INFINITY,
    mostRequests: 0,
  };
  const perTryMs = o.perTryTimeoutMs ?? 250;
  let inProgress = 0;

  const outcomeAt = (address: string): { ms: number; outcome: Outcome } => {
    const given = behaviours.get(address)!;
    const behaviour = typeof given === 'function' ? given() : given;
    if (behaviour.kind === 'killed') return { ms: 1, outcome: { kind: 'connect-failed' } };
    seen.tries++;
    if (behaviour.kind === 'frozen' || behaviour.ms > perTryMs) return { ms: perTryMs, outcome: { kind: 'timeout' } };
    return { ms: behaviour.ms, outcome: { kind: 'answered', status: behaviour.status, grpcStatus: undefined } };
  };

  const request = (): void => {
    const admitted = cluster.admit();
    if (!admitted) {
      seen.refused++;
      return;
    }
    inProgress++;
    seen.mostRequests = Math.max(seen.mostRequests, inProgress);
    const tried = new Set<string>();
    let attempts = o.attempts;
    let place: (() => void) | undefined;
    const over = (isSuccess: boolean): void => {
      place?.();
      admitted();
      inProgress--;
      seen[isSuccess ? 'succeeded' : 'failed']++;
    };
    const next = (): void => {
      const asked = { subset: undefined, hash: undefined };
      const endpoint = cluster.pick({ ...asked, tried }) ?? cluster.pick({ ...asked, tried: nothingTried });
      if (!endpoint) return over(false);
      const end = cluster.begin(endpoint);
      const { ms, outcome } = outcomeAt(endpoint.address);
      clock.after(ms, () => {
        end(outcome);
        if (outcome.kind === 'answered' && outcome.status < 500) return over(true);
        tried.add(endpoint.address);
        // Nothing was sent, and there is another place: that is no retry.
        if (outcome.kind === 'connect-failed' && tried.size < o.endpoints.length) return next();
        if (attempts-- === 0) return over(false);
        const granted = cluster.admitRetry();
        if (!granted) return over(false);
        seen.retries++;
        const now = cluster.describe();
        seen.overBudget = Math.max(seen.overBudget, now.retries - Math.max(3, Math.ceil(now.requests / 5)));
        place?.();
        place = granted;
        clock.after(random() * 25, next);
      });
    };
    next();
  };

  return {
    cluster,
    clock,
    behaviours,
    seen,
    load({ perSecond, ms }) {
      for (let left = (perSecond * ms) / 1_000; left > 0; left--) {
        request();
        clock.advance(1_000 / perSecond);
      }
    },
    settle() {
      for (let count = 0; inProgress > 0 && count < 1_000; count++) clock.advance(100);
    },
  };
}
