// TCP services through two sidecars: nobody looks at their bytes, nobody waits for the other to speak first, each side may end before the other.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { limitBounds } from '../../proxy/limits.ts';
import { frame, rawTo, request, types, u32 } from '../helpers/http2.ts';
import { allow, openRaw, type Pair, startApp, startPair, startRawApp } from '../helpers/mesh.ts';
import { eventually } from '../helpers/until.ts';

const startTcpPair = (
  app: Awaited<ReturnType<typeof startRawApp>>,
  more: Partial<Parameters<typeof startPair>[0]> = {},
) => startPair({ app, appProtocol: 'tcp', upstreams: ['payments'], upstreamProtocol: 'tcp', ...more });
const portOf = ({ web }: Pair): number => web.addresses.upstreams[0]!.address.port;

describe.each([['h2'], ['http/1.1']] as const)('over a link that speaks %s', (protocol) => {
  const linkProtocols = [protocol];

  test('a server that speaks first is heard at once', async () => {
    const app = await startRawApp((socket) => {
      socket.write('220 ready\r\n');
      socket.on('data', (bytes) => socket.write(`got ${bytes}`));
    });
    const pair = await startTcpPair(app, { linkProtocols });
    const client = await openRaw(portOf(pair));
    await client.until(/220 ready\r\n/);
    client.send('HELO me\r\n');
    await client.until(/got HELO me/);
  });

  test('bytes that look like HTTP, or like nothing, arrive as they are', async () => {
    const sent = Buffer.concat([Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.from([0, 13, 10, 255, 128, 10])]);
    const app = await startRawApp((socket) => socket.pipe(socket));
    const pair = await startTcpPair(app, { linkProtocols });
    const socket = connect({ host: '127.0.0.1', port: portOf(pair), allowHalfOpen: true });
    onTestFinished(() => void socket.destroy());
    socket.end(sent);
    expect((await readAll(socket)).equals(sent)).toBe(true);
    const [record] = await pair.payments.recorded(1);
    expect(record).toMatchObject({
      kind: 'exchange',
      method: 'CONNECT',
      path: '/',
      decision: 'allow',
      status: 200,
      bytesIn: sent.length,
      bytesOut: sent.length,
      peer: 'spiffe://example.org/web',
    });
  });

  test('megabytes go both ways in order through the smallest buffers there may be', async () => {
    const app = await startRawApp((socket) => socket.pipe(socket));
    const limits = { bufferBytes: limitBounds.bufferBytes!.least! };
    const pair = await startTcpPair(app, { linkProtocols, webLimits: limits, paymentsLimits: limits });
    const socket = connect({ host: '127.0.0.1', port: portOf(pair), allowHalfOpen: true });
    onTestFinished(() => void socket.destroy());
    const sent = Buffer.alloc(8_000_000);
    for (let at = 0; at < sent.length; at += 4) sent.writeUInt32BE(at, at);
    const back = readAll(socket);
    socket.end(sent);
    expect((await back).equals(sent)).toBe(true);
  });

  test.each(['the application', 'policy', 'a ban'])('what %s cuts does not look ended', async (who) => {
    const app = await startRawApp((socket) => {
      socket.write('half');
      if (who === 'the application') socket.once('end', () => socket.resetAndDestroy());
      socket.resume();
    });
    const pair = await startTcpPair(app, { linkProtocols });
    const client = await openRaw(portOf(pair));
    let isEnded = false;
    client.socket.on('end', () => {
      isEnded = true;
    });
    await client.until(/half/);
    if (who === 'the application') client.socket.end();
    else if (who === 'policy') pair.payments.apply({ policy: { revision: 99, rules: [], groups: {} } });
    else pair.payments.apply({ bans: { ids: ['spiffe://example.org/web'], serials: [] } });
    await client.closed();
    expect(isEnded).toBe(false);
    expect((await pair.web.recorded(1))[0]).toMatchObject({ reason: 'UPSTREAM_CLOSED' });
  });

  test('what a caller cuts does not look ended to the application', async () => {
    const how = Promise.withResolvers<string>();
    const app = await startRawApp((socket) => {
      socket.write('hello');
      socket.on('end', () => how.resolve('end'));
      socket.on('close', () => how.resolve('cut'));
      socket.resume();
    });
    const pair = await startTcpPair(app, { linkProtocols });
    const client = await openRaw(portOf(pair));
    await client.until(/hello/);
    client.socket.resetAndDestroy();
    expect(await how.promise).toBe('cut');
    expect((await pair.payments.recorded(1))[0]).toMatchObject({ reason: 'DOWNSTREAM_CLOSED' });
  });

  test('megabytes go both ways at once', async () => {
    const block = Buffer.alloc(1_000_000, '0123456789');
    const app = await startRawApp((socket) => socket.pipe(socket));
    const pair = await startTcpPair(app, { linkProtocols });
    const socket = connect({ host: '127.0.0.1', port: portOf(pair), allowHalfOpen: true });
    onTestFinished(() => void socket.destroy());
    const back = readAll(socket);
    for (let round = 0; round < 20; round++) if (!socket.write(block)) await once(socket, 'drain');
    socket.end();
    const got = await back;
    expect(got.length).toBe(20_000_000);
    expect(got.subarray(19_000_000).equals(block)).toBe(true);
  });
});

