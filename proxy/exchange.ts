// One request and its response between a downstream and an upstream, whatever protocols those speak. Passes bytes and back-pressure on as they
// come and keeps none. Codecs call it; it calls codecs. There is one such object for each exchange, and no stream object at all.
import type { Clock } from '#base/clock';
import type { PosternError } from '#base/error';
import { isIdempotent } from '#routing';
import { nowhere } from './crowd.ts';
import { fail } from './errors.ts';
import { fieldsFromApp } from './headers.ts';
import { KeptBytes } from './kept-bytes.ts';
import type { FieldList, RequestHead } from './request-head.ts';

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  /** End-to-end fields without Content-Length. */
  readonly fields: FieldList;
  /** Declared bytes (for HEAD and 304: of the body that is not sent), or `unknownLength`. */
  readonly length: number;
}

/** The caller's side of one exchange, as its codec offers it. */
export interface Downstream {
  /** SPIFFE ID of the caller, when it has shown one on the connection that this is part of. */
  readonly caller?: string | undefined;
  /** An interim (1xx) response. */
  inform(head: ResponseHead): void;
  head(head: ResponseHead): void;
  /** The bytes are lent for the time of the call. False: call again only after `downstreamReady`. */
  data(bytes: Buffer): boolean;
  end(trailers: FieldList): void;
  /**
   * The response cannot be completed; the caller must be able to tell. `atOnce`: without what is still queued either, as when the
   * caller may no longer have it.
   */
  abort(atOnce: boolean): void;
  pauseRequest(): void;
  /** Also begins the body: nothing of it is read before. Nor are the bytes of a tunnel, which begin with the positive answer. */
  resumeRequest(): void;
}

/** What went wrong on the way up; the pool's owner words it for its hop. */
export type UpstreamFault =
  | { readonly kind: 'closed' }
  | { readonly kind: 'timeout'; readonly ms: number }
  | { readonly kind: 'invalid'; readonly reason: string };

/** The called side of one exchange. Its head has been sent. */
export interface Upstream {
  /** The bytes are lent for the time of the call. False: call again only after `upstreamReady`. */
  data(bytes: Buffer): boolean;
  end(trailers: FieldList): void;
  /** Nobody waits for the answer any more. */
  abort(): void;
  pauseResponse(): void;
  resumeResponse(): void;
}

export interface ExchangeOptions {
  readonly head: RequestHead;
  readonly downstream: Downstream;
  /** The response's fields as the caller may see them. */
  readonly responseFields: (fields: FieldList) => FieldList;
  readonly clock: Pick<Clock, 'monotonic'>;
}

/**
 * What a sending came to: `done`, the caller has its answer; `again`, the connection was gone before it could process anything, and the request may be
 * sent once more; `rejected`, what was or was not answered is not for the caller.
 */
export type Sent = 'done' | 'again' | 'rejected';

/** Bytes that are kept of request bodies, of all exchanges together, so that they can be sent again. */
export interface Keeping {
  bytes: number;
  readonly most: number;
  /** Of one body. */
  readonly each: number;
}

export class Exchange {
  /** As it was asked and decided on. */
  readonly head: RequestHead;
  /** As it is sent on: the same, unless a route rewrites it. */
  outgoing: RequestHead;
  readonly downstream: Downstream;
  /** Get a copy of the request's body, as far as they take it. */
  mirrors: readonly Exchange[] | undefined;
  status: number | undefined;
  bytesIn = 0;
  bytesOut = 0;
  readonly startedAt: number;
  sentAt: number | undefined;
  answeredAt: number | undefined;
  /** Nothing more can be done for the caller. */
  isOver = false;
  /** It has been sent again for free already, which nobody grants twice. */
  isLastTry = false;
  /** Who answers stands outside the mesh: it cannot speak as a proxy. Said by whoever sends it there. */
  isFromOutside = false;
  /** The other end said of the last sending that it has not looked at it. */
  wasUntouched = false;
  /** Set by the hop while it runs: decides again and cuts when now denied. */
  recheck: (() => void) | undefined;
  /** Among those that run. */
  place = nowhere;

  /** The response's fields as the caller may see them. */
  responseFields: ExchangeOptions['responseFields'];
  /** Why the request's body is refused above so many bytes. */
  bodyLimit: { readonly bytes: number; readonly fault: () => PosternError } | undefined;
  readonly #clock: ExchangeOptions['clock'];
  #upstream: Upstream | undefined;
  /** Of the sending that runs. */
  #ends: { readonly resolve: (sent: Sent) => void; readonly reject: (fault: PosternError) => void } | undefined;
  #judge: ((head: ResponseHead) => boolean) | undefined;
  #requestEnded: boolean;
  #requestTrailers: FieldList = [];
  /** What has been read of the body, while all of it is kept. */
  #kept: KeptBytes | undefined;
  #keeping: Keeping | undefined;
  #answer: FieldList | undefined;
  #answerTrailers: FieldList | undefined;
  /** The tunnel that was asked for is there: both directions end by themselves, and the exchange with the second one. */
  #isTunnel = false;
  #responseEnded = false;
  #fault: PosternError | undefined;

