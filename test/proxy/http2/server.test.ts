// Our server side against nghttp2 as Node's client has it: every shape of request and response.
import { once } from 'node:events';
import http2, { type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { afterEach, describe, expect, test } from 'vitest';
import type { App, Ours } from '../../helpers/http2.ts';
import { counting, echo, head, hello, pouring, serveOurs, silent } from '../../helpers/http2.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

async function start(app: App, options: Parameters<typeof serveOurs>[1] = {}): Promise<[Ours, ClientHttp2Session]> {
  const ours = await serveOurs(app, options);
  const client = http2.connect(`http://127.0.0.1:${ours.port}`, { maxSessionMemory: 100 });
  client.on('error', () => undefined);
  open.push({ close: () => client.destroy() }, ours);
  return [ours, client];
}

interface Got {
  headers: IncomingHttpHeaders & { ':status'?: number };
  body: Buffer;
  trailers: IncomingHttpHeaders;
  interim: number[];
  /** RST_STREAM code, 0 when there was none. */
  code: number;
}

function fetch(
  client: ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body?: Buffer | string,
  trailers?: http2.OutgoingHttpHeaders,
): Promise<Got> {
  return new Promise((resolve) => {
    const stream = client.request(
      { ':path': '/', ...headers },
      { endStream: body === undefined, ...(trailers && { waitForTrailers: true }) },
    );
    const got: Got = { headers: {}, body: Buffer.alloc(0), trailers: {}, interim: [], code: 0 };
    const pieces: Buffer[] = [];
    stream.on('headers', (interim) => got.interim.push(Number(interim[':status'])));
    stream.on('response', (response) => {
      got.headers = response as Got['headers'];
    });
    stream.on('trailers', (fields) => {
      got.trailers = fields;
    });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers!));
    stream.on('data', (piece: Buffer) => pieces.push(piece));
    stream.on('error', () => undefined);
    stream.on('close', () => resolve({ ...got, body: Buffer.concat(pieces), code: stream.rstCode ?? 0 }));
    if (body !== undefined) stream.end(body);
  });
}

describe('requests of nghttp2', () => {
  test('a request without a body is answered', async () => {
    const [ours, client] = await start(hello);
    const got = await fetch(client, { 'x-a': 'b', cookie: 'a=1' });
    expect(got).toMatchObject({ headers: { ':status': 200, 'x-served-by': 'ours', 'content-length': '5' }, code: 0 });
    expect(got.body.toString()).toBe('hello');
    expect(ours.requests[0]).toMatchObject({
      method: 'GET',
      target: '/',
      length: 0,
      fields: ['x-a', 'b', 'cookie', 'a=1'],
    });
  });

  test('a body of unknown length goes through with its trailers, both ways', async () => {
    const [ours, client] = await start(echo);
    const got = await fetch(client, { ':method': 'POST' }, 'some text', {
      'x-sum': '42',
      'content-type': 'not a trailer',
    });
    expect(got.body.toString()).toBe('some text');
    expect(got.trailers).toMatchObject({ 'x-sum': '42' });
    expect(got.trailers).not.toHaveProperty('content-type');
    expect(ours.requests[0]).toMatchObject({ length: -1 });
  });

  test('a body of declared length goes through', async () => {
    const [ours, client] = await start(counting());
    const got = await fetch(client, { ':method': 'PUT', 'content-length': '300000' }, Buffer.alloc(300_000));
    expect(got.body.toString()).toBe('300000');
    expect(ours.requests[0]).toMatchObject({ length: 300_000, fields: [] });
  });

  test('twenty megabytes go up and come back as they were', async () => {
    const [, client] = await start(echo);
    const body = Buffer.alloc(20_000_000);
    for (let at = 0; at < body.length; at += 4) body.writeUInt32BE(at, at);
    const got = await fetch(client, { ':method': 'POST' }, body);
    expect(got.body.equals(body)).toBe(true);
  });

  test('cookies that compression has split are one header again', async () => {
    const [ours, client] = await start(hello);
    await fetch(client, { cookie: ['a=1', 'b=2', 'c=3'] as unknown as string });
    expect(ours.requests[0]!.fields).toEqual(['cookie', 'a=1; b=2; c=3']);
  });

  test('Expect: 100-continue is told, and the interim response arrives', async () => {
    const [ours, client] = await start((exchange) => {
      exchange.responseInform(head(100));
      exchange.responseInform(head(103, ['link', '</a>; rel=preload']));
      return echo(exchange, exchange.head);
    });
    const got = await fetch(client, { ':method': 'POST', expect: '100-continue' }, 'abc');
    expect(ours.requests[0]).toMatchObject({ expectsContinue: true, fields: [] });
    expect(got.interim).toEqual([100, 103]);
    expect(got.body.toString()).toBe('abc');
  });

  test('a thousand streams at a time wait for their turn', async () => {
    const [ours, client] = await start(hello);
    const all = await Promise.all(Array.from({ length: 1_000 }, (_, index) => fetch(client, { 'x-n': String(index) })));
    expect(all.filter(({ headers }) => headers[':status'] === 200)).toHaveLength(1_000);
    expect(new Set(ours.requests.map(({ fields }) => fields[1])).size).toBe(1_000);
  });
});