async function readAll(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  socket.on('data', (part) => parts.push(part as Buffer));
  await once(socket, 'end');
  return Buffer.concat(parts);
}

/** What a client gets before its connection is closed, or reset at once. */
async function hear(port: number): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port });
  let text = '';
  socket.on('data', (part) => {
    text += part;
  });
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.on('close', resolve));
  return text;
}

describe('each side ends by itself', () => {
  test('a client that has ended still gets the whole answer', async () => {
    const app = await startRawApp((socket) => {
      let text = '';
      socket.on('data', (bytes) => {
        text += bytes;
      });
      socket.on('end', () => socket.end(`answer to ${text}`));
    });
    const pair = await startTcpPair(app);
    const socket = connect({ host: '127.0.0.1', port: portOf(pair), allowHalfOpen: true });
    onTestFinished(() => void socket.destroy());
    socket.end('question');
    expect(String(await readAll(socket))).toBe('answer to question');
  });

  test('a server that has ended still gets what the client says', async () => {
    const heard = Promise.withResolvers<string>();
    const app = await startRawApp((socket) => {
      let text = '';
      socket.end('that is all');
      socket.on('data', (bytes) => {
        text += bytes;
      });
      socket.on('end', () => heard.resolve(text));
    });
    const pair = await startTcpPair(app);
    const socket = connect({ host: '127.0.0.1', port: portOf(pair), allowHalfOpen: true });
    onTestFinished(() => void socket.destroy());
    expect(String(await readAll(socket))).toBe('that is all');
    socket.end('late words');
    expect(await heard.promise).toBe('late words');
    expect((await pair.payments.recorded(1))[0]).toMatchObject({ decision: 'allow', bytesIn: 10, bytesOut: 11 });
  });

  test('a reset on one side is a reset on the other', async () => {
    const lost = Promise.withResolvers<string>();
    const app = await startRawApp((socket) => {
      socket.write('hello');
      socket.on('error', (error: NodeJS.ErrnoException) => lost.resolve(error.code!));
      socket.on('close', () => lost.resolve('closed'));
    });
    const pair = await startTcpPair(app);
    const client = await openRaw(portOf(pair));
    await client.until(/hello/);
    client.socket.resetAndDestroy();
    expect(await lost.promise).toMatch(/ECONNRESET|closed/);
    expect((await pair.payments.recorded(1))[0]).toMatchObject({ reason: 'DOWNSTREAM_CLOSED' });
  });
});

test('callers that end and reset in one breath leave no connection behind', async () => {
  const pair = await startTcpPair(await startRawApp((socket) => socket.resume()));
  const caller = await rawTo(pair.web.addresses.outbound.port);
  const ids = [1, 3, 5, 7, 9];
  for (const id of ids) {
    caller.send(request(id, { ':method': 'CONNECT', ':authority': 'payments' }, false));
    await caller.frame((one) => one.id === id && one.type === types.headers);
  }
  const isOpen = (): number =>
    (pair.payments.plane.describe() as { connections: { upstream: number } }).connections.upstream;
  expect(isOpen()).toBe(5);
  caller.send(...ids.map((id) => Buffer.concat([frame(types.data, 1, id, 'x'), frame(types.reset, 0, id, u32(8))])));
  await pair.payments.recorded(5);
  await eventually(isOpen, (count) => count === 0);
});

describe('who may', () => {
  test('without a rule the connection is reset, and the application hears nothing', async () => {
    const app = await startRawApp((socket) => void socket.write('secret'));
    const pair = await startTcpPair(app, { rules: [] });
    expect(await hear(portOf(pair))).toBe('');
    expect(app.accepts()).toBe(0);
    expect((await pair.web.recorded(1))[0]).toMatchObject({ decision: 'deny', method: 'CONNECT' });
  });

  test('a rule may say CONNECT; one that is about paths or other methods admits no connection', async () => {
    const app = await startRawApp((socket) => void socket.end('in'));
    const pair = await startTcpPair(app, { rules: [allow('web', 'payments', { paths: ['/admin/**'] })] });
    expect(await hear(portOf(pair))).toBe('');
    pair.setRules(allow('web', 'payments', { methods: ['GET'] }));
    expect(await hear(portOf(pair))).toBe('');
    pair.setRules(allow('web', 'payments', { methods: ['CONNECT'] }));
    expect(await hear(portOf(pair))).toBe('in');
  });

  test('Z10: a policy that denies it cuts one that is open', async () => {
    const app = await startRawApp((socket) => void socket.write('hello'));
    const pair = await startTcpPair(app);
    const client = await openRaw(portOf(pair));
    await client.until(/hello/);
    pair.setRules();
    await client.closed();
    expect((await pair.payments.recorded(1))[0]).toMatchObject({ decision: 'deny', reason: 'policy-changed' });
  });
});