  constructor({ head, downstream, responseFields, clock }: ExchangeOptions) {
    this.head = head;
    this.outgoing = head;
    this.downstream = downstream;
    this.responseFields = responseFields;
    this.#clock = clock;
    this.#requestEnded = head.length === 0;
    this.startedAt = clock.monotonic();
  }

  /** Why it must not be sent on (any more), if so. */
  get stopped(): PosternError | undefined {
    return this.#fault ?? (this.isOver ? fail('DOWNSTREAM_CLOSED') : undefined);
  }

  /** What a gRPC answer came to; `undefined` when it says nothing (yet), as every other answer does. */
  get grpcStatus(): number | undefined {
    return grpcStatusOf(this.#answerTrailers) ?? grpcStatusOf(this.#answer);
  }

  get hasAnswered(): boolean {
    return this.status !== undefined;
  }

  /**
   * Whether it may be sent a second time: nothing of a body or a tunnel is gone, and either the other end said that it has not looked at it
   * (RFC 9113 section 8.7) or doing it twice does no harm (RFC 9110 section 9.2.2).
   */
  #isRepeatable(untouched: 'surely' | 'perhaps'): boolean {
    return this.canSendAgain && (untouched === 'surely' || isIdempotent(this.head.method));
  }

  /** Whether all that has been read of the request is still there, and nothing has been answered. */
  get canSendAgain(): boolean {
    return (
      !this.hasAnswered &&
      !this.isOver &&
      (this.head.length === 0 || this.head.tunnel !== undefined || this.bytesIn === 0 || this.#kept !== undefined)
    );
  }

  /** Keeps the body as it comes, until the answer begins or it is too large, so that it can be sent again. */
  keepBody(keeping: Keeping): void {
    if (this.head.length === 0 || this.head.tunnel !== undefined || this.#keeping) return;
    this.#keeping = keeping;
    this.#kept = new KeptBytes();
  }

  /**
   * Sends the request to an upstream made by `start` and relays until the end. `judge` is shown the head of an answer before the caller is: true rejects it.
   * Rejects with why it failed.
   */
  relay(start: (exchange: Exchange) => Upstream, judge?: (head: ResponseHead) => boolean): Promise<Sent> {
    return new Promise((resolve, reject) => {
      const { stopped } = this;
      if (stopped) return reject(stopped);
      // A part of its body is gone already, as when a copy could not keep up.
      if (!this.canSendAgain) return reject(fail('DOWNSTREAM_CLOSED'));
      this.#ends = { resolve, reject };
      this.isFromOutside = false;
      this.#judge = judge;
      this.sentAt = this.#clock.monotonic();
      const upstream = start(this);
      // It may have refused at once; nothing of the body must be read for it.
      if (!this.#ends) return;
      this.#upstream = upstream;
      this.#sendKept(upstream);
      if (this.#mayResume) this.downstream.resumeRequest();
    });
  }

  /** Ends the sending that runs, if there is one. */
  #settle(outcome: Sent | PosternError): void {
    const ends = this.#ends;
    if (!ends) return;
    this.#ends = undefined;
    this.#upstream = undefined;
    if ((outcome === 'again' || outcome === 'rejected') && !this.#requestEnded) this.downstream.pauseRequest();
    if (typeof outcome === 'string') ends.resolve(outcome);
    else ends.reject(outcome);
  }

  /** Before an answer: this sending is of no use any more. Does nothing otherwise. */
  giveUp(): void {
    if (this.hasAnswered || !this.#ends) return;
    this.#upstream?.abort();
    this.#settle('rejected');
  }

  #sendKept(upstream: Upstream): void {
    if (!this.#kept || (this.#kept.length === 0 && !this.#requestEnded)) return;
    this.#kept.each((bytes) => upstream.data(bytes));
    if (this.#requestEnded) upstream.end(this.#requestTrailers);
  }

  #keep(bytes: Buffer): void {
    const keeping = this.#keeping!;
    if (this.bytesIn > keeping.each || keeping.bytes + bytes.length > keeping.most) return this.#dropKept();
    keeping.bytes += bytes.length;
    this.#kept!.add(bytes);
  }

  #dropKept(): void {
    if (!this.#kept) return;
    this.#keeping!.bytes -= this.#kept.length;
    this.#kept.clear();
    this.#kept = undefined;
  }

  /** Answers with a whole response of our own. Does nothing once an answer has begun. */
  reply(head: ResponseHead, body: Buffer): void {
    if (this.isOver || this.hasAnswered) return;
    this.isOver = true;
    this.status = head.status;
    this.#dropKept();
    this.downstream.head(head);
    if (body.length > 0 && this.head.method !== 'HEAD') {
      this.bytesOut = body.length;
      this.downstream.data(body);
    }
    this.downstream.end([]);
  }

  /** Ends it at once on both sides; what the caller has of the response stays incomplete. */
  cut(fault: PosternError): void {
    if (this.isOver && !this.#ends) return;
    this.#fault = fault;
    this.#upstream?.abort();
    if (this.hasAnswered) {
      this.isOver = true;
      this.downstream.abort(true);
    }
    this.#settle(fault);
  }

  /** Nothing more will be done with it: what is kept for it is given back, and copies that would wait for the rest of its body end. */
  close(): void {
    this.recheck = undefined;
    if (this.mirrors && !this.#requestEnded)
      for (const mirror of this.mirrors) mirror.requestAbort(fail('DOWNSTREAM_CLOSED'));
    this.mirrors = undefined;
    this.#dropKept();
  }

  requestData(bytes: Buffer): void {
    this.bytesIn += bytes.length;
    if (this.bodyLimit && this.bytesIn > this.bodyLimit.bytes) return this.requestAbort(this.bodyLimit.fault());
    if (this.#kept) this.#keep(bytes);
    if (this.mirrors) for (const mirror of this.mirrors) mirror.requestData(bytes);
    if (this.#upstream && !this.#upstream.data(bytes)) this.downstream.pauseRequest();
  }

  requestEnd(trailers: FieldList): void {
    this.#requestEnded = true;
    this.#requestTrailers = trailers;
    if (this.mirrors) for (const mirror of this.mirrors) mirror.requestEnd(trailers);
    this.#upstream?.end(trailers);
    if (this.#responseEnded) this.#done();
  }

  /** The caller is gone, or its body is not valid. */
  requestAbort(fault: PosternError): void {
    if (this.isOver) return;
    this.#fault = fault;
    this.isOver = fault.code === 'DOWNSTREAM_CLOSED' || this.hasAnswered;
    if (this.mirrors) for (const mirror of this.mirrors) mirror.requestAbort(fault);
    this.#upstream?.abort();
    if (this.hasAnswered) this.downstream.abort(true);
    this.#settle(fault);
  }

  downstreamReady(): void {
    this.#upstream?.resumeResponse();
  }

  upstreamReady(): void {
    if (this.#mayResume) this.downstream.resumeRequest();
  }

  responseInform(head: ResponseHead): void {
    this.downstream.inform(this.#seen(head));
  }

  responseHead(head: ResponseHead): void {
    if (this.#judge?.(head)) {
      this.#upstream?.abort();
      return this.#settle('rejected');
    }
    this.status = head.status;
    this.#answer = head.fields;
    this.#dropKept();
    this.answeredAt = this.#clock.monotonic();
    this.#isTunnel = isAccepted(this.head, head.status);
    this.downstream.head(this.#seen(head));
    if (this.#isTunnel && this.#upstream) this.downstream.resumeRequest();
  }

  responseData(bytes: Buffer): void {
    this.bytesOut += bytes.length;
    if (!this.downstream.data(bytes)) this.#upstream?.pauseResponse();
  }

  responseEnd(trailers: FieldList): void {
    this.#responseEnded = true;
    this.#answerTrailers = trailers;
    if (!this.#isTunnel || this.#requestEnded) this.isOver = true;
    this.downstream.end(this.isFromOutside ? fieldsFromApp(trailers) : trailers);
    if (this.isOver) this.#done();
  }

  /** The head as the caller may see it: mostly as it is. */
  #seen(head: ResponseHead): ResponseHead {
    const fields = this.responseFields(this.isFromOutside ? fieldsFromApp(head.fields) : head.fields);
    return fields === head.fields ? head : { ...head, fields };
  }

  #done(): void {
    this.isOver = true;
    this.#settle('done');
  }

  get #mayResume(): boolean {
    return !this.#requestEnded && (this.head.tunnel === undefined || this.#isTunnel);
  }

  /** `untouched`: `perhaps` when a used connection died before a byte of an answer came, `surely` when the other end did not take it. */
  responseFail(fault: PosternError, untouched: 'surely' | 'perhaps' | undefined): void {
    this.wasUntouched = untouched === 'surely';
    if (this.hasAnswered) {
      this.isOver = true;
      this.downstream.abort(false);
    } else if (untouched && this.#isRepeatable(untouched) && !this.isLastTry) return this.#settle('again');
    this.#settle(fault);
  }
}

/** The status of gRPC in these fields (trailers, or the head of an answer without a body). */
export function grpcStatusOf(fields: FieldList | undefined): number | undefined {
  if (!fields) return undefined;
  for (let at = 0; at < fields.length; at += 2)
    if (fields[at] === 'grpc-status') return /^[0-9]{1,2}$/.test(fields[at + 1]!) ? Number(fields[at + 1]) : undefined;
  return undefined;
}

/** Whether this answer opens the tunnel that the request asked for. */
export function isAccepted({ tunnel }: Pick<RequestHead, 'tunnel'>, status: number): boolean {
  if (tunnel === undefined) return false;
  return tunnel === 'websocket' ? status === 101 : status >= 200 && status < 300;
}
