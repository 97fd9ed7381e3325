// The client side of an HTTP/2 connection: carries many requests at a time, each on a stream of its own, and reads their responses strictly. A
// response that breaks the rules ends its stream; no caller can get bytes of another caller's answer.
import type { PosternError } from '#base/error';
import type { Connection } from '../connection.ts';
import type { Exchange, ResponseHead, Upstream, UpstreamFault } from '../exchange.ts';
import type { Limits } from '../limits.ts';
import type { FieldList, RequestHead } from '../request-head.ts';
import { unknownLength } from '../request-head.ts';
import { type Budget, createBudget } from './budget.ts';
import { flag } from './frames.ts';
import type { HeaderBlock } from './incoming.ts';
import type { LinkLimits } from './limits.ts';
import { linkLimitsOf } from './limits.ts';
import type { LinkRole } from './link.ts';
import { Link } from './link.ts';
import { errorCode } from './link-error.ts';
import { writeRequest } from './request.ts';
import { Malformed, readResponse, readTrailers } from './response.ts';
import { largestWindow } from './settings.ts';
import { LinkStream } from './stream.ts';

export interface Http2UpstreamOptions {
  readonly connection: Connection;
  readonly limits: Limits;
  readonly linkLimits?: Partial<LinkLimits>;
  /** What the link is, as `:scheme` says it: `https` over TLS. */
  readonly scheme: 'http' | 'https';
  /** From the request's last byte to the response head. */
  readonly responseMs: number;
  /** Without a stream: closes itself after so long. */
  readonly idleMs: number;
  readonly monotonic: () => number;
  readonly faultOf: (fault: UpstreamFault) => PosternError;
  /** There may be room for a request: look at `room`. */
  readonly onRoom: (upstream: Http2Upstream) => void;
  /** It takes no further request; those that run go on. Called once. */
  readonly onGone: (upstream: Http2Upstream) => void;
  readonly onLimit: (limit: string) => void;
  /** The other side broke the protocol, or a bound, or is silent. */
  readonly onFault: (fault: PosternError) => void;
}

/** Uses the connection, on which nothing has been sent. It is the connection's handler from now on. */
export class Http2Upstream implements LinkRole {
  readonly connection: Connection;
  readonly link: Link;
  readonly #o: Http2UpstreamOptions;
  /**
   * Calls that we may give up by RST_STREAM: half of what a called side like us takes before it ends the connection. Otherwise one caller that gives
   * up many calls would cost all the others theirs.
   */
  readonly #cancels: Budget;

  constructor(options: Http2UpstreamOptions) {
    const { connection, limits, monotonic } = options;
    this.#o = options;
    this.connection = connection;
    const linkLimits = { ...linkLimitsOf(limits), ...options.linkLimits };
    const { burst, perSecond } = linkLimits.resets;
    const allowance = { burst: burst / 2, perSecond: perSecond / 2 };
    this.#cancels = createBudget({ allowance, what: 'cancelled calls', limit: 'http2-resets' });
    this.link = new Link({
      connection,
      bounds: limits,
      limits: linkLimits,
      monotonic,
      isServer: false,
      takesConnect: false,
      listBytes: limits.headBytes * 2 + 32 * limits.headers,
      fields: limits.headers + 1,
      idleMs: options.idleMs,
      role: this,
    });
  }

  /** How many requests could be started now. */
  get room(): number {
    return this.link.isFull ? 0 : this.#streamsLeft;
  }

