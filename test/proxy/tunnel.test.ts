// One end of a tunnel on a real socket: its last bytes have the time that they need, and no longer.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Connection, createTurn } from '../../proxy/connection.ts';
import { defaultLimits } from '../../proxy/limits.ts';
import { TunnelEnd } from '../../proxy/tunnel.ts';
import { createClock } from '../helpers/clock.ts';

interface Opened {
  readonly connection: Connection;
  readonly end: TunnelEnd;
  readonly peer: Socket;
  readonly ended: Promise<void>;
  readonly over: Promise<void>;
}

async function startOpen(): Promise<Opened> {
  const server = createServer({ allowHalfOpen: true });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  const peer = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, allowHalfOpen: true });
  peer.on('error', () => undefined);
  peer.pause();
  const [socket] = (await once(server, 'connection')) as [Socket];
  onTestFinished(() => {
    peer.destroy();
    socket.destroy();
  });
  const connection = new Connection({ id: '1', socket, turn: createTurn(), bufferBytes: 131_072 });
  const ended = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  const nothing = (): void => undefined;
  const end = new TunnelEnd({
    connection,
    limits: defaultLimits,
    monotonic: () => createClock().monotonic(),
    rest: Buffer.alloc(0),
    hasEnded: false,
    events: { onBytes: nothing, onEnd: ended.resolve, onReady: nothing, onGone: nothing },
    onOver: over.resolve,
  });
  end.unhold();
  return { connection, end, peer, ended: ended.promise, over: over.promise };
}

/** An end whose both directions have ended, with megabytes that its peer has not taken yet. */
async function startEnded(): Promise<{ connection: Connection; peer: Socket; bytes: number }> {
  const { connection, end, peer, ended, over } = await startOpen();
  peer.end();
  await ended;
  const bytes = 32_000_000;
  end.send(Buffer.alloc(bytes, 'x'));
  end.end();
  await over;
  return { connection, peer, bytes };
}

test('a peer that takes the last bytes slowly gets all of them', async () => {
  const { connection, peer, bytes } = await startEnded();
  let got = 0;
  const closed = once(peer, 'close');
  peer.on('data', (part) => {
    got += part.length;
  });
  // Each time something has moved, its time is up.
  let left = connection.unsent;
  const move = (): void => {
    if (connection.isClosed || peer.destroyed) return;
    if (connection.unsent !== left && connection.unsent > 0) {
      left = connection.unsent;
      connection.handler.expired();
    }
    setImmediate(move);
  };
  move();
  peer.resume();
  await closed;
  expect(got).toBe(bytes);
});

test('one that takes none of them is cut', async () => {
  const { connection, peer } = await startEnded();
  connection.handler.expired();
  connection.handler.expired();
  expect(connection.isClosed).toBe(true);
  const closed = new Promise((resolve) => peer.on('close', resolve));
  peer.resume();
  await closed;
});

test.each([['its own side has just ended'], ['its own side ends with megabytes to go'], ['both have']])(
  'a cut closes it for good when %s',
  async (when) => {
    const { connection, end, peer } = await startOpen();
    if (when === 'both have') {
      peer.end();
      await once(connection.socket, 'end');
    }
    end.send(Buffer.alloc(when.includes('megabytes') ? 32_000_000 : 5, 'x'));
    end.end();
    const closed = once(connection.socket, 'close');
    connection.cut();
    await closed;
  },
);
