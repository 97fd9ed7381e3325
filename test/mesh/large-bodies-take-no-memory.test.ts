// Real sidecars, so that what is measured is theirs alone: their resident size is looked at again and again while a body crosses them
// between an end that is fast and one that is slow.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseHostPort } from '#base/host-port';
import type { Running } from '../../cli/demo/processes.ts';
import { type PeerMesh, type SidecarReady, startPeerMesh } from '../peers/mesh.ts';

const bodyBytes = 96 * 2 ** 20;
/** The slow end takes so many bytes, then waits until a request of somebody else has been answered through the same two sidecars. */
const stepBytes = 2 ** 18;
const mostGrowthMb = 40;

let mesh: PeerMesh;
let app: Server;
let web: Running<SidecarReady>;
let payments: Running<SidecarReady>;

beforeAll(async () => {
  app = createServer(serve);
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  mesh = await startPeerMesh();
  payments = await mesh.sidecar({ service: 'payments', app: `127.0.0.1:${(app.address() as AddressInfo).port}` });
  web = await mesh.sidecar({ service: 'web', app: '127.0.0.1:1' });
  await mesh.apply(`kind: Policy
name: payments-access
to: payments
rules:
  - { id: all, effect: allow, from: [web] }
`);
  await warmUp();
}, 60_000);

afterAll(async () => {
  await mesh?.end();
  app?.close();
});

describe.runIf(process.platform === 'linux')('a body larger than the memory allowed', () => {
  test('comes from a fast application to a slow caller', async () => {
    const watch = watchMemory();
    const caller = await open();
    caller.write(`GET /large HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n`);
    expect(await takeSlowly(caller, watch.look)).toBeGreaterThan(bodyBytes);
    expect(watch.growth()).toBeLessThan(mostGrowthMb);
  }, 60_000);

  test('goes from a fast caller to a slow application', async () => {
    const watch = watchMemory();
    onSlowStep = watch.look;
    const caller = await open();
    caller.write(`POST /slow HTTP/1.1\r\nhost: payments\r\ncontent-length: ${bodyBytes}\r\n\r\n`);
    const answered = once(caller, 'data');
    await pour(caller);
    expect(String((await answered)[0])).toMatch(/^HTTP\/1\.1 200 /);
    expect(watch.growth()).toBeLessThan(mostGrowthMb);
  }, 60_000);
});

let onSlowStep: () => Promise<void> = async () => undefined;

/** The application: `/large` is answered as fast as anybody takes it, what comes to `/slow` is read slowly, the rest is small. */
function serve(socket: Socket): void {
  socket.on('error', () => undefined);
  socket.once('data', async (head: Buffer) => {
    const text = head.toString('latin1');
    const isSlow = text.startsWith('POST /slow');
    if (isSlow) {
      socket.pause();
      socket.unshift(head.subarray(text.indexOf('\r\n\r\n') + 4));
      await takeSlowly(socket, onSlowStep, bodyBytes);
    }
    const length = text.startsWith('GET /large') ? bodyBytes : 2;
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\nconnection: close\r\n\r\n`);
    if (length === 2) socket.end('ok');
    else await pour(socket).then(() => socket.end());
  });
}

/** Writes the body as fast as it is taken. */
async function pour(socket: Socket): Promise<void> {
  const piece = Buffer.alloc(65_536, 'x');
  for (let left = bodyBytes; left > 0; left -= piece.length) if (!socket.write(piece)) await once(socket, 'drain');
}

/** Reads until the end, or so many bytes, and gives how many came. */
async function takeSlowly(socket: Socket, step: () => Promise<void>, most = Number.POSITIVE_INFINITY): Promise<number> {
  let taken = 0;
  let sinceStep = 0;
  for await (const bytes of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    taken += bytes.length;
    sinceStep += bytes.length;
    if (taken >= most) break;
    if (sinceStep < stepBytes) continue;
    sinceStep = 0;
    await step();
  }
  return taken;
}

async function open(): Promise<Socket> {
  const socket = connect(parseHostPort(web.ready.outbound)!);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function callOnce(): Promise<string> {
  const socket = await open();
  socket.write('GET /small HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n');
  let text = '';
  for await (const bytes of socket) text += bytes;
  return text;
}

/** Until the policy is in force, and long enough after it that what a sidecar loads and compiles once is there. */
async function warmUp(): Promise<void> {
  while (!(await callOnce()).startsWith('HTTP/1.1 200'));
  for (let count = 0; count < 200; count++) await callOnce();
}

function watchMemory() {
  const pids = [web.pid, payments.pid];
  const idle = pids.map(residentMb);
  const peaks = [...idle];
  return {
    async look(): Promise<void> {
      await callOnce();
      for (const [at, pid] of pids.entries()) peaks[at] = Math.max(peaks[at]!, residentMb(pid));
    },
    /** Megabytes of the one that grew more. */
    growth: () => Math.max(...peaks.map((peak, at) => peak - idle[at]!)),
  };
}

function residentMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024;
}
