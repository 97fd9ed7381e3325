// Both ends of our HTTP/2 link on real sockets or on none, small applications behind them, and frames written and read by hand.
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { isPosternError, type PosternError } from '#base/error';
import { parseAuthority } from '../../proxy/authority.ts';
import { Connection, createTurn } from '../../proxy/connection.ts';
import { fail } from '../../proxy/errors.ts';
import { type Downstream, Exchange, type ResponseHead, type Sent, type Upstream } from '../../proxy/exchange.ts';
import { Http2Upstream, type Http2UpstreamOptions } from '../../proxy/http2/client.ts';
import type { LinkLimits } from '../../proxy/http2/limits.ts';
import { Http2Downstream } from '../../proxy/http2/server.ts';
import { defaultLimits, type Limits } from '../../proxy/limits.ts';
import {
  canonicalHead,
  type FieldList,
  type RawHead,
  type RequestHead,
  type Tunnel,
  unknownLength,
} from '../../proxy/request-head.ts';

export interface Bounds {
  readonly limits?: Partial<Limits>;
  readonly linkLimits?: Partial<LinkLimits>;
}

/** Answers one exchange, as the called side of it. */
export type App = (exchange: Exchange, head: RequestHead) => Upstream;

const monotonic = (): number => performance.now();
const turn = createTurn();

/** A connection on a socket with its time limits looked at. */
export function connectionOn(socket: Socket, bounds: Bounds = {}): Connection {
  const { bufferBytes = defaultLimits.bufferBytes } = bounds.limits ?? {};
  const connection = new Connection({ id: 'c', socket, turn, bufferBytes });
  const timer = setInterval(() => {
    if (connection.deadline === 0 || connection.deadline > monotonic()) return;
    connection.deadline = 0;
    connection.handler.expired();
  }, 10);
  timer.unref();
  socket.once('close', () => clearInterval(timer));
  return connection;
}

// Our server.

export interface Ours {
  readonly port: number;
  readonly server: Server;
  readonly links: Http2Downstream[];
  /** What was refused or went wrong, by code; bounds that bit. */
  readonly faults: PosternError[];
  readonly invalid: PosternError[];
  readonly limits: string[];
  readonly requests: RawHead[];
  close(): void;
}

/** Serves `app` by our server codec; `wrap` makes a server of another kind, as one with TLS. */
export async function serveOurs(
  app: App,
  bounds: Bounds & { takesConnect?: boolean; wrap?: (onSocket: (socket: Socket) => void) => Server } = {},
): Promise<Ours> {
  const kept = keep();
  const sockets = new Set<Socket>();
  const onSocket = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    kept.links.push(serveOn(connectionOn(socket, bounds), app, bounds, kept));
  };
  const server = bounds.wrap ? bounds.wrap(onSocket) : createServer({ allowHalfOpen: true }, onSocket);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    ...kept,
    server,
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

export function keep() {
  return {
    links: [] as Http2Downstream[],
    faults: [] as PosternError[],
    invalid: [] as PosternError[],
    limits: [] as string[],
    requests: [] as RawHead[],
  };
}

export function serveOn(
  connection: Connection,
  app: App,
  bounds: Bounds & { takesConnect?: boolean },
  kept: ReturnType<typeof keep>,
): Http2Downstream {
  return new Http2Downstream({
    connection,
    limits: { ...defaultLimits, ...bounds.limits },
    ...(bounds.linkLimits && { linkLimits: bounds.linkLimits }),
    ...(bounds.takesConnect && { takesConnect: true }),
    monotonic,
    onRequest(raw, downstream) {
      const head = canonicalHead(raw, { parseAuthority });
      kept.requests.push(raw);
      const exchange = new Exchange({ head, downstream, responseFields: (fields) => fields, clock: { monotonic } });
      exchange
        .relay((running) => app(running, head))
        .catch((thrown: unknown) => {
          const fault = isPosternError(thrown) ? thrown : fail('PROXY_FAULT', { reason: String(thrown) });
          exchange.reply(
            { status: fault.status === 499 ? 400 : fault.status, reason: '', fields: [], length: 0 },
            Buffer.alloc(0),
          );
        });
      return exchange;
    },
    onInvalid(fault, downstream) {
      kept.invalid.push(fault);
      downstream.head({ status: fault.status, reason: '', fields: [], length: 2 });
      downstream.data(Buffer.from('no'));
      downstream.end([]);
    },
    onClosed: () => undefined,
    onLimit: (limit) => kept.limits.push(limit),
    onFault: (fault) => kept.faults.push(fault),
  });
}

