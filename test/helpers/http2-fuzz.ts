// Frames as a fuzzer makes them, and what our codec and nghttp2 (as it is in Node) each understand of the same bytes, without sockets.

import http2 from 'node:http2';
import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { isPosternError } from '#base/error';
import type { Connection, ConnectionHandler } from '../../proxy/connection.ts';
import { Exchange, type Upstream } from '../../proxy/exchange.ts';
import { mayTrail } from '../../proxy/http1/chunked.ts';
import type { Piece } from '../../proxy/output.ts';
import {
  callOn,
  type Frame,
  frame,
  framesIn,
  keep,
  magic,
  requestHead,
  serveOn,
  setting,
  types,
  u32,
} from './http2.ts';

/** One message as somebody understood it. */
export interface Heard {
  readonly id: number;
  /** Pseudo-header fields and others, sorted, without those that a codec keeps in a form of its own. */
  readonly fields: string;
  /** With its trailers; `undefined` when no body was declared, so that nobody looks at what comes after the head. */
  readonly body: string | undefined;
}

export interface Reading {
  /** Messages that came in full. */
  readonly whole: readonly Heard[];
  /** How many of the chunks were taken before the connection was ended. */
  readonly chunks: number;
  /** Why it was ended. */
  readonly fault: string | undefined;
  readonly written: readonly Frame[];
  /** Streams that were reset by the reader. */
  readonly resets: ReadonlySet<number>;
}

/** A connection without a socket. */
export function fakeConnection() {
  const written: Buffer[] = [];
  const connection = {
    handler: undefined as unknown as ConnectionHandler,
    socket: { writableLength: 0 },
    deadline: 0,
    isRetired: false,
    isBlocked: false,
    isClosed: false,
    give: ({ bytes }: Piece) => {
      written.push(bytes);
      return true;
    },
    schedule: () => undefined,
    pause: () => undefined,
    resume: () => undefined,
    finish: () => connection.handler.flushing?.(),
    cut: () => {
      connection.isClosed = true;
    },
    retire: () => connection.handler.retire(),
  };
  return { connection: connection as unknown as Connection, written };
}

const left: Upstream = {
  data: () => true,
  end: () => undefined,
  abort: () => undefined,
  pauseResponse: () => undefined,
  resumeResponse: () => undefined,
};
const dropped =
  /^(?:host|content-length|te|trailer|expect|http2-settings|proxy-authorization|proxy-authenticate|date)$/;

function listed(pairs: Iterable<readonly [string, string]>): string {
  return [...pairs]
    .filter(([name]) => !dropped.test(name))
    .map(([name, value]) => `${name}=${value}`)
    .toSorted()
    .join('\n');
}

function* flat(fields: readonly string[]): Generator<[string, string]> {
  for (let at = 0; at < fields.length; at += 2) yield [fields[at]!, fields[at + 1]!];
}

/** What our server side understands; nothing is answered, so that only what came counts. */
export function readOurServer(chunks: readonly Buffer[]): Reading {
  const { connection, written } = fakeConnection();
  const kept = keep();
  // Answered, and then reset, a moment later.
  const aborted = new Set<number>();
  const bodies = new Map<number, { fields: string; body: string; isWhole: boolean; isBodyless: boolean }>();
  const link = serveOn(
    connection,
    (exchange, head) => {
      const { id } = exchange.downstream as unknown as { id: number };
      const raw = kept.requests.at(-1)!;
      const pseudo: [string, string][] = [
        [':method', raw.method],
        [':authority', raw.host],
      ];
      if (raw.target !== '') pseudo.push([':path', raw.target]);
      const entry = {
        fields: listed([...pseudo, ...flat(raw.fields)]),
        body: '',
        isWhole: head.length === 0,
        isBodyless: head.length === 0,
      };
      bodies.set(id, entry);
      return {
        ...left,
        abort: () => void aborted.add(id),
        data(bytes) {
          entry.body += bytes.toString('latin1');
          return true;
        },
        end(trailers) {
          entry.isWhole = true;
          entry.body += `|${listed(flat(trailers))}`;
        },
      };
    },
    { takesConnect: false },
    kept,
  );
  const taken = feed(connection, chunks, () => link.link.isOver);
  for (const [id, entry] of bodies)
    if (entry.isBodyless) entry.isWhole = link.link.streams.get(id)?.isReceived === true;
  const fault = kept.faults[0]?.message;
  const frames = framesIn(Buffer.concat(written));
  const resets = new Set([...aborted, ...resetsIn(frames)]);
  connection.handler.closed();
  if (link.link.streams.size > 0) throw new Error('streams outlive their connection');
  const whole = [...bodies]
    .filter(([, { isWhole }]) => isWhole)
    .map(([id, { fields, body, isBodyless }]) => ({ id, fields, body: isBodyless ? undefined : body }));
  return { whole, chunks: taken, fault, written: frames, resets };
}