describe('responses to nghttp2', () => {
  test.each([
    ['HEAD: its length is told, nothing is sent', 'HEAD', 200, 1_000, { 'content-length': '1000' }],
    ['304: likewise', 'GET', 304, 1_000, { 'content-length': '1000' }],
    ['204: no length', 'GET', 204, 0, {}],
    ['205: an empty body', 'GET', 205, 0, { 'content-length': '0' }],
  ])('%s', async (_, method, status, length, told) => {
    const [, client] = await start((exchange) => {
      exchange.responseHead(head(status, [], length));
      exchange.responseEnd([]);
      return echoNothing;
    });
    const got = await fetch(client, { ':method': method });
    expect(got).toMatchObject({ headers: { ':status': status, ...told }, code: 0 });
    expect(got.body.length).toBe(0);
    if (status === 204) expect(got.headers).not.toHaveProperty('content-length');
  });

  test('a head and trailers without a body', async () => {
    const [, client] = await start((exchange) => {
      exchange.responseHead(head(200, ['content-type', 'application/grpc']));
      exchange.responseEnd(['grpc-status', '5', 'grpc-message', 'not found']);
      return echoNothing;
    });
    const got = await fetch(client, { ':method': 'POST' }, '');
    expect(got.trailers).toMatchObject({ 'grpc-status': '5' });
  });

  test('a head larger than a frame goes in several', async () => {
    const large = 'x'.repeat(30_000);
    const [, client] = await start((exchange) => {
      exchange.responseHead(head(200, ['x-large', large, 'x-after', 'b'], 0));
      exchange.responseEnd([]);
      return echoNothing;
    });
    const got = await fetch(client, {});
    expect(got.headers).toMatchObject({ 'x-large': large, 'x-after': 'b' });
    expect((await fetch(client, {})).headers['x-large']).toBe(large);
  });

  test('an answer before the request has ended asks for no more of it, and is not lost', async () => {
    const [, client] = await start((exchange) => {
      exchange.responseHead(head(403, [], 2));
      exchange.responseData(Buffer.from('no'));
      exchange.responseEnd([]);
      return echoNothing;
    });
    const stream = client.request({ ':path': '/', ':method': 'POST' });
    let text = '';
    stream.on('data', (piece) => (text += piece));
    const [response] = await once(stream, 'response');
    await once(stream, 'close');
    expect(response[':status']).toBe(403);
    expect(text).toBe('no');
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_NO_ERROR);
    expect((await fetch(client, {})).headers[':status']).toBe(403);
  });

  test('a response that breaks off is told from one that ends', async () => {
    const [, client] = await start((exchange) => {
      exchange.responseHead(head(200));
      exchange.responseData(Buffer.from('half of i'));
      setImmediate(() => exchange.responseFail(new Error('gone') as never, undefined));
      return echoNothing;
    });
    const got = await fetch(client, {});
    expect(got.code).toBe(http2.constants.NGHTTP2_INTERNAL_ERROR);
  });

  test('a caller that goes away lets the called side go', async () => {
    const seen = { aborted: 0, started: 0 };
    const [, client] = await start(silent(seen));
    const stream = client.request({ ':path': '/' });
    stream.on('error', () => undefined);
    await expect.poll(() => seen.started).toBe(1);
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await expect.poll(() => seen.aborted).toBe(1);
  });

  test('P9: a connection that breaks lets every stream go', async () => {
    const seen = { aborted: 0, started: 0 };
    const [, client] = await start(silent(seen));
    for (let count = 0; count < 20; count++) client.request({ ':path': '/' }).on('error', () => undefined);
    await expect.poll(() => seen.started).toBe(20);
    client.socket.destroy();
    await expect.poll(() => seen.aborted).toBe(20);
  });

  test('a slow reader slows the sender, whose memory stays bounded', async () => {
    const sent = { bytes: 0 };
    const [, client] = await start(pouring(50_000_000, sent));
    const stream = client.request({ ':path': '/' });
    await once(stream, 'response');
    await expect.poll(() => sent.bytes).toBeGreaterThan(60_000);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(sent.bytes).toBeLessThan(1_000_000);
    let read = 0;
    for await (const piece of stream) read += piece.length;
    expect(read).toBe(50_000_000);
  });

  test('one slow reader does not hold up the others of its connection', async () => {
    const [, client] = await start((exchange, request) =>
      request.path === '/slow' ? pouring(5_000_000)(exchange, request) : hello(exchange, request),
    );
    await once(client, 'connect');
    client.setLocalWindowSize(10_000_000);
    const slow = client.request({ ':path': '/slow' });
    await once(slow, 'response');
    const all = await Promise.all(Array.from({ length: 50 }, () => fetch(client, {})));
    expect(all.every(({ body }) => body.toString() === 'hello')).toBe(true);
    let read = 0;
    for await (const piece of slow) read += piece.length;
    expect(read).toBe(5_000_000);
  });

  test('an upload to a slow application stops at its window', async () => {
    let held: (() => void) | undefined;
    let bytes = 0;
    let isOpen = false;
    const [, client] = await start((exchange) => ({
      ...echoNothing,
      data(piece) {
        bytes += piece.length;
        held = () => exchange.upstreamReady();
        return isOpen;
      },
      end() {
        exchange.responseHead(head(200, [], 0));
        exchange.responseEnd([]);
      },
    }));
    const body = Buffer.alloc(10_000_000);
    const done = fetch(client, { ':method': 'POST' }, body);
    await expect.poll(() => bytes).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(bytes).toBeLessThan(200_000);
    isOpen = true;
    held!();
    expect((await done).headers[':status']).toBe(200);
    expect(bytes).toBe(10_000_000);
  });
});