// Applications.

export const head = (status: number, fields: FieldList = [], length = unknownLength): ResponseHead => ({
  status,
  reason: '',
  fields,
  length,
});

const inert: Upstream = {
  data: () => true,
  end: () => undefined,
  abort: () => undefined,
  pauseResponse: () => undefined,
  resumeResponse: () => undefined,
};

/** Answers at once with a short text. */
export const hello: App = (exchange) => {
  exchange.responseHead(head(200, ['content-type', 'text/plain', 'x-served-by', 'ours'], 5));
  exchange.responseData(Buffer.from('hello'));
  exchange.responseEnd([]);
  return inert;
};

/** Sends back what comes, as it comes, trailers included. */
export const echo: App = (exchange, request) => {
  let isPaused = false;
  exchange.responseHead(head(200, request.fields));
  if (request.length === 0) queueMicrotask(() => exchange.responseEnd([]));
  return {
    ...inert,
    data(bytes) {
      exchange.responseData(bytes);
      return !isPaused;
    },
    end: (trailers) => exchange.responseEnd(trailers),
    pauseResponse: () => {
      isPaused = true;
    },
    resumeResponse() {
      if (!isPaused) return;
      isPaused = false;
      exchange.upstreamReady();
    },
  };
};

/** Reads everything and answers with its length; keeps what it was told in `seen`. */
export function counting(seen: { bytes: number; trailers?: FieldList; aborted?: boolean } = { bytes: 0 }): App {
  return (exchange, request) => {
    const answer = (): void => {
      const text = Buffer.from(String(seen.bytes));
      exchange.responseHead(head(200, [], text.length));
      exchange.responseData(text);
      exchange.responseEnd([]);
    };
    if (request.length === 0) answer();
    return {
      ...inert,
      data(bytes) {
        seen.bytes += bytes.length;
        return true;
      },
      end(trailers) {
        seen.trailers = trailers;
        answer();
      },
      abort() {
        seen.aborted = true;
      },
    };
  };
}

/** Sends `total` bytes in pieces, honouring back-pressure; `sent` counts. */
export function pouring(total: number, sent: { bytes: number } = { bytes: 0 }, piece = 65_536): App {
  return (exchange) => {
    let isPaused = false;
    let isStopped = false;
    const pour = (): void => {
      while (!isPaused && !isStopped && sent.bytes < total) {
        const size = Math.min(piece, total - sent.bytes);
        sent.bytes += size;
        exchange.responseData(Buffer.alloc(size, 97));
      }
      if (sent.bytes >= total && !isStopped && !isPaused) {
        isStopped = true;
        exchange.responseEnd([]);
      }
    };
    exchange.responseHead(head(200, [], total));
    setImmediate(pour);
    return {
      ...inert,
      abort() {
        isStopped = true;
      },
      pauseResponse: () => {
        isPaused = true;
      },
      resumeResponse() {
        isPaused = false;
        pour();
      },
    };
  };
}

/** Never answers; counts how many were let go. */
export function silent(seen: { aborted: number; started: number } = { aborted: 0, started: 0 }): App {
  return () => {
    seen.started++;
    return { ...inert, abort: () => void seen.aborted++ };
  };
}

// Our client.

export interface Answer {
  readonly status: number;
  readonly fields: FieldList;
  readonly length: number;
  readonly interim: readonly ResponseHead[];
  readonly body: Buffer;
  readonly trailers: FieldList;
  readonly outcome: Sent;
}

export interface Ask {
  readonly method?: string;
  readonly path?: string;
  readonly authority?: string;
  readonly fields?: FieldList;
  readonly body?: Buffer | string;
  /** Without: the body's length. */
  readonly length?: number;
  readonly trailers?: FieldList;
  readonly expectsContinue?: boolean;
  readonly tunnel?: Tunnel;
}

export interface Call {
  readonly upstream: Http2Upstream;
  readonly socket: Socket;
  readonly faults: PosternError[];
  readonly limits: string[];
  isGone: boolean;
  close(): void;
}

