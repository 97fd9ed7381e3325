// Feeds bytes to our HTTP/1.1 server codec and to llhttp as Node has it, without sockets, and says what each of them understood.
import common from 'node:_http_common';
import { parseAuthority } from '../../proxy/authority.ts';
import type { Connection, ConnectionHandler } from '../../proxy/connection.ts';
import type { Downstream, Exchange } from '../../proxy/exchange.ts';
import { Http1Downstream } from '../../proxy/http1/downstream.ts';
import { defaultLimits, type Limits } from '../../proxy/limits.ts';
import { canonicalHead, type RequestHead, unknownLength } from '../../proxy/request-head.ts';

interface LlhttpParts {
  // biome-ignore lint/suspicious/noExplicitAny: an internal of Node without types
  readonly HTTPParser: any;
  readonly methods: readonly string[];
}
const llhttp = common as unknown as LlhttpParts;
/** Node's list leaves out PRI and those of RTSP, which are numbers 34 to 45. */
const methodOf = (number: number): string =>
  (number < 34 ? llhttp.methods[number] : number > 45 ? llhttp.methods[number - 12] : undefined) ?? `number ${number}`;

export interface Understood {
  readonly method: string;
  readonly target: string;
  /** Lower-case names with their values, as they came. */
  readonly fields: readonly (readonly [string, string])[];
  readonly isChunked: boolean;
  /** What follows the head is of another protocol. */
  readonly isUpgrade: boolean;
  readonly keepAlive: boolean;
  body: string;
  trailers: readonly (readonly [string, string])[];
  complete: boolean;
  /** As it goes on from here, by our codec only. */
  readonly head?: RequestHead;
}

export interface Reading {
  readonly requests: readonly Understood[];
  /** What the codec wrote, and whether it has closed. */
  readonly written: string;
  readonly isClosed: boolean;
  readonly fault: string | undefined;
}

/** Fields that the codec takes out because they concern one connection or are kept in a form of their own. */
export const takenOut =
  /^(?:host|content-length|transfer-encoding|connection|keep-alive|proxy-connection|te|trailer|expect|upgrade|http2-settings|proxy-authorization|proxy-authenticate)$/;

/** A connection without a socket: what is written, and whether it was closed. */
export function fakeConnection() {
  const kept = { written: '', isClosed: false };
  const close = (): void => {
    kept.isClosed = true;
  };
  const connection = {
    handler: undefined as unknown as ConnectionHandler,
    socket: { writableLength: 0 },
    deadline: 0,
    isRetired: false,
    isBlocked: false,
    isClosed: false,
    write: (piece: string | Buffer) => {
      kept.written += typeof piece === 'string' ? piece : piece.toString('latin1');
      return true;
    },
    pause: () => undefined,
    resume: () => undefined,
    finish: close,
    halfClose: close,
    cut: close,
    drop: close,
  };
  return { connection: connection as unknown as Connection, kept };
}

/** Our codec; every request is answered 200 as soon as it is complete, and one for a tunnel never. */
export function readOurs(pieces: readonly Buffer[], limits: Partial<Limits> = {}): Reading {
  const requests: Understood[] = [];
  let fault: string | undefined;
  const { connection, kept } = fakeConnection();
  const later: Downstream[] = [];
  new Http1Downstream({
    connection,
    limits: { ...defaultLimits, ...limits },
    monotonic: () => 0,
    onRequest(raw, downstream) {
      const head = canonicalHead(raw, { parseAuthority });
      const request: Understood = {
        method: raw.method,
        target: raw.target,
        fields: pairs(raw.fields),
        isChunked: raw.length === unknownLength && !raw.tunnel,
        isUpgrade: raw.tunnel !== undefined,
        keepAlive: raw.keepAlive,
        body: '',
        trailers: [],
        complete: raw.length === 0,
        head,
      };
      requests.push(request);
      const exchange = {
        head,
        isOver: false,
        requestData: (bytes: Buffer) => {
          request.body += bytes.toString('latin1');
        },
        requestEnd: (trailers: readonly string[]) => {
          request.complete = true;
          request.trailers = pairs(trailers);
          answer(downstream);
        },
        requestAbort: (thrown: { message: string }) => {
          fault = thrown.message;
          downstream.abort(true);
        },
        downstreamReady: () => undefined,
      };
      if (request.complete) {
        exchange.isOver = true;
        answer(downstream);
      } else later.push(downstream);
      return exchange as unknown as Exchange;
    },
    onInvalid(thrown, downstream) {
      fault = `${thrown.code} ${thrown.message}`;
      downstream.head({ status: thrown.status, reason: 'No', fields: [], length: 0 });
      downstream.end([]);
    },
    onClosed: () => undefined,
    onLimit: () => undefined,
  });
  for (const piece of pieces) {
    if (kept.isClosed) break;
    connection.handler.read(piece);
    for (let next = later.shift(); next; next = later.shift()) next.resumeRequest();
  }
  return { requests, written: kept.written, isClosed: kept.isClosed, fault };
}