describe('tunnels', () => {
  const tunnel: App = (exchange) => {
    exchange.responseHead(head(exchange.head.tunnel === 'websocket' ? 101 : 200));
    return {
      ...echoNothing,
      data(bytes) {
        exchange.responseData(Buffer.from(bytes.toString('latin1').toUpperCase(), 'latin1'));
        return true;
      },
      end: () => exchange.responseEnd([]),
    };
  };

  test('an extended CONNECT carries bytes both ways (RFC 8441)', async () => {
    const [ours, client] = await start(tunnel, { takesConnect: true });
    await once(client, 'remoteSettings');
    expect(client.remoteSettings.enableConnectProtocol).toBe(true);
    const stream = client.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/chat',
      ':scheme': 'http',
    });
    await once(stream, 'response');
    stream.write('one ');
    const [first] = await once(stream, 'data');
    stream.end('two');
    const [second] = await once(stream, 'data');
    await once(stream, 'close');
    expect(`${first}${second}`).toBe('ONE TWO');
    expect(ours.requests[0]).toMatchObject({ method: 'GET', tunnel: 'websocket', target: '/chat' });
  });

  test('a plain CONNECT names only where to', async () => {
    const [ours, client] = await start(tunnel, { takesConnect: true });
    const stream = client.request({ ':method': 'CONNECT', ':authority': 'db.example:5432' });
    await once(stream, 'response');
    stream.end('select');
    const [text] = await once(stream, 'data');
    expect(`${text}`).toBe('SELECT');
    expect(ours.requests[0]).toMatchObject({
      method: 'CONNECT',
      tunnel: 'connect',
      target: '',
      host: 'db.example:5432',
    });
  });

  test('without leave there is none', async () => {
    const [ours, client] = await start(tunnel);
    const got = await fetch(client, {
      ':method': 'CONNECT',
      ':authority': 'db.example:5432',
      ':path': undefined as never,
    });
    expect(got.headers[':status']).toBe(501);
    expect(ours.invalid[0]).toMatchObject({ code: 'HTTP_METHOD_UNSUPPORTED' });
  });
});

const echoNothing = {
  data: () => true,
  end: () => undefined,
  abort: () => undefined,
  pauseResponse: () => undefined,
  resumeResponse: () => undefined,
};
