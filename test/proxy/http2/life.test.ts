// How a link ends and how it notices that the other side is gone: GOAWAY both ways, drain without a lost request, pings, idle time, TLS.
import { once } from 'node:events';
import http2 from 'node:http2';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { connectTls, tlsClientPolicy, tlsContext, tlsServerPolicy } from '#spiffe';
import type { App, Call, Ours, Raw } from '../../helpers/http2.ts';
import {
  ask,
  block,
  callOurs,
  codeOf,
  counting,
  createQueue,
  echo,
  frame,
  hello,
  magic,
  post,
  rawOn,
  rawTo,
  request,
  serveOurs,
  silent,
  types,
  u32,
} from '../../helpers/http2.ts';
import { createTestAuthority } from '../../helpers/pki.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

async function pair(
  app: App,
  bounds: Parameters<typeof serveOurs>[1] & Parameters<typeof callOurs>[1] = {},
): Promise<[Ours, Call]> {
  const ours = await serveOurs(app, bounds);
  const call = await callOurs(ours.port, bounds);
  open.push(ours, call);
  return [ours, call];
}

/** Our client against a server in our hands. */
async function rawServer(bounds: Parameters<typeof callOurs>[1] = {}): Promise<[Call, Raw]> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const call = await callOurs((server.address() as AddressInfo).port, bounds);
  const [socket] = await accepted;
  const raw = rawOn(socket, magic.length);
  open.push(call, server, { close: () => socket.destroy() });
  raw.send(frame(types.settings, 0, 0));
  return [call, raw];
}

const goaway = (last: number, code = 0): Buffer => frame(types.goaway, 0, 0, Buffer.concat([u32(last), u32(code)]));
const quick = {
  limits: { headMs: 150, writeMs: 150 },
  linkLimits: { tickMs: 20, settingsMs: 150, pingMs: 100, pingAckMs: 100 },
};

describe('a server that drains', () => {
  test('says so in two steps: nothing that was on its way is refused, what runs ends, then the connection does', async () => {
    const ours = await serveOurs(counting());
    open.push(ours);
    const raw = await rawTo(ours.port);
    raw.send(request(1, post, false));
    await expect.poll(() => ours.requests.length).toBe(1);
    ours.links[0]!.link.connection.retire();
    const first = await raw.frame(({ type }) => type === types.goaway);
    expect(first.payload.readUInt32BE(0)).toBe(0x7fff_ffff);
    const ping = await raw.frame(({ type, flags }) => type === types.ping && flags === 0);
    // On its way while the GOAWAY was.
    raw.send(request(3), frame(types.ping, 1, 0, ping.payload));
    const last = await raw.frame(
      ({ type, payload }) => type === types.goaway && payload.readUInt32BE(0) !== 0x7fff_ffff,
    );
    expect(last.payload.readUInt32BE(0)).toBe(3);
    expect(codeOf(last)).toBe(0);
    raw.send(request(5), frame(types.data, 1, 5), frame(types.data, 1, 1, 'body'));
    await raw.frame(({ type, id, flags }) => type === types.data && id === 3 && flags === 1);
    await raw.frame(({ type, id, flags }) => type === types.data && id === 1 && flags === 1);
    await raw.closed();
    expect(ours.requests).toHaveLength(2);
    expect(ours.faults).toEqual([]);
  });

  test('does not wait for ever for the answer to its ping', async () => {
    const ours = await serveOurs(hello, quick);
    open.push(ours);
    const raw = await rawTo(ours.port);
    raw.send(request(1));
    await raw.frame(({ type, flags }) => type === types.settings && flags === 1);
    raw.send(frame(types.settings, 1, 0));
    await raw.frame(({ type, id }) => type === types.data && id === 1);
    ours.links[0]!.link.connection.retire();
    await raw.closed();
    expect(
      raw.frames
        .filter(({ type }) => type === types.goaway)
        .at(-1)!
        .payload.readUInt32BE(0),
    ).toBe(1);
  });

  test('loses no request of a client under load', async () => {
    const [first, second] = [await serveOurs(echo), await serveOurs(echo)];
    open.push(first, second);
    let current = await callOurs(first.port);
    open.push(current);
    const queue = createQueue(() => current.upstream);
    const results: Promise<{ body: Buffer; outcome: string }>[] = [];
    for (let round = 0; round < 40; round++) {
      for (let index = 0; index < 20; index++)
        results.push(queue.ask({ method: 'PUT', body: 'x'.repeat(index * 100) }));
      await new Promise((resolve) => setImmediate(resolve));
      if (round === 20) {
        first.links[0]!.link.connection.retire();
        await expect.poll(() => current.isGone).toBe(true);
        current = await callOurs(second.port);
        open.push(current);
      }
      queue.next();
    }
    const timer = setInterval(queue.next, 1);
    const all = await Promise.all(results);
    clearInterval(timer);
    expect(all.every(({ outcome }) => outcome === 'done')).toBe(true);
    expect(first.requests.length + second.requests.length).toBe(800);
  });

  test('Node as the client goes on with a new session', async () => {
    const ours = await serveOurs(hello);
    open.push(ours);
    const client = http2.connect(`http://127.0.0.1:${ours.port}`);
    const stream = client.request({ ':path': '/' });
    stream.resume();
    await once(stream, 'end');
    const gone = once(client, 'goaway');
    const closed = once(client, 'close');
    ours.links[0]!.link.connection.retire();
    expect((await gone)[0]).toBe(0);
    await closed;
  });
});

