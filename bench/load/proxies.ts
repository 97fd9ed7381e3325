// Light proxies: real identities on real TLS connections, a watch stream and a report connection each as a sidecar has, and nothing behind them. Many in
// one process of its own, which says when something was received.
import { type ChildProcess, fork } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { connect, createSecureContext, type TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { systemClock } from '#base/clock';
import { parseBundle, parseSpiffeId, readIdentity, tlsClientPolicy, tlsContext } from '#spiffe';
import type { Snapshot, SnapshotChange, WatchEvent } from '#wire';
import { applyChange } from '../../proxy/agent/change.ts';

export interface LightProxy {
  readonly instance: string;
  /** PEM of the key, DER of the chain in base64. */
  readonly key: string;
  readonly chain: readonly string[];
  readonly advertise: string;
  /** Whether it listens, or is only there to be called. */
  readonly watches: boolean;
  /** Where it connects from. */
  readonly from: string;
}

export interface Mesh {
  readonly port: number;
  readonly trustDomain: string;
  readonly bundle: string;
}

/** What one of them received, and when. */
export interface Received {
  readonly instance: string;
  readonly what: 'snapshot' | 'change';
  readonly bytes: number;
  /** Epoch milliseconds: in its hands, and received by the control plane that it has it. */
  readonly at: number;
  readonly acknowledgedAt: number;
  readonly policyRevision: number;
  readonly endpoints: number;
}

type Command =
  | { readonly type: 'start'; readonly mesh: Mesh; readonly proxies: readonly LightProxy[] }
  | { readonly type: 'move'; readonly instance: string; readonly advertise: string };
type Answer =
  | { readonly type: 'started' }
  | { readonly type: 'fault'; readonly reason: string }
  | { readonly type: 'received'; readonly some: readonly Received[] };

const file = fileURLToPath(import.meta.url);

export interface LightProxies {
  /** Resolves when all are connected, have reported, and have their first snapshot where they listen. */
  add(proxies: readonly LightProxy[]): Promise<void>;
  /** One of them reports another address. */
  move(instance: string, advertise: string): void;
  /** The next things received, until there are so many of instances that `isWanted` picks. */
  receive(count: number, isWanted: (one: Received) => boolean): Promise<readonly Received[]>;
  readonly pids: readonly number[];
  close(): void;
}

export function startLightProxies(mesh: Mesh, processes: number): LightProxies {
  const children: ChildProcess[] = Array.from({ length: processes }, () =>
    fork(file, ['as-proxies'], { execArgv: [] }),
  );
  const home = new Map<string, ChildProcess>();
  let heed = (_: readonly Received[]): void => undefined;
  for (const child of children)
    child.on('message', (answer: Answer) => answer.type === 'received' && heed(answer.some));
  return {
    pids: children.map(({ pid }) => pid!),
    async add(proxies) {
      const parts = children.map((child, nth) => {
        const own = proxies.filter((_, index) => index % processes === nth);
        for (const { instance } of own) home.set(instance, child);
        return started(child, { type: 'start', mesh, proxies: own });
      });
      await Promise.all(parts);
    },
    move: (instance, advertise) =>
      void home.get(instance)!.send({ type: 'move', instance, advertise } satisfies Command),
    receive: (count, isWanted) =>
      new Promise((resolve, reject) => {
        const seen: Received[] = [];
        const late = setTimeout(() => reject(new Error(`${seen.length} of ${count} have it after a minute`)), 60_000);
        heed = (some) => {
          seen.push(...some.filter(isWanted));
          if (seen.length < count) return;
          clearTimeout(late);
          heed = () => undefined;
          resolve(seen);
        };
      }),
    close: () => children.forEach((child) => void child.kill()),
  };
}

function started(child: ChildProcess, command: Command): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (answer: Answer): void => {
      if (answer.type === 'received') return;
      child.off('message', look);
      if (answer.type === 'started') resolve();
      else reject(new Error(answer.reason));
    };
    child.on('message', look);
    child.send(command);
  });
}

if (process.argv[1] === file && process.argv[2] === 'as-proxies') {
  const proxies = new Map<string, Running>();
  const say = (answer: Answer): void => void process.send!(answer);
  let received: Received[] = [];
  const note = (one: Received): void => {
    if (received.push(one) > 1) return;
    setTimeout(() => {
      say({ type: 'received', some: received });
      received = [];
    }, 20);
  };
  process.on('message', (command: Command) => {
    if (command.type === 'move') return proxies.get(command.instance)?.move(command.advertise);
    startAll(command, note, proxies).then(
      () => say({ type: 'started' }),
      (thrown: Error) => say({ type: 'fault', reason: thrown.stack ?? thrown.message }),
    );
  });
}

interface Running {
  move(advertise: string): void;
}

/** So many handshakes at a time. */
const atATime = 16;
const reportEveryMs = 5_000;
/** Of those that do not listen: within their lease. */
const seldomMs = 9_000;

