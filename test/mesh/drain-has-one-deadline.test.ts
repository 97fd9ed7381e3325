import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { call, openRaw, openTls, startApp, startPair } from '../helpers/mesh.ts';

describe('a drain has one deadline', () => {
  test('what runs is finished, idle connections close, nothing new is taken', async () => {
    const app = await startApp((_, response) => void response.write('first'));
    const { pki, web, payments } = await startPair({ app, drainMs: 5_000 });
    const idle = await openTls({ pki, proxy: payments, identity: web.identity });
    const running = await openRaw(web.addresses.outbound.port);
    const request = once(app.server, 'request');
    running.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    const [, response] = await request;
    await running.until(/first/);
    const drained = payments.plane.drain();
    expect(payments.plane.isReady).toBe(false);
    await idle.closed();
    await expect(openTls({ pki, proxy: payments, identity: web.identity })).rejects.toThrow();
    response.end('last');
    await running.until(/last\r\n0\r\n\r\n$/);
    await drained;
    expect(payments.plane.counts).toEqual({ inbound: 0, outbound: 0 });
    expect((await payments.recorded(1))[0]).toMatchObject({ decision: 'allow', status: 200 });
  });

  test('an answer that begins while draining says that the connection closes', async () => {
    const app = await startApp(() => undefined);
    const { pki, web, payments } = await startPair({ app, drainMs: 5_000 });
    const client = await openTls({ pki, proxy: payments, identity: web.identity });
    const request = once(app.server, 'request');
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    const [, response] = await request;
    const drained = payments.plane.drain();
    response.end('ok');
    expect(await client.closed()).toMatch(/connection: close[\s\S]*ok$/);
    await drained;
  });

  test('F3: what still runs at the deadline is cut, and recorded', async () => {
    const { web, payments } = await startPair({
      app: await startApp((_, response) => void response.write('first')),
      drainMs: 200,
    });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    await client.until(/first/);
    const started = performance.now();
    await payments.plane.drain();
    expect(performance.now() - started).toBeLessThan(1_500);
    await client.closed();
    expect((await payments.recorded(1))[0]!.decision).toBe('error');
  });

  test('F3: a second call cuts now', async () => {
    const { web, payments } = await startPair({
      app: await startApp((_, response) => void response.write('first')),
      drainMs: 60_000,
    });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    await client.until(/first/);
    const drained = payments.plane.drain();
    void payments.plane.drain();
    await drained;
    await client.closed();
  });

  test('the application may still call others while it finishes what it was asked', async () => {
    const app = await startApp(() => undefined);
    const { pki, web, payments } = await startPair({ app, drainMs: 5_000 });
    payments.apply({ services: [] });
    const client = await openTls({ pki, proxy: payments, identity: web.identity });
    const request = once(app.server, 'request');
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    const [, response] = await request;
    const drained = payments.plane.drain();
    expect((await call(payments, { host: 'other' })).status).toBe(403);
    response.end('ok');
    await drained;
  });
});