describe('a client and GOAWAY', () => {
  test('what the server has not looked at is given back, what it has is finished', async () => {
    const [call, raw] = await rawServer();
    const calls = [ask(call.upstream), ask(call.upstream, { method: 'DELETE' }), ask(call.upstream)];
    await raw.frame(({ type, id }) => type === types.headers && id === 5);
    raw.send(goaway(1));
    expect((await calls[1]!).outcome).toBe('again');
    expect((await calls[2]!).outcome).toBe('again');
    expect(call.isGone).toBe(true);
    expect(call.upstream.room).toBe(0);
    raw.send(frame(types.headers, 5, 1, block({ ':status': '200' })));
    expect((await calls[0]!).status).toBe(200);
    await raw.frame(({ type }) => type === types.goaway);
    raw.socket.end();
    await raw.closed();
  });

  test('a first GOAWAY without a last stream ends nothing that runs', async () => {
    const [call, raw] = await rawServer();
    const running = ask(call.upstream);
    await raw.frame(({ type }) => type === types.headers);
    raw.send(goaway(0x7fff_ffff));
    await expect.poll(() => call.isGone).toBe(true);
    raw.send(goaway(1), frame(types.headers, 5, 1, block({ ':status': '200' })));
    expect((await running).status).toBe(200);
  });

  test('a GOAWAY with an error is told', async () => {
    const [call, raw] = await rawServer();
    const running = ask(call.upstream);
    await raw.frame(({ type }) => type === types.headers);
    raw.send(goaway(0, 11));
    expect((await running).outcome).toBe('again');
    expect(call.faults[0]).toMatchObject({ code: 'HTTP2_GOAWAY', details: { number: 11 } });
  });

  test('a refused stream is given back and the connection goes on', async () => {
    const [call, raw] = await rawServer();
    const running = ask(call.upstream);
    await raw.frame(({ type }) => type === types.headers);
    raw.send(frame(types.reset, 0, 1, u32(7)));
    expect((await running).outcome).toBe('again');
    expect(call.upstream.room).toBeGreaterThan(0);
  });

  test('retires: what runs ends, then the connection does', async () => {
    const seen = { bytes: 0 };
    const [ours, call] = await pair(counting(seen));
    const running = ask(call.upstream, { method: 'POST', body: 'x'.repeat(500_000) });
    call.upstream.retire();
    expect(call.isGone).toBe(true);
    expect((await ask(call.upstream)).outcome).toBe('again');
    expect((await running).body.toString()).toBe('500000');
    await expect.poll(() => ours.links[0]!.link.connection.isClosed).toBe(true);
    expect(ours.faults).toEqual([]);
  });

  test('a connection that breaks before it ever served gives nothing back', async () => {
    const [call, raw] = await rawServer();
    const running = ask(call.upstream);
    await raw.frame(({ type }) => type === types.headers);
    raw.socket.destroy();
    await expect(running).rejects.toMatchObject({ code: 'APP_CLOSED' });
  });

  test('a response that is here in full is handed on though the connection is gone', async () => {
    const [call, raw] = await rawServer();
    const running = ask(call.upstream);
    await raw.frame(({ type }) => type === types.headers);
    for (const stream of call.upstream.link.streams.all()) {
      const held = stream as unknown as { pauseResponse(): void; resumeResponse(): void };
      held.pauseResponse();
      raw.send(frame(types.headers, 4, 1, block({ ':status': '200' })), frame(types.data, 1, 1, 'all of it'));
      await expect.poll(() => call.upstream.active).toBe(0);
      raw.socket.destroy();
      await expect.poll(() => call.isGone).toBe(true);
      held.resumeResponse();
    }
    expect((await running).body.toString()).toBe('all of it');
  });
});

