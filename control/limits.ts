// How much the control plane takes from anybody: every number that bounds a queue, a body, a rate or a wait, in one place.

export interface ControlLimits {
  /** Open TCP connections in all, and from one address (of IPv6: from one /64). */
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** TLS handshakes under way: each holds memory for somebody who has not said who it is. */
  readonly handshakes: number;
  readonly handshakeMs: number;
  readonly headersMs: number;
  readonly requestMs: number;
  readonly keepAliveMs: number;
  readonly headerBytes: number;
  /** Bodies, in bytes: of most routes, of applied resources, of one batch of records. */
  readonly bodyBytes: number;
  readonly applyBytes: number;
  readonly recordBytes: number;
  /** Token buckets: how many at once, and how many a second after that. */
  readonly enrolPerAddress: Rate;
  readonly renewPerInstance: Rate;
  /** How often one instance may change what its callers are told of it: each of them gets a new snapshot. */
  readonly newsPerInstance: Rate;
  /** Watch streams in all, and record tails in all. */
  readonly watches: number;
  readonly tails: number;
  /** Taps at a time, bytes of one batch of tapped exchanges, and dumps that are waited for at a time. */
  readonly taps: number;
  readonly tapBytes: number;
  readonly dumps: number;
  /** A watcher that takes nothing for this long is cut. */
  readonly stalledMs: number;
  /** Refusals written one by one each minute for one action and reason; the others are counted and summed up. */
  readonly refusalsPerMinute: number;
  /** How long a stop waits for requests in flight. */
  readonly stopMs: number;
}

export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

export const defaultLimits: ControlLimits = {
  connections: 50_000,
  connectionsPerAddress: 8_192,
  handshakes: 512,
  handshakeMs: 10_000,
  headersMs: 10_000,
  requestMs: 60_000,
  keepAliveMs: 75_000,
  headerBytes: 32 * 1024,
  bodyBytes: 128 * 1024,
  applyBytes: 64 * 1024 * 1024,
  recordBytes: 32 * 1024 * 1024,
  enrolPerAddress: { burst: 300, perSecond: 20 },
  renewPerInstance: { burst: 20, perSecond: 1 },
  newsPerInstance: { burst: 20, perSecond: 0.2 },
  watches: 20_000,
  tails: 64,
  taps: 4,
  tapBytes: 4 * 1024 * 1024,
  dumps: 32,
  stalledMs: 30_000,
  refusalsPerMinute: 300,
  stopMs: 5_000,
};