  /** Those that were promised a place before the connection filled up still get one: their bodies wait for the window like all others. */
  get #streamsLeft(): number {
    const { link } = this;
    if (link.isLeaving || link.isOver || link.connection.isClosed) return 0;
    return Math.max(0, link.peer.streams - link.streams.size);
  }

  /** Requests that run. */
  get active(): number {
    return this.link.streams.size;
  }

  /** Whether the other side takes CONNECT with a protocol (RFC 8441). */
  get takesConnect(): boolean {
    return this.link.peer.connectProtocol;
  }

  /**
   * Sends the head; the body follows by `data` and `end` unless the head says that there is none. Without a stream left the exchange fails
   * at once as untouched. A WebSocket may be asked for before the other side has said that it takes them: every proxy of the mesh does, and
   * another one resets the stream (RFC 8441 section 3 would have us wait a round trip).
   */
  start(exchange: Exchange, fields: FieldList): Upstream {
    const { link } = this;
    link.time = Math.max(link.time, exchange.sentAt ?? this.#o.monotonic());
    const id = link.lastOwnId === 0 ? 1 : link.lastOwnId + 2;
    const stream = new ClientStream(link, id, { exchange, options: this.#o, cancels: this.#cancels });
    if (this.#streamsLeft === 0) {
      stream.isClosed = true;
      stream.onLost(undefined, true);
      return stream;
    }
    link.lastOwnId = id;
    link.add(stream);
    stream.begin(fields, this.#o.scheme);
    // The numbers of a connection are used up one day.
    if (id > largestWindow - 4) this.retire();
    return stream;
  }

  /** Takes no further request and closes when those that run are done. */
  retire(): void {
    this.connection.retire();
  }

  open(): void {}

  onClear(): void {}

  onRoom(): void {
    if (this.room > 0) this.#o.onRoom(this);
  }

  onLeaving(): void {
    this.#o.onGone(this);
  }

  onLimit(limit: string): void {
    this.#o.onLimit(limit);
  }

  onFault(fault: PosternError, limit: string | undefined): void {
    if (limit !== undefined) this.#o.onLimit(limit);
    this.#o.onFault(fault);
  }

  onClosed(): void {}
}

interface ClientStreamOptions {
  readonly exchange: Exchange;
  readonly options: Http2UpstreamOptions;
  readonly cancels: Budget;
}

class ClientStream extends LinkStream implements Upstream {
  readonly #o: Http2UpstreamOptions;
  readonly #head: RequestHead;
  readonly #cancels: Budget;
  /** Given up, and the other side not told yet: it keeps its place until then, and what comes is dropped. */
  #isGivenUp = false;
  #exchange: Exchange | undefined;
  #hasHead = false;
  #hasAnswered = false;
  #interim = 0;
  #sentAt = 0;
  /** The tunnel that was asked for is there: each direction ends by itself. */
  #isTunnel = false;

  constructor(link: Link, id: number, { exchange, options, cancels }: ClientStreamOptions) {
    super(link, id);
    this.#exchange = exchange;
    this.#head = exchange.outgoing;
    this.#cancels = cancels;
    this.#o = options;
    this.takesBody = false;
    this.isHeld = false;
  }

  override get heldFor(): Exchange | undefined {
    return this.#exchange;
  }

  begin(fields: FieldList, scheme: 'http' | 'https'): void {
    const head = this.#head;
    const start = writeRequest(this.link, { head, fields, scheme });
    this.isSent = head.length === 0;
    this.link.outgoing.endHeaders(this, start, this.isSent ? flag.endStream : 0);
    if (this.isSent || head.tunnel) this.#sentAt = this.link.time;
  }

  // What the exchange says.

  data(bytes: Buffer): boolean {
    return this.send(bytes);
  }

  end(trailers: FieldList): void {
    this.sendEnd(trailers);
  }

  abort(): void {
    this.#exchange = undefined;
    if (this.isClosed || this.#cancels.take(this.link.time)) return this.reset(errorCode.cancel);
    this.#isGivenUp = this.isBroken = true;
    this.discard();
    this.isHeld = false;
  }

  pauseResponse(): void {
    this.hold();
  }

  resumeResponse(): void {
    this.unhold();
  }

  // What the stream says.

  onBlock(block: HeaderBlock): void {
    this.#hasAnswered = true;
    this.movedAt = this.link.time;
    try {
      if (this.#hasHead) this.receiveEnd(readTrailers(block, false));
      else this.#readHead(block);
    } catch (thrown) {
      if (!(thrown instanceof Malformed)) throw thrown;
      this.onMalformed(thrown.message);
    }
  }

  #readHead(block: HeaderBlock): void {
    const head = readResponse(block);
    const isTunnel = this.#head.tunnel !== undefined && head.status >= 200 && head.status < 300;
    if (isTunnel) return this.#beginTunnel(head, block.isLast);
    if (head.status < 200) {
      if (++this.#interim > this.#o.limits.interim) throw new Malformed('it has too many interim responses');
      return this.#exchange?.responseInform(head);
    }
    this.#hasHead = true;
    this.takesBody = true;
    const hasNoBody = this.#head.method === 'HEAD' || head.status === 204 || head.status === 304;
    this.expected = hasNoBody ? 0 : head.length;
    if (block.isLast && this.expected > 0) throw new Malformed('it declares a body and has none');
    const length = block.isLast && !hasNoBody ? 0 : head.length;
    this.#exchange?.responseHead(length === head.length ? head : { ...head, length });
    if (block.isLast && !this.isClosed) this.receiveEnd([]);
  }

  #beginTunnel(head: ResponseHead, isLast: boolean): void {
    this.#hasHead = this.#isTunnel = this.takesBody = true;
    this.idleMs = this.#o.limits.tunnelIdleMs;
    const status = this.#head.tunnel === 'websocket' ? 101 : head.status;
    this.#exchange?.responseHead({ ...head, status, length: unknownLength });
    if (isLast && !this.isClosed) this.receiveEnd([]);
  }

  protected onBody(bytes: Buffer): void {
    this.#exchange?.responseData(bytes);
  }

  protected onBodyEnd(trailers: FieldList): void {
    const exchange = this.#exchange;
    if (!this.#isTunnel || this.isSent) this.#exchange = undefined;
    this.#cancels.earn();
    exchange?.responseEnd(this.#isTunnel ? [] : trailers);
    // Answered before all of the request was sent: the rest is of no use.
    if (!this.isSent && !this.#isTunnel) this.reset(errorCode.cancel);
  }

  protected onWritable(): void {
    this.#exchange?.upstreamReady();
  }

  protected override onSent(): void {
    this.#sentAt = this.link.time;
  }

  onReset(code: number): void {
    this.onLost(undefined, code === errorCode.refusedStream);
  }

  onLost(invalid: string | undefined, isUntouched: boolean): void {
    // Here in full: what is left of it is still handed on.
    if (this.isReceived && !this.isBroken && (!this.#isTunnel || this.isSent)) return;
    const isUsed = !this.#hasAnswered && invalid === undefined && this.link.hasServed && this.link.isOver;
    this.#fail(
      invalid === undefined ? { kind: 'closed' } : { kind: 'invalid', reason: invalid },
      isUntouched ? 'surely' : isUsed ? 'perhaps' : undefined,
    );
  }

  onMalformed(reason: string): void {
    this.isBroken = true;
    this.reset(errorCode.protocol);
    this.#fail({ kind: 'invalid', reason });
  }

  onOverflow(): void {
    this.reset(errorCode.flowControl);
    this.#fail({ kind: 'invalid', reason: 'it opens a window too far' });
  }

  protected onOverdue(what: 'stalled' | 'idle'): void {
    this.#timeOut(what === 'stalled' ? this.#o.limits.writeMs : this.idleMs);
  }

  override tick(now: number): void {
    if (this.#isGivenUp && this.#cancels.take(now)) return this.reset(errorCode.cancel);
    super.tick(now);
    if (!this.#hasHead && this.#sentAt > 0 && now - this.#sentAt > this.#o.responseMs)
      this.#timeOut(this.#o.responseMs);
  }

  #timeOut(ms: number): void {
    this.reset(errorCode.cancel);
    this.#fail({ kind: 'timeout', ms });
  }

  #fail(fault: UpstreamFault, untouched?: 'surely' | 'perhaps'): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.discard();
    exchange?.responseFail(this.#o.faultOf(fault), untouched);
  }
}