test.each([['db-'], ['-x/a..b'], ['a.'], ['two words'], ['-'], ['x'.repeat(300)]])(
  'the name of a port need not be a host name: %s',
  async (name) => {
    const app = await startRawApp(() => undefined);
    const pair = await startTcpPair(app, { upstreams: [name] });
    expect(await hear(portOf(pair))).toBe('');
    expect((await pair.web.recorded(1))[0]).toMatchObject({ decision: 'deny', method: 'CONNECT' });
  },
);

describe('CONNECT on the HTTP port', () => {
  const connectTo = (target: string): string => `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`;

  test('opens a tunnel to a TCP service', async () => {
    const app = await startRawApp((socket) => socket.pipe(socket));
    const pair = await startTcpPair(app);
    const client = await openRaw(pair.web.addresses.outbound.port);
    client.send(connectTo('payments:5432'));
    const head = await client.until(/\r\n\r\n/);
    expect(head).toMatch(/^HTTP\/1\.1 200 /);
    expect(head).not.toMatch(/content-length|transfer-encoding/i);
    client.send('select 1');
    await client.until(/select 1/);
  });

  test('is refused toward an application that speaks HTTP, and so is HTTP toward one that does not', async () => {
    const http = await startPair({ app: await startApp((_, response) => response.end()) });
    const one = await openRaw(http.web.addresses.outbound.port);
    one.send(connectTo('payments:80'));
    expect(await one.closed()).toMatch(/^HTTP\/1\.1 502 [\s\S]*APP_PROTOCOL_WRONG/);
    const app = await startRawApp(() => undefined);
    const tcp = await startTcpPair(app);
    const other = await openRaw(tcp.web.addresses.outbound.port);
    other.send('GET / HTTP/1.1\r\nHost: payments\r\n\r\n');
    expect(await other.until(/}\n/)).toMatch(/^HTTP\/1\.1 502 [\s\S]*APP_PROTOCOL_WRONG/);
    expect(app.accepts()).toBe(0);
  });

  test.each([['h2'], ['http/1.1']] as const)(
    'a refusal opens nothing, whatever the fields say (%s)',
    async (protocol) => {
      const pair = await startTcpPair(await startRawApp(() => undefined), { linkProtocols: [protocol] });
      const grpc = connectTo('payments:80').replace('\r\n\r\n', '\r\nContent-Type: application/grpc\r\n\r\n');
      const ask = async (): Promise<string> => {
        const client = await openRaw(pair.web.addresses.outbound.port);
        client.send(grpc);
        return client.closed();
      };
      pair.payments.apply({ policy: { revision: 99, rules: [], groups: {} } });
      expect(await ask()).toMatch(/^HTTP\/1\.1 403 /);
      pair.setRules();
      expect(await ask()).toMatch(/^HTTP\/1\.1 403 /);
      expect(pair.web.plane.describe()).toMatchObject({ exchanges: 0 });
    },
  );

  test('2.27: what comes before the answer is no request of its own, whatever the answer is', async () => {
    const app = await startRawApp((socket) => socket.pipe(socket));
    const pair = await startTcpPair(app);
    const client = await openRaw(pair.web.addresses.outbound.port);
    client.send(`${connectTo('payments:80')}GET /admin HTTP/1.1\r\nHost: payments\r\n\r\n`);
    expect(await client.until(/GET \/admin/)).toMatch(/^HTTP\/1\.1 200 /);
    pair.setRules();
    const refused = await openRaw(pair.web.addresses.outbound.port);
    refused.send(`${connectTo('payments:80')}GET /admin HTTP/1.1\r\nHost: payments\r\n\r\n`);
    expect((await refused.closed()).match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(pair.web.records.filter(({ path }) => path === '/admin')).toEqual([]);
  });

  test.each([
    ['no port', 'CONNECT payments HTTP/1.1\r\nHost: payments\r\n\r\n'],
    ['another Host', 'CONNECT payments:1 HTTP/1.1\r\nHost: ledger:1\r\n\r\n'],
    ['a path', 'CONNECT /admin HTTP/1.1\r\nHost: payments\r\n\r\n'],
    ['a URL', 'CONNECT http://payments:80/ HTTP/1.1\r\nHost: payments:80\r\n\r\n'],
    ['a body', 'CONNECT payments:1 HTTP/1.1\r\nHost: payments:1\r\nContent-Length: 3\r\n\r\nabc'],
    ['chunks', 'CONNECT payments:1 HTTP/1.1\r\nHost: payments:1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['Expect', 'CONNECT payments:1 HTTP/1.1\r\nHost: payments:1\r\nExpect: 100-continue\r\n\r\n'],
    ['HTTP/1.0', 'CONNECT payments:1 HTTP/1.0\r\nHost: payments:1\r\n\r\n'],
  ])('H21: CONNECT with %s is refused', async (_, bytes) => {
    const pair = await startTcpPair(await startRawApp(() => undefined));
    const client = await openRaw(pair.web.addresses.outbound.port);
    client.send(bytes);
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 400 [\s\S]*"hop":"outbound"/);
  });
});
