// What goes wrong between two hops: the caller gets one answer or a clean cut, the right hop is blamed, one record is written on each side,
// and no connection in doubt is used again.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { allow, call, openRaw, serviceEntry, startApp, startPair, startProxy, startRawApp } from '../helpers/mesh.ts';
import { createTestPki } from '../helpers/pki.ts';

/** Answers each request head with the same bytes. */
const answering = (bytes: string, then: (socket: Socket) => void = () => undefined) =>
  startRawApp((socket) =>
    socket.on('data', () => {
      socket.write(bytes, 'latin1');
      then(socket);
    }),
  );

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: payments\r\n\r\n`;
const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

describe('answers of an application that are not HTTP', () => {
  test.each([
    ['H32: a bad Content-Length', 'HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n'],
    ['H32: two Content-Length headers', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok'],
    [
      'H32: Content-Length with Transfer-Encoding',
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['H32: an unknown transfer coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n'],
    ['H32: Transfer-Encoding on HTTP/1.0', 'HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['H32: an unasked switch of protocols', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n'],
    ['H32: a bare LF', 'HTTP/1.1 200 OK\ncontent-length: 0\n\n'],
    ['H32: a folded header', 'HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n'],
    ['H32: NUL in a header', 'HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n'],
    ['H32: no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['H32: a head without end', `HTTP/1.1 200 OK\r\nx: ${'a'.repeat(70_000)}`],
  ])('%s: 502 that blames the inbound hop', async (_, bytes) => {
    const { web, payments } = await startPair({ app: await answering(bytes) });
    const answer = await call(web);
    expect(answer.status).toBe(502);
    expect(answer.json().error).toMatchObject({ code: 'APP_REPLY_INVALID', hop: 'inbound' });
    expect((await payments.recorded(1))[0]).toMatchObject({
      decision: 'error',
      reason: 'APP_REPLY_INVALID',
      status: 502,
    });
    expect(payments.records).toHaveLength(1);
    expect((await web.recorded(1))[0]).toMatchObject({ decision: 'allow', status: 502 });
  });

  test('H32: a flood of interim answers is cut off', async () => {
    const { web } = await startPair({ app: await answering('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(100)) });
    const client = await openRaw(web.addresses.outbound.port);
    client.send(get('/'));
    const text = await client.until(/APP_REPLY_INVALID/);
    expect(text.match(/HTTP\/1.1 103/g)!.length).toBeLessThan(20);
    expect(text).toContain('HTTP/1.1 502');
  });

  test.each([
    ['Content-Length', 'content-length: 43'],
    ['Transfer-Encoding', 'transfer-encoding: chunked'],
  ])("H32: a body that a 204 announces by %s and sends late is nobody's answer", async (_, announcement) => {
    const late = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil';
    let first: Socket | undefined;
    const app = await startRawApp((socket) =>
      socket.on('data', () => {
        if (!first) socket.write(`HTTP/1.1 204 No Content\r\n${announcement}\r\n\r\n`);
        else if (first === socket) socket.write(late);
        else socket.write(ok);
        first ??= socket;
      }),
    );
    const { web } = await startPair({ app });
    expect((await call(web)).status).toBe(204);
    expect((await call(web)).body).toBe('ok');
  });

  test('H32: a second response that nobody asked for goes to nobody', async () => {
    const app = await answering(`${ok}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison`);
    const { web } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    for (let count = 1; count <= 5; count++) {
      client.send(get(`/${count}`));
      await client.until(new RegExp(`(200 OK[\\s\\S]*?ok[\\s\\S]*?){${count}}`));
    }
    expect(client.text).not.toContain('poison');
    expect(app.accepts()).toBe(5);
  });

  test('H32: an early answer is passed on, and neither connection is used again', async () => {
    const app = await answering('HTTP/1.1 413 Too Much\r\ncontent-length: 2\r\n\r\nno');
    const { web } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    client.send(`POST / HTTP/1.1\r\nhost: payments\r\ncontent-length: 1000000\r\n\r\n${'x'.repeat(1_000)}`);
    const text = await client.closed();
    expect(text).toMatch(/^HTTP\/1\.1 413 [\s\S]*connection: close[\s\S]*no$/);
    expect((await call(web)).status).toBe(413);
    expect(app.accepts()).toBe(2);
  });

  test('H32: a response cut short is cut short for the caller too', async () => {
    const app = await answering('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf', (socket) => socket.end());
    const { web, payments } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    client.send(get('/'));
    expect(await client.closed()).toMatch(/content-length: 100[\s\S]*half$/);
    expect((await payments.recorded(1))[0]).toMatchObject({ decision: 'error', reason: 'APP_CLOSED', status: 200 });
    expect((await web.recorded(1))[0]).toMatchObject({ decision: 'error', reason: 'UPSTREAM_CLOSED' });
  });
});

describe('which hop failed', () => {
  test('the application does not run: APP_CONNECT_FAILED from the inbound hop', async () => {
    // A port that was in use a moment ago may be somebody else's by now.
    const { web } = await startPair({ app: { ...(await startApp(() => undefined)), port: 1 } });
    const answer = await call(web);
    expect([answer.status, answer.json().error.code]).toEqual([503, 'APP_CONNECT_FAILED']);
    expect(answer.head).toContain('x-postern-hop: inbound');
  });

  test('the application does not answer in time: APP_TIMEOUT from the inbound hop', async () => {
    const { web } = await startPair({ app: await startApp(() => undefined), paymentsLimits: { responseMs: 100 } });
    const answer = await call(web);
    expect([answer.status, answer.json().error.code]).toEqual([504, 'APP_TIMEOUT']);
  });

  test('the other sidecar does not run: UPSTREAM_CONNECT_FAILED from the outbound hop', async () => {
    const { web, payments } = await startPair({ app: await startApp(() => undefined), drainMs: 0 });
    await payments.plane.drain();
    const answer = await call(web);
    expect([answer.status, answer.json().error.code]).toEqual([503, 'UPSTREAM_CONNECT_FAILED']);
    expect(answer.head).toContain('x-postern-hop: outbound');
  });

  test('T32: another service answers at the address: UPSTREAM_IDENTITY_WRONG, and it has seen no request', async () => {
    const pki = createTestPki();
    const impostor = await startProxy({ pki, service: 'orders' });
    const web = await startProxy({ pki, service: 'web' });
    web.apply({
      policy: { revision: 2, rules: [allow('web', 'payments')], groups: {} },
      services: [serviceEntry('payments', impostor.addresses.inbound.port)],
    });
    const answer = await call(web);
    expect([answer.status, answer.json().error.code]).toEqual([502, 'UPSTREAM_IDENTITY_WRONG']);
    expect(answer.json().error.message).toContain('orders');
    expect(impostor.records.filter(({ kind }) => kind === 'exchange')).toEqual([]);
  });

  test('a dead endpoint is left out and another one tried', async () => {
    const { web, payments } = await startPair({ app: await startApp((_, response) => response.end('ok')) });
    const dead = await startApp(() => undefined);
    dead.server.close();
    web.apply({ services: [serviceEntry('payments', dead.port, payments.addresses.inbound.port)] });
    for (let count = 0; count < 10; count++) expect((await call(web)).status).toBe(200);
  });
});

describe('retries', () => {
  test('H38: an upstream that dies in the middle of a POST is not asked again', async () => {
    let requests = 0;
    const app = await startRawApp((socket) =>
      socket.on('data', () => {
        requests++;
        socket.resetAndDestroy();
      }),
    );
    const { web, payments } = await startPair({ app });
    const answer = await call(web, { method: 'POST', body: 'charge' });
    expect([answer.status, answer.json().error.code]).toEqual([502, 'APP_CLOSED']);
    expect(requests).toBe(1);
    expect(payments.records).toHaveLength(1);
  });

  test.each([
    ['GET', 200, 3],
    ['POST', 502, 2],
  ])('the keep-alive race: a %s on a used connection that dies unanswered ends as %i', async (method, status, seen) => {
    let requests = 0;
    const app = await startRawApp((socket) => {
      let first = true;
      socket.on('data', () => {
        requests++;
        if (first) socket.write(ok);
        else socket.resetAndDestroy();
        first = false;
      });
    });
    const { web } = await startPair({ app });
    expect((await call(web)).status).toBe(200);
    expect((await call(web, { method, ...(method === 'POST' && { body: '' }) })).status).toBe(status);
    expect(requests).toBe(seen);
  });

  test('a fresh connection that dies unanswered is not tried again, whatever the method', async () => {
    let requests = 0;
    const app = await startRawApp((socket) =>
      socket.on('data', () => {
        requests++;
        socket.resetAndDestroy();
      }),
    );
    const { web } = await startPair({ app });
    expect((await call(web)).status).toBe(502);
    expect(requests).toBe(1);
  });
});

describe('callers that leave', () => {
  test('H35: a caller that half-closes after its request is gone: the upstream is aborted', async () => {
    const app = await startApp(() => undefined);
    const { web, payments } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    client.send(get('/'));
    const [request] = await once(app.server, 'request');
    request.on('error', () => undefined);
    client.socket.end();
    await client.closed();
    expect((await web.recorded(1))[0]).toMatchObject({ decision: 'error', reason: 'DOWNSTREAM_CLOSED' });
    expect((await payments.recorded(1))[0]).toMatchObject({ decision: 'error', reason: 'DOWNSTREAM_CLOSED' });
    expect(web.plane.describe()).toMatchObject({ exchanges: 0, connections: { outbound: 0 } });
  });

  test('H35: a caller that resets in the middle of its body aborts the upstream', async () => {
    const app = await startApp(() => undefined);
    const { web, payments } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('POST / HTTP/1.1\r\nhost: payments\r\ncontent-length: 100\r\n\r\nhalf');
    const [request] = await once(app.server, 'request');
    request.on('error', () => undefined);
    const aborted = new Promise((resolve) => request.once('close', resolve));
    client.socket.resetAndDestroy();
    await aborted;
    expect(request.complete).toBe(false);
    expect((await web.recorded(1))[0]).toMatchObject({ decision: 'error', reason: 'DOWNSTREAM_CLOSED', bytesIn: 4 });
    expect((await payments.recorded(1))[0]).toMatchObject({ decision: 'error', reason: 'DOWNSTREAM_CLOSED' });
  });

  test('H35: a caller that resets in the middle of the response aborts the upstream', async () => {
    const app = await startApp((_, response) => void response.write('first'));
    const { web, payments } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    client.send(get('/'));
    await client.until(/first/);
    client.socket.resetAndDestroy();
    expect((await web.recorded(1))[0]).toMatchObject({ reason: 'DOWNSTREAM_CLOSED', bytesOut: 5 });
    expect((await payments.recorded(1))[0]).toMatchObject({ reason: 'DOWNSTREAM_CLOSED' });
    expect(web.plane.describe()).toMatchObject({ exchanges: 0 });
    expect(payments.plane.describe()).toMatchObject({ exchanges: 0 });
  });
});
