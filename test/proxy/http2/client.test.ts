// Our client side against nghttp2 as Node's server has it, and against our own server: every shape of request and response.
import { once } from 'node:events';
import http2, {
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { Exchange } from '../../../proxy/exchange.ts';
import type { Ask, Call } from '../../helpers/http2.ts';
import { ask, callOurs, createQueue, echo, hello, pouring, requestHead, serveOurs } from '../../helpers/http2.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

async function start(
  handler: Handler | undefined,
  options: http2.ServerOptions = {},
  call: Parameters<typeof callOurs>[1] = {},
): Promise<[Call, Http2Server]> {
  const server = http2.createServer({ maxSessionMemory: 100, ...options }, handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const called = await callOurs((server.address() as AddressInfo).port, call);
  open.push(called, server);
  return [called, server];
}

async function startStream(
  onStream: (stream: ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
): Promise<Call> {
  const [call, server] = await start(undefined);
  server.on('stream', (stream: ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.on('error', () => undefined);
    onStream(stream, headers);
  });
  return call;
}

describe('requests to nghttp2', () => {
  test('all of a head arrives', async () => {
    let got: Http2ServerRequest | undefined;
    const [call] = await start((request, response) => {
      got = request;
      response.end();
    });
    await ask(call.upstream, {
      path: '/a/b?c=d',
      authority: 'svc.example:81',
      fields: ['x-a', '1', 'x-a', '2', 'cookie', 'a=1; b=2'],
    });
    expect(got!.headers).toMatchObject({
      ':method': 'GET',
      ':path': '/a/b?c=d',
      ':authority': 'svc.example:81',
      'x-a': '1, 2',
      cookie: 'a=1; b=2',
    });
  });

  test.each([
    ['GET without a body', { method: 'GET' }, { 'content-length': undefined }, ''],
    ['POST without a body', { method: 'POST' }, { 'content-length': '0' }, ''],
    ['POST with a body', { method: 'POST', body: 'abc' }, { 'content-length': '3' }, 'abc'],
    ['POST of unknown length', { method: 'POST', body: 'abc', length: -1 }, { 'content-length': undefined }, 'abc'],
    ['an odd method', { method: 'PROPFIND', body: '<x/>' }, { 'content-length': '4' }, '<x/>'],
    ['Expect', { method: 'POST', body: 'abc', expectsContinue: true }, { expect: '100-continue' }, 'abc'],
    [
      'gRPC says te: trailers',
      { method: 'POST', body: 'x', fields: ['content-type', 'application/grpc'] },
      { te: 'trailers' },
      'x',
    ],
  ] as [string, Ask, object, string][])('%s', async (_, request, expected, body) => {
    let headers: http2.IncomingHttpHeaders = {};
    const [call, server] = await start((incoming, response) => {
      headers = incoming.headers;
      incoming.pipe(response);
    });
    server.on('checkContinue', (incoming, response) => {
      headers = incoming.headers;
      incoming.pipe(response);
    });
    const answer = await ask(call.upstream, request);
    expect(answer.status).toBe(200);
    expect(answer.body.toString()).toBe(body);
    for (const [name, value] of Object.entries(expected)) expect(headers[name]).toBe(value);
  });

  test('trailers of a request arrive', async () => {
    const trailers = Promise.withResolvers<object>();
    const call = await startStream((stream) => {
      stream.on('trailers', trailers.resolve);
      stream.resume();
      stream.on('end', () => stream.respond({ ':status': 204 }, { endStream: true }));
    });
    await ask(call.upstream, { method: 'POST', body: 'x', length: -1, trailers: ['x-sum', '7'] });
    expect(await trailers.promise).toMatchObject({ 'x-sum': '7' });
  });

  test('twenty megabytes go up and come back as they were', async () => {
    const [call] = await start((request, response) => request.pipe(response));
    const body = Buffer.alloc(20_000_000);
    for (let at = 0; at < body.length; at += 4) body.writeUInt32BE(at, at);
    const answer = await ask(call.upstream, { method: 'POST', body });
    expect(answer.body.equals(body)).toBe(true);
  });

  test('the server says how many streams it takes', async () => {
    let running = 0;
    let most = 0;
    const queue = createQueue(() => call.upstream);
    const [call] = await start(
      (_, response) => {
        most = Math.max(most, ++running);
        setImmediate(() => {
          running--;
          response.end('x');
        });
      },
      { settings: { maxConcurrentStreams: 7 } },
      { onRoom: queue.next },
    );
    await ask(call.upstream);
    expect(call.upstream.room).toBe(7);
    const all = await Promise.all(Array.from({ length: 1_000 }, () => queue.ask()));
    expect(all.filter(({ status }) => status === 200)).toHaveLength(1_000);
    expect(most).toBeLessThanOrEqual(7);
  });

  test('without room an exchange is told that nothing was sent', async () => {
    const [call] = await start(() => undefined, { settings: { maxConcurrentStreams: 1 } });
    const first = ask(call.upstream);
    first.catch(() => undefined);
    await expect.poll(() => call.upstream.room).toBe(0);
    expect((await ask(call.upstream)).outcome).toBe('again');
  });

  test('a header table that the server does not want is not used', async () => {
    const [call] = await start((request, response) => response.end(String(request.headers['x-a'])), {
      settings: { headerTableSize: 0 },
    });
    for (let count = 0; count < 5; count++)
      expect((await ask(call.upstream, { fields: ['x-a', 'same', 'x-b', 'b'] })).body.toString()).toBe('same');
  });
});

describe('responses of nghttp2', () => {
  test.each([
    ['HEAD', { method: 'HEAD' }, { ':status': 200, 'content-length': '1000' }, { status: 200, length: 1_000 }],
    ['304', {}, { ':status': 304, 'content-length': '1000' }, { status: 304, length: 1_000 }],
    ['204', {}, { ':status': 204 }, { status: 204, length: -1 }],
    ['200 that ends at once', {}, { ':status': 200 }, { status: 200, length: 0 }],
  ] as [string, Ask, http2.OutgoingHttpHeaders, object][])('%s has no body', async (_, request, headers, expected) => {
    const call = await startStream((stream) => stream.respond(headers, { endStream: true }));
    const answer = await ask(call.upstream, request);
    expect(answer).toMatchObject(expected);
    expect(answer.body.length).toBe(0);
  });

  test('interim responses, then the final one, then trailers', async () => {
    const call = await startStream((stream) => {
      stream.additionalHeaders({ ':status': 103, link: '</a>' });
      stream.respond({ ':status': 200, 'x-a': 'b' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }));
      stream.end('text');
    });
    const answer = await ask(call.upstream);
    expect(answer.interim).toMatchObject([{ status: 103, fields: ['link', '</a>'] }]);
    expect(answer).toMatchObject({ status: 200, trailers: ['x-sum', '1'], length: -1 });
    expect(answer.body.toString()).toBe('text');
  });

  test('a stream that the server resets fails as closed', async () => {
    const call = await startStream((stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR));
    await expect(ask(call.upstream)).rejects.toMatchObject({ code: 'APP_CLOSED' });
  });

  test('a stream that the server refuses may be sent again', async () => {
    const call = await startStream((stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM));
    expect((await ask(call.upstream)).outcome).toBe('again');
  });

  test('a response that breaks off is no whole response', async () => {
    const call = await startStream((stream) => {
      stream.respond({ ':status': 200 });
      stream.write('half');
      setTimeout(() => stream.destroy(new Error('broken')), 20);
    });
    await expect(ask(call.upstream)).rejects.toMatchObject({ code: 'APP_CLOSED' });
  });

  test('an answer before the request has ended is taken, and the rest not sent', async () => {
    const call = await startStream((stream) => {
      stream.respond({ ':status': 413 });
      stream.end('large');
    });
    const answer = await ask(call.upstream, { method: 'POST', body: Buffer.alloc(5_000_000) });
    expect(answer).toMatchObject({ status: 413 });
    expect(answer.body.toString()).toBe('large');
    await expect.poll(() => call.upstream.active).toBe(0);
  });

  test('no answer in time is a timeout, and only of that stream', async () => {
    const [call] = await start(
      (request, response) => void (request.url === '/now' && response.end('x')),
      {},
      {
        options: { responseMs: 150 },
        linkLimits: { tickMs: 20 },
      },
    );
    const late = ask(call.upstream, { path: '/never' });
    expect((await ask(call.upstream, { path: '/now' })).status).toBe(200);
    await expect(late).rejects.toMatchObject({ code: 'APP_TIMEOUT' });
    expect((await ask(call.upstream, { path: '/now' })).status).toBe(200);
  });

  test('a slow reader slows the server, and what is held is bounded', async () => {
    const sent = { bytes: 0 };
    const ours = await serveOurs((exchange, request) =>
      (request.method === 'HEAD' ? hello : pouring(60_000_000, sent))(exchange, request),
    );
    const call = await callOurs(ours.port);
    open.push(ours, call);
    let got = 0;
    let upstream: { pauseResponse(): void; resumeResponse(): void } | undefined;
    const ended = Promise.withResolvers<void>();
    const exchange = new Exchange({
      head: requestHead({}),
      downstream: {
        inform: () => undefined,
        head: () => undefined,
        data: (bytes) => {
          got += bytes.length;
          return false;
        },
        end: () => ended.resolve(),
        abort: () => ended.reject(new Error('aborted')),
        pauseRequest: () => undefined,
        resumeRequest: () => undefined,
      },
      responseFields: (fields) => fields,
      clock: { monotonic: () => performance.now() },
    });
    void exchange.relay((running) => {
      upstream = call.upstream.start(running, []);
      return upstream as never;
    });
    await expect.poll(() => got).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(got).toBeLessThan(70_000);
    expect(sent.bytes).toBeLessThan(2_000_000);
    // Other streams of the link are not held up by it.
    expect((await ask(call.upstream, { method: 'HEAD' })).status).toBe(200);
    const pump = setInterval(() => exchange.downstreamReady(), 0);
    await ended.promise;
    clearInterval(pump);
    expect(got).toBe(60_000_000);
  });

  test('ours against ours: a thousand calls with bodies at a time', async () => {
    const ours = await serveOurs(echo);
    const queue = createQueue(() => call.upstream);
    const call = await callOurs(ours.port, { onRoom: queue.next });
    open.push(ours, call);
    const one = async (_: unknown, index: number) => {
      const body = Buffer.alloc(index * 7, index);
      const answer = await queue.ask({ method: 'POST', body, length: index % 2 ? -1 : body.length });
      return answer.body.equals(body);
    };
    const all = await Promise.all(Array.from({ length: 1_000 }, one));
    expect(all.every(Boolean)).toBe(true);
    expect(ours.faults).toEqual([]);
    expect(call.faults).toEqual([]);
  });
});

test('a used connection that dies before an answer gives its calls back, those that may be repeated', async () => {
  const ours = await serveOurs((exchange, request) =>
    request.path === '/' ? hello(exchange, request) : { ...hello(exchange, request) },
  );
  const call = await callOurs(ours.port);
  open.push(ours, call);
  await ask(call.upstream);
  const [link] = ours.links;
  const lost = ask(call.upstream);
  link!.link.connection.cut();
  expect((await lost).outcome).toBe('again');
  expect(call.isGone).toBe(true);
});