async function startAll(
  { mesh, proxies }: Extract<Command, { type: 'start' }>,
  note: (one: Received) => void,
  running: Map<string, Running>,
): Promise<void> {
  const left = proxies[Symbol.iterator]();
  const some = async (): Promise<void> => {
    for (const proxy of left) running.set(proxy.instance, await startOne(mesh, proxy, note));
  };
  await Promise.all(Array.from({ length: atATime }, some));
}

async function startOne(mesh: Mesh, proxy: LightProxy, note: (one: Received) => void): Promise<Running> {
  const identity = readIdentity({
    key: createPrivateKey(proxy.key),
    chain: proxy.chain.map((der) => new X509Certificate(Buffer.from(der, 'base64')).raw),
  });
  const bundle = parseBundle(mesh.trustDomain, mesh.bundle);
  const expect = parseSpiffeId(`spiffe://${mesh.trustDomain}/postern/server`);
  const secureContext = createSecureContext(tlsContext({ identity, bundle }));
  const tryOpen = (): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket = connect({
        ...{ host: '127.0.0.1', port: mesh.port, localAddress: proxy.from, secureContext, servername: '' },
        ...tlsClientPolicy({ bundle, now: () => systemClock.now(), expect }),
      });
      socket.once('secureConnect', () => resolve(socket)).once('error', reject);
    });
  /** A machine that is crowded for a while is tried again, as a sidecar would. */
  const open = async (tries = 5): Promise<TLSSocket> => {
    try {
      return await tryOpen();
    } catch (thrown) {
      if (tries === 0) throw thrown;
      await wait(500);
      return open(tries - 1);
    }
  };
  let advertise = proxy.advertise;
  let isTold = false;
  let held: Snapshot | undefined;
  const reports = await open();
  const waiting: (() => void)[] = [];
  reports.on('data', (bytes: Buffer) => {
    if (bytes.includes('HTTP/1.1 200')) waiting.shift()?.();
    else if (bytes.includes('HTTP/1.1 ')) throw new Error(`a report was answered ${bytes.toString('latin1', 0, 400)}`);
  });
  const report = (): Promise<void> => {
    const facts = { advertise, labels: { version: 'v1' }, version: '0.1.0' };
    const state = { notAfter: identity.notAfter, connections: { inbound: 1, outbound: 2 }, state: 'serving' };
    const body = { version: 1, revision: held?.revision ?? 0, ...state, ...(isTold ? {} : { facts }) };
    isTold = true;
    post(reports, '/v1/proxy/report', body);
    return new Promise((resolve) => waiting.push(resolve));
  };
  await report();
  setInterval(report, (proxy.watches ? reportEveryMs : seldomMs) * (0.9 + 0.2 * Math.random()));
  if (proxy.watches) {
    const stream = await open();
    post(stream, '/v1/proxy/watch', { version: 1, revision: 0, changes: true });
    const first = Promise.withResolvers<void>();
    onLines(stream, (line) => {
      const event = JSON.parse(line.toString()) as WatchEvent;
      if (event.type === 'snapshot') held = event.snapshot;
      else if (event.type === 'change') held = mustApply(held!, event.change);
      else return;
      const now = { at: Date.now(), bytes: line.length };
      const { policy, services } = held;
      const endpoints = services.reduce((sum, service) => sum + service.endpoints.length, 0);
      const what = { instance: proxy.instance, what: event.type, policyRevision: policy.revision, endpoints };
      void report().then(() => note({ ...what, ...now, acknowledgedAt: Date.now() }));
      first.resolve();
    });
    await first.promise;
  }
  return {
    move(to) {
      advertise = to;
      isTold = false;
      void report();
    },
  };
}

function mustApply(held: Snapshot, change: SnapshotChange): Snapshot {
  const next = applyChange(held, change);
  if (!next) throw new Error('a change did not fit');
  return next;
}

function post(socket: TLSSocket, path: string, value: unknown): void {
  const body = JSON.stringify(value);
  const head = `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
  socket.write(head + body);
}

/** The lines of a chunked answer: ours are in one chunk each or over several, so the chunk sizes are taken out first. */
function onLines(socket: TLSSocket, take: (line: Buffer) => void): void {
  let bytes = Buffer.alloc(0);
  let body = Buffer.alloc(0);
  let isHead = true;
  socket.on('data', (more: Buffer) => {
    bytes = Buffer.concat([bytes, more]);
    if (isHead) {
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) return;
      if (!bytes.toString('latin1', 0, 12).endsWith('200')) throw new Error(bytes.toString('latin1', 0, 400));
      isHead = false;
      bytes = bytes.subarray(end + 4);
    }
    for (;;) {
      const end = bytes.indexOf('\r\n');
      if (end < 0) break;
      const size = Number.parseInt(bytes.toString('latin1', 0, end), 16);
      if (bytes.length < end + 2 + size + 2) break;
      body = Buffer.concat([body, bytes.subarray(end + 2, end + 2 + size)]);
      bytes = bytes.subarray(end + 2 + size + 2);
    }
    for (let end = body.indexOf(10); end >= 0; end = body.indexOf(10)) {
      const line = body.subarray(0, end);
      body = body.subarray(end + 1);
      take(line);
    }
  });
}
