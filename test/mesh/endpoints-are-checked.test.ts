import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ClusterEntry, HealthCheck } from '#wire';
import { type ClusterCaller, type ClusterCallerOptions, startClusterCaller } from '../helpers/cluster-call.ts';
import { startApp, startRawApp } from '../helpers/mesh.ts';
import { startNameServer } from '../helpers/name-server.ts';
import { createOutsideCa, startHttps } from '../helpers/outside-server.ts';
import { eventually } from '../helpers/until.ts';

const quick = { interval: '100ms', timeout: '2s' } as const;

const checked = (
  healthCheck: HealthCheck,
  addresses: readonly string[],
  more: Partial<ClusterEntry> = {},
): ClusterEntry => ({
  name: 'outside',
  id: 'spiffe://example.org/outside',
  endpoints: { static: addresses },
  loadBalancing: { panicThreshold: '0%' },
  healthCheck: { ...quick, ...healthCheck },
  ...more,
});

function start(entry: ClusterEntry, o: ClusterCallerOptions = {}): ClusterCaller {
  const caller = startClusterCaller(o);
  caller.configure({ clusters: [entry] });
  return caller;
}

const healthOf = (caller: ClusterCaller): readonly string[] =>
  caller.clusters
    .get('outside')!
    .live.describe()
    .endpoints.map(({ health }) => health);
const becomes = (caller: ClusterCaller, ...wanted: readonly string[]) =>
  eventually(
    () => healthOf(caller),
    (found) => found.join() === wanted.join(),
    { everyMs: 10 },
  );
const answered = (caller: ClusterCaller, count: number) =>
  eventually(
    () => caller.checks.length,
    (found) => found >= count,
    { everyMs: 10 },
  );
const http = (more: Partial<NonNullable<HealthCheck['http']>> = {}): HealthCheck => ({
  http: { path: '/healthz', ...more },
});

