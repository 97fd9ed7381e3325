import { once } from 'node:events';
import { connect, constants, createSecureServer, type Http2SecureServer, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type TLSSocket } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '#base/clock';
import { parseSpiffeId, tlsClientPolicy, tlsContext, tlsServerPolicy } from '#spiffe';
import {
  allow,
  call,
  idOf,
  openRaw,
  openTls,
  type Pair,
  serviceEntry,
  startApp,
  startPair,
  startProxy,
  startRawApp,
  type TestProxy,
} from '../helpers/mesh.ts';
import { createTestPki } from '../helpers/pki.ts';
import { eventually } from '../helpers/until.ts';

const hanging = () => startApp((_, response) => void response.write('first'));
const echoing = () => startApp((request, response) => request.pipe(response));
const linksTo = ({ metrics }: TestProxy): string | undefined =>
  /^postern_connections_total\{listener="inbound"\} (\d+)$/m.exec(metrics.render())?.[1];
const open = ({ plane }: TestProxy): number => plane.counts.inbound;
const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: payments\r\n\r\n`;

/** Callers whose answers have begun. */
const running = ({ web }: Pair, paths: readonly string[]) =>
  Promise.all(
    paths.map(async (path) => {
      const client = await openRaw(web.addresses.outbound.port);
      client.send(get(path));
      await client.until(/first/);
      return client;
    }),
  );
const paths = (count: number): string[] => Array.from({ length: count }, (_, index) => `/${index}`);

describe('one link carries the exchanges of many callers', () => {
  test('requests that come before there is a link share the one that is made', async () => {
    const pair = await startPair({ app: await echoing() });
    const bodies = paths(60).map((path) => path.repeat(5_000));
    const answers = await Promise.all(bodies.map((body) => call(pair.web, { method: 'POST', body })));
    expect(answers.map(({ body }) => body.replace(/\r\n[0-9a-f]*\r\n/g, '').length > 0)).not.toContain(false);
    expect(answers.map(({ status }) => status)).toEqual(bodies.map(() => 200));
    expect(linksTo(pair.payments)).toBe('1');
    const records = await pair.payments.recorded(60);
    expect(new Set(records.map(({ connection }) => connection)).size).toBe(1);
    expect(new Set(records.map(({ id }) => id)).size).toBe(60);
    expect(records.map(({ bytesIn }) => bytesIn).sort()).toEqual(bodies.map(({ length }) => length).sort());
  });

  test('bodies that fill the window of a new link hold back nobody who waited for it', async () => {
    const pair = await startPair({ app: await echoing() });
    const body = 'x'.repeat(100_000);
    const answers = await Promise.all(paths(8).map(() => call(pair.web, { method: 'POST', body })));
    expect(answers.map(({ status }) => status)).toEqual(paths(8).map(() => 200));
  });

  test('a second one is opened only when the first one is full', async () => {
    const pair = await startPair({ app: await hanging() });
    await running(pair, paths(100));
    expect(linksTo(pair.payments)).toBe('1');
    await running(pair, paths(20));
    expect(linksTo(pair.payments)).toBe('2');
  });

  test('a policy that now denies one exchange leaves the others on its link alone', async () => {
    const pair = await startPair({ app: await hanging() });
    const [denied, allowed] = await running(pair, ['/denied', '/allowed']);
    pair.setRules(allow('web', 'payments', { paths: ['/allowed'] }));
    await denied!.closed();
    expect((await pair.web.recorded(1))[0]).toMatchObject({ decision: 'deny', path: '/denied' });
    expect((await pair.payments.recorded(1))[0]).toMatchObject({ path: '/denied' });
    expect([allowed!.socket.destroyed, open(pair.payments)]).toEqual([false, 1]);
  });

  test('a caller that leaves ends its own exchange only', async () => {
    const pair = await startPair({ app: await hanging() });
    const [leaver, stayer] = await running(pair, ['/leaver', '/stayer']);
    leaver!.socket.resetAndDestroy();
    expect((await pair.payments.recorded(1))[0]).toMatchObject({ reason: 'DOWNSTREAM_CLOSED', path: '/leaver' });
    expect([stayer!.socket.destroyed, open(pair.payments)]).toEqual([false, 1]);
  });

  test('a renewed certificate gets a link of its own, and the one before ends with its last exchange', async () => {
    const app = await startApp((request, response) => {
      response.write('first');
      if (request.url === '/new') response.end();
      else app.server.once('finish', () => response.end('last'));
    });
    const pair = await startPair({ app });
    const [old] = await running(pair, ['/old']);
    pair.web.plane.setIdentity(pair.pki.identity(idOf('web')));
    expect((await call(pair.web, { path: '/new' })).status).toBe(200);
    expect([linksTo(pair.payments), open(pair.payments)]).toEqual(['2', 2]);
    app.server.emit('finish');
    await old!.until(/last\r\n0\r\n\r\n$/);
    await eventually(
      () => open(pair.payments),
      (count) => count === 1,
    );
  });

  test('a certificate renewed while callers wait for a link costs none of them its request', async () => {
    const pair = await startPair({ app: await echoing() });
    const { port } = pair.payments.addresses.inbound;
    const gate = Promise.withResolvers<void>();
    const slow = await startRawApp(async (socket) => {
      await gate.promise;
      const onward = connectTcp({ port, host: '127.0.0.1' }).on('error', () => undefined);
      socket.pipe(onward).pipe(socket);
    });
    pair.web.apply({ services: [serviceEntry('payments', slow.port)] });
    const accepted = once(slow.server, 'connection');
    const calls = Promise.all(paths(6).map((path) => call(pair.web, { method: 'POST', path, body: path })));
    await accepted;
    await eventually(
      () => pair.web.plane.describe() as { exchanges: number },
      ({ exchanges }) => exchanges === 6,
    );
    pair.web.plane.setIdentity(pair.pki.identity(idOf('web')));
    gate.resolve();
    expect((await calls).map(({ status }) => status)).toEqual(paths(6).map(() => 200));
    expect(linksTo(pair.payments)).toBe('1');
  });

  test('a called side that drains finishes what runs on the link and takes nothing new', async () => {
    const app = await startApp((_, response) => {
      response.write('first');
      app.server.once('finish', () => response.end('last'));
    });
    const pair = await startPair({ app, drainMs: 10_000 });
    const clients = await running(pair, paths(5));
    const drained = pair.payments.plane.drain();
    await eventually(
      async () => (await call(pair.web)).status,
      (status) => status === 503,
    );
    app.server.emit('finish');
    for (const client of clients) await client.until(/last\r\n0\r\n\r\n$/);
    await drained;
    expect(pair.payments.records.map(({ decision }) => decision)).toEqual(clients.map(() => 'allow'));
  });
});

test('callers that do not read their large answers hold up nobody else', { timeout: 60_000 }, async () => {
  const piece = Buffer.alloc(65_536);
  let written = 0;
  const app = await startApp((request, response) => {
    if (request.url === '/small') return void response.end('ok');
    const more = (): void => {
      do written += piece.length;
      while (!response.destroyed && response.write(piece));
      response.once('drain', more);
    };
    more();
  });
  const pair = await startPair({ app, drainMs: 0 });
  await Promise.all(
    paths(90).map(async (path) => {
      const client = await openRaw(pair.web.addresses.outbound.port);
      client.socket.pause();
      client.send(get(path));
    }),
  );
  // Until nothing moves any more.
  let last = 0;
  await eventually(
    () => {
      const more = written - last;
      last = written;
      return more;
    },
    (more) => last > 0 && more === 0,
    { everyMs: 1_000, withinMs: 40_000 },
  );
  const started = performance.now();
  expect((await call(pair.web, { path: '/small' })).body).toBe('ok');
  expect(performance.now() - started).toBeLessThan(5_000);
});

describe('what the link speaks is agreed in the handshake', () => {
  test.each([
    [['h2', 'http/1.1'], ['h2', 'http/1.1'], 1],
    [['http/1.1'], ['h2', 'http/1.1'], 5],
    [['h2', 'http/1.1'], ['http/1.1'], 5],
    [['h2'], ['h2', 'http/1.1'], 1],
  ] as const)('%s calls %s: five callers at a time take %i', async (calling, called, links) => {
    const pki = createTestPki();
    const app = await hanging();
    const payments = await startProxy({ pki, service: 'payments', appPort: app.port, linkProtocols: called });
    const web = await startProxy({ pki, service: 'web', linkProtocols: calling });
    const policy = { revision: 2, rules: [allow('web', 'payments')], groups: {} };
    payments.apply({ policy });
    web.apply({ policy, services: [serviceEntry('payments', payments.addresses.inbound.port)] });
    await running({ web, payments } as Pair, paths(5));
    expect(linksTo(payments)).toBe(String(links));
  });

  test('sides that have no protocol in common do not speak', async () => {
    const pki = createTestPki();
    const payments = await startProxy({ pki, service: 'payments', linkProtocols: ['http/1.1'] });
    const web = await startProxy({ pki, service: 'web', linkProtocols: ['h2'] });
    const policy = { revision: 2, rules: [allow('web', 'payments')], groups: {} };
    web.apply({ policy, services: [serviceEntry('payments', payments.addresses.inbound.port)] });
    expect((await call(web)).json().error.code).toBe('UPSTREAM_CONNECT_FAILED');
    expect((await payments.recorded(1))[0]).toMatchObject({ kind: 'connection', reason: 'TLS_ALPN_UNSUPPORTED' });
  });
});

describe('HTTP/2 of others', () => {
  test('a foreign client is served, each stream with its own decision and record', async () => {
    const { pki, web, payments, setRules } = await startPair({ app: await startApp((_, answer) => answer.end('ok')) });
    setRules(allow('web', 'payments', { paths: ['/yes'] }));
    const session = connect('https://payments', {
      createConnection: () =>
        connectTls({
          ...tlsClientPolicy({
            bundle: pki.bundle,
            now: () => systemClock.now(),
            expect: parseSpiffeId(idOf('payments')),
          }),
          secureContext: createSecureContext(tlsContext({ identity: web.identity, bundle: pki.bundle })),
          host: '127.0.0.1',
          port: payments.addresses.inbound.port,
          ALPNProtocols: ['h2'],
        } as object),
    });
    onTestFinished(() => session.destroy());
    const statuses = await Promise.all(
      ['/yes', '/no'].map(async (path) => {
        const [headers] = await once(session.request({ ':path': path }), 'response');
        return (headers as Record<string, unknown>)[':status'];
      }),
    );
    expect(statuses).toEqual([200, 403]);
    const records = await payments.recorded(2);
    expect(records.map(({ path, decision }) => [path, decision]).sort()).toEqual([
      ['/no', 'deny'],
      ['/yes', 'allow'],
    ]);
  });

  test('a verified caller that breaks HTTP/2 loses its link and leaves one record of that', async () => {
    const { pki, web, payments } = await startPair({ app: await hanging() });
    const client = await openTls({ pki, proxy: payments, identity: web.identity, ALPNProtocols: ['h2'] });
    expect((client.socket as TLSSocket).alpnProtocol).toBe('h2');
    client.send(get('/').repeat(10));
    await client.closed();
    expect(payments.records).toMatchObject([{ kind: 'connection', reason: 'HTTP2_INVALID', peer: idOf('web') }]);
    expect(payments.metrics.render()).toContain('postern_link_faults_total{side="inbound",code="HTTP2_INVALID"} 1');
  });

  const foreign = async (onStream: (stream: ServerHttp2Stream, count: number, socket: Socket) => void) => {
    const pki = createTestPki();
    const identity = pki.identity(idOf('payments'));
    let count = 0;
    const server: Http2SecureServer = createSecureServer({
      ...tlsServerPolicy,
      ...tlsContext({ identity, bundle: pki.bundle }),
    });
    const sockets: Socket[] = [];
    server.on('connection', (socket: Socket) => sockets.push(socket));
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.on('error', () => undefined);
      onStream(stream, ++count, sockets.at(-1)!);
    });
    server.on('session', (session) => void session.on('error', () => undefined));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const web = await startProxy({ pki, service: 'web' });
    onTestFinished(() => void server.close());
    web.apply({
      policy: { revision: 2, rules: [allow('web', 'payments')], groups: {} },
      services: [serviceEntry('payments', (server.address() as AddressInfo).port)],
    });
    return { web, seen: () => count };
  };
  const answer = (stream: ServerHttp2Stream): void => {
    stream.respond({ ':status': 200 });
    stream.end('ok');
  };

  test.each([
    ['GET', 1, 200, 2],
    ['POST', 1, 200, 2],
    // At once again, then as often as routes try by default.
    ['GET', 9, 502, 4],
  ])(
    'H38: a %s that the called side refuses %i times ends as %i after %i tries',
    async (method, times, status, tries) => {
      const { web, seen } = await foreign((stream, count) =>
        count <= times ? stream.close(constants.NGHTTP2_REFUSED_STREAM) : answer(stream),
      );
      expect((await call(web, { method })).status).toBe(status);
      expect(seen()).toBe(tries);
      expect((await web.recorded(1)).length).toBe(1);
    },
  );

  test.each([
    ['GET', 200, 3],
    ['POST', 502, 2],
  ])('H38: a %s on a link that has served and dies unanswered ends as %i', async (method, status, tries) => {
    const { web, seen } = await foreign((stream, count, socket) => {
      if (count === 2) socket.destroy();
      else answer(stream);
    });
    expect((await call(web)).status).toBe(200);
    expect((await call(web, { method })).status).toBe(status);
    expect(seen()).toBe(tries);
  });

  test('H38: requests above the last stream of a GOAWAY are sent again, the others are not', async () => {
    const { web, seen } = await foreign((stream, count) => {
      if (count > 1) return answer(stream);
      stream.session!.goaway(constants.NGHTTP2_NO_ERROR, stream.id!);
      setTimeout(() => answer(stream), 50);
    });
    const answers = await Promise.all([call(web), call(web), call(web)]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(seen()).toBeGreaterThanOrEqual(3);
  });
});
