// The bounds of one HTTP/2 connection that HTTP/1.1 has no word for, with their defaults. A bound that bites is counted by its name.

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

export const defaultLinkLimits: LinkLimits = {
  streams: 100,
  streamWindow: 131_072,
  mostStreamWindow: 4_194_304,
  connectionWindow: 16_777_216,
  frameBytes: 16_384,
  blockBytes: 65_536,
  continuations: 8,
  settingsMs: 10_000,
  pingMs: 30_000,
  pingAckMs: 10_000,
  tickMs: 1_000,
  resets: { burst: 150, perSecond: 20 },
  refusals: { burst: 1_000, perSecond: 100 },
  pings: { burst: 100, perSecond: 20 },
  settings: { burst: 20, perSecond: 1 },
  empties: { burst: 100, perSecond: 20 },
  windowUpdates: { burst: 10_000, perSecond: 10_000 },
  ignored: { burst: 1_000, perSecond: 1_000 },
};
