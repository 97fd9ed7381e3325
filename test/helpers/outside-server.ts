// Servers outside the mesh, of Node's own: HTTPS over HTTP/1.1 or HTTP/2, TLS for TCP, with certificates from a CA that the mesh knows nothing of.
import { createSecureServer, type ServerHttp2Stream } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { onTestFinished } from 'vitest';
import { toPem } from '#spiffe';
import {
  type CertificateWish,
  dnsName,
  type Made,
  makeCa,
  makeCertificate,
  nameOf,
  purposes,
  san,
  serverAuth,
} from './pki.ts';

export interface Pem {
  readonly cert: string;
  readonly key: string;
}

export interface OutsideCa {
  readonly pem: string;
  readonly made: Made;
  /** A certificate for these DNS names, unless wished otherwise. */
  issue(names: readonly string[], wish?: CertificateWish): Pem;
}

export function createOutsideCa(name = 'Outside CA'): OutsideCa {
  const made = makeCa({ name });
  return {
    pem: toPem(made.der),
    made,
    issue(names, wish = {}) {
      const leaf = makeCertificate({
        issuer: made,
        subject: nameOf(names[0] ?? 'nobody'),
        purposes: purposes([serverAuth]),
        san: names.length > 0 ? san(names.map(dnsName), false) : undefined,
        ...wish,
      });
      return { cert: toPem(leaf.der), key: leaf.keys.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string };
    },
  };
}

export interface OutsideServer {
  readonly address: string;
  readonly port: number;
  /** Handshakes that ended well. */
  readonly handshakes: () => number;
  /** The name that the last client asked for. */
  readonly asked: () => string | false | undefined;
  readonly server: Server;
}

interface Seen {
  readonly protocol: string;
  readonly host: string | undefined;
  readonly method: string | undefined;
  readonly tls: string | null;
  readonly client: string | undefined;
}

/** Answers with what it saw, as JSON. */
export async function startHttps(o: TlsOptions & { readonly h2?: boolean }): Promise<OutsideServer> {
  const { h2 = false, ...tls } = o;
  if (!h2) {
    return listening(
      createHttpsServer({ ...tls, ALPNProtocols: ['http/1.1'] }, (request, response) => {
        const socket = request.socket as TLSSocket;
        const seen: Seen = {
          protocol: `HTTP/${request.httpVersion}`,
          host: request.headers.host,
          method: request.method,
          tls: socket.getProtocol(),
          client: socket.getPeerX509Certificate()?.subject,
        };
        response.end(JSON.stringify(seen));
      }),
    );
  }
  const server = createSecureServer({ ...tls, allowHTTP1: false });
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    const socket = stream.session!.socket as TLSSocket;
    stream.respond({ ':status': 200 });
    const seen: Seen = {
      protocol: 'HTTP/2',
      host: headers[':authority'],
      method: headers[':method'],
      tls: socket.getProtocol?.() ?? null,
      client: undefined,
    };
    stream.end(JSON.stringify({ ...seen, scheme: headers[':scheme'] }));
  });
  return listening(server as unknown as Server);
}

export async function startTls(o: TlsOptions, onSocket: (socket: Socket) => void): Promise<OutsideServer> {
  return listening(
    createTlsServer({ ...o, allowHalfOpen: true } as TlsOptions, (socket) => {
      socket.on('error', () => undefined);
      onSocket(socket);
    }),
  );
}

async function listening(server: Server): Promise<OutsideServer> {
  let handshakes = 0;
  let asked: string | false | undefined;
  const sockets = new Set<Socket>();
  server.on('secureConnection', (socket) => {
    handshakes++;
    asked = (socket as unknown as { servername: string | false }).servername;
  });
  server.on('tlsClientError', () => undefined);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  return { address: `127.0.0.1:${port}`, port, handshakes: () => handshakes, asked: () => asked, server };
}
