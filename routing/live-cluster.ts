// A cluster at work: which endpoint gets a request, how many there may be, which endpoints are left out and for how long. State of one process and thread;
// it opens nothing and waits for nothing.
import type { ClusterEntry } from '#wire';
import type { Outcome } from './action.ts';
import type { Endpoint } from './endpoint.ts';

export interface LiveCluster {
  readonly name: string;
  /** Takes over new settings and endpoints; what is known of endpoints that stay is kept. */
  update(o: { readonly settings: ClusterSettings; readonly endpoints: readonly Endpoint[] }): void;
  /** `undefined`: none that may be tried. `hash` as `hashOf` gives it; `tried` holds addresses. */
  pick(o: {
    readonly subset: string | undefined;
    readonly hash: number | undefined;
    readonly tried: ReadonlySet<string>;
  }): Endpoint | undefined;
  /** A place for a request in progress (`maxRequests`); call the result once when it has ended. `undefined`: the breaker is open. */
  admit(): (() => void) | undefined;
  /** A place for one retry (`maxRetries`, `retryBudget`, `minRetries`); call the result once when it has ended. */
  admitRetry(): (() => void) | undefined;
  /** A try begins at the endpoint; call the result once with what it came to (`undefined`: the caller went away). */
  begin(endpoint: Endpoint): (outcome: Outcome | undefined) => void;
  /** What an active health check found. */
  checked(address: string, isHealthy: boolean): void;
  /** On what requests are hashed, when the policy does that. */
  readonly hashOn: NonNullable<ClusterEntry['loadBalancing']>['hashOn'];
  readonly endpoints: readonly Endpoint[];
  /** For people: `postern describe`, the admin page, metrics. */
  describe(): ClusterState;
}

export type ClusterSettings = Pick<ClusterEntry, 'subsets' | 'loadBalancing' | 'circuitBreaker' | 'outlierDetection'>;

export interface ClusterState {
  readonly requests: number;
  readonly retries: number;
  /** Times that a bound of the breaker has bitten, by its name. */
  readonly refused: Readonly<Record<string, number>>;
  readonly panic: boolean;
  readonly endpoints: readonly {
    readonly address: string;
    readonly instance: string;
    readonly zone: string | undefined;
    readonly weight: number;
    readonly active: number;
    readonly health: 'healthy' | 'unhealthy';
    /** Milliseconds that it is still left out, and why. */
    readonly ejectedForMs: number | undefined;
    readonly ejectedWhy: string | undefined;
  }[];
}

export interface LiveClusterOptions {
  readonly name: string;
  readonly monotonic: () => number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** The zone of this proxy. */
  readonly zone: string | undefined;
  /** An endpoint is left out, or back. */
  readonly onEjection?: (o: { readonly address: string; readonly why: string | undefined }) => void;
}
