import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { call, idOf, openRaw, openTls, startApp, startPair } from '../helpers/mesh.ts';

const answering = () => startApp((_, response) => response.end('ok'));

describe('handshakes and connections are bounded', () => {
  test('T28, T33: half handshakes beyond the limit are shed at once, and records of them are bounded', async () => {
    const { web, payments } = await startPair({
      app: await answering(),
      paymentsLimits: { handshakes: 8, refusalsPerSecond: 20 },
    });
    expect((await call(web)).status).toBe(200);
    const half = await Promise.all(Array.from({ length: 100 }, () => openRaw(payments.addresses.inbound.port)));
    await Promise.all(half.slice(8).map((client) => client.closed()));
    const refused = payments.records.filter(({ reason }) => reason === 'LIMIT_HANDSHAKES');
    expect(refused.length).toBeLessThanOrEqual(20);
    const text = payments.metrics.render();
    expect(text).toContain('postern_connections_refused_total{reason="LIMIT_HANDSHAKES"} 92');
    expect(text).toContain('postern_limits_total{limit="handshakes"} 92');
    expect(text).toContain('postern_decision_records_suppressed_total 72');
    // Who is connected already does not notice.
    expect((await call(web)).status).toBe(200);
    for (const client of half) client.socket.destroy();
  });

  test('T28: whoever holds every place with half handshakes keeps nobody else out', async () => {
    const { pki, web, payments } = await startPair({ app: await answering(), paymentsLimits: { handshakes: 8 } });
    const half = await Promise.all(Array.from({ length: 8 }, () => openRaw(payments.addresses.inbound.port)));
    const other = await openTls({ pki, proxy: payments, identity: web.identity, localAddress: '127.0.0.2' });
    other.send('GET / HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n');
    expect(await other.closed()).toContain('200 OK');
    await half[0]!.closed();
    const refused = payments.records.filter(({ kind }) => kind === 'connection');
    expect(refused.map(({ reason }) => reason)).toEqual(['LIMIT_HANDSHAKES']);
    for (const client of half) client.socket.destroy();
  });

  test('the places of handshakes that failed or ended are given back', async () => {
    const { pki, web, payments } = await startPair({ app: await answering(), paymentsLimits: { handshakes: 2 } });
    for (let count = 0; count < 6; count++) {
      const bad = await openRaw(payments.addresses.inbound.port);
      bad.send('x'.repeat(20));
      await bad.closed();
      const good = await openTls({ pki, proxy: payments, identity: web.identity });
      good.socket.destroy();
      await good.closed();
    }
    expect((await call(web)).status).toBe(200);
  });

  test('connections beyond the limit are turned away', async () => {
    const { pki, web, payments } = await startPair({ app: await answering(), paymentsLimits: { connections: 2 } });
    await openTls({ pki, proxy: payments, identity: web.identity });
    await openTls({ pki, proxy: payments, identity: web.identity });
    await expect(openTls({ pki, proxy: payments, identity: web.identity })).rejects.toThrow();
    expect(payments.records.at(-1)).toMatchObject({ kind: 'connection', reason: 'LIMIT_CONNECTIONS' });
  });

  test('one service alone cannot take every place', async () => {
    const limits = { connections: 4, peerConnections: 2 };
    const { pki, web, payments } = await startPair({ app: await answering(), paymentsLimits: limits });
    const [first] = await Promise.all([
      openTls({ pki, proxy: payments, identity: web.identity }),
      openTls({ pki, proxy: payments, identity: web.identity }),
    ]);
    // The handshake itself succeeds: who it is, is known only then.
    const third = await openTls({ pki, proxy: payments, identity: web.identity });
    third.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    expect(await third.closed()).toBe('');
    expect(payments.records.at(-1)).toMatchObject({ kind: 'connection', reason: 'LIMIT_CONNECTIONS' });
    const other = await openTls({ pki, proxy: payments, identity: pki.identity(idOf('billing')) });
    other.send('GET / HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n');
    expect(await other.closed()).toContain('403 Forbidden');
    // A place given back is free for the same service.
    first.socket.destroy();
    await first.closed();
    await expect.poll(async () => (await call(web)).status).toBe(200);
  });

  test('T34: a connection made with one identity never carries a request of another', async () => {
    const peers: string[] = [];
    const app = await startApp((request, response) => {
      peers.push(request.headers['x-postern-peer'] as string);
      response.end('ok');
    });
    const { pki, web, payments } = await startPair({ app });
    for (let count = 0; count < 3; count++) {
      expect((await call(web)).status).toBe(200);
      web.plane.setIdentity(pki.identity(idOf('web')));
    }
    expect((await call(web)).status).toBe(200);
    const serials = payments.records.map(({ serial }) => serial);
    expect(new Set(serials).size).toBe(4);
    expect(peers).toEqual(Array(4).fill(idOf('web')));
  });

  test('a new identity fails no running request', async () => {
    const app = await startApp((_, response) => void response.write('first'));
    const { pki, web, payments } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    const request = once(app.server, 'request');
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    const [, response] = await request;
    await client.until(/first/);
    web.plane.setIdentity(pki.identity(idOf('web')));
    payments.plane.setIdentity(pki.identity(idOf('payments')));
    response.end('last');
    await client.until(/last\r\n0\r\n\r\n$/);
  });
});
