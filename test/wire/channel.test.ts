// The channel talks to spiffe://TRUST-DOMAIN/postern/server and to nobody else, within bounds, and says what went wrong.
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import type { connect } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '#base/clock';
import { isPosternError, type PosternError } from '#base/error';
import { s } from '#base/schema';
import { type Channel, createChannel } from '#wire/channel';
import { createClock } from '../helpers/clock.ts';
import { createTestCa, type Handler, reply, startTestServer, type TestCa, until } from '../helpers/fake-control.ts';

const answer: Handler = (request, response, body) => reply(response, 200, { path: request.url, body: body ?? null });

async function serve(ca: TestCa, o: { service?: string; handler?: Handler; mutual?: boolean; serverCa?: TestCa } = {}) {
  const { service = 'postern/server', handler = answer, mutual = true, serverCa = ca } = o;
  const identity = await serverCa.issue({ service });
  return startTestServer({ identity, bundle: ca.bundle, handler, mutual });
}

async function open(
  ca: TestCa,
  url: string,
  more: Partial<Parameters<typeof createChannel>[0]> = {},
): Promise<Channel> {
  const identity = await ca.issue({ service: 'shop/payments' });
  const channel = createChannel({
    url,
    identity: () => identity,
    bundle: () => ca.bundle,
    clock: systemClock,
    ...more,
  });
  onTestFinished(() => channel.close());
  return channel;
}

async function failure(work: Promise<unknown>): Promise<PosternError> {
  const thrown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!isPosternError(thrown)) throw new Error(`expected a PosternError, got ${thrown}`);
  return thrown;
}

const get = { method: 'GET', path: '/v1/status' } as const;

describe('calls', () => {
  test('carry a body and bring the answer back over one kept connection', async () => {
    const ca = await createTestCa();
    const server = await serve(ca);
    const channel = await open(ca, server.url);
    expect(await channel.call({ method: 'POST', path: '/a', body: { x: 1 } })).toEqual({ path: '/a', body: { x: 1 } });
    expect(await channel.call(get)).toEqual({ path: '/v1/status', body: null });
    expect(server.connections).toBe(1);
  });

  test('an answer that does not fit its schema is refused, an unknown key included', async () => {
    const ca = await createTestCa();
    const server = await serve(ca, { handler: (_, response) => reply(response, 200, { through: 1, more: true }) });
    const channel = await open(ca, server.url);
    const error = await failure(channel.call({ ...get, reply: s.object({ through: s.integer() }) }));
    expect([error.code, error.message]).toEqual([
      'CONTROL_REPLY_INVALID',
      expect.stringContaining('unknown key "more"'),
    ]);
  });

  test('a refusal keeps the code, words, hint and problems of the server, braces included', async () => {
    const ca = await createTestCa();
    const problems = [
      { message: 'unknown key "form"', file: 'a.yaml', line: 3, column: 5, hint: 'did you mean from?' },
    ];
    const error = { code: 'POLICY_INVALID', message: 'the path /a/{id} is bad', hint: 'write {id}', problems };
    const server = await serve(ca, { handler: (_, response) => reply(response, 422, { error }) });
    const thrown = await failure((await open(ca, server.url)).call(get));
    const { code, message, hint, status, retryable } = thrown;
    expect({ code, message, hint, problems: thrown.problems }).toEqual(error);
    expect([status, retryable]).toEqual([422, false]);
  });

  test.each([
    ['not JSON', 500, 'oops', 'status 500 without an error'],
    ['a redirect', 302, '{}', 'status 302'],
    ['good but not JSON', 200, '<html>', 'it is not JSON'],
    ['an error of another shape', 400, '{"error":"no"}', 'status 400'],
  ])('%s is CONTROL_REPLY_INVALID', async (_, status, text, words) => {
    const ca = await createTestCa();
    const server = await serve(ca, { handler: (_request, response) => void response.writeHead(status).end(text) });
    const error = await failure((await open(ca, server.url)).call(get));
    expect([error.code, error.message]).toEqual(['CONTROL_REPLY_INVALID', expect.stringContaining(words)]);
  });

  test('an answer that never comes ends at the time-out', async () => {
    const ca = await createTestCa();
    const server = await serve(ca, { handler: () => undefined });
    const error = await failure((await open(ca, server.url, { timeoutMs: 100 })).call(get));
    expect([error.code, error.retryable]).toEqual(['CONTROL_UNREACHABLE', true]);
    expect(error.message).toContain('no answer within 0.1 s');
  });

  test('an answer cut in the middle is CONTROL_UNREACHABLE', async () => {
    const ca = await createTestCa();
    const server = await serve(ca, {
      handler: (_, response) => {
        response.writeHead(200, { 'content-length': 100 }).write('{"a":');
        setTimeout(() => response.destroy(), 20);
      },
    });
    expect((await failure((await open(ca, server.url)).call(get))).code).toBe('CONTROL_UNREACHABLE');
  });

  test('an answer above 64 MiB is given up while it comes', async () => {
    const ca = await createTestCa();
    let written = 0;
    const server = await serve(ca, {
      handler: (_, response) => {
        const piece = Buffer.alloc(1 << 20, 32);
        const more = (): void => {
          while (!response.destroyed && written < 256) {
            written++;
            if (!response.write(piece)) return void response.once('drain', more);
          }
        };
        more();
      },
    });
    const error = await failure((await open(ca, server.url)).call(get));
    expect([error.code, error.message]).toEqual(['CONTROL_REPLY_INVALID', expect.stringContaining('longer than')]);
    expect(written).toBeLessThan(200);
  });

  test('a call on a pooled connection that the server has closed is made again when it only reads', async () => {
    const ca = await createTestCa();
    let cut = false;
    const server = await serve(ca, {
      handler: (request, response) => {
        if (cut) request.socket.destroy();
        else reply(response, 200, {});
        cut = false;
      },
    });
    const channel = await open(ca, server.url);
    await channel.call(get);
    cut = true;
    expect(await channel.call(get)).toEqual({});
    cut = true;
    expect((await failure(channel.call({ method: 'POST', path: '/' }))).code).toBe('CONTROL_UNREACHABLE');
  });
});

