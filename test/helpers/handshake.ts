// One real TLS handshake between two ends, and what each of them made of the other: an SVID, or the code of the refusal.

import type { KeyObject } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { type ConnectionOptions, createServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import { systemClock } from '#base/clock';
import {
  connectTls,
  parseSpiffeId,
  type Svid,
  type TrustBundle,
  tlsClientPolicy,
  tlsServerPolicy,
  toPem,
  verifyPeer,
} from '#spiffe';

export interface Presented {
  readonly chain: readonly Uint8Array[];
  readonly key: KeyObject;
}

export interface Outcome {
  /** What the server, respectively the client, verified. */
  readonly server: Svid | string;
  readonly client: Svid | string;
  /** Bytes of application data that the server had received when it was over. */
  readonly received: number;
}

export interface HandshakeOptions {
  readonly bundle: TrustBundle;
  readonly server: Presented;
  readonly client?: Presented | undefined;
  readonly expect: string;
  readonly now?: number;
  /** Over the policies, for hostile ends. */
  readonly serverOptions?: Parameters<typeof createServer>[0];
  readonly clientOptions?: ConnectionOptions;
}

/** Runs it; the client writes eight bytes as soon as it may. Both ends are closed on return. */
export async function handshake(o: HandshakeOptions): Promise<Outcome> {
  const now = o.now ?? systemClock.now();
  const ca = o.bundle.roots.map(toPem);
  let received = 0;
  const serverSide = Promise.withResolvers<Svid | string>();
  const server = createServer({ ca, ...material(o.server), ...tlsServerPolicy, ...o.serverOptions }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      received += bytes.length;
    });
    serverSide.resolve(answerOf(() => verifyPeer(socket, { bundle: o.bundle, now })));
    socket.write('welcome');
  });
  server.on('tlsClientError', (error) => serverSide.resolve(codeOf(error)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const policy = tlsClientPolicy({ bundle: o.bundle, now: () => now, expect: parseSpiffeId(o.expect) });
  const socket: TLSSocket = connectTls({
    host: '127.0.0.1',
    port,
    ...policy,
    ...(o.client && material(o.client)),
    ...o.clientOptions,
  });
  const clientSide = Promise.withResolvers<Svid | string>();
  socket.on('secureConnect', () => {
    const answer = answerOf(() => verifyPeer(socket, { bundle: o.bundle, now }));
    socket.once('data', () => clientSide.resolve(answer));
    if (typeof answer !== 'string') return void socket.write('8 bytes!');
    clientSide.resolve(answer);
    socket.destroy();
  });
  socket.on('error', (error) => {
    clientSide.resolve(codeOf(error));
    // An end that refuses closes without a word to the other's callbacks.
    setImmediate(() => serverSide.resolve('closed'));
  });
  socket.on('close', () => clientSide.resolve('closed'));
  const client = await clientSide.promise;
  const served = await serverSide.promise;
  socket.destroy();
  server.close();
  return { server: served, client, received };
}

function material({ chain, key }: Presented): SecureContextOptions {
  return { cert: chain.map(toPem).join(''), key: key.export({ format: 'pem', type: 'pkcs8' }) };
}

function answerOf(run: () => Svid): Svid | string {
  try {
    return run();
  } catch (thrown) {
    return codeOf(thrown);
  }
}

function codeOf(thrown: unknown): string {
  return (thrown as { code?: string }).code ?? String(thrown);
}
