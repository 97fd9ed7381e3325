// A real name server on a loopback port, over UDP and TCP, which answers from a table that a test may change: addresses, service records, nothing,
// silence, or an error.
import { createSocket, type Socket } from 'node:dgram';
import { createServer as createTcpServer, isIPv4, isIPv6, type Server } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Srv {
  readonly target: string;
  readonly port: number;
  readonly priority?: number;
  readonly weight?: number;
}

/** Addresses and service records; or nothing is ever said; or that the server has failed; or that there is nothing of this type. */
export type Zone = readonly (string | Srv)[] | 'silent' | 'failing' | 'empty';

export interface NameServer {
  /** By name; what is not in it does not exist. */
  zones: Readonly<Record<string, Zone>>;
  /** Seconds. */
  ttl: number;
  /** Milliseconds until an answer. */
  delayMs: number;
  questions: number;
  /** Questions by TCP, after a truncated answer. */
  tcpQuestions: number;
  readonly address: string;
  /** Stops answering at all. */
  close(): void;
}

const mostUdp = 512;

export async function startNameServer(zones: Readonly<Record<string, Zone>>): Promise<NameServer> {
  const { udp, tcp, port } = await bindBoth();
  tcp.on('connection', (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => {
      state.tcpQuestions++;
      const answer = answerTo(bytes.subarray(2), state);
      if (!answer) return;
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length);
      socket.write(Buffer.concat([length, answer]));
    });
  });
  let isClosed = false;
  const close = (): void => {
    if (isClosed) return;
    isClosed = true;
    udp.close();
    tcp.close();
  };
  onTestFinished(close);
  const state: NameServer = {
    zones,
    ttl: 60,
    delayMs: 0,
    questions: 0,
    tcpQuestions: 0,
    address: `127.0.0.1:${port}`,
    close,
  };
  udp.on('message', async (query, from) => {
    state.questions++;
    if (state.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, state.delayMs));
    if (isClosed) return;
    const answer = answerTo(query, state);
    if (!answer) return;
    if (answer.length > mostUdp) {
      // The question alone, with the bit that says that there is more.
      answer.writeUInt16BE(answer.readUInt16BE(2) | 0x0200, 2);
      answer.writeUInt16BE(0, 6);
      return udp.send(answer.subarray(0, questionEnd(query)), from.port, from.address);
    }
    udp.send(answer, from.port, from.address);
  });
  return state;
}

/** A port that is free for both: somebody else may have the TCP one of a free UDP port. */
async function bindBoth(): Promise<{ udp: Socket; tcp: Server; port: number }> {
  for (let tries = 1; ; tries++) {
    const udp = createSocket('udp4');
    const tcp = createTcpServer();
    await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve));
    const { port } = udp.address();
    try {
      await new Promise<void>((resolve, reject) => tcp.once('error', reject).listen(port, '127.0.0.1', resolve));
      return { udp, tcp, port };
    } catch (thrown) {
      udp.close();
      if (tries === 20) throw thrown;
    }
  }
}

const types = { a: 1, aaaa: 28, srv: 33 } as const;

function answerTo(query: Buffer, { zones, ttl }: NameServer): Buffer | undefined {
  const end = questionEnd(query);
  const type = query.readUInt16BE(end - 4);
  const zone = zones[nameIn(query)];
  if (zone === 'silent') return undefined;
  const rows = Array.isArray(zone) ? (zone as readonly (string | Srv)[]).flatMap((one) => rowOf(one, type)) : [];
  const code = zone === undefined ? 3 : zone === 'failing' ? 2 : 0;
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8180 | code, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(rows.length, 6);
  const answers = rows.map((data) => {
    const front = Buffer.alloc(12);
    front.writeUInt16BE(0xc00c, 0);
    front.writeUInt16BE(type, 2);
    front.writeUInt16BE(1, 4);
    front.writeUInt32BE(ttl, 6);
    front.writeUInt16BE(data.length, 10);
    return Buffer.concat([front, data]);
  });
  return Buffer.concat([head, query.subarray(12, end), ...answers]);
}

function rowOf(one: string | Srv, type: number): readonly Buffer[] {
  if (typeof one === 'string') {
    if (type === types.a && isIPv4(one)) return [Buffer.from(one.split('.').map(Number))];
    if (type === types.aaaa && isIPv6(one)) return [sixBytes(one)];
    return [];
  }
  if (type !== types.srv) return [];
  const head = Buffer.alloc(6);
  head.writeUInt16BE(one.priority ?? 0, 0);
  head.writeUInt16BE(one.weight ?? 0, 2);
  head.writeUInt16BE(one.port, 4);
  const labels = one.target.split('.').filter((label) => label !== '');
  return [
    Buffer.concat([
      head,
      ...labels.flatMap((label) => [Buffer.of(label.length), Buffer.from(label, 'latin1')]),
      Buffer.of(0),
    ]),
  ];
}

function sixBytes(address: string): Buffer {
  const [before = '', after] = address.split('::');
  const words = (part: string | undefined): number[] =>
    part ? part.split(':').map((word) => Number.parseInt(word, 16)) : [];
  const [first, last] = [words(before), words(after)];
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 255]));
}

function questionEnd(query: Buffer): number {
  let at = 12;
  while (query[at]) at += query[at]! + 1;
  return at + 5;
}

function nameIn(query: Buffer): string {
  const labels: string[] = [];
  for (let at = 12; query[at]; at += query[at]! + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!));
  return labels.join('.').toLowerCase();
}
