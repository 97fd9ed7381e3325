import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { readIdentity } from '#spiffe';
import {
  allow,
  idOf,
  openRaw,
  openTls,
  serviceEntry,
  startApp,
  startPair,
  startProxy,
  startRawApp,
} from '../helpers/mesh.ts';
import { createTestPki, san, uri } from '../helpers/pki.ts';

const answering = () => startApp((_, response) => response.end('ok'));
const post = (length: number) => `POST / HTTP/1.1\r\nhost: payments\r\ncontent-length: ${length}\r\n\r\n`;

/** Runs until the connection closes; the milliseconds that took must lie within half a second above the limit. */
async function closesAfter(limit: number, closed: Promise<string>): Promise<string> {
  const started = performance.now();
  const text = await closed;
  const ms = performance.now() - started;
  expect(ms).toBeGreaterThan(limit * 0.5);
  expect(ms).toBeLessThan(limit + 1_000);
  return text;
}

describe('time', () => {
  test('H30: a head that comes too slowly is answered 408 and closed', async () => {
    const { web } = await startPair({ app: await answering(), webLimits: { headMs: 300 } });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET / HTTP/1.1\r\nhost: pay');
    const drip = setInterval(() => client.send('a'), 50);
    expect(await closesAfter(300, client.closed())).toMatch(/^HTTP\/1\.1 408 /);
    clearInterval(drip);
    expect((await web.recorded(1))[0]).toMatchObject({ decision: 'error', reason: 'HTTP_TIMEOUT', status: 408 });
    expect(web.metrics.render()).toContain('postern_limits_total{limit="head"} 1');
  });

  test('H30: a body that comes too slowly ends the exchange', async () => {
    const { web, payments } = await startPair({ app: await startApp(() => undefined), webLimits: { bodyMs: 300 } });
    const client = await openRaw(web.addresses.outbound.port);
    client.send(post(1_000_000));
    const drip = setInterval(() => client.send('a'), 50);
    expect(await closesAfter(300, client.closed())).toMatch(/^HTTP\/1\.1 408 /);
    clearInterval(drip);
    expect((await web.recorded(1))[0]).toMatchObject({ decision: 'error', reason: 'HTTP_TIMEOUT' });
    await payments.recorded(1);
  });

  test('H30: a caller that does not read is cut', async () => {
    const app = await startRawApp((socket) => {
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n'));
      const more = (): void => {
        if (!socket.destroyed && socket.write(Buffer.alloc(65_536))) setImmediate(more);
        else socket.once('drain', more);
      };
      socket.once('data', more);
    });
    const { web } = await startPair({ app, webLimits: { writeMs: 300 } });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    client.socket.pause();
    expect((await web.recorded(1))[0]).toMatchObject({ reason: 'HTTP_TIMEOUT', status: 200 });
    expect(web.metrics.render()).toContain('postern_limits_total{limit="write"} 1');
  });

  test('an application that falls silent within its answer is cut, one that is slow is not', async () => {
    const app = await startRawApp((socket) =>
      socket.on('data', async (bytes) => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n');
        if (bytes.includes('/silent')) return;
        for (const piece of 'slowly') {
          await wait(150);
          socket.write(piece);
        }
      }),
    );
    const { web, payments } = await startPair({ app, paymentsLimits: { streamMs: 400 } });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET /slow HTTP/1.1\r\nhost: payments\r\n\r\n');
    await client.until(/slowly$/);
    client.send('GET /silent HTTP/1.1\r\nhost: payments\r\n\r\n');
    await closesAfter(400, client.closed());
    expect(await payments.recorded(2)).toMatchObject([
      { decision: 'allow', status: 200, bytesOut: 6 },
      { decision: 'error', reason: 'APP_TIMEOUT', status: 200, bytesOut: 0 },
    ]);
  });

  test('H30: an idle keep-alive connection is closed', async () => {
    const { web } = await startPair({ app: await answering(), webLimits: { idleMs: 300 } });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    await client.until(/ok$/);
    await closesAfter(300, client.closed());
    expect(web.records).toHaveLength(1);
  });

  test('a connection is cut when either identity expires, and takes nothing shortly before', async () => {
    const pki = createTestPki();
    const app = await startApp((_, response) => void response.write('first'));
    const short = (service: string) => {
      const now = Date.now();
      return readIdentity(
        pki.leaf({ san: san([uri(idOf(service))], true), notBefore: now - 60_000, notAfter: now + 5_000 }),
      );
    };
    const payments = await startProxy({ pki, service: 'payments', appPort: app.port });
    const policy = { revision: 2, rules: [allow('web', 'payments')], groups: {} };
    payments.apply({ policy });
    const web = await startProxy({ pki, service: 'web', identity: short('web') });
    web.apply({ policy, services: [serviceEntry('payments', payments.addresses.inbound.port)] });
    const idle = await openTls({ pki, proxy: payments, identity: web.identity });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    await client.until(/first/);
    // The idle one goes when the last fifth of the life begins; the busy one only when that is over.
    await idle.closed();
    expect(Date.now()).toBeLessThan(web.identity.notAfter);
    expect(client.socket.destroyed).toBe(false);
    await client.closed();
    expect(Date.now()).toBeGreaterThanOrEqual(web.identity.notAfter - 1_000);
    expect(Date.now()).toBeLessThan(web.identity.notAfter + 1_000);
  });
});