export async function callOurs(
  port: number,
  o: Bounds & { socket?: Socket; onRoom?: () => void; options?: Partial<Http2UpstreamOptions> } = {},
): Promise<Call> {
  const socket = o.socket ?? connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
  if (!o.socket) await once(socket, 'connect');
  return callOn(connectionOn(socket, o), o);
}

export function callOn(
  connection: Connection,
  o: Bounds & { onRoom?: () => void; options?: Partial<Http2UpstreamOptions> } = {},
): Call {
  const call: { -readonly [K in keyof Call]: Call[K] } = {
    upstream: undefined as unknown as Http2Upstream,
    socket: connection.socket,
    faults: [],
    limits: [],
    isGone: false,
    close: () => connection.socket.destroy(),
  };
  call.upstream = new Http2Upstream({
    connection,
    limits: { ...defaultLimits, ...o.limits },
    ...(o.linkLimits && { linkLimits: o.linkLimits }),
    scheme: 'http',
    responseMs: 5_000,
    idleMs: 30_000,
    monotonic,
    faultOf: (fault) =>
      fault.kind === 'closed'
        ? fail('APP_CLOSED')
        : fault.kind === 'timeout'
          ? fail('APP_TIMEOUT', { ms: fault.ms })
          : fail('APP_REPLY_INVALID', { reason: fault.reason }),
    onRoom: () => o.onRoom?.(),
    onGone: () => {
      call.isGone = true;
    },
    onLimit: (limit) => call.limits.push(limit),
    onFault: (fault) => call.faults.push(fault),
    ...o.options,
  });
  return call;
}

export function requestHead(ask: Ask): RequestHead {
  const body = Buffer.from(ask.body ?? '');
  const [path = '/', query] = (ask.path ?? '/').split('?');
  return {
    method: ask.method ?? 'GET',
    authority: ask.authority ?? 'example.org',
    host: 'example.org',
    path,
    query: query === undefined ? '' : `?${query}`,
    fields: ask.fields ?? [],
    length: ask.length ?? body.length,
    expectsContinue: ask.expectsContinue ?? false,
    tunnel: ask.tunnel,
  };
}

/** Sends one request and reads its answer; rejects with the fault that it ended with. */
export async function ask(upstream: Http2Upstream, request: Ask = {}): Promise<Answer> {
  const answer = {
    status: 0,
    fields: [] as FieldList,
    length: 0,
    interim: [] as ResponseHead[],
    trailers: [] as FieldList,
  };
  const pieces: Buffer[] = [];
  const body = Buffer.from(request.body ?? '');
  let given = 0;
  let isAborted = false;
  const give = (): void => {
    // Whoever is asked to wait is called again by `resumeRequest`.
    isHeld = false;
    while (!isHeld && given < body.length) {
      const piece = body.subarray(given, given + 65_536);
      given += piece.length;
      exchange.requestData(piece);
    }
    if (!isHeld && given >= body.length && !isEnded) {
      isEnded = true;
      exchange.requestEnd(request.trailers ?? []);
    }
  };
  let isHeld = true;
  let isEnded = false;
  const downstream: Downstream = {
    inform: (interim) => void answer.interim.push(interim),
    head: ({ status, fields, length }) => void Object.assign(answer, { status, fields, length }),
    data(bytes) {
      pieces.push(Buffer.from(bytes));
      return true;
    },
    end: (trailers) => void Object.assign(answer, { trailers }),
    abort: () => {
      isAborted = true;
    },
    pauseRequest: () => {
      isHeld = true;
    },
    resumeRequest: () => void setImmediate(give),
  };
  const exchange = new Exchange({
    head: requestHead(request),
    downstream,
    responseFields: (fields) => fields,
    clock: { monotonic },
  });
  const outcome = await exchange.relay((running) => upstream.start(running, requestHead(request).fields));
  if (isAborted) throw fail('APP_CLOSED');
  return { ...answer, outcome, body: Buffer.concat(pieces) };
}

/** Sends requests over one link as room comes up, in the order asked; give `next` to the link as `onRoom`. */
export function createQueue(upstream: () => Http2Upstream) {
  const waiting: (() => void)[] = [];
  const next = (): void => {
    while (waiting.length > 0 && upstream().room > 0) waiting.shift()!();
  };
  return {
    next,
    ask: (request: Ask = {}): Promise<Answer> =>
      new Promise((resolve) => {
        waiting.push(() => resolve(ask(upstream(), request)));
        next();
      }),
  };
}

