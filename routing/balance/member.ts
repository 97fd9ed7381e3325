// What is known of one endpoint while it is in a cluster: how busy it is, how fast it answers, whether it is left out and until when.
// All times are monotonic milliseconds.
import type { Endpoint } from '../endpoint.ts';

/** Why an endpoint may be left out, as bits of a mask are numbered. */
export const standings = {
  /** Nothing speaks against it. */
  healthy: 0,
  /** A health check or outlier detection does. */
  suspected: 1,
  /** It has just failed to connect. */
  aside: 2,
  suspectedAside: 3,
} as const;

/** Linkerd's: how an estimate of latency fades, and what is assumed of an endpoint that nothing is known of. */
const decayMs = 10_000;
const assumedMs = 30;
/** An answer that is a failure counts as one this slow, so that failing fast does not look like being fast. */
const failureMs = 1_000;
/** Streams and tunnels last as long as they are wanted, which says nothing of the endpoint. */
const longestMs = 10_000;
/** The share of its weight with which a new endpoint begins. */
const leastWarmth = 0.1;

export class Member {
  endpoint: Endpoint;
  readonly address: string;
  /** Requests in progress. */
  active = 0;
  /** One of `standings`, as of the last `refresh`. */
  standing: number = standings.healthy;
  /** What our own health checks say. */
  isFailingChecks = false;
  /** Failures to connect in a row. */
  connectFailures = 0;
  asideUntil = 0;
  ejectedUntil = 0;
  ejectedWhy: string | undefined;
  /** Why it is left out, as it was last told. */
  announced: string | undefined;
  /** How many times `baseEjection` the last ejection took. */
  ejections = 0;
  serverErrors = 0;
  gatewayErrors = 0;
  /** Of the interval that runs. */
  answered = 0;
  succeeded = 0;
  /** From when its share grows; `-Infinity`: it has all of it. */
  warmingSince = Number.NEGATIVE_INFINITY;
  #latencyMs = assumedMs;
  #latencyAt: number;

  constructor(endpoint: Endpoint, now: number) {
    this.endpoint = endpoint;
    this.address = endpoint.address;
    this.#latencyAt = now;
  }

  get weight(): number {
    return this.endpoint.weight;
  }

  /** Health checks say so: ours, or those of the proxy beside it. */
  get isUnhealthy(): boolean {
    return this.endpoint.isUnhealthy || this.isFailingChecks;
  }

  leftOutWhy(now: number): string | undefined {
    if (this.ejectedUntil > now) return this.ejectedWhy;
    return this.asideUntil > now ? 'connect failed' : undefined;
  }

  refresh(now: number): void {
    const before = this.standing;
    const isSuspected = this.isUnhealthy || this.ejectedUntil > now;
    this.standing =
      (isSuspected ? standings.suspected : standings.healthy) | (this.asideUntil > now ? standings.aside : 0);
    if (before !== standings.healthy && this.standing === standings.healthy) this.warmingSince = now;
  }

  /** Whether it has one of the standings of the mask and is not one of those that were tried. */
  mayServe(mask: number, tried: ReadonlySet<string>): boolean {
    return (mask & (1 << this.standing)) !== 0 && (tried.size === 0 || !tried.has(this.address));
  }

  /** When its standing changes, or its share is full, if nothing else happens. */
  changesAfter(now: number, slowStartMs: number): number {
    let next = Number.POSITIVE_INFINITY;
    if (this.ejectedUntil > now) next = this.ejectedUntil;
    if (this.asideUntil > now && this.asideUntil < next) next = this.asideUntil;
    const warmAt = this.warmingSince + slowStartMs;
    return warmAt > now && warmAt < next ? warmAt : next;
  }

  /** The share of its weight that it gets, from a tenth to 1. */
  warmth(now: number, slowStartMs: number): number {
    const elapsed = now - this.warmingSince;
    return elapsed >= slowStartMs ? 1 : Math.max(leastWarmth, elapsed / slowStartMs);
  }

  observe(now: number, tookMs: number, isFailure: boolean): void {
    const ms = Math.min(longestMs, isFailure ? Math.max(tookMs, failureMs) : tookMs);
    // A peak is believed at once, an improvement little by little.
    if (ms > this.#latencyMs) this.#latencyMs = ms;
    else {
      const kept = Math.exp((this.#latencyAt - now) / decayMs);
      this.#latencyMs = this.#latencyMs * kept + ms * (1 - kept);
    }
    this.#latencyAt = now;
  }

  /** What one more request would cost: the faded estimate of its latency, times how many would wait for it. */
  cost(now: number): number {
    return this.#latencyMs * Math.exp((this.#latencyAt - now) / decayMs) * (this.active + 1);
  }
}
