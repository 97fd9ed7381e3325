// The client side of an HTTP/1.1 connection: sends one request at a time and reads its response strictly. A connection on which anything
// unexpected was seen is cut, never pooled, so that no caller can get another caller's answer.
import { randomBytes } from 'node:crypto';
import type { PosternError } from '#base/error';
import type { Connection, ConnectionHandler } from '../connection.ts';
import { type Exchange, isAccepted, type Upstream, type UpstreamFault } from '../exchange.ts';
import type { Limits } from '../limits.ts';
import type { FieldList, RequestHead } from '../request-head.ts';
import { unknownLength } from '../request-head.ts';
import { calledEvents, TunnelEnd } from '../tunnel.ts';
import { Unread } from '../unread.ts';
import type { ChunkedReader } from './chunked.ts';
import { createChunkedReader } from './chunked.ts';
import { findHead } from './find-head.ts';
import type { Http1Response } from './head.ts';
import { parseResponseHead, responseBytes } from './head.ts';
import { chunkedEnd, chunkHead, requestText, webSocketAccept } from './write.ts';

export interface Http1UpstreamOptions {
  readonly connection: Connection;
  readonly limits: Limits;
  /** From the request's last byte to the response head. */
  readonly responseMs: number;
  readonly monotonic: () => number;
  readonly faultOf: (fault: UpstreamFault) => PosternError;
  readonly onLimit: (limit: string) => void;
  /** The exchange is over and the connection can carry another one, idle at most so many milliseconds as the server announced. */
  readonly onIdle: (upstream: Http1Upstream, announcedIdleMs: number | undefined) => void;
  /** It will carry no further exchange. */
  readonly onGone: (upstream: Http1Upstream) => void;
}

export class Http1Upstream implements Upstream, ConnectionHandler {
  readonly connection: Connection;
  readonly #o: Http1UpstreamOptions;
  #exchange: Exchange | undefined;
  #head: RequestHead | undefined;
  #requestEnded = true;
  #response: Http1Response | undefined;
  #chunks: ChunkedReader | undefined;
  #left = 0;
  readonly #unread = new Unread();
  #isHeld = false;
  #isPaused = false;
  #isAdvancing = false;
  #hasEnded = false;
  #hasAnswered = false;
  #wasUsed = false;
  #interim = 0;
  #isGone = false;
  #webSocketKey = '';
  /** Has the connection once a tunnel was agreed on; then nothing else here is in use. */
  #tunnel: TunnelEnd | undefined;

  constructor(options: Http1UpstreamOptions) {
    this.#o = options;
    this.connection = options.connection;
    this.connection.handler = this;
  }

  get isIdle(): boolean {
    return !this.#exchange && !this.#tunnel && !this.#isGone && !this.connection.isClosed && !this.connection.isRetired;
  }

  /** How many exchanges it could carry now: one or none. */
  get room(): number {
    return this.isIdle ? 1 : 0;
  }

  /** Nothing is to be sent over it just now. */
  release(): void {
    this.#o.onIdle(this, undefined);
  }

