// Every bound of the data plane with its default. A bound that bites is counted in `postern_limits_total`.

export interface Limits {
  /** Downstream connections of one listener. */
  readonly connections: number;
  /** Inbound connections of one calling service, so that one alone cannot keep the others out. */
  readonly peerConnections: number;
  /** TLS handshakes in progress on the inbound listener. */
  readonly handshakes: number;
  readonly handshakeMs: number;
  /** Request or response head, in bytes, its last empty line included. */
  readonly headBytes: number;
  readonly headers: number;
  readonly uriBytes: number;
  readonly trailerBytes: number;
  /** From the first byte of a head (or the connection's start) to its last. */
  readonly headMs: number;
  /** A downstream connection without a request. Longer than `poolIdleMs`, so that the calling side closes first. */
  readonly idleMs: number;
  /** A request body must bring at least `bodyBytes` (or end) in each such span. */
  readonly bodyMs: number;
  readonly bodyBytes: number;
  /** A peer that takes no byte of what is written to it. */
  readonly writeMs: number;
  /** Bytes of one direction of one exchange held here before the sender is paused; also unparsed pipelined bytes. */
  readonly bufferBytes: number;
  /** Unread request body that is read and dropped to keep a connection after an early answer. */
  readonly discardBytes: number;
  /** Interim (1xx) responses of one exchange. */
  readonly interim: number;
  readonly connectMs: number;
  /** From the request's last byte sent to the response head; outbound waits 5 s more, so that the far hop speaks first. */
  readonly responseMs: number;
  /** A response body without a byte. */
  readonly streamMs: number;
  /** A tunnel (WebSocket, CONNECT, TCP) without a byte either way. */
  readonly tunnelIdleMs: number;
  /** Connections to one upstream endpoint or to the application. Of those to the application one calling service alone gets half. */
  readonly poolConnections: number;
  /** Requests waiting for one of them, shared alike, and for how long. */
  readonly poolPending: number;
  readonly poolPendingMs: number;
  readonly poolIdleMs: number;
  /** The same toward the application: shorter than the shortest common server default (5 s), to avoid the keep-alive race. */
  readonly appIdleMs: number;
  /** Records of refused connections in one second; more are only counted. */
  readonly refusalsPerSecond: number;
}

export const defaultLimits: Limits = {
  connections: 10_000,
  peerConnections: 5_000,
  handshakes: 256,
  handshakeMs: 10_000,
  headBytes: 16_384,
  headers: 128,
  uriBytes: 8_192,
  trailerBytes: 8_192,
  headMs: 10_000,
  idleMs: 75_000,
  bodyMs: 30_000,
  bodyBytes: 512,
  writeMs: 30_000,
  bufferBytes: 131_072,
  discardBytes: 65_536,
  interim: 16,
  connectMs: 5_000,
  responseMs: 60_000,
  streamMs: 300_000,
  tunnelIdleMs: 3_600_000,
  poolConnections: 256,
  poolPending: 1_024,
  poolPendingMs: 5_000,
  poolIdleMs: 30_000,
  appIdleMs: 4_000,
  refusalsPerSecond: 100,
};
