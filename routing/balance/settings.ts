// The settings of a cluster as numbers, every default filled in: read once, when a cluster is given, never while a request waits.
import type { ClusterEntry, loadBalancingPolicies } from '#wire';
import { durationOf, shareOf } from '../amounts.ts';

export type ClusterSettings = Pick<ClusterEntry, 'subsets' | 'loadBalancing' | 'circuitBreaker' | 'outlierDetection'>;
export type BalancingPolicy = (typeof loadBalancingPolicies)[number];

/** The bounds of a circuit breaker. `maxConnections` and `maxPending` are of one endpoint and bound its pool; the others are of the cluster. */
export interface BreakerBounds {
  readonly maxConnections: number;
  readonly maxPending: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
  /** 0 to 1, of the requests in progress. */
  readonly retryBudget: number;
  readonly minRetries: number;
}

/** Shares are 0 to 1, times milliseconds, counts 0 when they are not looked at. */
export interface OutlierBounds {
  readonly consecutive5xx: number;
  readonly consecutiveGatewayErrors: number;
  readonly successRate:
    | { readonly minEndpoints: number; readonly minRequests: number; readonly stdevFactor: number }
    | undefined;
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionMs: number;
  readonly maxEjected: number;
}

export interface ZoneRules {
  readonly prefer: boolean;
  readonly failover: readonly string[];
  readonly minHealthy: number;
}

export interface BalanceSettings {
  readonly policy: BalancingPolicy;
  /** 0: none. */
  readonly slowStartMs: number;
  readonly panicThreshold: number;
  /** `undefined`: zones are not looked at. */
  readonly zones: ZoneRules | undefined;
  readonly subsets: NonNullable<ClusterSettings['subsets']>;
}

export function balanceSettings({ loadBalancing, subsets }: ClusterSettings): BalanceSettings {
  const zones = loadBalancing?.zones;
  return {
    policy: loadBalancing?.policy ?? 'least-request',
    slowStartMs: durationOf(loadBalancing?.slowStart ?? '0ms'),
    panicThreshold: shareOf(loadBalancing?.panicThreshold ?? '50%'),
    zones: zones && {
      prefer: zones.prefer ?? true,
      failover: zones.failover ?? [],
      minHealthy: shareOf(zones.minHealthy ?? '70%'),
    },
    subsets: subsets ?? {},
  };
}

/** One of the threads of a proxy: the parts of all of them add up to the whole. */
export interface Part {
  /** From 0. */
  readonly index: number;
  readonly of: number;
}

/** Of a part, every bound but `minRetries` is 1 at least, so that no thread is shut out. */
export function breakerBounds({ circuitBreaker: given }: ClusterSettings, { index, of }: Part): BreakerBounds {
  const part = (whole: number): number => Math.floor(whole / of) + (index < whole % of ? 1 : 0);
  return {
    maxConnections: Math.max(1, part(given?.maxConnections ?? 256)),
    maxPending: Math.max(1, part(given?.maxPending ?? 256)),
    maxRequests: Math.max(1, part(given?.maxRequests ?? 1_024)),
    maxRetries: Math.max(1, part(given?.maxRetries ?? 64)),
    retryBudget: shareOf(given?.retryBudget ?? '20%'),
    minRetries: part(given?.minRetries ?? 3),
  };
}

/** `undefined` when no outlier detection is declared. */
export function outlierBounds({ outlierDetection: given }: ClusterSettings): OutlierBounds | undefined {
  if (!given) return undefined;
  const baseEjectionMs = durationOf(given.baseEjection ?? '30s');
  return {
    consecutive5xx: given.consecutive5xx ?? 5,
    consecutiveGatewayErrors: given.consecutiveGatewayErrors ?? 5,
    successRate: given.successRate && {
      minEndpoints: given.successRate.minEndpoints ?? 5,
      minRequests: given.successRate.minRequests ?? 100,
      stdevFactor: given.successRate.stdevFactor ?? 1.9,
    },
    intervalMs: Math.max(1, durationOf(given.interval ?? '10s')),
    baseEjectionMs,
    maxEjectionMs: Math.max(baseEjectionMs, durationOf(given.maxEjection ?? '300s')),
    maxEjected: shareOf(given.maxEjected ?? '50%'),
  };
}
