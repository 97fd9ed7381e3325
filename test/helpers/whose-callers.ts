// Callers of the applications in `whose-apps.ts`: many at a time, over HTTP/1.1, HTTP/2, WebSockets and CONNECT, some slowly, some gone in the middle.
import { randomBytes } from 'node:crypto';
import { Agent, type IncomingMessage, request as requestHttp1 } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { Random } from '../fuzz/random.ts';
import { closeStream, fates, type Plan, pathOf, pour, read } from './whose-apps.ts';
import type { WhoseBytes } from './whose-bytes.ts';

export const callKinds = ['http/1.1', 'h2', 'websocket', 'connect'] as const;
type Kind = (typeof callKinds)[number];

interface Call extends Plan {
  readonly host: 'payments' | 'ledger' | 'stream';
  readonly method: 'PUT' | 'POST';
  /** Of unknown length. */
  readonly isOpen: boolean;
  readonly slowMs: number;
  /** Leaves once so many bytes have been sent, or come. */
  readonly leaveUp: number;
  readonly leaveDown: number;
}

export interface CallersOptions {
  readonly whose: WhoseBytes;
  readonly port: number;
  readonly seed: number;
  readonly calls: number;
  readonly atOnce: number;
  /** After each. */
  readonly onCall?: (index: number) => void;
}

const sizes = [0, 1, 500, 5_000, 16_384, 40_000, 65_536, 100_000, 200_000, 262_144, 600_000];

/** Gives how many calls of each kind came to their end as they should. */
export async function callAll(o: CallersOptions): Promise<Record<Kind, number>> {
  const done: Record<Kind, number> = { 'http/1.1': 0, h2: 0, websocket: 0, connect: 0 };
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const sessions: (ClientHttp2Session | undefined)[] = [];
  let index = 0;
  const work = async (random: Random): Promise<void> => {
    while (index < o.calls) {
      const at = index++;
      random.begin(o.seed, at);
      const kind = random.pick(['http/1.1', 'http/1.1', 'h2', 'h2', 'websocket', 'connect'] as const);
      const call = planCall(random, o.seed * 1_000_000 + at, kind);
      if (await callOnce(call, kind, random.below(3))) done[kind]++;
      // A connection with all that is on it goes now and then.
      if (random.oneIn(40)) {
        const session = sessions[random.below(3)];
        setImmediate(() => session?.destroy());
      }
      o.onCall?.(at);
    }
  };
  const callOnce = (call: Call, kind: Kind, at: number): Promise<boolean> => {
    if (kind === 'http/1.1') return overHttp1(o, call, agent);
    if (kind !== 'h2') return overTunnel(o, call, kind);
    const known = sessions[at];
    if (known && !known.destroyed && !known.closed) return overHttp2(o, call, known);
    const session = connectHttp2(`http://127.0.0.1:${o.port}`);
    session.on('error', () => undefined);
    sessions[at] = session;
    return overHttp2(o, call, session);
  };
  await Promise.all(Array.from({ length: o.atOnce }, () => work(new Random())));
  agent.destroy();
  for (const session of sessions) session?.destroy();
  return done;
}

function planCall(random: Random, id: number, kind: Kind): Call {
  const size = (): number => random.pick(sizes) + random.below(64);
  const up = size();
  const down = size();
  const leaves = random.oneIn(4);
  const isUp = random.oneIn(2);
  return {
    id,
    up,
    down,
    fate: random.pick([...fates, 'plain', 'plain', 'refuse']),
    host: kind === 'connect' ? 'stream' : kind === 'websocket' ? 'payments' : random.pick(['payments', 'ledger']),
    method: random.pick(['PUT', 'POST']),
    isOpen: random.oneIn(2),
    slowMs: random.oneIn(3) ? 1 + random.below(4) : 0,
    leaveUp: leaves && isUp ? random.below(up + 1) : Number.POSITIVE_INFINITY,
    leaveDown: leaves && !isUp ? random.below(down + 1) : Number.POSITIVE_INFINITY,
  };
}

/** Looks at an answer; true when it is all there and somebody may have wanted it. */
function judge(o: CallersOptions, call: Call, where: string, answer: { status: number; whose: string }) {
  const { whose } = o;
  if (answer.status !== 200) return undefined;
  if (answer.whose !== String(call.id)) whose.faults.push(`${where} ${call.id} was answered for ${answer.whose}`);
  const reader = whose.reader(call.id, 'down', where);
  return {
    reader,
    isWhole(last: string): boolean {
      if (reader.count !== call.down)
        whose.faults.push(`${where} ${call.id}: ${reader.count} bytes of ${call.down} were all`);
      if (last !== '' && last !== String(call.id)) whose.faults.push(`${where} ${call.id} has the trailers of ${last}`);
      return reader.count === call.down;
    },
  };
}

