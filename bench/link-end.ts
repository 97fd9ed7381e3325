// One end of the link for bench/link.ts, as a process of its own: `server KIND` or `client KIND PORT CONCURRENCY ROUNDS`.
import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { createAuthorityParser } from '../proxy/authority.ts';
import { Connection, createTurn } from '../proxy/connection.ts';
import { fail } from '../proxy/errors.ts';
import { type Downstream, Exchange, type Upstream } from '../proxy/exchange.ts';
import { Http2Upstream } from '../proxy/http2/client.ts';
import { Http2Downstream } from '../proxy/http2/server.ts';
import { defaultLimits as limits } from '../proxy/limits.ts';
import { canonicalHead, type RequestHead } from '../proxy/request-head.ts';

export interface Credentials {
  readonly key: string;
  readonly chain: string;
  readonly roots: string;
}

export interface Report {
  readonly micros: number;
}

const [role, kind, port, concurrency, rounds] = process.argv.slice(2);
const [credentials] = (await once(process, 'message')) as [Credentials];
const { key, chain: cert, roots: ca } = credentials;
const tls = {
  key,
  cert,
  ca,
  minVersion: 'TLSv1.3',
  rejectUnauthorized: true,
  requestCert: true,
  ALPNProtocols: ['h2'],
} as const;
const monotonic = (): number => performance.now();
const turn = createTurn();
const body = Buffer.alloc(1_024, 'x');

// Headers as applications send them: most the same each time, some never.
const fixed = [
  'user-agent',
  'bench/1.0 (link)',
  'accept',
  'application/json',
  'accept-encoding',
  'gzip, deflate, br',
  'x-tenant',
  'acme-industries',
  'x-forwarded-proto',
  'https',
  'x-forwarded-for',
  '10.1.2.3',
  'cache-control',
  'no-cache',
];
const answered = [
  'content-type',
  'application/json; charset=utf-8',
  'server',
  'bench',
  'x-served-by',
  'instance-1',
  'vary',
  'accept-encoding',
];
let count = 0;
const traced = (): string => `00-4bf92f3577b34da6a3ce929d0e0e4736-${(count++).toString(16).padStart(16, '0')}-01`;

if (role === 'server') await serve();
else await call();

async function serve(): Promise<void> {
  const server = kind === 'ours' ? createServer(tls, serveOurs) : http2.createSecureServer(tls, serveNode);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.send!({ port: (server.address() as AddressInfo).port });
  let before = process.cpuUsage();
  process.on('message', (text) => {
    if (text === 'begin') before = process.cpuUsage();
    process.send!({ micros: since(before) });
  });
}

function serveOurs(socket: TLSSocket): void {
  const connection = new Connection({ id: 's', socket, turn, bufferBytes: limits.bufferBytes });
  const parse = { parseAuthority: createAuthorityParser() };
  const inert: Upstream = { data: () => true, end() {}, abort() {}, pauseResponse() {}, resumeResponse() {} };
  new Http2Downstream({
    connection,
    limits,
    monotonic,
    onRequest(raw, downstream) {
      const exchange = new Exchange({
        head: canonicalHead(raw, parse),
        downstream,
        responseFields: (fields) => fields,
        clock: { monotonic },
      });
      void exchange.relay((running) => {
        running.responseHead({ status: 200, reason: '', fields: [...answered, 'date', stamp()], length: body.length });
        running.responseData(body);
        running.responseEnd([]);
        return inert;
      });
      return exchange;
    },
    onInvalid: (fault) => complain(fault),
    onClosed() {},
    onLimit: (limit) => complain(new Error(limit)),
    onFault: (fault) => complain(fault),
  });
}

function serveNode(_: http2.Http2ServerRequest, response: http2.Http2ServerResponse): void {
  const { stream } = response;
  const headers: Record<string, string | number> = { ':status': 200, 'content-length': body.length };
  for (let at = 0; at < answered.length; at += 2) headers[answered[at]!] = answered[at + 1]!;
  stream.respond({ ...headers, date: stamp() });
  stream.end(body);
}

async function call(): Promise<void> {
  const once = kind === 'ours' ? await callOurs() : await callNode();
  await repeat(once, 10_000);
  process.send!({ ready: true });
  process.once('message', async () => {
    const before = process.cpuUsage();
    await repeat(once, Number(rounds));
    process.send!({ micros: since(before) });
  });
}

async function callOurs(): Promise<() => Promise<void>> {
  const socket = connect({ ...tls, port: Number(port), host: '127.0.0.1', checkServerIdentity: () => undefined });
  await once(socket, 'secureConnect');
  const connection = new Connection({ id: 'c', socket, turn, bufferBytes: limits.bufferBytes });
  const upstream = new Http2Upstream({
    connection,
    limits,
    // More streams at a time than a server takes are a second link in the data plane; here there is one.
    scheme: 'https',
    responseMs: 60_000,
    idleMs: 60_000,
    monotonic,
    faultOf: () => fail('APP_CLOSED'),
    onRoom() {
      while (upstream.room > 0 && waiting.length > 0) waiting.shift()!();
    },
    onGone() {},
    onLimit() {},
    onFault: (fault) => complain(fault),
  });
  const waiting: (() => void)[] = [];
  return () => {
    const head: RequestHead = {
      method: 'GET',
      authority: 'payments.bench.test',
      host: 'payments.bench.test',
      path: '/v1/charges/1234',
      query: '',
      fields: [...fixed, 'x-request-id', String(count), 'traceparent', traced()],
      length: 0,
      expectsContinue: false,
      tunnel: undefined,
    };
    const downstream: Downstream = {
      inform() {},
      head() {},
      data: () => true,
      end() {},
      abort() {},
      pauseRequest() {},
      resumeRequest() {},
    };
    const exchange = new Exchange({ head, downstream, responseFields: (fields) => fields, clock: { monotonic } });
    const start = async (): Promise<void> =>
      void (await exchange.relay((running) => upstream.start(running, head.fields)));
    if (upstream.room > 0) return start();
    return new Promise((resolve) => waiting.push(() => resolve(start())));
  };
}

async function callNode(): Promise<() => Promise<void>> {
  const session = http2.connect(`https://127.0.0.1:${port}`, { ...tls, checkServerIdentity: () => undefined });
  await once(session, 'connect');
  return () =>
    new Promise((resolve, reject) => {
      const headers: Record<string, string> = { ':path': '/v1/charges/1234', ':authority': 'payments.bench.test' };
      for (let at = 0; at < fixed.length; at += 2) headers[fixed[at]!] = fixed[at + 1]!;
      const stream = session.request({ ...headers, 'x-request-id': String(count), traceparent: traced() });
      stream.on('data', () => undefined);
      stream.on('end', resolve);
      stream.on('error', reject);
    });
}

/** Runs `total` calls, as many at a time as asked for. */
async function repeat(once: () => Promise<void>, total: number): Promise<void> {
  let left = total;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await once();
  };
  await Promise.all(Array.from({ length: Number(concurrency) }, worker));
}

function stamp(): string {
  return 'Sun, 22 Nov 2026 14:00:00 GMT';
}

function since(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function complain(fault: Error): void {
  process.stderr.write(`${fault.message}\n`);
}