function answer(downstream: Downstream): void {
  downstream.head({ status: 200, reason: 'OK', fields: [], length: 2 });
  downstream.data(Buffer.from('ok'));
  downstream.end([]);
}

/** llhttp, strict, as `node:http` runs it. Reads until a fault, or until another protocol begins. */
export function readLlhttp(pieces: readonly Buffer[]): Reading {
  const requests: Understood[] = [];
  const read = parse('REQUEST', {
    head({ method, url, headers, isUpgrade, keepAlive }) {
      const fields = pairs(headers).map(([name, value]) => [name.toLowerCase(), value] as const);
      const isChunked = fields.some(([name]) => name === 'transfer-encoding');
      const rest = { isChunked, isUpgrade, keepAlive, body: '', trailers: [], complete: false };
      requests.push({ method: methodOf(method), target: url, fields, ...rest });
      return 0;
    },
    body(bytes) {
      requests.at(-1)!.body += bytes.toString('latin1');
    },
    complete(trailers) {
      const request = requests.at(-1)!;
      request.trailers = pairs(trailers).map(([name, value]) => [name.toLowerCase(), value] as const);
      request.complete = true;
    },
  });
  for (const piece of pieces) if (!read.execute(piece) || requests.at(-1)?.isUpgrade) break;
  return { requests, written: '', isClosed: read.fault !== undefined, fault: read.fault };
}

export interface LlhttpHead {
  readonly minor: number;
  readonly method: number;
  readonly url: string;
  readonly headers: readonly string[];
  readonly status: number;
  readonly reason: string;
  readonly isUpgrade: boolean;
  readonly keepAlive: boolean;
}

export interface LlhttpEvents {
  /** 1: the message has no body. */
  head(head: LlhttpHead): 0 | 1;
  body(bytes: Buffer): void;
  complete(trailers: readonly string[]): void;
}

export interface LlhttpRun {
  /** False: a fault, or bytes that are no HTTP. */
  execute(bytes: Buffer): boolean;
  /** The sender has ended. */
  finish(): void;
  /** Bytes that came behind the head of another protocol. */
  rest: Buffer | undefined;
  fault: string | undefined;
}

const idle = { REQUEST: newParser(), RESPONSE: newParser() };

/** Node's parser, used again and again: only one of a kind at a time. */
export function parse(kind: 'REQUEST' | 'RESPONSE', events: LlhttpEvents): LlhttpRun {
  const { HTTPParser } = llhttp;
  const parser = idle[kind];
  let collected: string[] = [];
  let trailers: string[] = [];
  let collectedUrl = '';
  let inHead = true;
  parser.initialize(HTTPParser[kind], {}, 80_000, 0);
  parser[HTTPParser.kOnMessageBegin] = () => {
    collected = [];
    trailers = [];
    collectedUrl = '';
    inHead = true;
  };
  // Called before the head is complete when it has many fields, and once a message had trailers.
  parser[HTTPParser.kOnHeaders] = (headers: string[], url: string) => {
    if (!inHead) return void trailers.push(...headers);
    collected.push(...headers);
    collectedUrl += url;
  };
  parser[HTTPParser.kOnHeadersComplete] = (
    _: number,
    minor: number,
    headers: string[] | undefined,
    method: number,
    url: string | undefined,
    status: number,
    reason: string,
    isUpgrade: boolean,
    keepAlive: boolean,
  ) => {
    inHead = false;
    const all = { headers: headers ?? collected, url: url ?? collectedUrl };
    return events.head({ minor, method, status, reason, isUpgrade, keepAlive, ...all });
  };
  parser[HTTPParser.kOnBody] = (bytes: Buffer) => events.body(bytes);
  parser[HTTPParser.kOnMessageComplete] = () => events.complete(trailers);
  const run: LlhttpRun = {
    fault: undefined,
    rest: undefined,
    execute(bytes) {
      const result: unknown = parser.execute(bytes);
      if (result instanceof Error) run.fault = (result as Error & { code?: string }).code ?? result.message;
      else if ((result as number) < bytes.length) run.rest = bytes.subarray(result as number);
      return run.fault === undefined && run.rest === undefined;
    },
    finish() {
      const result: unknown = parser.finish();
      if (result instanceof Error) run.fault = (result as Error & { code?: string }).code ?? result.message;
    },
  };
  return run;
}

// biome-ignore lint/suspicious/noExplicitAny: an internal of Node without types
function newParser(): any {
  return new llhttp.HTTPParser();
}

export function pairs(flat: readonly string[]): (readonly [string, string])[] {
  const list: (readonly [string, string])[] = [];
  for (let at = 0; at < flat.length; at += 2) list.push([flat[at]!, flat[at + 1]!]);
  return list;
}