// Frames by hand.

export const types = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;
export const magic = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export function frame(
  type: number,
  flags: number,
  id: number,
  payload: Buffer | string | readonly number[] = [],
): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : Buffer.from(payload as Buffer);
  const bytes = Buffer.alloc(9 + body.length);
  bytes.writeUIntBE(body.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(id, 5);
  body.copy(bytes, 9);
  return bytes;
}

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

export const setting = (id: number, value: number): Buffer => Buffer.concat([Buffer.from([0, id]), u32(value)]);

/** A header block of plain literals. */
export function block(fields: Readonly<Record<string, string>> | readonly (readonly [string, string])[]): Buffer {
  const pairs = Array.isArray(fields) ? (fields as [string, string][]) : Object.entries(fields);
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value, 'latin1');
    const size = bytes.length < 127 ? [bytes.length] : integerBytes(bytes.length);
    return Buffer.concat([Buffer.from(size), bytes]);
  };
  return Buffer.concat(pairs.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

function integerBytes(value: number): number[] {
  const bytes = [127];
  let left = value - 127;
  for (; left > 127; left >>>= 7) bytes.push((left & 127) | 128);
  return [...bytes, left];
}

export const get = { ':method': 'GET', ':scheme': 'http', ':path': '/', ':authority': 'example.org' };
export const post = { ...get, ':method': 'POST' };

/** A request in one HEADERS frame, and CONTINUATION when it needs more; `end` ends the stream with it. */
export function request(id: number, fields: Parameters<typeof block>[0] = get, end = true): Buffer {
  const all = block(fields);
  const first = all.subarray(0, 16_384);
  if (first.length === all.length) return frame(types.headers, end ? 5 : 4, id, all);
  return Buffer.concat([
    frame(types.headers, end ? 1 : 0, id, first),
    frame(types.continuation, 4, id, all.subarray(16_384)),
  ]);
}

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export function framesIn(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    if (at + 9 + length > bytes.length) break;
    frames.push({
      type: bytes[at + 3]!,
      flags: bytes[at + 4]!,
      id: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    });
    at += 9 + length;
  }
  return frames;
}

/** A socket that writes raw frames and collects what comes back. */
export interface Raw {
  readonly socket: Socket;
  send(...pieces: readonly Buffer[]): void;
  /** Frames so far. */
  readonly frames: Frame[];
  /** Waits for a frame that the test accepts. */
  frame(test: (frame: Frame) => boolean): Promise<Frame>;
  /** Waits for the end of the connection. */
  closed(): Promise<void>;
  readonly isClosed: boolean;
}

export async function rawTo(port: number, o: { greet?: boolean } = {}): Promise<Raw> {
  const socket = connectTcp({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  const raw = rawOn(socket);
  if (o.greet !== false) raw.send(magic, frame(types.settings, 0, 0));
  return raw;
}

export function rawOn(socket: Socket, skip = 0): Raw {
  const chunks: Buffer[] = [];
  let all = Buffer.alloc(0);
  let isClosed = false;
  const waiting = new Set<() => void>();
  socket.on('data', (bytes: Buffer) => {
    chunks.push(bytes);
    for (const look of [...waiting]) look();
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isClosed = true;
    for (const look of [...waiting]) look();
  });
  const read = (): Frame[] => {
    if (chunks.length > 0) all = Buffer.concat([all, ...chunks.splice(0)]);
    return framesIn(all.subarray(skip));
  };
  return {
    socket,
    get frames() {
      return read();
    },
    get isClosed() {
      return isClosed;
    },
    send: (...pieces) => void (isClosed || socket.write(Buffer.concat(pieces))),
    frame: (test) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = read().find(test);
          if (!found && !isClosed) return;
          waiting.delete(look);
          if (found) resolve(found);
          else reject(new Error(`closed after ${read().map(({ type, flags, id }) => `${type}/${flags}/${id}`)}`));
        };
        waiting.add(look);
        look();
      }),
    closed: () =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!isClosed) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
  };
}

/** Error code of a GOAWAY or RST_STREAM. */
export function codeOf({ type, payload }: Frame): number {
  return payload.readUInt32BE(type === types.goaway ? 4 : 0);
}
