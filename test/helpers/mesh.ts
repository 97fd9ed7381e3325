// A mesh in this process: data planes with real sockets and certificates in front of small applications, and raw clients that send exactly
// the bytes they are given.
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, createSecureContext, type TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import { type Clock, systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { createMetrics, type Metrics } from '#base/metrics';
import { formatBundle, type Identity, parseSpiffeId, tlsClientPolicy, tlsContext } from '#spiffe';
import type { PolicyRule, ServiceEntry, Snapshot } from '#wire';
import type { AppProtocol } from '../../proxy/app-protocol.ts';
import { createDataPlane, type DataPlane } from '../../proxy/data-plane.ts';
import type { LinkProtocol } from '../../proxy/dial.ts';
import type { RecordDraft } from '../../proxy/exchange-record.ts';
import type { Limits } from '../../proxy/limits.ts';
import type { SidecarAddresses } from '../../proxy/ports.ts';
import { createTestPki, type TestPki } from './pki.ts';

export const idOf = (service: string): string => `spiffe://example.org/${service}`;

/** `from` may call `to`, whatever the request. */
export function allow(from: string, to: string, more: Partial<PolicyRule> = {}): PolicyRule {
  return {
    policy: 'test',
    id: `${from}-${to}`,
    effect: 'allow',
    from: [from === '*' ? '*' : idOf(from)],
    to: [idOf(to)],
    ...more,
  };
}

export interface TestApp {
  readonly host: string;
  readonly port: number;
  /** Connections accepted so far. */
  readonly accepts: () => number;
  readonly server: Server;
}

/** An HTTP application of Node's own. */
export async function startApp(handler: RequestListener, host = '127.0.0.1'): Promise<TestApp> {
  const server = createHttpServer({ keepAliveTimeout: 60_000 }, handler);
  return listening(server, host);
}

/** An application that speaks raw bytes. */
export async function startRawApp(onSocket: (socket: Socket) => void, host?: string): Promise<TestApp> {
  return listening(
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined);
      onSocket(socket);
    }),
    host,
  );
}

async function listening(server: Server, host = '127.0.0.1'): Promise<TestApp> {
  let accepts = 0;
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    accepts++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { host, port: (server.address() as AddressInfo).port, accepts: () => accepts, server };
}

export interface TestProxy {
  readonly plane: DataPlane;
  readonly service: string;
  readonly addresses: SidecarAddresses;
  readonly records: RecordDraft[];
  readonly metrics: Metrics;
  identity: Identity;
  /** Applies the last snapshot with these changes, under the next revision. */
  apply(change?: Partial<Snapshot>): void;
  /** Waits until so many records have been written. */
  recorded(count: number): Promise<RecordDraft[]>;
}

export interface ProxyOptions {
  readonly pki: TestPki;
  readonly service: string;
  readonly appHost?: string;
  readonly appPort?: number;
  readonly appProtocol?: AppProtocol;
  readonly limits?: Partial<Limits>;
  readonly clock?: Clock;
  readonly identity?: Identity;
  readonly upstreams?: readonly string[];
  readonly upstreamProtocol?: 'http' | 'tcp';
  readonly drainMs?: number;
  readonly zone?: string;
  readonly assertRecording?: () => void;
  readonly linkProtocols?: readonly LinkProtocol[];
  readonly nameServers?: readonly string[];
  readonly forbids?: (address: string) => string | undefined;
  /** Without a first snapshot. */
  readonly bare?: boolean;
}