describe('trust', () => {
  test('T32: a server of another service with the right CA is refused before any byte', async () => {
    const ca = await createTestCa();
    let asked = 0;
    const server = await serve(ca, { service: 'shop/payments', handler: () => void asked++ });
    const received = new Promise<number>((resolve) => {
      server.server.on('secureConnection', (socket) => socket.on('close', () => resolve(socket.bytesRead)));
      server.server.on('tlsClientError', () => resolve(0));
    });
    const error = await failure((await open(ca, server.url)).call(get));
    expect([error.code, error.message]).toEqual([
      'CONTROL_UNTRUSTED',
      expect.stringContaining('the peer is spiffe://example.org/shop/payments'),
    ]);
    expect([asked, await received]).toEqual([0, 0]);
  });

  test('T3: a server of another CA with the same name is refused', async () => {
    const [ca, other] = [await createTestCa(), await createTestCa()];
    const server = await serve(other, { mutual: false });
    const error = await failure((await open(ca, server.url)).call(get));
    expect(error.code).toBe('CONTROL_UNTRUSTED');
  });

  test('T1: a server whose certificate has expired is refused', async () => {
    const ca = await createTestCa();
    const identity = await ca.issue({ service: 'postern/server', now: Date.now() - 7_200_000 });
    const server = await startTestServer({ identity, bundle: ca.bundle, handler: answer });
    const error = await failure((await open(ca, server.url)).call(get));
    expect([error.code, error.message]).toEqual(['CONTROL_UNTRUSTED', expect.stringContaining('expired')]);
  });

  test('T21: a server that speaks TLS 1.2 only gets nothing', async () => {
    const ca = await createTestCa();
    const identity = await ca.issue({ service: 'postern/server' });
    const tls = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: undefined, secureOptions: 0 } as const;
    const server = await startTestServer({ identity, bundle: ca.bundle, handler: answer, tls: tls as never });
    const error = await failure((await open(ca, server.url)).call(get));
    expect(error.code).toMatch(/CONTROL_(REFUSED|UNREACHABLE)/);
  });

  test('an empty trust bundle trusts nobody, and nothing is connected', async () => {
    const ca = await createTestCa();
    const server = await serve(ca);
    const channel = await open(ca, server.url, { bundle: () => ({ ...ca.bundle, roots: [] }) });
    expect((await failure(channel.call(get))).code).toBe('CONTROL_UNTRUSTED');
    expect(server.connections).toBe(0);
  });

  test('a server that refuses the own certificate says so, or the message tells that it may', async () => {
    const [ca, other] = [await createTestCa(), await createTestCa()];
    const server = await serve(ca);
    const stranger = await other.issue({ service: 'shop/payments' });
    const error = await failure((await open(ca, server.url, { identity: () => stranger })).call(get));
    expect(error.message).toMatch(/refused this certificate|refuses a certificate/);
  });

  test.each([
    ['nothing listens', async () => 'https://127.0.0.1:1', 'nothing listens there'],
    [
      'plain text answers',
      async () => {
        const tcp = createTcpServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
        await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
        onTestFinished(() => void tcp.close());
        return `https://127.0.0.1:${(tcp.address() as AddressInfo).port}`;
      },
      'does not speak TLS 1.3',
    ],
  ])('%s: CONTROL_UNREACHABLE, and why', async (_, urlOf, words) => {
    const ca = await createTestCa();
    const error = await failure((await open(ca, await urlOf())).call(get));
    expect([error.code, error.message]).toEqual(['CONTROL_UNREACHABLE', expect.stringContaining(words)]);
  });

  test('a server that accepts and then says nothing in the handshake is given up', async () => {
    const ca = await createTestCa();
    const tcp = createTcpServer(() => undefined);
    await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void tcp.close());
    const url = `https://127.0.0.1:${(tcp.address() as AddressInfo).port}`;
    const channel = await open(ca, url, { timeoutMs: 100 });
    expect((await failure(channel.call(get))).code).toBe('CONTROL_UNREACHABLE');
  });

  test('T34: a renewed identity never shares a connection with the one before it', async () => {
    const ca = await createTestCa();
    const serials: string[] = [];
    const server = await serve(ca, {
      handler: (request, response) => {
        serials.push((request.socket as ReturnType<typeof connect>).getPeerCertificate().serialNumber.toLowerCase());
        reply(response, 200, {});
      },
    });
    let identity = await ca.issue({ service: 'shop/payments' });
    const first = identity;
    const channel = await open(ca, server.url, { identity: () => identity });
    await channel.call(get);
    identity = await ca.issue({ service: 'shop/payments' });
    await channel.call(get);
    expect(serials).toEqual([first.serial, identity.serial]);
    expect(server.connections).toBe(2);
  });

  test('a connection is cut when the certificate that opened it expires', async () => {
    const ca = await createTestCa();
    const server = await serve(ca, { handler: (_, response) => void response.writeHead(200).write('{}\n') });
    const clock = createClock(Date.now());
    const identity = await ca.issue({ service: 'shop/payments', ttlMs: 60_000 });
    const channel = await open(ca, server.url, { clock, identity: () => identity });
    const lines = channel.stream(get)[Symbol.asyncIterator]();
    expect((await lines.next()).value).toEqual({});
    clock.advance(61_000);
    expect((await failure(lines.next())).code).toBe('CONTROL_UNREACHABLE');
  });
});