function overHttp1(o: CallersOptions, call: Call, agent: Agent): Promise<boolean> {
  return new Promise((resolve) => {
    const headers = { host: call.host, ...(!call.isOpen && { 'content-length': call.up }) };
    const asking = requestHttp1({
      host: '127.0.0.1',
      port: o.port,
      method: call.method,
      path: pathOf(call),
      headers,
      agent,
    });
    let hasLeft = false;
    const leave = (): void => {
      hasLeft = true;
      asking.destroy();
    };
    asking.on('error', () => resolve(false));
    asking.on('close', () => resolve(false));
    asking.on('response', (response: IncomingMessage) => {
      const { statusCode = 0, headers: got } = response;
      const seen = judge(o, call, 'http/1.1', { status: statusCode, whose: String(got['x-whose']) });
      read(
        response,
        (bytes) => {
          seen?.reader.take(bytes);
          if (seen && seen.reader.count >= call.leaveDown) leave();
        },
        call.slowMs,
      );
      response.on('end', () => {
        // Whoever has left hears of an end too.
        const isWhole = !hasLeft && response.complete && seen?.isWhole(response.trailers['x-last'] ?? '') === true;
        resolve(isWhole);
        // The rest of a body that nobody wants any more.
        if (!asking.writableFinished) asking.destroy();
      });
    });
    void send(o, call, asking, leave);
  });
}

function overHttp2(o: CallersOptions, call: Call, session: ClientHttp2Session): Promise<boolean> {
  return new Promise((resolve) => {
    const isGrpc = call.id % 2 === 0;
    const stream = session.request({
      ':method': isGrpc ? 'POST' : call.method,
      ':path': pathOf(call),
      ':authority': call.host,
      ...(isGrpc && { 'content-type': 'application/grpc', te: 'trailers' }),
      ...(!call.isOpen && { 'content-length': call.up }),
    });
    let seen: ReturnType<typeof judge>;
    let last = '';
    let hasEnded = false;
    stream.on('error', () => undefined);
    stream.on('trailers', (fields: IncomingHttpHeaders) => {
      last = String(fields['x-last'] ?? '');
    });
    stream.on('response', (got: IncomingHttpHeaders) => {
      // A proxy's own answer to gRPC is a 200 too.
      const status = got['grpc-status'] === undefined ? Number(got[':status']) : 0;
      seen = judge(o, call, 'h2', { status, whose: String(got['x-whose']) });
    });
    read(
      stream,
      (bytes) => {
        seen?.reader.take(bytes);
        if (seen && seen.reader.count >= call.leaveDown) closeStream(stream, 8);
      },
      call.slowMs,
    );
    stream.on('end', () => {
      hasEnded = true;
    });
    stream.on('close', () => {
      const isWhole = hasEnded && stream.rstCode === 0 && call.leaveDown > call.down && !session.destroyed;
      if (!isWhole) o.whose.left.add(call.id);
      resolve(isWhole && seen?.isWhole(last) === true);
    });
    void send(o, call, stream, () => closeStream(stream, 8));
  });
}

/** The caller's end of a tunnel; bytes behind its head go at once. */
function overTunnel(o: CallersOptions, call: Call, kind: 'websocket' | 'connect'): Promise<boolean> {
  return new Promise((resolve) => {
    const socket: Socket = connect({ host: '127.0.0.1', port: o.port, allowHalfOpen: true });
    const reader = o.whose.reader(call.id, 'down', kind);
    let head: string | undefined = '';
    socket.on('error', () => undefined);
    const take = (bytes: Buffer): void => {
      if (head !== undefined) {
        head += bytes.toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        if (!/^HTTP\/1\.1 (?:101|200) /.test(head)) return void socket.destroy();
        bytes = Buffer.from(head.slice(end + 4), 'latin1');
        head = undefined;
      }
      reader.take(bytes);
      if (reader.count >= call.leaveDown) socket.resetAndDestroy();
    };
    read(socket, take, call.slowMs);
    let isWhole = false;
    socket.on('end', () => {
      isWhole = head === undefined && reader.count === call.down;
    });
    socket.on('close', () => resolve(isWhole));
    if (kind === 'websocket') {
      const key = randomBytes(16).toString('base64');
      socket.write(
        `GET ${pathOf(call)} HTTP/1.1\r\nhost: ${call.host}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${key}\r\n\r\n`,
      );
    } else socket.write(`CONNECT ${call.host}:80 HTTP/1.1\r\nhost: ${call.host}:80\r\n\r\n${pathOf(call)}\n`);
    void send(o, call, socket, () => socket.resetAndDestroy());
  });
}

async function send(
  { whose }: CallersOptions,
  { id, up, leaveUp }: Call,
  to: Parameters<typeof pour>[0],
  leave: () => void,
): Promise<void> {
  await pour(to, whose, { id, direction: 'up', bytes: Math.min(up, leaveUp) });
  if (leaveUp <= up) leave();
  else if (!to.destroyed) to.end();
}