export async function startProxy(o: ProxyOptions): Promise<TestProxy> {
  const records: RecordDraft[] = [];
  const waiting: { count: number; resolve: (records: RecordDraft[]) => void }[] = [];
  const metrics = createMetrics();
  const identity = o.identity ?? o.pki.identity(idOf(o.service));
  const loopback = { host: '127.0.0.1', port: 0 };
  const plane = createDataPlane({
    app: { host: o.appHost ?? '127.0.0.1', port: o.appPort ?? 1, protocol: o.appProtocol ?? 'http' },
    inbound: loopback,
    outbound: loopback,
    upstreams: (o.upstreams ?? []).map((name) => ({ name, listen: loopback, protocol: o.upstreamProtocol ?? 'http' })),
    instance: `${o.service}-1`,
    clock: o.clock ?? systemClock,
    log: silentLog,
    metrics,
    random: Math.random,
    drainMs: o.drainMs ?? 1_000,
    ...(o.limits && { limits: o.limits }),
    ...(o.zone !== undefined && { zone: o.zone }),
    ...(o.linkProtocols && { linkProtocols: o.linkProtocols }),
    ...(o.forbids && { forbids: o.forbids }),
    ...(o.nameServers && { nameServers: o.nameServers }),
    ...(o.assertRecording && { assertRecording: o.assertRecording }),
    record: (record) => {
      records.push(record);
      for (const one of waiting.splice(0)) records.length >= one.count ? one.resolve(records) : waiting.push(one);
    },
  });
  plane.setIdentity(identity);
  let snapshot: Snapshot = {
    version: 1,
    revision: 1,
    service: idOf(o.service),
    bundle: formatBundle(o.pki.bundle),
    bans: { ids: [], serials: [] },
    policy: { revision: 1, rules: [], groups: {} },
    services: [],
  };
  if (!o.bare) plane.applySnapshot(snapshot);
  const addresses = (await plane.listen()) as SidecarAddresses;
  onTestFinished(async () => {
    void plane.drain();
    await plane.drain();
  });
  return {
    plane,
    service: o.service,
    addresses,
    records,
    metrics,
    identity,
    apply(change = {}) {
      snapshot = { ...snapshot, revision: snapshot.revision + 1, ...change };
      plane.applySnapshot(snapshot);
    },
    recorded: (count) =>
      new Promise((resolve) => (records.length >= count ? resolve(records) : waiting.push({ count, resolve }))),
  };
}

export function serviceEntry(service: string, ...ports: number[]): ServiceEntry {
  return {
    id: idOf(service),
    hosts: [service.split('/').at(-1)!],
    ports: [],
    endpoints: ports.map((port, index) => ({
      instance: `${service}-${index}`,
      address: `127.0.0.1:${port}`,
      labels: {},
    })),
  };
}

export interface Pair {
  readonly pki: TestPki;
  /** The calling side: its outbound listener is what tests send to. */
  readonly web: TestProxy;
  /** The called side, with the application behind it. */
  readonly payments: TestProxy;
  readonly app: TestApp;
  /** Both sides get these rules. */
  setRules(...rules: PolicyRule[]): void;
}

export interface PairOptions {
  readonly app: TestApp;
  readonly appProtocol?: AppProtocol;
  readonly upstreamProtocol?: 'http' | 'tcp';
  readonly rules?: readonly PolicyRule[];
  readonly webLimits?: Partial<Limits>;
  readonly paymentsLimits?: Partial<Limits>;
  readonly clock?: Clock;
  readonly upstreams?: readonly string[];
  readonly drainMs?: number;
  /** What both sides may speak to each other. */
  readonly linkProtocols?: readonly LinkProtocol[];
}

/** `web` calls `payments`, which may unless rules say otherwise. */
export async function startPair(o: PairOptions): Promise<Pair> {
  const pki = createTestPki();
  const shared = {
    pki,
    ...(o.clock && { clock: o.clock }),
    ...(o.drainMs !== undefined && { drainMs: o.drainMs }),
    ...(o.linkProtocols && { linkProtocols: o.linkProtocols }),
  };
  const payments = await startProxy({
    ...shared,
    service: 'payments',
    appHost: o.app.host,
    appPort: o.app.port,
    ...(o.appProtocol && { appProtocol: o.appProtocol }),
    ...(o.paymentsLimits && { limits: o.paymentsLimits }),
  });
  const web = await startProxy({
    ...shared,
    service: 'web',
    ...(o.upstreams && { upstreams: o.upstreams }),
    ...(o.upstreamProtocol && { upstreamProtocol: o.upstreamProtocol }),
    ...(o.webLimits && { limits: o.webLimits }),
  });
  let revision = 1;
  const setRules = (...rules: PolicyRule[]): void => {
    const policy = { revision: ++revision, rules, groups: {} };
    web.apply({ policy, services: [serviceEntry('payments', payments.addresses.inbound.port)] });
    payments.apply({ policy });
  };
  setRules(...(o.rules ?? [allow('web', 'payments')]));
  return { pki, web, payments, app: o.app, setRules };
}

