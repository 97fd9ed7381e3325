// The server side of an HTTP/1.1 connection: reads requests one after the other and writes their responses in that order. At most one exchange
// runs at a time; pipelined bytes wait, bounded, and then in the kernel. A connection whose state is in doubt is never used again.
import type { PosternError } from '#base/error';
import { isPosternError } from '#base/error';
import type { Connection, ConnectionHandler } from '../connection.ts';
import { fail } from '../errors.ts';
import { type Downstream, type Exchange, isAccepted, type ResponseHead } from '../exchange.ts';
import type { Limits } from '../limits.ts';
import type { FieldList } from '../request-head.ts';
import { unknownLength } from '../request-head.ts';
import { callerEvents, TunnelEnd } from '../tunnel.ts';
import { Unread } from '../unread.ts';
import type { ChunkedReader } from './chunked.ts';
import { createChunkedReader } from './chunked.ts';
import { findHead } from './find-head.ts';
import type { Http1Request } from './head.ts';
import { parseRequestHead, requestBytes } from './head.ts';
import { chunkedEnd, chunkHead, responseText, tunnelText } from './write.ts';

export interface Http1DownstreamOptions {
  readonly connection: Connection;
  readonly limits: Limits;
  readonly monotonic: () => number;
  /** A request has come. Nothing of its body is read before `resumeRequest`. May throw `HTTP_*`: then `onInvalid` follows. */
  readonly onRequest: (head: Http1Request, downstream: Downstream) => Exchange;
  /** What came is not a request, or came too slowly: answer it once; the connection is then closed. */
  readonly onInvalid: (fault: PosternError, downstream: Downstream) => void;
  readonly onClosed: () => void;
  /** Which of our own bounds has bitten. */
  readonly onLimit: (limit: string) => void;
}

const methodOfInvalid = 'GET';
/** How long a retired connection without a request stays for one that is on its way; the other side has mostly retired it too by then. */
const lastRequestMs = 300;

export class Http1Downstream implements Downstream, ConnectionHandler {
  readonly #o: Http1DownstreamOptions;
  readonly #connection: Connection;
  readonly #unread = new Unread();
  /**
   * Where the request stands: its head awaited, its body read, or read in full; `asked` holds what comes until a tunnel is answered, and is no
   * request if it is refused; `closing` drops whatever comes.
   */
  #phase: 'head' | 'body' | 'read' | 'asked' | 'closing' = 'head';
  #exchange: Exchange | undefined;
  #request: Http1Request | undefined;
  #bodyLeft = 0;
  #chunks: ChunkedReader | undefined;
  #isHeld = true;
  /** The response: not begun, begun, ended. */
  #response: 'none' | 'begun' | 'ended' = 'none';
  #framing: 'length' | 'chunked' | 'close' | 'none' = 'none';
  #keepAlive = false;
  #hasEnded = false;
  #isAdvancing = false;
  #isPaused = false;
  #bytesSinceMark = 0;
  #leftToWrite = -1;
  /** Has the connection once a tunnel was agreed on; then nothing else here is in use. */
  #tunnel: TunnelEnd | undefined;

  constructor(options: Http1DownstreamOptions) {
    this.#o = options;
    this.#connection = options.connection;
    this.#connection.handler = this;
    this.#deadlineIn(options.limits.headMs);
  }

  get isIdle(): boolean {
    return this.#phase === 'head' && this.#unread.bytes.length === 0;
  }

  get caller(): string | undefined {
    return this.#connection.peer?.id;
  }

  get held(): number {
    return this.#unread.bytes.length;
  }

  // What the connection says.