describe('streams', () => {
  const stream =
    (write: (response: Parameters<Handler>[1]) => void): Handler =>
    (_, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      write(response);
    };

  test('give one value for each line, however the bytes are cut', async () => {
    const ca = await createTestCa();
    const text = Buffer.from('{"a":1}\n\n{"b":"\u00fc\u{1f600}"}\n{"c":3}\n');
    const server = await serve(ca, {
      handler: stream((response) => {
        let at = 0;
        const next = (): void => {
          if (at >= text.length) return void response.end();
          response.write(text.subarray(at, ++at), () => setImmediate(next));
        };
        next();
      }),
    });
    const seen: unknown[] = [];
    for await (const value of (await open(ca, server.url)).stream(get)) seen.push(value);
    expect(seen).toEqual([{ a: 1 }, { b: '\u00fc\u{1f600}' }, { c: 3 }]);
  });

  test('a line above 64 MiB ends the stream', async () => {
    const ca = await createTestCa();
    const server = await serve(ca, {
      handler: stream((response) => {
        const piece = Buffer.alloc(1 << 20, 97);
        const more = (): void => {
          while (!response.destroyed) if (!response.write(piece)) return void response.once('drain', more);
        };
        more();
      }),
    });
    const lines = (await open(ca, server.url)).stream(get)[Symbol.asyncIterator]();
    const error = await failure(lines.next());
    expect([error.code, error.message]).toEqual(['CONTROL_REPLY_INVALID', expect.stringContaining('a line is longer')]);
  });

  test('K2: a silent stream is given up, and the time spent on a line does not count', async () => {
    const ca = await createTestCa();
    const server = await serve(ca, { handler: stream((response) => void response.write('{}\n')) });
    const clock = createClock(Date.now());
    const lines = (await open(ca, server.url, { clock })).stream({ ...get, silenceMs: 15_000 })[Symbol.asyncIterator]();
    await lines.next();
    clock.advance(60_000);
    const next = failure(lines.next());
    await new Promise((resolve) => setTimeout(resolve, 20));
    clock.advance(15_000);
    const error = await next;
    expect([error.code, error.message]).toEqual(['CONTROL_UNREACHABLE', expect.stringContaining('silent for 15 s')]);
  });

  test('an aborted stream ends without an error and frees its connection', async () => {
    const ca = await createTestCa();
    let ended = false;
    const server = await serve(ca, {
      handler: (_, response) => {
        response.on('close', () => {
          ended = true;
        });
        response.writeHead(200).write('{}\n');
      },
    });
    const stop = new AbortController();
    const seen: unknown[] = [];
    for await (const value of (await open(ca, server.url)).stream({ ...get, signal: stop.signal })) {
      seen.push(value);
      stop.abort();
    }
    expect(seen).toEqual([{}]);
    await until(() => ended);
  });

  test('a refusal of a stream keeps the words of the server', async () => {
    const ca = await createTestCa();
    const error = { code: 'IDENTITY_BANNED', message: 'x is banned' };
    const server = await serve(ca, { handler: (_, response) => reply(response, 403, { error }) });
    const lines = (await open(ca, server.url)).stream(get)[Symbol.asyncIterator]();
    expect(await failure(lines.next())).toMatchObject(error);
  });

  test('text that is not UTF-8, or not JSON, is refused', async () => {
    const ca = await createTestCa();
    for (const line of [Buffer.from([0x22, 0xff, 0x22, 10]), Buffer.from('{"a":\n')]) {
      const server = await serve(ca, { handler: stream((response) => void response.write(line)) });
      const lines = (await open(ca, server.url)).stream(get)[Symbol.asyncIterator]();
      expect((await failure(lines.next())).code).toBe('CONTROL_REPLY_INVALID');
    }
  });
});
