// WebSockets through two sidecars, with the client and the server of the ws package: RFC 6455 at both ends, RFC 8441 between.
import { once } from 'node:events';

import { describe, expect, onTestFinished, test } from 'vitest';
import WebSocket, { WebSocketServer } from 'ws';
import { allow, openRaw, type Pair, startApp, startPair, startRawApp } from '../helpers/mesh.ts';

/** An application that sends back what it gets, in capitals when it is text. */
async function startEcho() {
  const app = await startApp((_, response) => response.end('plain'));
  const server = new WebSocketServer({ server: app.server as never, handleProtocols: () => 'chat' });
  const opened: { url: string; headers: NodeJS.Dict<string | string[]>; socket: WebSocket }[] = [];
  server.on('connection', (socket, request) => {
    opened.push({ url: request.url!, headers: request.headers, socket });
    socket.on('message', (data, isBinary) =>
      socket.send(isBinary ? (data as Buffer) : String(data).toUpperCase(), { binary: isBinary }),
    );
  });
  onTestFinished(() => void server.close());
  return { app, opened };
}

function connectTo({ web }: Pair, path = '/chat', options: WebSocket.ClientOptions = {}): WebSocket {
  const socket = new WebSocket(`ws://127.0.0.1:${web.addresses.outbound.port}${path}`, ['chat'], {
    headers: { host: 'payments' },
    ...options,
  });
  socket.on('error', () => undefined);
  onTestFinished(() => socket.terminate());
  return socket;
}

describe.each([['h2'], ['http/1.1']] as const)('over a link that speaks %s', (protocol) => {
  const linkProtocols = [protocol];

  test('text, binary, pings and the closing handshake pass both ways', async () => {
    const { app, opened } = await startEcho();
    const pair = await startPair({ app, linkProtocols });
    const socket = connectTo(pair, '/chat?room=1', { perMessageDeflate: true });
    await once(socket, 'open');
    expect(socket.protocol).toBe('chat');
    expect(opened[0]).toMatchObject({ url: '/chat?room=1' });
    expect(opened[0]!.headers['x-postern-peer']).toBe('spiffe://example.org/web');
    socket.send('hello');
    expect(String((await once(socket, 'message'))[0])).toBe('HELLO');
    const large = Buffer.alloc(3_000_000, 'abcdefgh');
    socket.send(large);
    const [back] = (await once(socket, 'message')) as [Buffer];
    expect(back.equals(large)).toBe(true);
    socket.ping('are you there');
    expect(String((await once(socket, 'pong'))[0])).toBe('are you there');
    socket.close(4_001, 'enough');
    const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
    expect([code, String(reason)]).toEqual([4_001, 'enough']);
    const [record] = await pair.payments.recorded(1);
    expect(record).toMatchObject({ method: 'GET', path: '/chat', decision: 'allow', status: 101 });
    expect(record!.bytesIn).toBeGreaterThan(3_000);
    expect((await pair.web.recorded(1))[0]).toMatchObject({ method: 'GET', path: '/chat', status: 101 });
  });

  test('the server may close first, and may vanish', async () => {
    const { app, opened } = await startEcho();
    const pair = await startPair({ app, linkProtocols });
    const first = connectTo(pair);
    await once(first, 'open');
    opened[0]!.socket.close(1_001, 'bye');
    expect((await once(first, 'close'))[0]).toBe(1_001);
    const second = connectTo(pair);
    await once(second, 'open');
    opened[1]!.socket.terminate();
    expect((await once(second, 'close'))[0]).toBe(1_006);
  });

  test('what policy denies is refused with the reason, and the application hears nothing of it', async () => {
    const { app } = await startEcho();
    const pair = await startPair({ app, linkProtocols, rules: [allow('web', 'payments', { paths: ['/public'] })] });
    const socket = connectTo(pair, '/secret');
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, { statusCode: number }];
    expect(response.statusCode).toBe(403);
    expect(app.accepts()).toBe(0);
    await once(connectTo(pair, '/public'), 'open');
  });

  test('Z10: a policy that denies it cuts one that is open', async () => {
    const { app } = await startEcho();
    const pair = await startPair({ app, linkProtocols });
    const socket = connectTo(pair);
    await once(socket, 'open');
    pair.setRules();
    expect((await once(socket, 'close'))[0]).toBe(1_006);
    const [record] = await pair.payments.recorded(1);
    expect(record).toMatchObject({ decision: 'deny', reason: 'policy-changed' });
  });

  test('an application that does not know WebSockets and answers 200 has not opened one', async () => {
    const app = await startApp((_, response) => response.end('<html>'));
    const pair = await startPair({ app, linkProtocols });
    const client = await openRaw(pair.web.addresses.outbound.port);
    client.send(handshake);
    const text = await client.closed();
    expect(text).toMatch(/^HTTP\/1\.1 502 /);
    expect(text).not.toContain('<html>');
    expect((await pair.payments.recorded(1))[0]).toMatchObject({ status: 502, reason: 'APP_REPLY_INVALID' });
  });

  test('a refusal is never said in gRPC words: their 200 would open it', async () => {
    const app = await startApp((_, response) => response.end());
    const pair = await startPair({ app, linkProtocols });
    pair.payments.apply({ policy: { revision: 99, rules: [], groups: {} } });
    const client = await openRaw(pair.web.addresses.outbound.port);
    client.send(handshake.replace('\r\n\r\n', '\r\nContent-Type: application/grpc\r\n\r\n'));
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 403 /);
  });

  test('an application that answers something else is heard, and what was sent meanwhile is no request', async () => {
    const app = await startApp((_, response) => response.writeHead(404).end('no such room'));
    const pair = await startPair({ app, linkProtocols });
    const client = await openRaw(pair.web.addresses.outbound.port);
    client.send(`${handshake}GET /smuggled HTTP/1.1\r\nHost: payments\r\n\r\n`);
    const text = await client.closed();
    expect(text).toMatch(/^HTTP\/1\.1 404 /);
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(await pair.payments.recorded(1)).toHaveLength(1);
  });
});

const handshake =
  'GET /chat HTTP/1.1\r\nHost: payments\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

describe('an application that does not prove that it has read the key', () => {
  test.each([
    ['no Sec-WebSocket-Accept', 'Connection: upgrade\r\nUpgrade: websocket\r\n'],
    [
      'a wrong one',
      'Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n',
    ],
    ['another protocol', 'Connection: upgrade\r\nUpgrade: h2c\r\n'],
  ])('%s: is refused', async (_, fields) => {
    const app = await startRawApp((socket) =>
      socket.once('data', () => socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n`)),
    );
    const pair = await startPair({ app });
    const client = await openRaw(pair.web.addresses.outbound.port);
    client.send(handshake);
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 502 /);
  });

  test('a 101 that nobody asked for is refused too', async () => {
    const app = await startRawApp((socket) =>
      socket.once('data', () =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'),
      ),
    );
    const pair = await startPair({ app });
    const client = await openRaw(pair.web.addresses.outbound.port);
    client.send('GET / HTTP/1.1\r\nHost: payments\r\n\r\n');
    expect(await client.until(/\r\n\r\n/)).toMatch(/^HTTP\/1\.1 502 /);
  });
});

test('the key of RFC 6455 section 1.3 is answered as there', async () => {
  const { app } = await startEcho();
  const pair = await startPair({ app });
  const client = await openRaw(pair.web.addresses.outbound.port);
  client.send(handshake);
  expect(await client.until(/\r\n\r\n/)).toMatch(/sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/);
});
