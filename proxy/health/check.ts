// A health check as it was declared, read once.
import { parseDuration } from '#base/duration';
import type { HealthCheck as Declared } from '#wire';

export type Asked =
  | {
      readonly kind: 'http';
      readonly path: string;
      /** The Host header; absent: the cluster's first host, or the endpoint. */
      readonly host: string | undefined;
      /** Absent: 200 to 299. */
      readonly expect: ReadonlySet<number> | undefined;
    }
  | { readonly kind: 'grpc' /** Empty: the whole server. */; readonly service: string }
  | { readonly kind: 'tcp' };

export interface HealthCheck {
  readonly asked: Asked;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Failures in a row. */
  readonly unhealthyThreshold: number;
  /** Successes in a row. */
  readonly healthyThreshold: number;
}

/** However often somebody would like to ask. */
const leastIntervalMs = 100;

/** Throws what makes no sense in it. */
export function readHealthCheck(cluster: string, declared: Declared): HealthCheck {
  const { interval = '5s', timeout = '1s', unhealthyThreshold = 3, healthyThreshold = 2 } = declared;
  const intervalMs = parseDuration(interval);
  const timeoutMs = parseDuration(timeout);
  if (!intervalMs || !timeoutMs)
    throw new TypeError(`the health check of the cluster ${cluster} has no interval or timeout above nothing`);
  return {
    asked: askedOf(cluster, declared),
    intervalMs: Math.max(leastIntervalMs, intervalMs),
    timeoutMs,
    unhealthyThreshold,
    healthyThreshold,
  };
}

function askedOf(cluster: string, { http, grpc, tcp }: Declared): Asked {
  if ([http, grpc, tcp].filter((one) => one !== undefined).length !== 1)
    throw new TypeError(`the health check of the cluster ${cluster} has not exactly one of http, grpc and tcp`);
  if (http) return { kind: 'http', path: http.path, host: http.host, expect: http.expect && new Set(http.expect) };
  if (grpc) return { kind: 'grpc', service: grpc.service ?? '' };
  return { kind: 'tcp' };
}