/** What our client side understands, with `requests` calls made at first. Throws unless each of them ends exactly once. */
export function readOurClient(chunks: readonly Buffer[], requests: readonly string[]): Reading {
  const { connection, written } = fakeConnection();
  const call = callOn(connection);
  const answers = requests.map((method, index) => {
    const answer = { id: index * 2 + 1, fields: '', body: '', ends: 0, isWhole: false };
    const exchange = new Exchange({
      head: requestHead({ method }),
      downstream: {
        inform: () => undefined,
        head: ({ status, fields }) => {
          answer.fields = listed([[':status', String(status)], ...flat(fields)]);
        },
        data: (bytes) => {
          answer.body += bytes.toString('latin1');
          return true;
        },
        end: (trailers) => {
          answer.ends++;
          answer.isWhole = true;
          answer.body += `|${listed(flat(trailers))}`;
        },
        abort: () => answer.ends++,
        pauseRequest: () => undefined,
        resumeRequest: () => undefined,
      },
      responseFields: (fields) => fields,
      clock: { monotonic: () => 0 },
    });
    const { responseFail } = exchange;
    exchange.responseFail = (fault, untouched) => {
      if (!isPosternError(fault)) throw new Error('a fault without a name');
      if (!exchange.hasAnswered) answer.ends++;
      responseFail.call(exchange, fault, untouched);
    };
    exchange.relay((running) => call.upstream.start(running, [])).catch(() => undefined);
    return answer;
  });
  connection.handler.flushing!();
  const taken = feed(connection, chunks, () => call.upstream.link.isOver);
  const fault = call.faults.find(({ code }) => code !== 'HTTP2_GOAWAY')?.message;
  const frames = framesIn(Buffer.concat(written).subarray(magic.length));
  connection.handler.closed();
  for (const { id, ends } of answers) if (ends !== 1) throw new Error(`the call on stream ${id} ended ${ends} times`);
  const whole = answers.filter(({ isWhole }) => isWhole).map(({ id, fields, body }) => ({ id, fields, body }));
  return { whole, chunks: taken, fault, written: frames, resets: resetsIn(frames) };
}

function feed(connection: Connection, chunks: readonly Buffer[], isOver: () => boolean): number {
  let taken = 0;
  for (const chunk of chunks) {
    connection.handler.read(chunk);
    connection.handler.flushing?.();
    if (isOver()) break;
    taken++;
  }
  return taken;
}

function resetsIn(frames: readonly Frame[]): Set<number> {
  return new Set(frames.filter(({ type }) => type === types.reset).map(({ id }) => id));
}

/** What Node treats in ways of its own: GOAWAY ends its sessions early, PING answers must be asked for, some extensions have their rules. */
export function isNodesOwn(chunks: readonly Buffer[], skip: number): boolean {
  const own: readonly number[] = [types.goaway, 0x0a, 0x0c, 0x10];
  return framesIn(Buffer.concat(chunks).subarray(skip)).some(
    ({ type, flags }) => own.includes(type) || (type === types.ping && (flags & 1) === 1),
  );
}

/** Streams that the sender itself resets. */
export function resetBySender(chunks: readonly Buffer[], skip: number): ReadonlySet<number> {
  return resetsIn(framesIn(Buffer.concat(chunks).subarray(skip)));
}

