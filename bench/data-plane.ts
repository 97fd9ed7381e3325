// CPU a request over two hops (plain -> mTLS -> plain) of the data plane, beside a pair of node:http proxies that do nothing but forward.
import { fork } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, createServer as createHttpServer, request as requestHttp } from 'node:http';
import { createServer as createHttpsServer, Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { initAuthority } from '#ca';
import {
  formatBundle,
  type Identity,
  parseBundle,
  parseSpiffeId,
  readIdentity,
  tlsClientPolicy,
  tlsContext,
  tlsServerPolicy,
} from '#spiffe';
import type { Snapshot } from '#wire';
import { createDataPlane } from '../proxy/data-plane.ts';
import type { Bench, Figure } from './bench.ts';

interface Start {
  readonly kind: 'postern' | 'node';
  readonly side: 'web' | 'payments';
  readonly key: string;
  readonly chain: readonly string[];
  readonly bundle: string;
  readonly to: number;
}

/** The last argument of a proxy's own process. */
const asProxy = 'as-proxy';

if (process.argv.at(-1) === asProxy) process.once('message', (start: Start) => void runProxy(start));

/** Runs both pairs at 1, 64 and 256 connections. */
export async function run(): Promise<Bench> {
  return {
    title: 'Requests over two hops',
    how:
      'Plain HTTP to a first proxy, mutual TLS to a second (HTTP/2 between the Postern pair, HTTP/1.1 between the ' +
      'other), plain HTTP to the application; 1 KB answers, closed loop, 100 rules. CPU is user and ' +
      'system time of both proxy processes. The node:http pair only forwards: no identity check beyond TLS, no policy, no record.',
    figures: [...(await measure(1, 3)), ...(await measure(64, 3)), ...(await measure(256, 3))],
  };
}

async function runProxy(start: Start): Promise<void> {
  const identity = readIdentity({
    key: createPrivateKey(start.key),
    chain: start.chain.map((der) => Buffer.from(der, 'base64')),
  });
  const port = start.kind === 'postern' ? await runPostern(start, identity) : await runNode(start, identity);
  process.send!({ port });
  process.on('message', () => process.send!({ cpu: process.cpuUsage(), rss: process.memoryUsage.rss() }));
}

async function runPostern({ side, bundle, to }: Start, identity: Identity): Promise<number> {
  const loopback = { host: '127.0.0.1', port: 0 };
  let records = 0;
  const plane = createDataPlane({
    app: { host: '127.0.0.1', port: to, protocol: 'http' },
    inbound: loopback,
    outbound: loopback,
    upstreams: [],
    instance: side,
    clock: systemClock,
    log: silentLog,
    metrics: createMetrics(),
    random: Math.random,
    drainMs: 0,
    record: () => void records++,
  });
  plane.setIdentity(identity);
  const payments = 'spiffe://example.org/payments';
  const rule = (index: number) => ({
    policy: 'bench',
    id: `rule-${index}`,
    effect: 'allow' as const,
    from: ['spiffe://example.org/web'],
    to: [payments],
    methods: ['GET'],
    paths: [index === 0 ? '/charges/{id}' : `/other-${index}/{id}`],
  });
  const snapshot: Snapshot = {
    version: 1,
    revision: 1,
    service: identity.id.uri,
    bundle,
    bans: { ids: [], serials: [] },
    policy: { revision: 1, rules: Array.from({ length: 100 }, (_, index) => rule(index)), groups: {} },
    services: [
      {
        id: payments,
        hosts: ['payments'],
        ports: [],
        endpoints: [{ instance: 'p', address: `127.0.0.1:${to}`, labels: {} }],
      },
    ],
  };
  plane.applySnapshot(snapshot);
  const { inbound, outbound } = await plane.listen();
  return side === 'web' ? outbound.port : inbound.port;
}

async function runNode({ side, bundle: text, to }: Start, identity: Identity): Promise<number> {
  const bundle = parseBundle('example.org', text);
  const expect = parseSpiffeId('spiffe://example.org/payments');
  const agent = new Agent({ keepAlive: true });
  const tlsAgent = new HttpsAgent({
    keepAlive: true,
    ...tlsContext({ identity, bundle }),
    ...(tlsClientPolicy({ bundle, now: () => systemClock.now(), expect }) as object),
  });
  const forward = side === 'web' ? requestHttps : requestHttp;
  const listener: Parameters<typeof createHttpServer>[1] = (request, response) => {
    const { method, url, headers } = request;
    const onward = forward(
      {
        host: '127.0.0.1',
        port: to,
        method,
        path: url,
        headers,
        agent: side === 'web' ? tlsAgent : agent,
        servername: '',
      } as object,
      (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      },
    );
    request.pipe(onward);
  };
  const server =
    side === 'web'
      ? createHttpServer(listener)
      : createHttpsServer({ ...tlsServerPolicy, ...tlsContext({ identity, bundle }) }, listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function measure(connections: number, seconds: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  const home = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  const authority = await initAuthority({ home, trustDomain: 'example.org', clock: systemClock });
  const body = 'x'.repeat(1_024);
  const app = createHttpServer((_, response) => response.end(body));
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  const bundle = formatBundle(authority.bundle());
  const start = async (kind: Start['kind'], side: Start['side'], to: number) => {
    const id = parseSpiffeId(`spiffe://example.org/${side}`);
    const identity = authority.issueLocal({ id, ttlMs: 3_600_000, instance: side });
    const child = fork(import.meta.filename, [asProxy]);
    child.send({
      kind,
      side,
      key: identity.key.export({ format: 'pem', type: 'pkcs8' }),
      chain: identity.chain.map((der) => Buffer.from(der).toString('base64')),
      bundle,
      to,
    } satisfies Start);
    const ask = <T>(): Promise<T> =>
      new Promise((resolve) => child.once('message', (message) => resolve(message as T)));
    const { port } = await ask<{ port: number }>();
    const usage = async () => {
      const answer = ask<{ cpu: NodeJS.CpuUsage; rss: number }>();
      child.send('usage');
      return answer;
    };
    return { child, port, usage };
  };
  for (const kind of ['postern', 'node'] as const) {
    const payments = await start(kind, 'payments', (app.address() as AddressInfo).port);
    const web = await start(kind, 'web', payments.port);
    await load(web.port, connections, 1);
    const before = [await web.usage(), await payments.usage()];
    const { requests, latencies } = await load(web.port, connections, seconds);
    const after = [await web.usage(), await payments.usage()];
    const spent = after.reduce(
      (sum, { cpu }, index) => sum + cpu.user + cpu.system - before[index]!.cpu.user - before[index]!.cpu.system,
      0,
    );
    latencies.sort((a, b) => a - b);
    const at = (share: number): string => latencies[Math.floor(latencies.length * share)]!.toFixed(2);
    figures.push({
      what: `${kind === 'postern' ? 'Postern pair' : 'node:http pair'}, ${connections} connections`,
      measured:
        `${(spent / requests).toFixed(0)} us CPU a request, ${Math.round(requests / seconds)} requests/s, p50 ${at(0.5)} ms, ` +
        `p99 ${at(0.99)} ms, ${after.map(({ rss }) => Math.round(rss / 1_048_576)).join(' and ')} MB`,
    });
    web.child.kill();
    payments.child.kill();
  }
  app.close();
  app.closeAllConnections();
  authority.close();
  rmSync(home, { recursive: true, force: true });
  return figures;
}

/** Closed loop: each connection sends its next request when the answer to the last has come. */
function load(port: number, connections: number, seconds: number): Promise<{ requests: number; latencies: number[] }> {
  const latencies: number[] = [];
  const end = performance.now() + seconds * 1_000;
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, noDelay: true });
      let sentAt = 0;
      let received = '';
      const send = (): void => {
        sentAt = performance.now();
        socket.write('GET /charges/1 HTTP/1.1\r\nhost: payments\r\naccept: */*\r\nuser-agent: bench\r\n\r\n');
      };
      socket.on('connect', send);
      socket.on('error', reject);
      socket.on('data', (bytes) => {
        received += bytes.toString('latin1');
        const head = received.indexOf('\r\n\r\n');
        if (head < 0 || !(received.endsWith('\r\n0\r\n\r\n') || received.length - head - 4 === 1_024)) return;
        if (!received.startsWith('HTTP/1.1 200')) return reject(new Error(received.slice(0, 300)));
        received = '';
        const now = performance.now();
        latencies.push(now - sentAt);
        if (now < end) return send();
        socket.end();
        resolve();
      });
    });
  return Promise.all(Array.from({ length: connections }, one)).then(() => ({ requests: latencies.length, latencies }));
}
