import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { allow, call, idOf, openRaw, startApp, startPair, startRawApp } from '../helpers/mesh.ts';

const get = (version = '1.1') => `GET / HTTP/${version}\r\nhost: payments\r\n\r\n`;

describe('nothing leaks between exchanges', () => {
  test('a request that is cut while it waits for a connection gives its place back', async () => {
    const app = await startApp((_, response) => void response.write('first'));
    const { web, setRules } = await startPair({ app, webLimits: { poolConnections: 1, poolPendingMs: 2_000 } });
    const running = await openRaw(web.addresses.outbound.port);
    const request = once(app.server, 'request');
    running.send(get());
    const [, response] = await request;
    await running.until(/first/);
    const waiting = await openRaw(web.addresses.outbound.port);
    waiting.send(get());
    for (let count = 0; count < 3; count++) {
      const gone = await openRaw(web.addresses.outbound.port);
      gone.send(get());
      gone.socket.end();
      await gone.closed();
    }
    response.end('last');
    await running.until(/last/);
    await waiting.until(/first/);
    setRules();
    await waiting.closed();
    setRules(allow('web', 'payments'));
    const again = await openRaw(web.addresses.outbound.port);
    again.send(get());
    await again.until(/first/);
  });

  test.each([
    ['http/1.1', 'to the other proxy', 'UPSTREAM_OVERLOADED'],
    ['h2', 'to the application', 'APP_OVERLOADED'],
  ] as const)('no more wait for a connection than may, and none longer: over %s %s', async (protocol, _, code) => {
    const app = await startApp((_, response) => void response.write('first'));
    const limits = { poolConnections: 1, poolPending: 1, poolPendingMs: 200 };
    const isLink = code === 'UPSTREAM_OVERLOADED';
    const { web, payments } = await startPair({
      app,
      linkProtocols: [protocol],
      ...(isLink ? { webLimits: limits } : { paymentsLimits: limits }),
    });
    const running = await openRaw(web.addresses.outbound.port);
    running.send(get());
    await running.until(/first/);
    const answers = await Promise.all([call(web), call(web)]);
    expect(answers.map(({ status }) => status)).toEqual([503, 503]);
    expect(answers[0].json().error.code).toBe(code);
    const metrics = (isLink ? web : payments).metrics.render();
    expect(metrics).toContain('postern_limits_total{limit="pool-pending"} 1');
    expect(metrics).toContain('postern_limits_total{limit="pool-pending-time"} 1');
  });

  test('a local connection that outlives a certificate speaks with the new one', async () => {
    const { pki, web } = await startPair({ app: await startApp((_, response) => response.end('ok')) });
    const client = await openRaw(web.addresses.outbound.port);
    client.send(get());
    await client.until(/ok$/);
    const next = pki.identity(idOf('web'));
    web.plane.setIdentity(next);
    client.send(get());
    await client.until(/ok[\s\S]*ok$/);
    expect((await web.recorded(2)).map(({ serial }) => serial)).toEqual([web.identity.serial, next.serial]);
  });

  test('one connection serves one caller after the other', async () => {
    const app = await startApp((_, response) => response.end('ok'));
    const { web, payments } = await startPair({ app });
    for (let count = 0; count < 5; count++) await call(web);
    expect(app.accepts()).toBe(1);
    expect(payments.metrics.render()).toContain('postern_connections_total{listener="inbound"} 1');
  });

  test('an application that closes at once is not asked for ever', async () => {
    const app = await startRawApp((socket) => socket.destroy());
    const { web } = await startPair({ app });
    expect((await call(web)).status).toBe(502);
    expect(app.accepts()).toBeLessThanOrEqual(2);
  });

  test('an HTTP/1.0 caller gets a body of unknown length until the connection closes', async () => {
    const app = await startApp((_, response) => {
      response.write('one ');
      response.end('two');
    });
    const { web } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    client.send(get('1.0'));
    const text = await client.closed();
    expect(text).toMatch(/^HTTP\/1\.1 200[\s\S]*connection: close\r\n\r\none two$/);
    expect(text).not.toContain('chunked');
  });

  test('a declared upstream port is for its service, whatever Host says', async () => {
    const { web } = await startPair({
      app: await startApp((request, response) => response.end(`host=${request.headers.host}`)),
      upstreams: ['payments'],
    });
    const { port } = web.addresses.upstreams[0]!.address;
    expect((await call(web, { port, host: '127.0.0.1:9101' })).body).toContain('host=127.0.0.1:9101');
  });

  test('a forward proxy request in absolute form reaches the service', async () => {
    const { web } = await startPair({ app: await startApp((request, response) => response.end(`url=${request.url}`)) });
    expect((await call(web, { path: 'http://payments/a/../b?c' })).body).toContain('url=/b?c');
  });
});