export interface RawClient {
  readonly socket: Socket;
  send(bytes: string | Buffer): void;
  /** Everything received so far, latin1. */
  readonly text: string;
  /** Waits until the text matches; rejects when the connection closes before. */
  until(pattern: RegExp): Promise<string>;
  /** Waits for the end of the connection and gives everything received. */
  closed(): Promise<string>;
}

/** A client that is nobody's idea of HTTP but the test's. */
export async function openRaw(port: number): Promise<RawClient> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return rawOn(socket);
}

export function rawOn(socket: Socket): RawClient {
  let text = '';
  let isClosed = false;
  const watchers = new Set<() => void>();
  const wake = (): void => {
    for (const watcher of [...watchers]) watcher();
  };
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1');
    wake();
  });
  socket.on('error', () => undefined);
  socket.on('end', () => socket.end());
  socket.on('close', () => {
    isClosed = true;
    wake();
  });
  onTestFinished(() => void socket.destroy());
  const when = <T>(look: () => T | undefined, failure: () => string): Promise<T> =>
    new Promise((resolve, reject) => {
      const watcher = (): void => {
        const found = look();
        if (found === undefined && !isClosed) return;
        watchers.delete(watcher);
        if (found === undefined) reject(new Error(failure()));
        else resolve(found);
      };
      watchers.add(watcher);
      watcher();
    });
  return {
    socket,
    send: (bytes) => void (typeof bytes === 'string' ? socket.write(bytes, 'latin1') : socket.write(bytes)),
    get text() {
      return text;
    },
    until: (pattern) =>
      when(
        () => (pattern.test(text) ? text : undefined),
        () => `closed before ${pattern}: ${JSON.stringify(text.slice(0, 500))}`,
      ),
    closed: () =>
      when(
        () => (isClosed ? text : undefined),
        () => 'never',
      ),
  };
}

/** A TLS client with an identity of its own, straight to an inbound listener. */
export async function openTls(
  o: {
    pki: TestPki;
    proxy: TestProxy;
    identity?: Identity | undefined;
    localAddress?: string;
  } & Partial<ConnectionOptions>,
): Promise<RawClient> {
  const { pki, proxy, identity, ...more } = o;
  const socket: TLSSocket = connectTls({
    ...tlsClientPolicy({
      bundle: pki.bundle,
      now: () => systemClock.now(),
      expect: parseSpiffeId(idOf(proxy.service)),
    }),
    ...(identity && { secureContext: createSecureContext(tlsContext({ identity, bundle: pki.bundle })) }),
    host: '127.0.0.1',
    port: proxy.addresses.inbound.port,
    ALPNProtocols: ['http/1.1'],
    servername: '',
    allowHalfOpen: true,
    ...more,
  } as ConnectionOptions);
  await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  return rawOn(socket);
}

/** Sends one request by the outbound listener and gives status, head and body of its whole answer; the connection is closed after it. */
export async function call(
  proxy: TestProxy,
  o: { method?: string; path?: string; host?: string; headers?: readonly string[]; body?: string; port?: number } = {},
): Promise<{ status: number; head: string; body: string; json: () => { error: Record<string, string> } }> {
  const { method = 'GET', path = '/', host = 'payments', headers = [], body } = o;
  const client = await openRaw(o.port ?? proxy.addresses.outbound.port);
  const length = body === undefined ? [] : [`content-length: ${Buffer.byteLength(body, 'latin1')}`];
  client.send(
    [`${method} ${path} HTTP/1.1`, `host: ${host}`, 'connection: close', ...headers, ...length, '', body ?? ''].join(
      '\r\n',
    ),
  );
  const text = await client.closed();
  const end = text.indexOf('\r\n\r\n');
  const answer = text.slice(end + 4);
  return {
    status: Number(text.slice(9, 12)),
    head: text.slice(0, end),
    body: answer,
    json: () => JSON.parse(answer) as { error: Record<string, string> },
  };
}
