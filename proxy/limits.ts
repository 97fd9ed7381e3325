// Every bound of the data plane: its default and what it is for, in one table that settings and documentation are made of. A bound that bites is
// counted in `postern_limits_total`.

interface Bound {
  readonly default: number;
  /** The least that makes sense; 1 unless said. */
  readonly least?: number;
  readonly description: string;
}

const bounds = {
  connections: { default: 10_000, description: 'downstream connections of one listener' },
  peerConnections: {
    default: 5_000,
    description:
      'connections of one calling service, or of one address at the edge, so that one alone cannot keep the others out',
  },
  exchanges: {
    default: 10_000,
    least: 2,
    description: 'requests and tunnels in progress; of those that come in one calling service alone gets half',
  },
  handshakes: { default: 256, description: 'TLS handshakes in progress on the inbound listener' },
  handshakeMs: { default: 10_000, description: 'time for a TLS handshake' },
  headBytes: {
    default: 16_384,
    least: 1_024,
    description: 'a request head, its last empty line included; a response head may have twice as many',
  },
  headers: { default: 128, least: 8, description: 'fields of a head' },
  uriBytes: { default: 8_192, least: 256, description: 'a request target' },
  trailerBytes: { default: 8_192, least: 0, description: 'trailers' },
  headMs: { default: 10_000, description: "from the first byte of a head (or the connection's start) to its last" },
  idleMs: {
    default: 75_000,
    description:
      'a downstream connection without a request; longer than poolIdleMs, so that the calling side closes first',
  },
  bodyMs: { default: 30_000, description: 'in each such span a request body must bring bodyBytes, or end' },
  bodyBytes: { default: 512, least: 0, description: 'see bodyMs' },
  writeMs: { default: 30_000, description: 'a peer that takes no byte of what is written to it' },
  bufferBytes: {
    default: 131_072,
    least: 16_384,
    description:
      'bytes of one direction of one exchange held here before the sender is paused; also unparsed pipelined ones',
  },
  retryBodyBytes: {
    default: 65_536,
    least: 0,
    description: 'a request body that is kept so that it can be sent again; larger ones are sent once',
  },
  retryBytes: { default: 16_777_216, least: 0, description: 'all of those together' },
  processBytes: {
    default: 268_435_456,
    least: 1_048_576,
    description: 'bytes held for all connections together; above that, connections of whoever holds the most are cut',
  },
  discardBytes: {
    default: 65_536,
    least: 0,
    description: 'unread request body that is read and dropped to keep a connection after an early answer',
  },
  interim: { default: 16, least: 0, description: 'interim (1xx) responses of one exchange' },
  connectMs: { default: 5_000, description: 'time to connect onward, the TLS handshake included' },
  responseMs: {
    default: 60_000,
    description:
      "from the request's last byte to the response head; outbound waits 5 s more, so that the far hop speaks first",
  },
  streamMs: { default: 300_000, description: 'a response body without a byte' },
  tunnelIdleMs: { default: 3_600_000, description: 'a tunnel (WebSocket, CONNECT, TCP) without a byte either way' },
  poolConnections: {
    default: 256,
    description:
      'connections to one upstream endpoint or to the application; of those to the application one calling service alone gets half',
  },
  poolPending: { default: 1_024, least: 0, description: 'requests waiting for one of them, shared alike' },
  poolPendingMs: { default: 5_000, description: 'and for how long' },
  poolIdleMs: { default: 30_000, description: 'an upstream connection without a request' },
  appIdleMs: {
    default: 4_000,
    description: 'the same toward an HTTP/1.1 application: below the shortest common server default (5 s)',
  },
  refusalsPerSecond: {
    default: 100,
    least: 0,
    description: 'records of refused connections in one second; more are only counted',
  },
  http2Streams: { default: 100, description: 'streams that one HTTP/2 peer may have open at a time; more are refused' },
  http2StreamWindow: {
    default: 131_072,
    least: 65_535,
    description: 'bytes of one stream that may be on their way unread, at first',
  },
  http2MostStreamWindow: {
    default: 4_194_304,
    least: 65_535,
    description: 'what that grows to while they are read at once',
  },
  http2ConnectionWindow: {
    default: 16_777_216,
    least: 65_535,
    description: 'the same for all streams of a connection together',
  },
  http2BlockBytes: { default: 65_536, least: 4_096, description: 'an encoded header block with its continuations' },
  http2Continuations: { default: 8, least: 0, description: 'CONTINUATION frames of one header block' },
  http2Resets: { default: 20, description: 'a second: streams that end by RST_STREAM (7.5 times as many at once)' },
  http2Refusals: { default: 100, description: 'a second: streams above http2Streams (10 times as many at once)' },
  http2Pings: { default: 20, description: 'a second: PING frames (5 times as many at once)' },
  http2Settings: { default: 1, description: 'a second: SETTINGS frames (20 times as many at once)' },
  http2Empties: { default: 20, description: 'a second: DATA frames without a byte (5 times as many at once)' },
  http2WindowUpdates: { default: 10_000, description: 'a second: WINDOW_UPDATE frames' },
  http2Ignored: {
    default: 1_000,
    description: 'a second: PRIORITY, unknown frames, and frames for streams that are over',
  },
} as const satisfies Record<string, Bound>;

export type Limits = { readonly [K in keyof typeof bounds]: number };

/** For settings and documentation. */
export const limitBounds: Readonly<Record<string, Bound>> = bounds;

export const defaultLimits = Object.freeze(
  Object.fromEntries(Object.entries(bounds).map(([name, bound]) => [name, bound.default])),
) as Limits;
