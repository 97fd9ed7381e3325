// The bounds of one HTTP/2 connection that HTTP/1.1 has no word for, with their defaults. A bound that bites is counted by its name.

import type { Limits } from '../limits.ts';

/** A bucket of tokens: so many at once, and so many more each second. */
export interface Allowance {
  readonly burst: number;
  readonly perSecond: number;
}

export interface LinkLimits {
  /** Streams that the other side may have open at a time; more are refused. */
  readonly streams: number;
  /** Bytes of one stream that may be on their way to us unread, at first; it grows to `mostStreamWindow` while they are read at once. */
  readonly streamWindow: number;
  readonly mostStreamWindow: number;
  /** The same for all streams of the connection: the most that it ever holds in memory here. */
  readonly connectionWindow: number;
  /** Payload of one frame to us. Larger ones than the default save nothing measurable. */
  readonly frameBytes: number;
  /** Encoded header block with its continuations, and how many of those. */
  readonly blockBytes: number;
  readonly continuations: number;
  /** For the first SETTINGS to come and for ours to be acknowledged. */
  readonly settingsMs: number;
  /** Without a byte from the other side: ask whether it is still there, and wait so long for the answer. */
  readonly pingMs: number;
  readonly pingAckMs: number;
  /** How often time limits are looked at while streams are open. */
  readonly tickMs: number;
  /** Streams that end by RST_STREAM, or that we must reset; each answered request earns one more. */
  readonly resets: Allowance;
  /** Streams refused because `streams` are open. */
  readonly refusals: Allowance;
  readonly pings: Allowance;
  readonly settings: Allowance;
  /** DATA frames without a byte. */
  readonly empties: Allowance;
  readonly windowUpdates: Allowance;
  /** PRIORITY, unknown frames, and frames for streams that are over. */
  readonly ignored: Allowance;
}

/** What the bounds of the data plane mean for one connection. */
export function linkLimitsOf(limits: Limits): LinkLimits {
  const allowed = (perSecond: number, times: number): Allowance => ({ perSecond, burst: perSecond * times });
  return {
    streams: limits.http2Streams,
    streamWindow: limits.http2StreamWindow,
    mostStreamWindow: limits.http2MostStreamWindow,
    connectionWindow: limits.http2ConnectionWindow,
    frameBytes: 16_384,
    blockBytes: limits.http2BlockBytes,
    continuations: limits.http2Continuations,
    settingsMs: 10_000,
    pingMs: 30_000,
    pingAckMs: 10_000,
    tickMs: 1_000,
    resets: allowed(limits.http2Resets, 7.5),
    refusals: allowed(limits.http2Refusals, 10),
    pings: allowed(limits.http2Pings, 5),
    settings: allowed(limits.http2Settings, 20),
    empties: allowed(limits.http2Empties, 5),
    windowUpdates: allowed(limits.http2WindowUpdates, 1),
    ignored: allowed(limits.http2Ignored, 1),
  };
}