/** Of the first `taken` chunks the whole frames, so that both sides have seen the same; `skip` bytes come before the first frame. */
export function wholeFrames(chunks: readonly Buffer[], taken: number, skip: number): Buffer[] {
  const all = Buffer.concat(chunks.slice(0, taken));
  let end = Math.min(skip, all.length);
  let at = end;
  // nghttp2 decodes the parts of a header block as they come, we when it is whole.
  let isInBlock = false;
  for (const { type, flags, payload } of framesIn(all.subarray(at))) {
    at += 9 + payload.length;
    if (type === types.headers || type === types.continuation) isInBlock = (flags & 4) === 0;
    if (!isInBlock) end = at;
  }
  return [all.subarray(0, end)];
}

class Wire extends Duplex {
  readonly written: Buffer[] = [];
  override _read(): void {}
  override _write(bytes: Buffer, _: string, done: () => void): void {
    this.written.push(bytes);
    done();
  }
}

/** Long enough for everything that a few chunks set off in Node. */
async function settle(): Promise<void> {
  for (let round = 0; round < 6; round++) await new Promise((resolve) => setImmediate(resolve));
}

/** What nghttp2 understands as a server. */
export async function readNodeServer(chunks: readonly Buffer[]): Promise<Reading> {
  const wire = new Wire();
  const server = http2.createServer({ maxHeaderListPairs: 200, settings: { maxConcurrentStreams: 100 } });
  const heard = new Map<number, { fields: string; body: string; trailers: string; isWhole: boolean }>();
  let fault: string | undefined;
  const note = (error: NodeJS.ErrnoException): void => {
    if (error.code === 'ERR_HTTP2_ERROR') fault ??= error.message;
  };
  server.on('stream', (stream: http2.ServerHttp2Stream, headers, flags, raw: string[]) => {
    const pairs = [...flat(raw)].filter(([name]) => name !== ':scheme' && name !== 'cookie');
    const cookies = [...flat(raw)].filter(([name]) => name === 'cookie').map(([, value]) => value);
    if (cookies.length > 0) pairs.push(['cookie', cookies.join('; ')]);
    if (headers[':authority'] === undefined) pairs.push([':authority', String(headers.host)]);
    const entry = { fields: listed(pairs), body: '', trailers: '', isWhole: (flags & 1) !== 0 };
    heard.set(stream.id!, entry);
    listenTo(stream, entry);
  });
  server.on('session', (session) => {
    session.on('error', note);
  });
  server.emit('connection', wire);
  await push(wire, chunks);
  const frames = framesIn(Buffer.concat(wire.written));
  fault ??= goawayIn(frames);
  wire.destroy();
  const whole = [...heard]
    .filter(([, { isWhole }]) => isWhole)
    .map(([id, { fields, body, trailers }]) => ({ id, fields, body: `${body}|${trailers}` }));
  return { whole, chunks: chunks.length, fault, written: frames, resets: resetsIn(frames) };
}

/** What nghttp2 understands as a client that has made these calls. */
export async function readNodeClient(chunks: readonly Buffer[], requests: readonly string[]): Promise<Reading> {
  const wire = new Wire();
  let fault: string | undefined;
  const session = http2.connect('http://example.org', { createConnection: () => wire, maxHeaderListPairs: 200 });
  session.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ERR_HTTP2_ERROR') fault ??= error.message;
  });
  const heard = requests.map((method, index) => {
    const entry = { id: index * 2 + 1, fields: '', body: '', trailers: '', isWhole: false };
    const stream = session.request({ ':method': method, ':path': '/' }, { endStream: true });
    stream.on('response', (_, flags, raw: string[]) => {
      entry.fields = listed(flat(raw));
      if (flags & 1) entry.isWhole = true;
    });
    listenTo(stream, entry);
    return entry;
  });
  await settle();
  await push(wire, chunks);
  const frames = framesIn(Buffer.concat(wire.written).subarray(magic.length));
  fault ??= goawayIn(frames);
  session.destroy();
  wire.destroy();
  return {
    whole: heard
      .filter(({ isWhole }) => isWhole)
      .map(({ id, fields, body, trailers }) => ({ id, fields, body: `${body}|${trailers}` })),
    chunks: chunks.length,
    fault,
    written: frames,
    resets: resetsIn(frames),
  };
}

