// Hostile traffic of every kind for half a minute against real sidecars, beside honest requests: all of these succeed, no process ends or complains of
// itself, and memory stays flat.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Running } from '../../cli/demo/processes.ts';
import { connectCarelessly } from '../helpers/hostile-client.ts';
import { soak } from '../helpers/hostile-traffic.ts';
import { type PeerMesh, type SidecarReady, startPeerMesh } from './mesh.ts';

const policy = `
kind: Policy
name: soak
to: [payments]
rules:
  - { id: web-calls, effect: allow, from: [web] }
`;
const ms = 30_000;
/** What a heap may grow from the middle of it to the end: in four times the time it comes to no more. */
const slack = 48 * 2 ** 20;

let mesh: PeerMesh;
let web: Running<SidecarReady>;
let payments: Running<SidecarReady>;
const app = createServer((request, response) => {
  if (request.url === '/big') return void response.end(Buffer.alloc(2_000_000));
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => pieces.push(piece)).on('error', () => undefined);
  request.on('end', () => {
    const body = request.method === 'GET' ? Buffer.from('honest') : Buffer.concat(pieces);
    response.setHeader('content-length', body.length).end(body);
  });
});

beforeAll(async () => {
  mesh = await startPeerMesh();
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  await mesh.apply(policy);
  payments = await mesh.sidecar({ service: 'payments', app: `127.0.0.1:${(app.address() as AddressInfo).port}` });
  web = await mesh.sidecar({ service: 'web', app: '127.0.0.1:1', home: join(mesh.folder, 'web') });
});

afterAll(async () => {
  app.close();
  app.closeAllConnections();
  await mesh?.end();
});

const portOf = (address: string): number => Number(address.split(':').at(-1));
const residentBytes = ({ pid }: Running<SidecarReady>): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1_024;

/** As web's own proxy would, with its certificate; who answers is not looked at. */
async function open(protocol: 'h2' | 'http/1.1'): Promise<TLSSocket> {
  const own = join(mesh.folder, 'web', 'sidecar');
  const [cert, key] = [readFileSync(join(own, 'svid.pem')), readFileSync(join(own, 'key.pem'))];
  const at = { host: '127.0.0.1', port: portOf(payments.ready.inbound) };
  const socket = connectCarelessly({ ...at, cert, key, ALPNProtocols: [protocol] });
  await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  return socket;
}

test('honest requests all succeed, and memory is flat', { timeout: ms * 4 }, async () => {
  const sizes: Record<'web' | 'payments', number>[] = [];
  const target = {
    outbound: portOf(web.ready.outbound),
    inbound: portOf(payments.ready.inbound),
    host: 'payments',
    open,
  };
  const { honest, failures, attacks } = await soak(target, {
    seed: 2,
    ms,
    onMark: () => sizes.push({ web: residentBytes(web), payments: residentBytes(payments) }),
  });
  const mb = (bytes: number): number => Math.round(bytes / 2 ** 20);
  console.log(
    `${honest} honest requests beside`,
    attacks,
    sizes.map((each) => `${mb(each.web)}+${mb(each.payments)} MB`).join(' '),
  );
  expect(failures.slice(0, 3)).toEqual([]);
  expect(honest).toBeGreaterThan(200);
  expect(Object.values(attacks).every((count) => count > 10)).toBe(true);
  for (const side of ['web', 'payments'] as const) {
    const [warm, end] = [sizes.slice(3, 6), sizes.slice(-3)].map((some) => Math.min(...some.map((each) => each[side])));
    expect(end! - warm!, `${side} grew`).toBeLessThan(slack);
  }
  // Both still run, and neither has met a fault of its own.
  for (const running of [web, payments]) {
    expect(() => process.kill(running.pid, 0)).not.toThrow();
    expect(running.log()).not.toMatch(/unhandled|uncaught|PROXY_FAULT|TypeError/i);
  }
});