describe('a check by HTTP', () => {
  test('asks the path with the host of the cluster, and takes an endpoint out and in again by thresholds', async () => {
    let good = true;
    const seen: (string | undefined)[][] = [];
    const app = await startApp((request, response) => {
      seen.push([request.method, request.url, request.headers.host, request.headers['user-agent']]);
      response.writeHead(good ? 204 : 503).end();
    });
    const address = `127.0.0.1:${app.port}`;
    const caller = start(
      checked({ ...http(), unhealthyThreshold: 3, healthyThreshold: 2 }, [address], { hosts: ['api.example'] }),
    );
    await answered(caller, 2);
    expect(seen[0]).toEqual(['GET', '/healthz', 'api.example', 'postern-health-check']);
    expect(healthOf(caller)).toEqual(['healthy']);
    good = false;
    await becomes(caller, 'unhealthy');
    const failed = caller.checks.filter((reason) => reason !== undefined);
    expect(failed).toEqual(['it answered 503', 'it answered 503', 'it answered 503']);
    good = true;
    const before = caller.checks.length;
    await becomes(caller, 'healthy');
    expect(caller.checks.length).toBeGreaterThanOrEqual(before + 2);
    expect(caller.health).toEqual([
      { address, reason: 'it answered 503' },
      { address, reason: undefined },
    ]);
  });

  test('sends requests to healthy endpoints only', async () => {
    const bad = await startApp((_, response) => response.writeHead(500).end('bad'));
    const good = await startApp((_, response) => response.end('good'));
    const caller = start(checked(http(), [`127.0.0.1:${bad.port}`, `127.0.0.1:${good.port}`]));
    await becomes(caller, 'unhealthy', 'healthy');
    for (let call = 0; call < 20; call++) expect(await caller.call('outside')).toMatchObject({ body: 'good' });
  });

  test('believes the first answer by itself, whatever the thresholds', async () => {
    const app = await startApp((_, response) => response.writeHead(500).end());
    const entry = checked({ ...http(), unhealthyThreshold: 100 }, [`127.0.0.1:${app.port}`]);
    const caller = start(entry);
    expect(healthOf(caller)).toEqual(['healthy']);
    await becomes(caller, 'unhealthy');
    expect(caller.checks[0]).toBe('it answered 500');
  });

  test('takes the statuses that it expects and no others', async () => {
    const app = await startApp((_, response) => response.writeHead(418).end());
    const address = `127.0.0.1:${app.port}`;
    const teapot = start(checked(http({ expect: [418] }), [address]));
    await answered(teapot, 2);
    expect(healthOf(teapot)).toEqual(['healthy']);
    await becomes(start(checked(http({ expect: [200] }), [address])), 'unhealthy');
  });

  test('K9: fails an endpoint that says 200 and is cut before its answer ends', async () => {
    const app = await startRawApp((socket) =>
      socket.on('data', () => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf');
        setImmediate(() => socket.resetAndDestroy());
      }),
    );
    await becomes(start(checked(http(), [`127.0.0.1:${app.port}`])), 'unhealthy');
  });

  test.each([
    ['never answers', () => undefined],
    ['trickles its answer for ever', (socket: Socket) => void socket.write('HTTP/1.1 200 OK\r\nx-')],
    [
      'never ends its body',
      (socket: Socket) => {
        socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
        const timer = setInterval(() => socket.write('1\r\nx\r\n'), 20);
        socket.on('close', () => clearInterval(timer));
      },
    ],
    [
      'floods',
      (socket: Socket) => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n');
        socket.write(Buffer.alloc(1_000_000));
      },
    ],
    ['speaks something else', (socket: Socket) => void socket.write('220 mail.example ESMTP\r\n')],
  ])('fails an endpoint that %s, within its time and with one connection at a time', async (_, onData) => {
    let open = 0;
    let most = 0;
    const app = await startRawApp((socket) => {
      most = Math.max(most, ++open);
      socket.on('close', () => open--);
      socket.once('data', () => onData(socket));
    });
    const caller = start(checked({ ...http(), timeout: '150ms' }, [`127.0.0.1:${app.port}`]));
    await becomes(caller, 'unhealthy');
    await answered(caller, 3);
    expect(most).toBe(1);
  });

  test('fails an endpoint where nobody listens, and says why', async () => {
    const app = await startApp((_, response) => response.end());
    app.server.close();
    const caller = start(checked(http(), [`127.0.0.1:${app.port}`]));
    await becomes(caller, 'unhealthy');
    expect(caller.checks[0]).toMatch(/the connection was refused/);
  });

  test('goes over TLS where the cluster does, and fails on a certificate that is not good', async () => {
    const ca = createOutsideCa();
    const [good, wrong] = [await startHttps(ca.issue(['api.example'])), await startHttps(ca.issue(['other.example']))];
    const more = { hosts: ['api.example'], tls: { ca: ca.pem } };
    const caller = start(checked(http(), [good.address, wrong.address], more));
    await becomes(caller, 'healthy', 'unhealthy');
    expect(caller.health.at(-1)?.reason).toMatch(/not for api\.example/);
  });

  test('lets so many run at a time and no more', async () => {
    let open = 0;
    let most = 0;
    const app = await startApp((_, response) => {
      most = Math.max(most, ++open);
      setTimeout(() => {
        open--;
        response.end();
      }, 20);
    });
    const addresses = Array.from({ length: 12 }, (_, at) => `127.0.0.${at + 1}:${app.port}`);
    const caller = start(checked({ ...http(), interval: '10ms' }, addresses), { mostChecks: 3 });
    await answered(caller, 30);
    expect(most).toBeLessThanOrEqual(3);
  });

  test('ends when configuration takes it, its endpoint or its cluster away', async () => {
    let asked = 0;
    const app = await startApp((_, response) => {
      asked++;
      response.writeHead(500).end();
    });
    const address = `127.0.0.1:${app.port}`;
    const caller = start(checked(http(), [address]));
    await becomes(caller, 'unhealthy');
    const { healthCheck: _, ...unchecked } = checked({}, [address]);
    caller.configure({ clusters: [unchecked] });
    expect(healthOf(caller)).toEqual(['healthy']);
    const before = asked;
    const other = await startApp((_, response) => response.end());
    caller.configure({ clusters: [checked(http(), [`127.0.0.1:${other.port}`])] });
    await answered(caller, caller.checks.length + 3);
    // One may have been on its way.
    expect(asked).toBeLessThanOrEqual(before + 1);
  });
});

