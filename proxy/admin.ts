// The two small HTTP listeners for people and machines beside the data plane: admin (loopback, read-only) and health with metrics.
// Nothing here can change the proxy, and no secret is ever shown.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { formatHostPort, type HostPort, isLoopback } from '#base/host-port';
import { fail } from './agent/errors.ts';

/** What one path answers; made anew for each request. */
export interface Page {
  readonly describe: string;
  readonly read: () => Answer | Promise<Answer>;
}

export interface Answer {
  readonly status?: number;
  /** Text is sent as it is; anything else as JSON. */
  readonly body: unknown;
  readonly type?: string;
}

export interface SmallListener {
  readonly address: HostPort;
  close(): Promise<void>;
}

export interface ListenerOptions {
  /** The command-line option that sets its address, for messages. */
  readonly name: 'admin' | 'metrics';
  readonly listen: HostPort;
  readonly pages: Readonly<Record<string, Page>>;
}

/** The admin listener: loopback addresses and loopback Host fields only, so that no web page can reach it by DNS rebinding. */
export async function openAdmin({
  exposed,
  ...options
}: Omit<ListenerOptions, 'name'> & {
  /** Lets other machines read it, without any authentication: `--unsafe-admin-non-loopback`. */
  readonly exposed: boolean;
}): Promise<SmallListener> {
  const { listen } = options;
  const isLocal = isLoopback(listen.host);
  if (!isLocal && !exposed) throw fail('SIDECAR_ADMIN_EXPOSED', { address: formatHostPort(listen) });
  return open({ ...options, name: 'admin' }, isLocal ? isLocalRequest : () => true);
}

/** The listener for `/metrics`, `/livez` and `/readyz`. */
export function openHealth(options: Omit<ListenerOptions, 'name'>): Promise<SmallListener> {
  return open({ ...options, name: 'metrics' }, () => true);
}

async function open(
  { name, listen, pages }: ListenerOptions,
  isAllowed: (request: IncomingMessage) => boolean,
): Promise<SmallListener> {
  const server = http().createServer(
    {
      maxHeaderSize: 8_192,
      headersTimeout: 5_000,
      requestTimeout: 5_000,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 1_000,
    },
    (request, response) => {
      request.resume();
      if (!isAllowed(request))
        return send(response, { status: 403, body: 'this listener answers to loopback names only\n' });
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.setHeader('allow', 'GET, HEAD');
        return send(response, { status: 405, body: 'this listener is read-only\n' });
      }
      void answer(pages, (request.url ?? '/').split('?')[0]!).then((made) => send(response, made));
    },
  );
  server.maxConnections = 128;
  server.on('clientError', (_, socket) => socket.destroy());
  await listening(server, { name, listen });
  const { port } = server.address() as { port: number };
  return {
    address: { host: listen.host, port },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(pages: Readonly<Record<string, Page>>, path: string): Promise<Answer> {
  if (path === '/' && !Object.hasOwn(pages, '/')) {
    const lines = Object.entries(pages).map(([name, page]) => `${name.padEnd(14)} ${page.describe}\n`);
    return { body: lines.join('') };
  }
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  if (!page) return { status: 404, body: 'there is no such page; / lists them\n' };
  try {
    return await page.read();
  } catch {
    return { status: 500, body: 'this page cannot be shown now\n' };
  }
}

function send(response: ServerResponse, { status = 200, body, type }: Answer): void {
  const isText = typeof body === 'string';
  const text = isText ? body : `${JSON.stringify(body, plain, 2)}\n`;
  response.writeHead(status, {
    'content-type': type ?? (isText ? 'text/plain; charset=utf-8' : 'application/json'),
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}

function isLocalRequest(request: IncomingMessage): boolean {
  const [, bracketed, name] = /^(?:\[([^\]]+)\]|([^:]+))(?::[0-9]+)?$/.exec(request.headers.host ?? '') ?? [];
  return isLoopback(bracketed ?? name ?? '');
}

function listening(server: Server, { name, listen }: Pick<ListenerOptions, 'name' | 'listen'>): Promise<void> {
  const address = formatHostPort(listen);
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        fail(
          'SIDECAR_LISTEN_FAILED',
          { listener: name, address, reason: reasons[cause.code ?? ''] ?? cause.message },
          { cause },
        ),
      ),
    );
    server.listen(listen.port, listen.host, () => {
      server.removeAllListeners('error');
      server.on('error', () => undefined);
      resolve();
    });
  });
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'it is in use by another process',
  EACCES: 'permission denied',
  EADDRNOTAVAIL: 'this machine does not have that address',
  ENOTFOUND: 'the name is not known',
};

/** Not by `import`, which would make every lazy export of node:http (a WebSocket client among them): 9 MB in every sidecar. */
function http(): typeof import('node:http') {
  return process.getBuiltinModule('node:http');
}

function plain(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