function listenTo(stream: http2.Http2Stream, entry: { body: string; trailers: string; isWhole: boolean }): void {
  stream.on('error', () => undefined);
  stream.on('data', (bytes: Buffer) => {
    entry.body += bytes.toString('latin1');
  });
  stream.on('trailers', (_: object, __: number, raw: string[]) => {
    const kept = listed([...flat(raw)].filter(([name]) => mayTrail(name)));
    entry.trailers = kept;
  });
  stream.on('end', () => {
    if (!stream.rstCode) entry.isWhole = true;
  });
}

async function push(wire: Wire, chunks: readonly Buffer[]): Promise<void> {
  for (const chunk of chunks) {
    if (wire.destroyed) break;
    wire.push(chunk);
  }
  await settle();
}

function goawayIn(frames: readonly Frame[]): string | undefined {
  const found = frames.find(({ type, payload }) => type === types.goaway && payload.readUInt32BE(4) !== 0);
  return found && `GOAWAY ${found.payload.readUInt32BE(4)}`;
}

// What a fuzzer sends.

/** Bytes of a block with any of the ways that HPACK has to say a field. */
const anyField = fc.oneof(
  fc
    .constantFrom(0x82, 0x83, 0x84, 0x86, 0x87, 0x88, 0x8d, 0xbe, 0xbf, 0xc0, 0x20, 0x3f)
    .map((byte) => Buffer.from([byte])),
  fc
    .tuple(
      fc.constantFrom(0x00, 0x10, 0x40),
      fc.constantFrom(
        ':method',
        ':path',
        ':authority',
        ':scheme',
        ':status',
        ':protocol',
        'host',
        'content-length',
        'te',
        'cookie',
        'connection',
        'expect',
        'x-a',
        'x-b',
        'X-A',
        'a b',
        '',
        'trailer',
        'upgrade',
        'authorization',
        'content-type',
        'keep-alive',
        'transfer-encoding',
      ),
      fc.oneof(
        fc.constantFrom(
          'GET',
          'POST',
          'HEAD',
          'OPTIONS',
          'CONNECT',
          '/',
          '*',
          '/a?b',
          '/%2e',
          'http',
          'https',
          '200',
          '204',
          '304',
          '100',
          '103',
          '101',
          '0',
          '3',
          '5',
          '-1',
          '3, 3',
          'trailers',
          'chunked',
          '100-continue',
          'example.org',
          'example.org:80',
          'a@b',
          'a=1',
          'b\r\n',
          ' b',
          'b ',
          '\x00',
          '\xff',
          '',
        ),
        fc.string({ maxLength: 6 }),
      ),
    )
    .map(([kind, name, value]) => literal(kind, name, value)),
);

function literal(kind: number, name: string, value: string): Buffer {
  const text = (content: string): Buffer =>
    Buffer.concat([Buffer.from([content.length]), Buffer.from(content, 'latin1')]);
  return Buffer.concat([Buffer.from([kind]), text(name), text(value.slice(0, 60))]);
}

const good: Readonly<Record<string, Buffer>> = {
  get: Buffer.concat([Buffer.from([0x82, 0x86, 0x84]), literal(0x40, ':authority', 'example.org')]),
  post: Buffer.concat([Buffer.from([0x83, 0x86, 0x84]), literal(0x00, ':authority', 'example.org')]),
  head: Buffer.concat([
    literal(0x00, ':method', 'HEAD'),
    Buffer.from([0x86, 0x84]),
    literal(0x00, 'host', 'example.org'),
  ]),
  ok: Buffer.from([0x88]),
  informed: literal(0x00, ':status', '103'),
  empty: Buffer.alloc(0),
};

const anyBlock = (start: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc
    .tuple(start, fc.array(anyField, { maxLength: 4 }), fc.nat(20))
    .map(([first, fields, sort]) => Buffer.concat(sort === 0 ? [...fields, first] : [first, ...fields]));

const anyId = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(1, 3, 5, 7) },
  { weight: 1, arbitrary: fc.constantFrom(0, 2, 9, 0x7fffffff) },
);
const anyData = fc.oneof(fc.constantFrom('', 'abc', 'four', '12345'), fc.string({ maxLength: 20 }));
const anyFlags = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(0, 1, 4, 5) }, { weight: 1, arbitrary: fc.nat(255) });

