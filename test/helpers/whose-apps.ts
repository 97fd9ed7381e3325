// Applications that send and expect bytes that say whose they are: over HTTP/1.1, HTTP/2, WebSockets and plain TCP. What they are asked for says how they
// behave: in order, slowly, not at once, or by a cut in the middle.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type Http2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import { onTestFinished } from 'vitest';
import { webSocketAccept } from '../../proxy/http1/write.ts';
import { startApp, startRawApp, type TestApp } from './mesh.ts';
import type { WhoseBytes } from './whose-bytes.ts';

export const fates = ['plain', 'both', 'slow', 'refuse', 'cut-in', 'cut-out'] as const;

/** One exchange: so many bytes up and down, and what the application makes of it. */
export interface Plan {
  readonly id: number;
  readonly up: number;
  readonly down: number;
  readonly fate: (typeof fates)[number];
}

export const pathOf = ({ id, up, down, fate }: Plan): string => `/${id}/${up}/${down}/${fate}`;

export function planOf(path: string): Plan {
  const [id, up, down, fate] = path.slice(1).split('/');
  return { id: Number(id), up: Number(up), down: Number(down), fate: fate as Plan['fate'] };
}

/** Not in the middle of reading: that ends Node's process now and then (nodejs/node issue 38964). */
export function closeStream(stream: Http2Stream, code: number): void {
  setImmediate(() => stream.close(code));
}

/** Writes them as they are taken, in pieces of many sizes; gives up once nobody takes them. */
export async function pour(
  to: Writable,
  whose: WhoseBytes,
  o: { readonly id: number; readonly direction: 'up' | 'down'; readonly bytes: number; readonly before?: number },
): Promise<void> {
  for (let at = 0; at < o.bytes && !to.destroyed; ) {
    const size = Math.min(o.bytes - at, 1 + ((o.id * 7_919 + at * 31) % 70_000));
    const more = to.write(whose.part(o.id, o.direction, at, size));
    at += size;
    if (!more && at < o.bytes) await takesMore(to);
  }
}

/** Or is gone. */
function takesMore(to: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      to.off('drain', done).off('close', done);
      resolve();
    };
    to.on('drain', done).on('close', done);
    if (to.destroyed) done();
  });
}

/** Shows everything to `take`; slowly, when so many milliseconds are to pass between two pieces. */
export function read(from: Readable, take: (bytes: Buffer) => void, slowMs = 0): void {
  from.on('data', (bytes: Buffer) => {
    take(bytes);
    if (slowMs === 0) return;
    from.pause();
    setTimeout(() => from.resume(), slowMs);
  });
  from.on('error', () => undefined);
  from.resume();
}

export function whoseApps(whose: WhoseBytes, onDone: (kind: string) => void) {
  const refused = new Set<number>();
  const serve =
    (where: string) =>
    (
      request: IncomingMessage | Http2ServerRequest,
      response: (ServerResponse | Http2ServerResponse) & Writable,
    ): void => {
      const plan = planOf(request.url!);
      const { id, up, down, fate } = plan;
      const reader = whose.reader(id, 'up', where);
      const cut = (): void => {
        const { stream } = request as Http2ServerRequest;
        if (stream) closeStream(stream, 2);
        else (request as IncomingMessage).socket.destroy();
      };
      response.on('error', () => undefined);
      const isRefused = fate === 'refuse' && !refused.has(id);
      read(
        request,
        (bytes) => {
          reader.take(bytes);
          if (fate === 'cut-in' && reader.count > up / 2) cut();
        },
        fate === 'slow' ? 2 : 0,
      );
      const answer = async (): Promise<void> => {
        response.statusCode = isRefused ? 503 : 200;
        refused.add(id);
        response.setHeader('x-whose', id);
        if (id % 3 === 0) response.setHeader('content-length', isRefused ? 0 : down);
        else response.setHeader('trailer', 'x-last');
        if (isRefused) return void response.end();
        await pour(response, whose, { id, direction: 'down', bytes: fate === 'cut-out' ? down >> 1 : down });
        if (fate === 'cut-out') return cut();
        if (id % 3 !== 0) response.addTrailers({ 'x-last': String(id) });
        response.end();
      };
      if (fate === 'both') void answer();
      request.on('end', () => {
        if (request.aborted || (request as Http2ServerRequest).stream?.rstCode || fate === 'cut-in') return;
        if (reader.count !== up) whose.short.set(id, `${where} ${id}: ${reader.count} bytes of ${up} came`);
        onDone(where);
        if (fate !== 'both') void answer();
      });
    };

  return {
    /** Also speaks to whoever asks for a WebSocket. */
    async http(where: string): Promise<{ app: TestApp; protocol: 'http' }> {
      const app = await startApp(serve(where));
      app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
        const accept = webSocketAccept(request.headers['sec-websocket-key']!);
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
        );
        socket.unshift(head);
        talk(socket, planOf(request.url!), 'websocket');
      });
      return { app, protocol: 'http' };
    },

    async h2c(): Promise<{ app: TestApp; protocol: 'h2c' }> {
      const server = createHttp2Server(serve('h2c'));
      const sessions = new Set<{ destroy(): void }>();
      server.on('session', (session) => {
        sessions.add(session);
        session.on('error', () => undefined);
        session.on('close', () => sessions.delete(session));
      });
      await once(server.listen(0, '127.0.0.1'), 'listening');
      onTestFinished(() => {
        server.close();
        for (const session of sessions) session.destroy();
      });
      const { port } = server.address() as AddressInfo;
      return { app: { host: '127.0.0.1', port } as TestApp, protocol: 'h2c' };
    },

    /** Its callers say in their first line what they want. */
    async tcp(): Promise<{ app: TestApp; protocol: 'tcp' }> {
      const app = await startRawApp((socket) => {
        let line = '';
        const onData = (bytes: Buffer): void => {
          const end = bytes.indexOf(10);
          line += bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
          if (end < 0) return;
          socket.off('data', onData);
          socket.pause();
          socket.unshift(bytes.subarray(end + 1));
          talk(socket, planOf(line), 'tcp');
        };
        socket.on('data', onData);
      });
      return { app, protocol: 'tcp' };
    },
  };

  /** One end of a tunnel. */
  function talk(socket: Duplex, plan: Plan, where: string): void {
    const { id, up, down, fate } = plan;
    const reader = whose.reader(id, 'up', where);
    socket.on('error', () => undefined);
    read(
      socket,
      (bytes) => {
        reader.take(bytes);
        if (fate === 'cut-in' && reader.count > up / 2) (socket as Socket).resetAndDestroy();
      },
      fate === 'slow' ? 2 : 0,
    );
    socket.on('end', () => {
      // Whoever leaves in the middle of it may end in good order here: that is how a tunnel ends.
      if (reader.count === up) onDone(where);
    });
    const bytes = fate === 'cut-out' ? down >> 1 : down;
    void pour(socket, whose, { id, direction: 'down', bytes }).then(() => {
      if (fate === 'cut-out') (socket as Socket).resetAndDestroy();
      else if (!socket.destroyed) socket.end();
    });
  }
}
