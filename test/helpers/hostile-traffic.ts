// Hostile traffic of every kind at once beside honest requests, for as long as one likes: malformed HTTP/1.1 and frames, floods, half handshakes, bodies
// and answers cut in the middle, and callers that do not read.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { anyRequests } from '../fuzz/http1-text.ts';
import { Random } from '../fuzz/random.ts';
import { refusedRequests } from './hostile-requests.ts';
import { frame, get, magic, post, request, setting, types, u32 } from './http2.ts';
import { clientSessions } from './http2-fuzz.ts';

export interface Target {
  /** The plain listener of the calling side, and the host that requests through it name. */
  readonly outbound: number;
  readonly host: string;
  /** The listener of the called side, before any handshake, and a connection of a verified caller. */
  readonly inbound: number;
  open(protocol: 'h2' | 'http/1.1'): Promise<Socket>;
}

export interface Soaked {
  readonly attacks: Readonly<Record<string, number>>;
  readonly honest: number;
  readonly failures: readonly string[];
}

const patience = 400;
const plain = (port: number): Socket => connect({ host: '127.0.0.1', port, noDelay: true });
const body = 'z'.repeat(20_000);

/** `app` must answer with the body of the request, and `GET /big` with as much as somebody reads. */
export async function soak(
  target: Target,
  o: { seed: number; ms: number; onMark?: (part: number) => void },
): Promise<Soaked> {
  const until = performance.now() + o.ms;
  const attacks: Record<string, number> = {};
  const failures: string[] = [];
  let honest = 0;
  const isOver = (): boolean => performance.now() >= until;

  const kinds = attacksOn(target, o.seed);
  const attack = async (name: string, run: (index: number) => Promise<void>): Promise<void> => {
    for (let index = 0; !isOver(); index++) {
      await run(index);
      attacks[name] = (attacks[name] ?? 0) + 1;
    }
  };
  const honestly = async (method: string): Promise<void> => {
    for (let index = 0; !isOver(); index++) {
      const fault = await honestCall(target, method, `${index} ${method === 'POST' ? body : ''}`);
      if (fault) failures.push(`${method} ${index}: ${fault}`);
      honest++;
    }
  };
  const marks = o.onMark ? markParts(o.onMark, o.ms) : undefined;
  await Promise.all([
    ...Object.entries(kinds).map(([name, run]) => attack(name, run)),
    ...['GET', 'POST', 'POST'].map(honestly),
  ]);
  await marks;
  return { attacks, honest, failures };
}

/** Calls at each tenth of the time. */
async function markParts(onMark: (part: number) => void, ms: number): Promise<void> {
  for (let part = 1; part <= 10; part++) {
    await new Promise((resolve) => setTimeout(resolve, ms / 10));
    onMark(part);
  }
}

function attacksOn(target: Target, seed: number): Record<string, (index: number) => Promise<void>> {
  const { outbound, inbound, host, open } = target;
  const random = new Random();
  const either = (index: number, protocol: 'h2' | 'http/1.1'): Promise<Socket> =>
    index % 2 === 0 ? Promise.resolve(plain(outbound)) : open(protocol);
  const greeting = Buffer.concat([magic, frame(types.settings, 0, 0)]);
  const named = { ...get, ':authority': host };
  const repeat = (times: number, make: (id: number) => Buffer): Buffer =>
    Buffer.concat(Array.from({ length: times }, (_, index) => make(index * 2 + 1)));
  const floods: readonly (() => Buffer)[] = [
    () => repeat(600, (id) => Buffer.concat([request(id, named), frame(types.reset, 0, id, u32(8))])),
    () => repeat(3_000, () => frame(types.ping, 0, 0, 'ping1234')),
    () => repeat(3_000, () => frame(types.settings, 0, 0, setting(4, 70_000))),
    () => Buffer.concat([frame(types.headers, 0, 1), repeat(3_000, () => frame(types.continuation, 0, 1))]),
    () => repeat(400, (id) => request(id, named)),
    () =>
      Buffer.concat([request(1, { ...post, ':authority': host }, false), repeat(3_000, () => frame(types.data, 0, 1))]),
    () => repeat(200, (id) => Buffer.concat([request(id, named, false), frame(types.window, 0, id, u32(0))])),
  ];
  return {
    async 'refused requests'(index) {
      const [, , bytes] = refusedRequests[index % refusedRequests.length]!;
      await sendAndLeave(await either(index, 'http/1.1'), Buffer.from(bytes, 'latin1'));
    },
    async 'damaged requests'(index) {
      await sendAndLeave(await either(index, 'http/1.1'), ...anyRequests(random.begin(seed, index)));
    },
    async 'damaged frames'(index) {
      const [chunks] = fc.sample(clientSessions, { numRuns: 1, seed: seed + index });
      await sendAndLeave(await either(index, 'h2'), ...chunks!);
    },
    async floods(index) {
      await sendAndLeave(await either(index, 'h2'), greeting, floods[(index >> 1) % floods.length]!());
    },
    async 'half handshakes'(index) {
      const hello = Buffer.from('16030100c8010000c40303', 'hex');
      await sendAndLeave(
        plain(inbound),
        index % 3 === 0 ? hello : index % 3 === 1 ? Buffer.from('GET / HTTP/1.1\r\n\r\n') : Buffer.alloc(0),
      );
    },
    async 'cut bodies'(index) {
      const head = `POST /cut HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1000000\r\n\r\n`;
      const socket = await either(index, 'http/1.1');
      await sendAndLeave(socket, Buffer.from(head), Buffer.alloc(100_000), Buffer.alloc(index % 50_000));
    },
    async 'cut answers'(index) {
      const socket = await either(index, 'http/1.1');
      socket.on('error', () => undefined);
      socket.write(`GET /big HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      await Promise.race([once(socket, 'data').catch(() => undefined), once(socket, 'close')]);
      leave(socket, index);
    },
    async 'slow readers'(index) {
      const socket = await either(index, 'http/1.1');
      socket.on('error', () => undefined);
      socket.write(`GET /big HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      socket.pause();
      await pass(patience);
      leave(socket, index);
    },
  };
}

const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** By a reset or by a proper end, in turn. */
function leave(socket: Socket, index: number): void {
  if (index % 4 < 2 && !('encrypted' in socket)) socket.resetAndDestroy();
  else socket.destroy();
}

/** Sends piece after piece, waits until it is turned out or for a moment, and goes. */
async function sendAndLeave(socket: Socket, ...pieces: readonly Buffer[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.on('end', () => resolve());
    socket.resume();
    for (const piece of pieces) socket.write(piece);
    timer = setTimeout(resolve, patience / 4);
  });
  clearTimeout(timer);
  leave(socket, pieces.length);
}

/** One request on a connection of its own; gives what is wrong with the answer. */
async function honestCall({ outbound, host }: Target, method: string, text: string): Promise<string | undefined> {
  const socket = plain(outbound);
  let answer = '';
  socket.on('data', (bytes) => {
    answer += bytes.toString('latin1');
  });
  let fault: string | undefined;
  socket.on('error', (error) => {
    fault = error.message;
  });
  const length = method === 'POST' ? `Content-Length: ${text.length}\r\n` : '';
  socket.write(
    `${method} /honest HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${length}\r\n${method === 'POST' ? text : ''}`,
  );
  await once(socket, 'close').catch(() => undefined);
  if (fault) return fault;
  const expected = method === 'POST' ? text : 'honest';
  return answer.startsWith('HTTP/1.1 200 ') && answer.endsWith(`\r\n\r\n${expected}`)
    ? undefined
    : answer.slice(0, 600);
}