function anyFrame(start: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  return fc.oneof(
    {
      weight: 8,
      arbitrary: fc
        .tuple(anyId, fc.constantFrom(4, 5, 5, 5, 0, 0x0c, 0x2d, 0x24), anyBlock(start))
        .map(([id, flags, payload]) => frame(types.headers, flags, id, payload)),
    },
    {
      weight: 6,
      arbitrary: fc
        .tuple(anyId, fc.constantFrom(0, 1, 1, 8, 9), anyData)
        .map(([id, flags, text]) =>
          frame(types.data, flags, id, flags & 8 ? `${String.fromCharCode(text.length % 3)}${text}` : text),
        ),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(anyId, anyFlags, anyBlock(fc.constant(good.empty!)))
        .map(([id, flags, payload]) => frame(types.continuation, flags, id, payload)),
    },
    { weight: 1, arbitrary: fc.tuple(anyId, fc.nat(13)).map(([id, code]) => frame(types.reset, 0, id, u32(code))) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(fc.oneof(fc.constant(0), anyId), fc.constantFrom(0, 1, 100, 65_535, 0x7fffffff, 0x80000001))
        .map(([id, more]) => frame(types.window, 0, id, u32(more))),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(
          fc.constantFrom(1, 2, 3, 4, 5, 6, 8, 9, 0x99),
          fc.constantFrom(0, 1, 100, 4_096, 16_384, 65_535, 0x7fffffff, 0xffffffff),
        )
        .map(([id, value]) => frame(types.settings, 0, 0, setting(id, value))),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        frame(types.settings, 1, 0),
        frame(types.ping, 0, 0, 'ping1234'),
        frame(types.ping, 1, 0, 'ping1234'),
      ),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom(0, 1, 3, 0x7fffffff), fc.constantFrom(0, 0, 11))
        .map(([last, code]) => frame(types.goaway, 0, 0, Buffer.concat([u32(last), u32(code)]))),
    },
    {
      weight: 1,
      arbitrary: anyId.map((id) => frame(types.priority, 0, id, Buffer.concat([u32(11), Buffer.from([7])]))),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.nat(255), anyFlags, anyId, fc.uint8Array({ maxLength: 12 }))
        .map(([type, flags, id, payload]) => frame(type, flags, id, Buffer.from(payload))),
    },
  );
}

type Mutation = (bytes: Buffer) => Buffer;

const anyMutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(fc.nat(), fc.nat(255)).map(
    ([at, byte]): Mutation =>
      (bytes) => {
        const copy = Buffer.from(bytes);
        if (copy.length > 0) copy[at % copy.length] = byte;
        return copy;
      },
  ),
  fc.tuple(fc.nat(), fc.nat(30)).map(
    ([at, size]): Mutation =>
      (bytes) => {
        const from = at % (bytes.length + 1);
        return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + size)]);
      },
  ),
  fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 12 })).map(
    ([at, more]): Mutation =>
      (bytes) => {
        const from = at % (bytes.length + 1);
        return Buffer.concat([bytes.subarray(0, from), more, bytes.subarray(from)]);
      },
  ),
);

