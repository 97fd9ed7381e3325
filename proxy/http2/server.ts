// The server side of an HTTP/2 connection: each stream is one request, handed on with its body as the exchange asks for it, and answered in any
// order. Never calls on anybody for a stream that is over a limit, and lets a peer waste only as much as its budgets allow.
import { isPosternError, messageOf, type PosternError } from '#base/error';
import type { Connection } from '../connection.ts';
import { fail } from '../errors.ts';
import { type Downstream, type Exchange, isAccepted, type ResponseHead } from '../exchange.ts';
import type { Limits } from '../limits.ts';
import type { FieldList, RawHead } from '../request-head.ts';
import { unknownLength } from '../request-head.ts';
import type { HeaderBlock } from './incoming.ts';
import type { LinkLimits } from './limits.ts';
import { linkLimitsOf } from './limits.ts';
import type { LinkRole } from './link.ts';
import { Link } from './link.ts';
import { errorCode, LinkError } from './link-error.ts';
import { readRequest } from './request.ts';
import { Malformed, readTrailers, writeResponse } from './response.ts';
import { LinkStream } from './stream.ts';

export interface Http2DownstreamOptions {
  readonly connection: Connection;
  readonly limits: Limits;
  readonly linkLimits?: Partial<LinkLimits>;
  readonly monotonic: () => number;
  /** Whether CONNECT may come, with `:protocol` (RFC 8441) or without. It is announced, and `onRequest` must be ready for both. */
  readonly takesConnect?: boolean;
  /** A request has come. Nothing of its body is handed on before `resumeRequest`. May throw `HTTP_*`: then `onInvalid` follows. */
  readonly onRequest: (head: RawHead, downstream: Downstream) => Exchange;
  /** What came on a stream is not a request, or may not come here: answer it once and at once. */
  readonly onInvalid: (fault: PosternError, downstream: Downstream) => void;
  readonly onClosed: () => void;
  /** Which of our own bounds has bitten. */
  readonly onLimit: (limit: string) => void;
  /** The whole connection ends because the peer broke the protocol, or a bound, or is silent. */
  readonly onFault: (fault: PosternError) => void;
}

/** Pseudo-header fields that a request can have beside its headers. */
const mostPseudo = 6;
/** RFC 9113 section 6.5.2 counts so much for each field; HTTP/1.1 heads of the same size must pass. */
const overhead = 32;

/** Serves the connection, whose first bytes are still to be read. It is the connection's handler from now on. */
export class Http2Downstream implements LinkRole {
  readonly link: Link;
  readonly #o: Http2DownstreamOptions;
  readonly #takesConnect: boolean;
  /** Streams that are open and have not been begun, oldest first. */
  #held: ServerStream[] = [];

  constructor(options: Http2DownstreamOptions) {
    const { connection, limits, monotonic, takesConnect = false } = options;
    this.#o = options;
    this.#takesConnect = takesConnect;
    this.link = new Link({
      connection,
      bounds: limits,
      limits: { ...linkLimitsOf(limits), ...options.linkLimits },
      monotonic,
      isServer: true,
      takesConnect,
      listBytes: limits.headBytes + overhead * limits.headers,
      fields: limits.headers + mostPseudo,
      idleMs: limits.idleMs,
      role: this,
    });
  }