  /** Sends the head; the body follows by `data` and `end` unless the head says that there is none. */
  start(exchange: Exchange, fields: FieldList): this {
    const { outgoing: head } = exchange;
    this.#exchange = exchange;
    this.#head = head;
    this.#requestEnded = head.length === 0;
    this.#response = undefined;
    this.#chunks = undefined;
    this.#isHeld = false;
    this.#hasAnswered = false;
    this.#interim = 0;
    this.connection.deadline = 0;
    if (this.#isGone || this.connection.isClosed) {
      // It died on its way here: nothing was sent, and no event will come any more.
      this.#wasUsed = true;
      queueMicrotask(() => this.#fail({ kind: 'closed' }));
      return this;
    }
    if (head.tunnel === 'websocket') this.#webSocketKey = randomBytes(16).toString('base64');
    this.connection.write(requestText(head, fields, this.#webSocketKey));
    if (this.#requestEnded || head.tunnel)
      this.connection.deadline = (exchange.sentAt ?? this.#o.monotonic()) + this.#o.responseMs;
    return this;
  }

  // What the exchange says.

  data(bytes: Buffer): boolean {
    if (this.#tunnel) return this.#tunnel.send(bytes);
    if (!this.#exchange || bytes.length === 0) return true;
    let more: boolean;
    if (this.#head?.length === unknownLength) {
      this.connection.write(chunkHead(bytes.length));
      this.connection.write(bytes);
      more = this.connection.write('\r\n');
    } else more = this.connection.write(bytes);
    this.#deadlineIn(more ? this.#o.responseMs : this.#o.limits.writeMs);
    return more;
  }

  end(trailers: FieldList): void {
    if (this.#tunnel) return this.#tunnel.end();
    if (!this.#exchange) return;
    this.#requestEnded = true;
    if (this.#head?.length === unknownLength) this.connection.write(chunkedEnd(trailers));
    if (!this.#response) this.#deadlineIn(this.#o.responseMs);
  }

  abort(): void {
    if (this.#tunnel) return this.#tunnel.cut();
    this.#exchange = undefined;
    this.#leave();
    this.connection.cut();
  }

  pauseResponse(): void {
    if (this.#tunnel) return this.#tunnel.hold();
    this.#isHeld = true;
    this.connection.deadline = 0;
  }

  resumeResponse(): void {
    if (this.#tunnel) return this.#tunnel.unhold();
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#deadlineIn(this.#o.limits.streamMs);
    this.#advance();
  }

  get held(): number {
    return this.#unread.bytes.length;
  }

  // What the connection says.

  read(bytes: Buffer): void {
    // Bytes that nobody asked for: the next caller must never take them for its answer.
    if (!this.#exchange) return this.abort();
    this.#hasAnswered = true;
    this.#unread.lend(bytes);
    this.#advance();
  }

  ended(): void {
    this.#hasEnded = true;
    if (!this.#exchange) return this.abort();
    this.#advance();
  }

  closed(): void {
    this.#leave();
    // Ended in good order while the caller reads slowly: what has come is still handed on.
    if (this.#hasEnded && this.#isHeld && !this.connection.fault) return;
    this.#fail({ kind: 'closed' });
  }

  drained(): void {
    if (this.#exchange) this.#deadlineIn(this.#o.responseMs);
    this.#exchange?.upstreamReady();
  }

  expired(): void {
    if (!this.#exchange) return this.abort();
    const { limits, responseMs } = this.#o;
    this.#fail({ kind: 'timeout', ms: this.#response ? limits.streamMs : responseMs });
  }

  retire(): void {
    if (this.#exchange || this.#tunnel) return;
    this.#leave();
    this.connection.finish();
    this.#deadlineIn(1_000);
  }

  // The bytes.

  #advance(): void {
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    try {
      while (this.#exchange && !this.#isHeld && this.#step());
    } catch (thrown) {
      this.#fail({ kind: 'invalid', reason: thrown instanceof Refusal ? thrown.message : 'it cannot be read' });
    } finally {
      this.#isAdvancing = false;
    }
    if (this.#tunnel) return;
    if (this.#exchange && this.#response && !this.#isHeld) this.#deadlineIn(this.#o.limits.streamMs);
    if (this.#hasEnded && this.#exchange && !this.#isHeld) this.#endedEarly();
    this.#unread.settle();
    this.#throttle();
  }

  #step(): boolean {
    if (!this.#response) return this.#readHead();
    const bytes = this.#unread.bytes;
    if (bytes.length === 0) return false;
    if (this.#chunks) {
      const next = this.#chunks.step(bytes, 0);
      this.#unread.drop(next);
      if (this.#chunks.done) this.#finish(this.#chunks.trailers);
      else if (this.#chunks.piece) this.#exchange!.responseData(this.#chunks.piece);
      return next > 0;
    }
    if (this.#left === unknownLength) {
      this.#unread.drop(bytes.length);
      this.#exchange!.responseData(bytes);
      return true;
    }
    const size = Math.min(bytes.length, this.#left);
    this.#left -= size;
    this.#unread.drop(size);
    this.#exchange!.responseData(size === bytes.length ? bytes : bytes.subarray(0, size));
    if (this.#left === 0 && this.#exchange) this.#finish([]);
    return true;
  }

  #readHead(): boolean {
    if (this.#unread.bytes.length === 0) return false;
    const { limits } = this.#o;
    const found = findHead(this.#unread.bytes, 0, {
      limit: limits.headBytes * 2,
      tooLarge: () => refuse('its head is too large'),
      refuse,
      allowed: responseBytes,
    });
    if (!found) return false;
    const head = parseResponseHead(found, limits, refuse);
    this.#unread.drop(found.next);
    if (this.#head?.tunnel && isAccepted(this.#head, head.status)) return this.#beginTunnel(head);
    // HTTP/2 has no 101: there this answer would read as the WebSocket's beginning, and its body as frames (RFC 8441 section 5).
    if (this.#head?.tunnel === 'websocket' && head.status >= 200 && head.status < 300)
      refuse(`it answers a WebSocket with ${head.status} instead of 101`);
    if (head.status < 200) {
      if (head.status === 101) refuse('it switches protocols unasked');
      if (!head.keepAlive || head.chunked || head.length > 0)
        refuse('it has an interim response that closes or has a body');
      if (++this.#interim > limits.interim) refuse('it has too many interim responses');
      this.#exchange!.responseInform(head);
      return true;
    }
    this.#response = head;
    const hasNoBody = this.#head!.method === 'HEAD' || head.status === 204 || head.status === 304 || head.length === 0;
    if (head.chunked && !hasNoBody) this.#chunks = createChunkedReader({ trailerBytes: limits.trailerBytes, refuse });
    this.#left = head.length;
    this.#exchange!.responseHead(head);
    if (hasNoBody && this.#exchange) this.#finish([]);
    return true;
  }

  /** From here on this connection is the tunnel's. What the head says of a body means nothing (RFC 9110 section 9.3.6). */
  #beginTunnel(head: Http1Response): false {
    const exchange = this.#exchange!;
    const { limits, monotonic } = this.#o;
    if (
      head.status === 101 &&
      (head.upgrade !== 'websocket' || head.webSocketAccept !== webSocketAccept(this.#webSocketKey))
    )
      refuse('it switches to something else than the WebSocket that was asked for');
    this.#exchange = undefined;
    this.#hasAnswered = true;
    const tunnel = new TunnelEnd({
      connection: this.connection,
      limits,
      monotonic,
      rest: this.#unread.bytes,
      hasEnded: this.#hasEnded,
      events: calledEvents(exchange, this.#o),
      onOver: () => this.#leave(),
    });
    this.#tunnel = tunnel;
    this.#unread.clear();
    if (this.#isPaused) this.connection.resume();
    exchange.responseHead({ ...head, length: unknownLength });
    tunnel.unhold();
    return false;
  }

  /** The other side has ended: the end of the body when nothing else could tell, a broken response otherwise. */
  #endedEarly(): void {
    if (this.#response && this.#left === unknownLength && !this.#chunks) this.#finish([]);
    else this.#fail({ kind: 'closed' });
  }

  #finish(trailers: FieldList): void {
    const exchange = this.#exchange!;
    const response = this.#response!;
    const isDelimited =
      this.#chunks !== undefined || response.length !== unknownLength || !hasBody(this.#head!, response);
    const isReusable =
      response.keepAlive &&
      isDelimited &&
      !announcesForbiddenBody(response) &&
      this.#requestEnded &&
      this.#unread.bytes.length === 0 &&
      !this.#hasEnded &&
      !this.connection.isRetired;
    this.#exchange = undefined;
    this.#response = undefined;
    this.connection.deadline = 0;
    // Given back first, so that the caller's next request finds it.
    if (isReusable) {
      this.#wasUsed = true;
      const seconds = response.keepAliveSeconds;
      this.#o.onIdle(this, seconds === undefined || Number.isNaN(seconds) ? undefined : seconds * 1_000);
    } else if (this.#requestEnded && this.#unread.bytes.length === 0) {
      this.#leave();
      this.connection.finish();
      this.#deadlineIn(1_000);
    } else this.abort();
    exchange.responseEnd(trailers);
  }

  #fail(fault: UpstreamFault): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#leave();
    this.connection.cut();
    const isUntouched = fault.kind === 'closed' && this.#wasUsed && !this.#hasAnswered;
    exchange?.responseFail(this.#o.faultOf(fault), isUntouched ? 'perhaps' : undefined);
  }

  #leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#o.onGone(this);
  }

  #throttle(): void {
    const full = this.#unread.bytes.length >= this.#o.limits.bufferBytes / 2;
    if (full === this.#isPaused || this.connection.isClosed) return;
    this.#isPaused = full;
    if (full) this.connection.pause();
    else this.connection.resume();
  }

  #deadlineIn(ms: number): void {
    this.connection.deadline = this.#o.monotonic() + ms;
  }
}

function hasBody(head: RequestHead, response: Http1Response): boolean {
  return head.method !== 'HEAD' && response.status !== 204 && response.status !== 304;
}

/**
 * A 204 that speaks of a body (RFC 9110 section 8.6): who knows whether the body follows, to be taken for the next answer. So with the chunks of a
 * 304 (RFC 9112 section 6.1), which some read.
 */
function announcesForbiddenBody({ status, chunked, length }: Http1Response): boolean {
  return (status === 204 && (chunked || length > 0)) || (status === 304 && chunked);
}

class Refusal extends Error {}

function refuse(reason: string): never {
  throw new Refusal(reason);
}
