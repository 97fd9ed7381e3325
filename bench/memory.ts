// What a sidecar weighs: real processes with a thousand and ten thousand connections open, and with a body of 1 GB on its way to somebody slow.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { connect as connectTls, createSecureContext } from 'node:tls';
import { parseHostPort } from '#base/host-port';
import { anyPorts, startPostern } from '../cli/demo/processes.ts';
import { type Bench, type Figure, residentMb } from './bench.ts';
import { type SidecarReady, startMesh } from './mesh.ts';
import { type Pairs, startPairs } from './peers/pairs.ts';

const bodyBytes = 2 ** 30;
/** A slow end takes so many bytes, then waits a moment: about 100 MB a second. */
const stepBytes = 2 ** 20;
const stepMs = 10;

export async function run(): Promise<Bench> {
  const pairs = await startPairs({ app: 'nginx' });
  let inbound: Figure[];
  try {
    inbound = await mutualTls(pairs);
  } finally {
    await pairs.close();
  }
  return {
    title: 'Memory',
    how: 'Resident size (VmRSS) of real sidecars: one that calls and one that is called, the connections kept open by this benchmark after one request each, looked at 3 s later. Bodies afterwards: the most seen every 50 ms, above the size before each.',
    figures: [...(await realSidecars()), ...inbound],
  };
}

async function realSidecars(): Promise<Figure[]> {
  const app = createServer({ noDelay: true }, serve).listen(0, '127.0.0.1');
  await once(app, 'listening');
  const mesh = await startMesh();
  const stops: (() => Promise<unknown>)[] = [];
  try {
    const sidecar = async (name: string, to: string) => {
      const { token } = JSON.parse(await mesh.postern('token', 'create', name, '-o', 'json')) as { token: string };
      const words = ['sidecar', '--home', `${mesh.folder}/${name}`, '--app', to, ...anyPorts, '--token', token];
      const running = await startPostern<SidecarReady>(words);
      stops.push(() => running.stop());
      return running;
    };
    const payments = await sidecar('payments', `127.0.0.1:${(app.address() as AddressInfo).port}`);
    const web = await sidecar('web', '127.0.0.1:1');
    await mesh.apply('kind: Policy\nname: all\nto: payments\nrules: [{ id: all, effect: allow, from: [web] }]\n');
    const to = parseHostPort(web.ready.outbound)!;
    while (!(await askOnce(to)).startsWith('HTTP/1.1 200'));
    await wait(3_000);
    const sizes = (): string => [web, payments].map(({ pid }) => residentMb(pid).toFixed(0)).join(' and ');
    const figures: Figure[] = [{ what: 'idle: calling and called sidecar', measured: `${sizes()} MB` }];
    const sockets = await openMany(to, 1_000);
    await wait(3_000);
    const most = Math.max(residentMb(web.pid), residentMb(payments.pid));
    figures.push({
      what: '1 000 connections open: calling and called sidecar',
      measured: `${sizes()} MB`,
      bar: 'at most 140 MB',
      holds: most <= 140,
    });
    sockets.push(...(await openMany(to, 9_000)));
    await wait(3_000);
    const held = sockets.filter((socket) => !socket.destroyed && !socket.readableEnded).length;
    const answers = await Promise.all(sockets.slice(0, 50).map(ask));
    figures.push({
      what: '10 000 idle connections: held, and answered again',
      measured: `${held} held, ${answers.filter((text) => text.startsWith('HTTP/1.1 200')).length} of 50 answered, ${sizes()} MB`,
      bar: 'all hold',
      holds: held === 10_000 && answers.every((text) => text.startsWith('HTTP/1.1 200')),
    });
    for (const socket of sockets) socket.destroy();
    await wait(3_000);
    for (const way of ['download', 'upload'] as const) {
      const growth = await watched([web.pid, payments.pid], () => crossing(to, way));
      const more = Math.max(...growth);
      figures.push({
        what: `${way} of 1 GB, its reader slow: growth`,
        measured: `${growth.map((mb) => mb.toFixed(0)).join(' and ')} MB`,
        bar: 'at most 40 MB',
        holds: more <= 40,
      });
    }
    return figures;
  } finally {
    await Promise.all(stops.map((stop) => stop()));
    await mesh.close();
    app.close();
  }
}