describe('silence', () => {
  test('settings that are not acknowledged end the connection', async () => {
    const ours = await serveOurs(silent(), quick);
    open.push(ours);
    const raw = await rawTo(ours.port);
    raw.send(request(1));
    expect(codeOf(await raw.frame(({ type }) => type === types.goaway))).toBe(4);
    await raw.closed();
  });

  test('a peer that answers no ping is given up, its streams with it', async () => {
    const seen = { started: 0, aborted: 0 };
    const ours = await serveOurs(silent(seen), quick);
    open.push(ours);
    const raw = await rawTo(ours.port);
    raw.send(frame(types.settings, 1, 0), request(1));
    await raw.frame(({ type, flags }) => type === types.ping && flags === 0);
    await raw.closed();
    expect(seen.aborted).toBe(1);
    expect(ours.faults[0]).toMatchObject({ code: 'HTTP2_TIMEOUT' });
  });

  test('a peer that answers pings may be silent otherwise', async () => {
    const [ours, call] = await pair(silent(), { ...quick, options: { responseMs: 10_000 } });
    const running = ask(call.upstream);
    running.catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(ours.links[0]!.link.isOver).toBe(false);
    expect(call.upstream.active).toBe(1);
  });

  test('our client notices a server that is gone without a word', async () => {
    const [call, raw] = await rawServer({ ...quick, options: { responseMs: 10_000 } });
    raw.send(frame(types.settings, 1, 0));
    const running = ask(call.upstream);
    await raw.frame(({ type, flags }) => type === types.ping && flags === 0);
    await expect(running).rejects.toMatchObject({ code: 'APP_CLOSED' });
  });

  test('an idle connection is closed by GOAWAY, on either side', async () => {
    const [ours, call] = await pair(hello, { limits: { idleMs: 100 }, linkLimits: { tickMs: 20 } });
    await ask(call.upstream);
    await expect.poll(() => call.isGone).toBe(true);
    await expect.poll(() => ours.links[0]!.link.connection.isClosed).toBe(true);
    const [theirs, calling] = await pair(hello, { options: { idleMs: 100 }, linkLimits: { tickMs: 20 } });
    await ask(calling.upstream);
    await expect.poll(() => calling.isGone).toBe(true);
    await expect.poll(() => theirs.links[0]!.link.connection.isClosed).toBe(true);
    expect([...ours.faults, ...call.faults, ...theirs.faults, ...calling.faults]).toEqual([]);
  });

  test('PING is answered with what it carried', async () => {
    const ours = await serveOurs(hello);
    open.push(ours);
    const raw = await rawTo(ours.port);
    raw.send(frame(types.ping, 0, 0, '12345678'));
    const pong = await raw.frame(({ type, flags }) => type === types.ping && flags === 1);
    expect(pong.payload.toString()).toBe('12345678');
  });
});

describe('bytes as they come', () => {
  test('a request cut into single bytes is the same request', async () => {
    const ours = await serveOurs(counting());
    open.push(ours);
    const raw = await rawTo(ours.port, { greet: false });
    const all = Buffer.concat([
      magic,
      frame(types.settings, 0, 0),
      request(1, post, false),
      frame(types.data, 8, 1, Buffer.concat([Buffer.from([2]), Buffer.from('abc'), Buffer.alloc(2)])),
      frame(types.data, 1, 1, 'defg'),
    ]);
    for (const byte of all) {
      raw.send(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await raw.frame(({ type, payload }) => type === types.data && payload.toString() === '7');
  });

  test('frames of one turn leave in one write', async () => {
    const ours = await serveOurs(hello);
    open.push(ours);
    const raw = await rawTo(ours.port);
    await raw.frame(({ type }) => type === types.settings);
    const { socket } = ours.links[0]!.link.connection;
    const sizes: number[] = [];
    const { write } = socket;
    socket.write = ((bytes: Buffer) => {
      sizes.push(bytes.length);
      return write.call(socket, bytes);
    }) as typeof socket.write;
    raw.send(Buffer.concat(Array.from({ length: 50 }, (_, index) => request(index * 2 + 1))));
    await raw.frame(({ type, id }) => type === types.data && id === 99);
    expect(sizes.length).toBeLessThanOrEqual(2);
  });
});

test('over TLS 1.3 with ALPN h2, both sides verified, ours against ours and against Node', async () => {
  const pki = await createTestAuthority();
  open.push(pki);
  const [server, client] = [await pki.enrol('server'), await pki.enrol('client')];
  const bundle = pki.authority.bundle();
  const calling = {
    ...tlsContext({ identity: client, bundle }),
    ...tlsClientPolicy({ bundle, now: Date.now, expect: server.id }),
    ALPNProtocols: ['h2'],
  };
  const ours = await serveOurs(echo, {
    wrap: (onSocket) =>
      createTlsServer(
        { ...tlsServerPolicy, ...tlsContext({ identity: server, bundle }), ALPNProtocols: ['h2'] },
        onSocket,
      ),
  });
  const socket = connectTls({ ...calling, port: ours.port, host: '127.0.0.1' });
  await once(socket, 'secureConnect');
  expect(socket.alpnProtocol).toBe('h2');
  const call = await callOurs(ours.port, { socket });
  open.push(ours, call);
  const body = Buffer.alloc(3_000_000, 'tls');
  const answer = await ask(call.upstream, { method: 'POST', body });
  expect(answer.body.equals(body)).toBe(true);
  const second = connectTls({ ...calling, port: ours.port, host: '127.0.0.1' });
  await once(second, 'secureConnect');
  const session = http2.connect('https://server', { createConnection: () => second, maxSessionMemory: 100 });
  open.push({ close: () => session.destroy() });
  const stream = session.request({ ':path': '/', ':method': 'POST' });
  stream.end(body);
  let size = 0;
  for await (const piece of stream) size += piece.length;
  expect(size).toBe(body.length);
});
