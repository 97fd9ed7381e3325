// One request and its response between a downstream and an upstream, whatever protocols those speak. Passes bytes and back-pressure on as they
// come and keeps none. Codecs call it; it calls codecs. There is one such object for each exchange, and no stream object at all.
import type { PosternError } from '#base/error';
import { fail } from './errors.ts';
import { fieldsFromApp } from './headers.ts';
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
  /** An interim (1xx) response. */
  inform(head: ResponseHead): void;
  head(head: ResponseHead): void;
  /** False: call again only after `downstreamReady`. */
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
  /** False: call again only after `upstreamReady`. */
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
  readonly monotonic: () => number;
}

export class Exchange {
  readonly head: RequestHead;
  readonly downstream: Downstream;
  status: number | undefined;
  bytesIn = 0;
  bytesOut = 0;
  readonly startedAt: number;
  sentAt: number | undefined;
  answeredAt: number | undefined;
  /** Nothing more can be done for the caller. */
  isOver = false;
  /** It has been sent twice already: no third time. */
  isLastTry = false;
  /** Who answers stands outside the mesh: it cannot speak as a proxy. Said by whoever sends it there. */
  isFromOutside = false;
  /** Set by the hop while it runs: decides again and cuts when now denied. */
  recheck: (() => void) | undefined;

  readonly #responseFields: ExchangeOptions['responseFields'];
  readonly #monotonic: () => number;
  #upstream: Upstream | undefined;
  #settle: ((outcome: 'done' | 'again' | PosternError) => void) | undefined;
  #requestEnded: boolean;
  /** The tunnel that was asked for is there: both directions end by themselves, and the exchange with the second one. */
  #isTunnel = false;
  #responseEnded = false;
  #fault: PosternError | undefined;

  constructor({ head, downstream, responseFields, monotonic }: ExchangeOptions) {
    this.head = head;
    this.downstream = downstream;
    this.#responseFields = responseFields;
    this.#monotonic = monotonic;
    this.#requestEnded = head.length === 0;
    this.startedAt = monotonic();
  }

  /** Why it must not be sent on (any more), if so. */
  get stopped(): PosternError | undefined {
    return this.#fault ?? (this.isOver ? fail('DOWNSTREAM_CLOSED') : undefined);
  }

  get hasAnswered(): boolean {
    return this.status !== undefined;
  }

  /**
   * Whether it may be sent a second time: nothing of a body or a tunnel is gone, and either the other end said that it has not looked at it
   * (RFC 9113 section 8.7) or doing it twice does no harm (RFC 9110 section 9.2.2).
   */
  #isRepeatable(untouched: 'surely' | 'perhaps'): boolean {
    return (
      (this.head.length === 0 || this.head.tunnel !== undefined) &&
      (untouched === 'surely' || repeatable.has(this.head.method))
    );
  }

  /**
   * Sends the request to an upstream made by `start` and relays until the end. `again`: the upstream was gone before it could process
   * anything, nothing has been answered, and the request may be sent once more. Rejects with why it failed.
   */
  relay(start: (exchange: Exchange) => Upstream): Promise<'done' | 'again'> {
    return new Promise((resolve, reject) => {
      const { stopped } = this;
      if (stopped) return reject(stopped);
      this.#settle = (outcome) => {
        this.#settle = undefined;
        this.#upstream = undefined;
        if (typeof outcome === 'string') resolve(outcome);
        else reject(outcome);
      };
      this.isFromOutside = false;
      this.sentAt = this.#monotonic();
      this.#upstream = start(this);
      if (this.#mayResume) this.downstream.resumeRequest();
    });
  }

  /** Answers with a whole response of our own. Does nothing once an answer has begun. */
  reply(head: ResponseHead, body: Buffer): void {
    if (this.isOver || this.hasAnswered) return;
    this.isOver = true;
    this.status = head.status;
    this.downstream.head(head);
    if (body.length > 0 && this.head.method !== 'HEAD') {
      this.bytesOut = body.length;
      this.downstream.data(body);
    }
    this.downstream.end([]);
  }

  /** Ends it at once on both sides; what the caller has of the response stays incomplete. */
  cut(fault: PosternError): void {
    if (this.isOver && !this.#settle) return;
    this.#fault = fault;
    this.#upstream?.abort();
    if (this.hasAnswered) {
      this.isOver = true;
      this.downstream.abort(true);
    }
    this.#settle?.(fault);
  }

  requestData(bytes: Buffer): void {
    this.bytesIn += bytes.length;
    if (this.#upstream && !this.#upstream.data(bytes)) this.downstream.pauseRequest();
  }

  requestEnd(trailers: FieldList): void {
    this.#requestEnded = true;
    this.#upstream?.end(trailers);
    if (this.#responseEnded) this.#done();
  }

  /** The caller is gone, or its body is not valid. */
  requestAbort(fault: PosternError): void {
    if (this.isOver) return;
    this.#fault = fault;
    this.isOver = fault.code === 'DOWNSTREAM_CLOSED' || this.hasAnswered;
    this.#upstream?.abort();
    if (this.hasAnswered) this.downstream.abort(true);
    this.#settle?.(fault);
  }

  downstreamReady(): void {
    this.#upstream?.resumeResponse();
  }

  upstreamReady(): void {
    if (this.#mayResume) this.downstream.resumeRequest();
  }

  responseInform(head: ResponseHead): void {
    this.downstream.inform({ ...head, fields: this.#seen(head.fields) });
  }

  responseHead(head: ResponseHead): void {
    this.status = head.status;
    this.answeredAt = this.#monotonic();
    this.#isTunnel = isAccepted(this.head, head.status);
    this.downstream.head({ ...head, fields: this.#seen(head.fields) });
    if (this.#isTunnel && this.#upstream) this.downstream.resumeRequest();
  }

  responseData(bytes: Buffer): void {
    this.bytesOut += bytes.length;
    if (!this.downstream.data(bytes)) this.#upstream?.pauseResponse();
  }

  responseEnd(trailers: FieldList): void {
    this.#responseEnded = true;
    if (!this.#isTunnel || this.#requestEnded) this.isOver = true;
    this.downstream.end(trailers);
    if (this.isOver) this.#done();
  }

  #seen(fields: FieldList): FieldList {
    return this.#responseFields(this.isFromOutside ? fieldsFromApp(fields) : fields);
  }

  #done(): void {
    this.isOver = true;
    this.#settle?.('done');
  }

  get #mayResume(): boolean {
    return !this.#requestEnded && (this.head.tunnel === undefined || this.#isTunnel);
  }

  /** `untouched`: `perhaps` when a used connection died before a byte of an answer came, `surely` when the other end did not take it. */
  responseFail(fault: PosternError, untouched: 'surely' | 'perhaps' | undefined): void {
    if (this.hasAnswered) {
      this.isOver = true;
      this.downstream.abort(false);
    } else if (untouched && this.#isRepeatable(untouched) && !this.isLastTry) return this.#settle?.('again');
    this.#settle?.(fault);
  }
}

/** Whether this answer opens the tunnel that the request asked for. */
export function isAccepted({ tunnel }: Pick<RequestHead, 'tunnel'>, status: number): boolean {
  if (tunnel === undefined) return false;
  return tunnel === 'websocket' ? status === 101 : status >= 200 && status < 300;
}

const repeatable = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PROPFIND', 'REPORT', 'SEARCH', 'QUERY']);