async function mutualTls({ all, mesh }: Pairs): Promise<Figure[]> {
  const { innerPort: port, in: proxy } = all[0]!;
  const secureContext = createSecureContext({ ...mesh.clientOf('web'), minVersion: 'TLSv1.3' });
  const open = async (): Promise<Socket> => {
    const to = { host: '127.0.0.1', port, secureContext, servername: '', ALPNProtocols: ['http/1.1'] };
    const socket = connectTls({ ...to, checkServerIdentity: () => undefined });
    await once(socket, 'secureConnect');
    await ask(socket);
    return socket;
  };
  const sockets: Socket[] = [];
  for (let batch = 0; batch < 50; batch++) sockets.push(...(await Promise.all(Array.from({ length: 20 }, open))));
  await wait(3_000);
  const mb = proxy.mb();
  for (const socket of sockets) socket.destroy();
  const what = '1 000 mutual TLS connections into one inbound proxy';
  return [{ what, measured: `${mb.toFixed(0)} MB`, bar: 'at most 140 MB', holds: mb <= 140 }];
}

/** The application: 1 GB for `/large`, reads what it is sent slowly, and answers `ok`. */
function serve(socket: Socket): void {
  socket.on('error', () => undefined);
  socket.on('data', async function answer(bytes: Buffer) {
    const text = bytes.toString('latin1');
    if (text.startsWith('POST')) {
      socket.off('data', answer);
      socket.pause();
      socket.unshift(bytes.subarray(text.indexOf('\r\n\r\n') + 4));
      await takeSlowly(socket, bodyBytes);
      socket.on('data', answer).resume();
    }
    const length = text.startsWith('GET /large') ? bodyBytes : 2;
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\n`);
    if (length === 2) socket.write('ok');
    else await pour(socket);
  });
}

async function crossing(to: { host: string; port: number }, way: 'download' | 'upload'): Promise<void> {
  const socket = await open(to);
  if (way === 'download') {
    socket.write('GET /large HTTP/1.1\r\nhost: payments\r\n\r\n');
    await takeSlowly(socket, bodyBytes);
  } else {
    socket.write(`POST /up HTTP/1.1\r\nhost: payments\r\ncontent-length: ${bodyBytes}\r\n\r\n`);
    const answered = once(socket, 'data');
    await pour(socket);
    await answered;
  }
  socket.destroy();
}

async function pour(socket: Socket): Promise<void> {
  const piece = Buffer.alloc(65_536, 'x');
  for (let left = bodyBytes; left > 0; left -= piece.length) if (!socket.write(piece)) await once(socket, 'drain');
}

async function takeSlowly(socket: Socket, most: number): Promise<void> {
  let taken = 0;
  let sinceStep = 0;
  for await (const bytes of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    taken += bytes.length;
    sinceStep += bytes.length;
    if (taken >= most) return;
    if (sinceStep < stepBytes) continue;
    sinceStep = 0;
    await wait(stepMs);
  }
}

/** The most megabytes that each process had above what it has now, while `work` ran. */
async function watched(pids: readonly number[], work: () => Promise<void>): Promise<number[]> {
  const before = pids.map(residentMb);
  const most = [...before];
  const look = setInterval(() => {
    for (const [at, pid] of pids.entries()) most[at] = Math.max(most[at]!, residentMb(pid));
  }, 50);
  await work();
  clearInterval(look);
  return most.map((mb, at) => mb - before[at]!);
}

async function open(to: { host: string; port: number }): Promise<Socket> {
  const socket = connect(to);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function openMany(to: { host: string; port: number }, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const batch = await Promise.all(Array.from({ length: 100 }, () => open(to)));
    const answers = await Promise.all(batch.map(ask));
    const wrong = answers.find((text) => !text.startsWith('HTTP/1.1 200'));
    if (wrong !== undefined) throw new Error(`not answered: ${wrong.slice(0, 300)}`);
    sockets.push(...batch);
  }
  return sockets;
}

async function askOnce(to: { host: string; port: number }): Promise<string> {
  const socket = await open(to);
  const text = await ask(socket);
  socket.destroy();
  return text;
}

/** One small request on an open connection; its answer as it came first. */
async function ask(socket: Socket): Promise<string> {
  const answered = Promise.race([once(socket, 'data'), once(socket, 'close').then(() => ['closed'])]);
  socket.write('GET /charges/1 HTTP/1.1\r\nhost: payments\r\n\r\n');
  return String((await answered)[0]);
}