  open(id: number, block: HeaderBlock): void {
    const stream = new ServerStream(this.link, id, this.#o);
    this.link.add(stream);
    stream.read(block, this.#takesConnect);
    const { isCongested, limits } = this.link;
    if (!isCongested && this.#held.length === 0) return stream.begin();
    // Reset meanwhile, they count no longer among the streams that are open.
    if (this.#held.length >= limits.streams) this.#held = this.#held.filter(({ isClosed }) => !isClosed);
    this.#held.push(stream);
  }

  /** Requests wait while their caller does not take the answers there are: of each only its head and a window of its body. */
  onClear(): void {
    while (this.#held.length > 0 && !this.link.isCongested) this.#held.shift()!.begin();
  }

  onRoom(): void {}
  onLeaving(): void {}

  onLimit(limit: string): void {
    this.#o.onLimit(limit);
  }

  onFault(fault: PosternError, limit: string | undefined): void {
    if (limit !== undefined) this.#o.onLimit(limit);
    this.#o.onFault(fault);
  }

  onClosed(): void {
    this.#o.onClosed();
  }
}

class ServerStream extends LinkStream implements Downstream {
  readonly #o: Http2DownstreamOptions;
  #exchange: Exchange | undefined;
  /** What came, until it is begun: a request, or why it is none. */
  #request: RawHead | PosternError | undefined;
  /** The exchange is being made: what came while the request waited for its turn has nobody to go to yet. */
  #isBeginning = false;
  #isAwaited = false;
  #method = '';
  #hasHead = false;
  #hasNoBody = false;
  #tunnel: RawHead['tunnel'];
  /** The tunnel that was asked for is there: each direction ends by itself. */
  #isTunnel = false;
  /** With which code the stream ends when the answer is out and the request is not. */
  #endCode: number = errorCode.none;
  /** Of a declared body: how much of it was still to come, and when. */
  #markedAt = 0;
  #markedLeft = 0;

  constructor(link: Link, id: number, options: Http2DownstreamOptions) {
    super(link, id);
    this.#o = options;
  }

  get caller(): string | undefined {
    return this.link.connection.peer?.id;
  }

  /** Before anything else of the stream. */
  read(block: HeaderBlock, takesConnect: boolean): void {
    this.isReceived = block.isLast;
    this.#method = methodOf(block.fields);
    try {
      this.#request = readRequest(block, { ...this.bounds, takesConnect });
      this.expected = this.#request.length;
      this.#tunnel = this.#request.tunnel;
    } catch (thrown) {
      this.#request = this.#refuse(thrown);
    }
  }

  /** Hands on what was read, or answers it. */
  begin(): void {
    const request = this.#request;
    this.#request = undefined;
    if (!request || this.isClosed) return;
    if (isPosternError(request)) return this.#invalid(request);
    this.#isBeginning = true;
    try {
      const exchange = this.#o.onRequest(request, this);
      // It may have been answered in full already.
      if (!exchange.isOver) this.#exchange = exchange;
      this.#isBeginning = false;
      if (this.#isAwaited) this.unhold();
    } catch (thrown) {
      this.#isBeginning = false;
      this.#invalid(this.#refuse(thrown));
    }
  }

  private get bounds(): Limits {
    return this.#o.limits;
  }

  // What the exchange says.

  inform(head: ResponseHead): void {
    if (this.isClosed || this.#hasHead) return;
    this.link.outgoing.endHeaders(this, writeResponse(this.link, head), 0);
    this.lastFrame = undefined;
  }

  head(head: ResponseHead): void {
    if (this.isClosed || this.#hasHead) return;
    this.#hasHead = true;
    this.#hasNoBody = this.#method === 'HEAD' || head.status === 204 || head.status === 304;
    this.#isTunnel = isAccepted({ tunnel: this.#tunnel }, head.status);
    if (this.#isTunnel) this.idleMs = this.#o.limits.tunnelIdleMs;
    // What follows a 2xx to CONNECT is no body (RFC 9110 section 9.3.6), and that is how HTTP/2 says that protocols are switched.
    const status = head.status === 101 ? 200 : head.status;
    const told = this.#isTunnel ? { ...head, status, length: unknownLength } : head;
    this.link.outgoing.endHeaders(this, writeResponse(this.link, told), 0);
  }

  data(bytes: Buffer): boolean {
    return !this.#hasHead || this.#hasNoBody || this.send(bytes);
  }

  end(trailers: FieldList): void {
    if (!this.#hasHead) return;
    if (!this.#isTunnel || this.isReceived) this.#exchange = undefined;
    this.sendEnd(this.#hasNoBody ? [] : trailers);
  }

  abort(_atOnce: boolean): void {
    this.#exchange = undefined;
    this.reset(this.#endCode === errorCode.none ? errorCode.internal : this.#endCode);
  }

  pauseRequest(): void {
    this.#isAwaited = false;
    this.hold();
  }

  resumeRequest(): void {
    if (this.#isBeginning) this.#isAwaited = true;
    else this.unhold();
  }

  // What the stream says.

  protected onBody(bytes: Buffer): void {
    this.#exchange?.requestData(bytes);
  }

  protected onBodyEnd(trailers: FieldList): void {
    const exchange = this.#exchange;
    if (this.isSent) this.#exchange = undefined;
    exchange?.requestEnd(this.#isTunnel ? [] : trailers);
  }

  protected onWritable(): void {
    this.#exchange?.downstreamReady();
  }

  /** Answered before the request was read in full: the rest is not wanted (RFC 9113 section 8.1). Of a tunnel each side ends by itself. */
  protected override onSent(): void {
    if (this.#endCode !== errorCode.none || (!this.isReceived && !this.#isTunnel)) this.reset(this.#endCode);
  }

  onReset(): void {
    this.#gone();
  }

  onLost(): void {
    this.#gone();
  }

  onBlock(block: HeaderBlock): void {
    try {
      const trailers = readTrailers(block, true);
      this.receiveEnd(trailers);
    } catch (thrown) {
      if (!(thrown instanceof Malformed)) throw thrown;
      this.isReceived = block.isLast;
      this.onMalformed(thrown.message);
    }
  }

  onMalformed(reason: string): void {
    if (this.isBroken) return;
    this.isBroken = true;
    this.#endCode = errorCode.protocol;
    this.link.countReset();
    this.#fail(fail('HTTP_BODY_INVALID', { reason }));
  }

  onOverflow(): void {
    this.link.countReset();
    this.reset(errorCode.flowControl);
    this.#gone();
  }

  protected onOverdue(what: 'stalled' | 'idle'): void {
    const { limits, onLimit } = this.#o;
    onLimit(what === 'stalled' ? 'write' : this.#isTunnel ? 'tunnel-idle' : 'stream');
    this.#endCode = errorCode.cancel;
    if (what === 'stalled') this.#fail(fail('HTTP_TIMEOUT', { what: 'reading of the response', ms: limits.writeMs }));
    else this.#fail(fail('HTTP_TIMEOUT', { what: 'silence of the stream', ms: this.idleMs }));
    if (what === 'stalled') this.reset(errorCode.cancel);
  }

  override tick(now: number): void {
    super.tick(now);
    const { bodyMs, bodyBytes } = this.#o.limits;
    if (this.isClosed || this.isHeld || this.isReceived || this.expected <= 0) this.#markedAt = 0;
    else if (
      this.#markedAt === 0 ||
      (now - this.#markedAt >= bodyMs && this.#markedLeft - this.expected >= bodyBytes)
    ) {
      this.#markedAt = now;
      this.#markedLeft = this.expected;
    } else if (now - this.#markedAt >= bodyMs) {
      this.#o.onLimit('body');
      this.isBroken = true;
      this.#endCode = errorCode.cancel;
      this.#fail(fail('HTTP_TIMEOUT', { what: 'request body', ms: bodyMs }));
    }
  }

  /** The exchange answers when it still can; else the stream just ends. */
  #fail(fault: PosternError): void {
    if (this.#exchange) this.#exchange.requestAbort(fault);
    else this.reset(this.#endCode);
  }

  #gone(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.discard();
    exchange?.requestAbort(fail('DOWNSTREAM_CLOSED'));
  }

  /** Nothing of it is handed on any more. */
  #refuse(thrown: unknown): PosternError {
    if (thrown instanceof LinkError) throw thrown;
    const fault = isPosternError(thrown)
      ? thrown
      : fail('PROXY_FAULT', { reason: messageOf(thrown) }, { cause: thrown });
    this.isBroken = true;
    // What RFC 9113 calls malformed ends by RST_STREAM, answered or not.
    if (fault.code === 'HTTP_REQUEST_INVALID') {
      this.#endCode = errorCode.protocol;
      this.link.countReset();
    }
    return fault;
  }

  #invalid(fault: PosternError): void {
    this.#o.onInvalid(fault, this);
    if (!this.#hasHead) this.reset(this.#endCode === errorCode.none ? errorCode.internal : this.#endCode);
  }
}

function methodOf(fields: readonly string[]): string {
  const at = fields.indexOf(':method');
  return at < 0 ? '' : fields[at + 1]!;
}