describe('size', () => {
  test('H36: a body of 200 MB goes through in pieces, both ways, and memory stays flat', async () => {
    const total = 200 * 1_024 * 1_024;
    const app = await startApp((request, response) => request.pipe(response));
    const { web } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    client.socket.removeAllListeners('data');
    let received = 0;
    let mostRss = 0;
    const before = process.memoryUsage.rss();
    const done = new Promise<void>((resolve) => {
      client.socket.on('data', (bytes) => {
        received += bytes.length;
        mostRss = Math.max(mostRss, process.memoryUsage.rss());
        if (received > total) resolve();
      });
    });
    client.send('POST / HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n');
    const piece = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536, 'x'), Buffer.from('\r\n')]);
    for (let sent = 0; sent < total; sent += 65_536)
      if (!client.socket.write(piece)) await once(client.socket, 'drain');
    client.send('0\r\n\r\n');
    await done;
    expect(mostRss - before).toBeLessThan(150 * 1_024 * 1_024);
    const [record] = await web.recorded(1);
    expect(record).toMatchObject({ bytesIn: total, bytesOut: total, status: 200 });
  });

  test('a caller that does not read holds the application back', async () => {
    let sent = 0;
    const app = await startRawApp((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n');
        const more = (): void => {
          sent += 65_536;
          if (socket.write(Buffer.alloc(65_536))) setImmediate(more);
          else socket.once('drain', more);
        };
        more();
      });
    });
    const { web } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    client.socket.pause();
    // Wait until nothing has moved for a while.
    for (let last = -1; last !== sent; ) {
      last = sent;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(sent).toBeGreaterThan(0);
    // What two kernels' sockets hold on three hops, and our own bounds.
    expect(sent).toBeLessThan(40 * 1_024 * 1_024);
    client.socket.resume();
    await new Promise((resolve) => client.socket.once('data', resolve));
  });

  test('H33: 1,000 pipelined requests come back in order over both hops', async () => {
    const app = await startApp((request, response) => response.end(`<${request.url}>`));
    const { web } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    client.send(
      Array.from({ length: 1_000 }, (_, index) => `GET /${index} HTTP/1.1\r\nhost: payments\r\n\r\n`).join(''),
    );
    const text = await client.until(/<\/999>/);
    expect(text.match(/<\/\d+>/g)).toEqual(Array.from({ length: 1_000 }, (_, index) => `</${index}>`));
  });

  test('H31: Expect: 100-continue is passed on, and its answer passed back', async () => {
    const app = await startApp((request, response) => request.pipe(response));
    const { web } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('POST / HTTP/1.1\r\nhost: payments\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n');
    await client.until(/^HTTP\/1\.1 100 Continue\r\n\r\n$/);
    client.send('body');
    await client.until(/200 OK[\s\S]*body/);
  });

  test('H31: an early refusal of an expected body closes the connection', async () => {
    const { web } = await startPair({ app: await answering(), rules: [] });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('POST / HTTP/1.1\r\nhost: payments\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n');
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 403 [\s\S]*connection: close/);
  });

  test('a refused request with a small body keeps its connection', async () => {
    const { web } = await startPair({
      app: await answering(),
      rules: [allow('web', 'payments', { methods: ['GET'] })],
    });
    const client = await openRaw(web.addresses.outbound.port);
    client.send(`${post(5)}hello`);
    await client.until(/403 Forbidden[\s\S]*\}\n/);
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    await client.until(/200 OK[\s\S]*ok$/);
  });

  test('H11: trailers that nobody decided on are dropped, others arrive', async () => {
    const app = await startApp((request, response) => {
      request.resume();
      request.on('end', () => response.end(JSON.stringify(request.trailers)));
    });
    const { web } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    const trailers = 'Host: b\r\nAuthorization: x\r\nX-Postern-Peer: y\r\nCookie: z\r\nX-Sum: 1\r\n';
    client.send(
      `POST / HTTP/1.1\r\nhost: payments\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n${trailers}\r\n`,
    );
    expect(await client.until(/\}/)).toContain('{"x-sum":"1"}');
  });
});
