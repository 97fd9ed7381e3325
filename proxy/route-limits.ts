// How much a route takes: requests in a time and bytes of a body. Held where all callers meet: where the service is served, at the edge, and on the calling
// side for what is outside the mesh or would not be known there as what the route takes.
import type { RateLimitPlan } from '#routing';
import { fail } from './errors.ts';
import type { Running } from './serve.ts';

export interface RouteLimits {
  readonly rateLimits: readonly RateLimitPlan[];
  readonly maxBody: number | undefined;
}

/** Throws `RATE_LIMITED` or `HTTP_BODY_TOO_LARGE`. */
export function holdLimits({ exchange, heard }: Running, { rateLimits, maxBody }: RouteLimits, peer: string): void {
  const { plane } = heard;
  if (maxBody !== undefined && exchange.head.tunnel === undefined) {
    const tooLarge = () => fail('HTTP_BODY_TOO_LARGE', { limit: maxBody });
    if (exchange.head.length > maxBody) throw tooLarge();
    exchange.bodyLimit = { bytes: maxBody, fault: tooLarge };
  }
  if (rateLimits.length === 0) return;
  const seconds = plane.rateLimits.take(rateLimits, peer);
  if (seconds === undefined) return;
  plane.metrics.limit('rate-limit');
  throw fail('RATE_LIMITED', { seconds });
}