describe('a check by gRPC', () => {
  const plain = (bytes: Buffer): Buffer => bytes;
  const health: ServiceDefinition = {
    Check: {
      path: '/grpc.health.v1.Health/Check',
      requestStream: false,
      responseStream: false,
      requestSerialize: plain,
      requestDeserialize: plain,
      responseSerialize: plain,
      responseDeserialize: plain,
    },
  };

  async function startGrpc(answer: (service: string) => Buffer | undefined): Promise<string> {
    const server = new Server();
    server.addService(health, {
      Check(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
        const { request } = call;
        const found = answer(request.length > 3 ? request.toString('utf8', request.length > 130 ? 3 : 2) : '');
        if (found) done(null, found);
        else done({ code: status.NOT_FOUND });
      },
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    onTestFinished(() => server.forceShutdown());
    return `127.0.0.1:${port}`;
  }
  const grpc = (service?: string): HealthCheck => ({ grpc: { ...(service !== undefined && { service }) } });
  const [serving, notServing] = [Buffer.of(0x08, 1), Buffer.of(0x08, 2)];

  test('follows what a real server says of the whole of it', async () => {
    let now = serving;
    const asked: string[] = [];
    const address = await startGrpc((service) => {
      asked.push(service);
      return now;
    });
    const caller = start(checked(grpc(), [address], { protocol: 'h2c' }));
    await answered(caller, 2);
    expect(asked[0]).toBe('');
    expect(healthOf(caller)).toEqual(['healthy']);
    now = notServing;
    await becomes(caller, 'unhealthy');
    expect(caller.checks.at(-1)).toBe('it is not serving');
    now = serving;
    await becomes(caller, 'healthy');
  });

  test('asks for one service by its name', async () => {
    const name = `shop.${'v'.repeat(150)}`;
    const address = await startGrpc((service) => (service === name ? serving : undefined));
    const known = start(checked(grpc(name), [address], { protocol: 'h2c' }));
    await answered(known, 2);
    expect(healthOf(known)).toEqual(['healthy']);
    const unknown = start(checked(grpc('other'), [address], { protocol: 'h2c' }));
    await becomes(unknown, 'unhealthy');
    expect(unknown.checks[0]).toBe('it answered 200 with the gRPC status 5');
  });

  test.each([
    ['an empty message', Buffer.alloc(0)],
    ['a frame that is cut', Buffer.of(0, 0, 0, 0, 9, 8, 1)],
    ['a compressed frame', Buffer.of(1, 0, 0, 0, 2, 8, 1)],
    ['a varint without end', Buffer.of(0, 0, 0, 0, 3, 8, 255, 255)],
  ])('fails an endpoint that answers with %s', async (_, body) => {
    const server = createHttp2Server();
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    await becomes(start(checked(grpc(), [`127.0.0.1:${port}`], { protocol: 'h2c' })), 'unhealthy');
  });
});

test('a check by TCP only wants the connection to be taken', async () => {
  const app = await startRawApp(() => undefined);
  const caller = start(checked({ tcp: {} }, [`127.0.0.1:${app.port}`], { protocol: 'tcp' }));
  await answered(caller, 2);
  expect(healthOf(caller)).toEqual(['healthy']);
  app.server.close();
  await becomes(caller, 'unhealthy');
});

test('service records of a lower priority are used while none of a higher one is healthy', async () => {
  let good = true;
  const first = await startApp((_, response) => response.writeHead(good ? 200 : 500).end('first'));
  const second = await startApp((_, response) => response.end('second'));
  const server = await startNameServer({
    '_shop._tcp.example': [
      { target: 'a.example', port: first.port, priority: 1 },
      { target: 'a.example', port: second.port, priority: 2 },
    ],
    'a.example': ['127.0.0.1'],
  });
  const dns = { dns: { name: '_shop._tcp.example', type: 'srv' } } as const;
  const caller = start(checked(http(), [], { endpoints: dns }), {
    nameServers: [server.address],
    hostsFile: '/nowhere',
  });
  const serves = (name: string) =>
    eventually(
      async () => (await caller.call('outside').catch(() => ({ body: '' }))).body,
      (body) => body === name,
    );
  await serves('first');
  good = false;
  await serves('second');
  good = true;
  await serves('first');
});

test('a check that makes no sense is refused with the configuration', () => {
  const caller = startClusterCaller();
  const configure = (check: HealthCheck) => caller.configure({ clusters: [checked(check, ['127.0.0.1:1'])] });
  expect(() => configure({})).toThrow(/not exactly one/);
  expect(() => configure({ ...http(), tcp: {} })).toThrow(/not exactly one/);
  expect(() => configure({ ...http(), interval: '0s' })).toThrow(/above nothing/);
});