/** Streams that keep to the rules, their frames mixed: head, perhaps body, perhaps trailers. */
function calmFrames(start: fc.Arbitrary<Buffer>, isServer: boolean): fc.Arbitrary<Buffer[]> {
  const fields = fc.array(
    fc.tuple(
      fc.constantFrom(0x00, 0x10, 0x40),
      fc.constantFrom('x-a', 'x-b', 'cookie', 'accept', 'content-type', 'te', 'trailer', 'server', 'vary'),
      fc.constantFrom('a', 'b=c', 'trailers', 'text/plain', '', 'trailers'),
    ),
    { maxLength: 4 },
  );
  const stream = fc
    .tuple(start, fields, fc.array(anyData, { maxLength: 3 }), fc.option(fields, { freq: 3 }), fc.boolean())
    .map(([first, rest, bodies, trailers, isDeclared]) => (id: number): Buffer[] => {
      const size = bodies.reduce((sum, { length }) => sum + length, 0);
      const said = [...rest.map(([kind, name, value]) => literal(kind, name, name === 'te' ? 'trailers' : value))];
      if (isDeclared && bodies.length > 0) said.push(literal(0, 'content-length', String(size)));
      const ends = bodies.length === 0 && trailers === null;
      const frames = [frame(types.headers, ends ? 5 : 4, id, Buffer.concat([first, ...said]))];
      for (const [index, text] of bodies.entries())
        frames.push(frame(types.data, index === bodies.length - 1 && trailers === null ? 1 : 0, id, text));
      if (trailers) {
        const block = trailers.map(([kind, name, value]) => literal(kind, name, name === 'te' ? 'trailers' : value));
        frames.push(frame(types.headers, 5, id, Buffer.concat(block)));
      }
      return frames;
    });
  const between = fc.constantFrom(
    frame(types.ping, 0, 0, 'ping1234'),
    frame(types.window, 0, 0, u32(100)),
    frame(types.settings, 0, 0, setting(4, 70_000)),
    frame(types.settings, 0, 0, setting(1, 100)),
    frame(types.settings, 1, 0),
    frame(0x77, 3, 0, 'unknown'),
  );
  return fc
    .tuple(
      fc.array(stream, { minLength: 1, maxLength: isServer ? 3 : 4 }),
      fc.array(fc.nat()),
      fc.array(between, { maxLength: 3 }),
    )
    .map(([streams, order, extras]) => {
      const queues = streams.map((make, index) => make(index * 2 + 1));
      const heads = queues.map((queue) => queue.shift()!);
      const frames = [...heads];
      for (const pick of order) {
        const open = queues.filter(({ length }) => length > 0);
        if (open.length > 0) frames.push(open[pick % open.length]!.shift()!);
      }
      frames.push(...queues.flat());
      for (const [index, extra] of extras.entries()) frames.splice((order[index] ?? 0) % (frames.length + 1), 0, extra);
      return frames;
    });
}

/** Chunks of bytes, mostly one for each frame: well-formed at first, then perhaps damaged. */
function session(start: fc.Arbitrary<Buffer>, calm: fc.Arbitrary<Buffer[]>): fc.Arbitrary<Buffer[]> {
  return fc
    .tuple(
      fc.oneof(
        { weight: 2, arbitrary: calm },
        { weight: 1, arbitrary: fc.array(anyFrame(start), { minLength: 1, maxLength: 12 }) },
      ),
      fc.array(anyMutation, { maxLength: 2 }),
      fc.nat(3),
      fc.array(fc.nat(), { maxLength: 3 }),
    )
    .map(([frames, mutations, damage, cuts]) => {
      let chunks = frames;
      if (damage === 0 || cuts.length > 0) {
        let all: Buffer = Buffer.concat(frames);
        if (damage === 0) for (const mutate of mutations) all = mutate(all);
        const places = [0, ...cuts.map((cut) => cut % (all.length + 1)).toSorted((a, b) => a - b), all.length];
        chunks = places.slice(1).map((to, index) => all.subarray(places[index], to));
      }
      return chunks.filter(({ length }) => length > 0);
    });
}

const hello = frame(types.settings, 0, 0);
export const clientSessions = session(
  fc.constantFrom(good.get!, good.get!, good.post!, good.post!, good.head!, good.empty!),
  calmFrames(fc.constantFrom(good.get!, good.post!, good.head!), false),
).map((chunks) => [Buffer.concat([magic, hello]), ...chunks]);
export const serverSessions = session(
  fc.constantFrom(good.ok!, good.ok!, good.ok!, good.informed!, good.empty!),
  calmFrames(fc.constant(good.ok!), true),
).map((chunks) => [hello, ...chunks]);
export const anyMethods = fc.array(fc.constantFrom('GET', 'GET', 'GET', 'OPTIONS', 'HEAD'), {
  minLength: 1,
  maxLength: 3,
});