  read(bytes: Buffer): void {
    if (this.#phase === 'closing') return;
    if (this.#phase === 'head' && this.#unread.bytes.length === 0 && !this.#connection.isBlocked)
      this.#deadlineIn(this.#o.limits.headMs);
    this.#unread.lend(bytes);
    this.#advance();
  }

  ended(): void {
    this.#hasEnded = true;
    this.#advance();
  }

  closed(): void {
    const exchange = this.#exchange;
    this.#phase = 'closing';
    this.#exchange = undefined;
    if (exchange && this.#response !== 'ended') exchange.requestAbort(fail('DOWNSTREAM_CLOSED'));
    this.#o.onClosed();
  }

  drained(): void {
    if (this.#phase === 'head') this.#awaitNext();
    else this.#connection.deadline = 0;
    if (this.#phase === 'body') this.#markBody();
    this.#exchange?.downstreamReady();
    this.#advance();
  }

  expired(): void {
    const { limits, onLimit } = this.#o;
    if (this.#phase === 'closing') return this.#linger();
    if (this.#connection.isBlocked) {
      onLimit('write');
      this.#exchange?.requestAbort(fail('HTTP_TIMEOUT', { what: 'reading of the response', ms: limits.writeMs }));
      return this.#connection.cut();
    }
    if (this.#phase === 'body') {
      if (this.#bytesSinceMark >= limits.bodyBytes || this.#isHeld) return this.#markBody();
      onLimit('body');
      return this.#breakBody(fail('HTTP_TIMEOUT', { what: 'request body', ms: limits.bodyMs }));
    }
    if (this.#phase !== 'head') return;
    if (this.#unread.bytes.length === 0) return this.#close();
    onLimit('head');
    this.#invalid(fail('HTTP_TIMEOUT', { what: 'request head', ms: limits.headMs }));
  }

  /** A request may be on its way over an idle connection, and closing it now would lose that: it is answered, as the last one. */
  retire(): void {
    if (!this.isIdle) return;
    // The end of an answer still leaves: then it has the time that any answer has.
    if (this.#connection.isBlocked) this.#close();
    else this.#deadlineIn(lastRequestMs);
  }

  // What the exchange says.

  inform(head: ResponseHead): void {
    if (this.#response !== 'none' || this.#request?.minor !== 1) return;
    this.#connection.write(responseText(head, { framing: 'none', close: false, minor: 1 }));
  }

  head(head: ResponseHead): void {
    if (this.#response !== 'none' || this.#phase === 'closing') return;
    this.#response = 'begun';
    if (this.#phase === 'asked' && this.#exchange && isAccepted(this.#exchange.head, head.status))
      return this.#beginTunnel(head, this.#exchange);
    const { minor, method } = this.#request ?? { minor: 1 as const, method: methodOfInvalid };
    if (method === 'HEAD' || head.status === 204 || head.status === 304) this.#framing = 'none';
    else if (head.length !== unknownLength) this.#framing = 'length';
    else this.#framing = minor === 1 ? 'chunked' : 'close';
    this.#keepAlive =
      this.#keepAlive &&
      this.#framing !== 'close' &&
      !this.#connection.isRetired &&
      (this.#phase === 'read' || this.#isDiscardable());
    this.#connection.write(responseText(head, { framing: this.#framing, close: !this.#keepAlive, minor }));
  }

  data(bytes: Buffer): boolean {
    if (this.#tunnel) return this.#tunnel.send(bytes);
    if (this.#response !== 'begun' || bytes.length === 0) return true;
    let more: boolean;
    if (this.#framing === 'chunked') {
      this.#connection.write(chunkHead(bytes.length));
      this.#connection.write(bytes);
      more = this.#connection.write('\r\n');
    } else more = this.#connection.write(bytes);
    if (!more) this.#deadlineIn(this.#o.limits.writeMs);
    return more;
  }

  end(trailers: FieldList): void {
    if (this.#tunnel) return this.#tunnel.end();
    if (this.#response !== 'begun') return;
    if (this.#framing === 'chunked') this.#connection.write(chunkedEnd(trailers));
    this.#response = 'ended';
    this.#exchange = undefined;
    if (this.#phase === 'read') this.#next();
    else if (!this.#keepAlive) this.#close();
    else {
      this.#isHeld = false;
      this.#markBody();
      this.#advance();
    }
  }

  abort(atOnce: boolean): void {
    if (this.#tunnel) return this.#tunnel.cut();
    this.#exchange = undefined;
    this.#response = 'ended';
    // With a length or chunks the caller sees that the rest is missing; otherwise only a reset tells.
    if (!atOnce && this.#framing !== 'close') return this.#close();
    this.#phase = 'closing';
    this.#connection.cut();
  }

  pauseRequest(): void {
    if (this.#tunnel) return this.#tunnel.hold();
    this.#isHeld = true;
    if (this.#phase === 'body') this.#connection.deadline = 0;
  }

  resumeRequest(): void {
    if (this.#tunnel) return this.#tunnel.unhold();
    this.#isHeld = false;
    if (this.#phase !== 'body') return;
    this.#markBody();
    this.#advance();
  }

  // The bytes.

  /** Reads as far as the phase allows; called again whenever one of its conditions has changed. */
  #advance(): void {
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    try {
      while (this.#step());
    } catch (thrown) {
      this.#refuse(
        isPosternError(thrown) ? thrown : fail('PROXY_FAULT', { reason: String(thrown) }, { cause: thrown }),
      );
    } finally {
      this.#isAdvancing = false;
    }
    if (this.#tunnel) return;
    // A caller that has half-closed takes no answer from most servers either: there is no telling it from one that is gone.
    if (this.#hasEnded && this.#phase === 'head') this.#close();
    else if (this.#hasEnded) this.#gone();
    this.#unread.settle();
    this.#throttle();
  }

  #step(): boolean {
    // Whoever does not take its answers gets no more of them: they would pile up here.
    if (this.#phase === 'head') return !this.#connection.isBlocked && this.#readHead();
    if (this.#phase === 'body' && !this.#isHeld) return this.#readBody();
    return false;
  }

  #readHead(): boolean {
    if (this.#unread.bytes.length === 0) return false;
    const { limits } = this.#o;
    const found = findHead(this.#unread.bytes, 0, {
      limit: limits.headBytes,
      tooLarge: () => this.#headTooLarge(),
      refuse: refuseRequest,
      allowed: requestBytes,
    });
    if (!found) return false;
    const head = parseRequestHead(found, limits);
    this.#unread.drop(found.next);
    this.#request = head;
    this.#response = 'none';
    this.#keepAlive = head.keepAlive;
    this.#isHeld = true;
    this.#bodyLeft = head.length;
    this.#chunks =
      head.length === unknownLength && !head.tunnel
        ? createChunkedReader({ trailerBytes: limits.trailerBytes, refuse: refuseBody })
        : undefined;
    this.#phase = head.tunnel ? 'asked' : head.length === 0 ? 'read' : 'body';
    if (head.tunnel) this.#keepAlive = false;
    this.#connection.deadline = 0;
    const exchange = this.#o.onRequest(head, this);
    // It may have been answered in full already.
    if (!exchange.isOver) this.#exchange = exchange;
    return true;
  }

  #readBody(): boolean {
    const bytes = this.#unread.bytes;
    if (bytes.length === 0) return false;
    if (!this.#chunks) {
      const size = Math.min(bytes.length, this.#bodyLeft);
      this.#bodyLeft -= size;
      this.#consume(size);
      if (this.#bodyLeft === 0) this.#phase = 'read';
      this.#exchange?.requestData(size === bytes.length ? bytes : bytes.subarray(0, size));
      if (this.#bodyLeft === 0) this.#bodyEnded([]);
      return true;
    }
    const next = this.#chunks.step(bytes, 0);
    this.#consume(next);
    if (this.#chunks.done) {
      this.#phase = 'read';
      this.#bodyEnded(this.#chunks.trailers);
      return true;
    }
    if (this.#chunks.piece) this.#exchange?.requestData(this.#chunks.piece);
    return next > 0;
  }

  #consume(size: number): void {
    this.#bytesSinceMark += size;
    this.#unread.drop(size);
  }

  #bodyEnded(trailers: FieldList): void {
    this.#connection.deadline = 0;
    if (this.#response === 'ended') this.#next();
    else this.#exchange?.requestEnd(trailers);
  }

  /** The request is read and the response written: on to the next request, or away. */
  #next(): void {
    if (!this.#keepAlive) return this.#close();
    this.#phase = 'head';
    this.#request = undefined;
    this.#response = 'none';
    this.#awaitNext();
    this.#advance();
    if (this.#connection.isRetired) this.retire();
  }

  /** From here on this connection is the tunnel's. */
  #beginTunnel(head: ResponseHead, exchange: Exchange): void {
    const { limits, monotonic, onClosed } = this.#o;
    const connection = this.#connection;
    connection.write(tunnelText(head, this.#request?.webSocketKey));
    this.#phase = 'closing';
    this.#exchange = undefined;
    this.#tunnel = new TunnelEnd({
      connection,
      limits,
      monotonic,
      rest: this.#unread.bytes,
      hasEnded: this.#hasEnded,
      events: callerEvents(exchange, this.#o),
      onOver: onClosed,
    });
    this.#unread.clear();
    if (this.#isPaused) connection.resume();
  }

  /** Stops reading while more than a little waits here unparsed. */
  #throttle(): void {
    const full = this.#phase !== 'closing' && this.#unread.bytes.length >= this.#o.limits.bufferBytes / 2;
    if (full === this.#isPaused) return;
    this.#isPaused = full;
    if (full) this.#connection.pause();
    else this.#connection.resume();
  }

  #isDiscardable(): boolean {
    return (
      this.#phase === 'body' &&
      !this.#request?.expectsContinue &&
      !this.#chunks &&
      this.#bodyLeft <= this.#o.limits.discardBytes
    );
  }

  #refuse(fault: PosternError): void {
    if (this.#phase === 'closing') return;
    if (this.#response === 'ended') return this.#close();
    if (this.#exchange) this.#breakBody(fault);
    else this.#invalid(fault);
  }

  #breakBody(fault: PosternError): void {
    this.#keepAlive = false;
    const exchange = this.#exchange;
    if (!exchange) return this.#close();
    exchange.requestAbort(fault);
  }

  #invalid(fault: PosternError): void {
    this.#keepAlive = false;
    this.#exchange = undefined;
    this.#request = undefined;
    this.#response = 'none';
    this.#o.onInvalid(fault, this);
    this.#close();
  }

  #gone(): void {
    if (this.#phase === 'closing') return;
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#phase = 'closing';
    exchange?.requestAbort(fail('DOWNSTREAM_CLOSED'));
    this.#connection.cut();
  }

  /** Ends our side and drops what still comes for a moment, so that the answer is not lost to a reset. */
  #close(): void {
    if (this.#phase === 'closing') return;
    this.#phase = 'closing';
    this.#unread.drop(this.#unread.bytes.length);
    this.#isPaused = false;
    this.#connection.finish();
    this.#deadlineIn(2_000);
  }

  /** Ends the connection once all has left, or when the other side takes nothing for too long. */
  #linger(): void {
    const left = this.#connection.socket.writableLength;
    if (left === 0) return this.#connection.drop();
    if (left !== this.#leftToWrite) {
      this.#leftToWrite = left;
      return this.#deadlineIn(this.#o.limits.writeMs);
    }
    this.#o.onLimit('write');
    this.#connection.cut();
  }

  #headTooLarge(): never {
    const { limits, onLimit } = this.#o;
    onLimit('head');
    const line = this.#unread.bytes.indexOf(13);
    if (line < 0 || line > limits.uriBytes + 64) throw fail('HTTP_URI_TOO_LONG', { limit: limits.uriBytes });
    throw fail('HTTP_HEAD_TOO_LARGE', { limit: `${limits.headBytes} bytes` });
  }

  /** Between two requests: the rest of the next one, or any of it; first the answers so far must leave. */
  #awaitNext(): void {
    const { headMs, idleMs, writeMs } = this.#o.limits;
    if (this.#connection.isBlocked) this.#deadlineIn(writeMs);
    else this.#deadlineIn(this.#unread.bytes.length > 0 ? headMs : idleMs);
  }

  #markBody(): void {
    this.#bytesSinceMark = 0;
    this.#deadlineIn(this.#o.limits.bodyMs);
  }

  #deadlineIn(ms: number): void {
    this.#connection.deadline = this.#o.monotonic() + ms;
  }
}

function refuseRequest(reason: string): never {
  throw fail('HTTP_REQUEST_INVALID', { reason });
}

function refuseBody(reason: string): never {
  throw fail('HTTP_BODY_INVALID', { reason });
}
