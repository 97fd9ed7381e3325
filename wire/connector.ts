// How a request gets a verified connection to the control plane: pooled, and made anew when the identity or the bundle changed.
// A connection is handed to a request only after the server's SVID was verified, and is cut when either SVID expires.
import type { IncomingMessage } from 'node:http';
import type { Agent, RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '#base/clock';
import { isPosternError, type PosternError } from '#base/error';
import {
  bundlePem,
  connectTls,
  type Identity,
  spiffeIdOf,
  type TrustBundle,
  tlsClientPolicy,
  tlsContext,
  verifyPeer,
} from '#spiffe';
import { fail } from './errors.ts';

/** A body that is JSON already. */
export class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export interface Connector {
  /** Sends one request and resolves with the head of its reply; `signal` cuts both. */
  open(o: {
    readonly method: string;
    readonly path: string;
    /** Sent as JSON. */
    readonly body?: unknown;
    readonly headers?: Readonly<Record<string, string>>;
    readonly signal: AbortSignal;
  }): Promise<IncomingMessage>;
  close(): void;
}

export interface ConnectorOptions {
  readonly url: string;
  readonly identity: () => Identity | undefined;
  readonly bundle: () => TrustBundle;
  readonly clock: Clock;
  /** The longest that a handshake may take. */
  readonly timeoutMs: number;
}

/** What one pool of connections was made with. */
interface Pool {
  readonly identity: Identity | undefined;
  readonly bundle: TrustBundle;
  readonly agent: Agent;
}

export function createConnector(options: ConnectorOptions): Connector {
  const { url } = options;
  const { hostname, port } = new URL(url);
  // URL keeps the brackets of an IPv6 address; sockets do not take them.
  const host = hostname.replace(/^\[|\]$/g, '');
  const sockets = new Set<TLSSocket>();
  let pool: Pool | undefined;
  let closed = false;

  const poolOfNow = (): Pool => {
    const { Agent } = https();
    const [identity, bundle] = [options.identity(), options.bundle()];
    if (pool?.identity === identity && pool?.bundle === bundle) return pool;
    if (pool) retire(pool.agent);
    const agent = new Agent({ keepAlive: true, maxSockets: 8, maxFreeSockets: 2 });
    const open: Agent['createConnection'] = (_, done) => {
      void connect({
        ...options,
        identity: () => identity,
        bundle: () => bundle,
        host,
        port: Number(port || 443),
        sockets,
      })
        .then((socket) => done?.(null, socket))
        .catch((error: Error) => done?.(error, undefined as never));
      return undefined;
    };
    agent.createConnection = open;
    pool = { identity, bundle, agent };
    return pool;
  };

  return {
    async open({ method, path, body, headers = {}, signal }) {
      if (closed) throw fail('CONTROL_UNREACHABLE', { url, reason: 'this channel is closed' });
      const { agent } = poolOfNow();
      const payload =
        body === undefined ? undefined : Buffer.from(body instanceof JsonText ? body.text : JSON.stringify(body));
      const described = {
        accept: 'application/json',
        ...(payload && { 'content-type': 'application/json', 'content-length': String(payload.length) }),
      };
      return send(
        { host, port: port || '443', agent, method, path, headers: { ...described, ...headers }, signal },
        payload,
        url,
      );
    },
    close() {
      closed = true;
      pool?.agent.destroy();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function send(options: RequestOptions, payload: Buffer | undefined, url: string): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sent = https().request(options, resolve);
  sent.on('error', (error) => reject(explain(error, { url, pooled: sent.reusedSocket })));
  sent.end(payload);
  return promise;
}

/** A verified connection, or the reason why there is none. */
async function connect(
  o: ConnectorOptions & { readonly host: string; readonly port: number; readonly sockets: Set<TLSSocket> },
): Promise<TLSSocket> {
  const { url, clock, host, port, sockets } = o;
  const [identity, bundle] = [o.identity(), o.bundle()];
  if (bundle.roots.length === 0) throw fail('CONTROL_UNTRUSTED', { url, reason: 'the trust bundle is empty' });
  const expect = spiffeIdOf({ trustDomain: bundle.trustDomain, service: 'postern/server' });
  const credentials = identity
    ? tlsContext({ identity, bundle })
    : { ca: bundlePem(bundle), minVersion: 'TLSv1.3' as const };
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const socket = connectTls({
    ...credentials,
    ...tlsClientPolicy({ bundle, now: () => clock.now(), expect }),
    host,
    port,
    servername: isIP(host) ? '' : host,
    ALPNProtocols: ['http/1.1'],
  });
  sockets.add(socket);
  const timers = [clock.after(o.timeoutMs, () => socket.destroy(new Error('the handshake took too long')))];
  socket.on('error', (error) => reject(explain(error, { url, pooled: false })));
  socket.once('close', () => {
    sockets.delete(socket);
    for (const cancel of timers) cancel();
    reject(fail('CONTROL_UNREACHABLE', { url, reason: 'it closed the connection during the handshake' }));
  });
  socket.once('secureConnect', () => {
    timers.pop()?.();
    try {
      const server = verifyPeer(socket, { bundle, now: clock.now() });
      if (server.id.uri !== expect.uri) {
        throw fail('CONTROL_UNTRUSTED', { url, reason: `it is ${server.id.uri}, not ${expect.uri}` });
      }
      const until = Math.min(server.notAfter, identity?.notAfter ?? Number.POSITIVE_INFINITY);
      timers.push(clock.after(until - clock.now(), () => socket.destroy()));
      resolve(socket);
    } catch (thrown) {
      reject(explain(thrown, { url, pooled: false }));
      socket.destroy();
    }
  });
  return promise;
}

/**
 * Loaded at the first call, and not by `import`: making that module's namespace touches every lazy export of node:http, which
 * costs a sidecar 9 MB and 16 ms (measured on Node 26.10) for a WebSocket client that nobody asked for.
 */
function https(): typeof import('node:https') {
  return process.getBuiltinModule('node:https');
}

/** Idle connections close now, busy ones when their request is done. */
function retire(agent: Agent): void {
  agent.maxFreeSockets = 0;
  for (const idle of Object.values(agent.freeSockets)) for (const socket of idle ?? []) socket.destroy();
}

/** What went wrong with a connection, in words that tell the four cases apart. */
export function explain(
  thrown: unknown,
  { url, pooled }: { readonly url: string; readonly pooled: boolean },
): PosternError {
  const { code = '', message = String(thrown) } = thrown as NodeJS.ErrnoException;
  if (isPosternError(thrown)) {
    if (code.startsWith('CONTROL_')) return thrown;
    return fail('CONTROL_UNTRUSTED', { url, reason: message }, { cause: thrown });
  }
  if (/ALERT/.test(code)) return fail('CONTROL_REFUSED', { url, reason: alertOf(code) }, { cause: thrown });
  if (/^ERR_SSL|^EPROTO/.test(code)) {
    return fail(
      'CONTROL_UNREACHABLE',
      { url, reason: 'what answers there does not speak TLS 1.3', pooled },
      { cause: thrown },
    );
  }
  if (/CERT|SIGNED|ISSUER|VERIFY|CRL|_CA$|CHAIN/.test(code)) {
    return fail('CONTROL_UNTRUSTED', { url, reason: message }, { cause: thrown });
  }
  return fail('CONTROL_UNREACHABLE', { url, reason: words[code] ?? (code || message), pooled }, { cause: thrown });
}

const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  // Its alert is lost when the request was on its way already (TLS 1.3 sends the certificate last).
  ECONNRESET: 'it cut the connection, which is also how it refuses a certificate',
  ENOTFOUND: 'the name is not known',
  EAI_AGAIN: 'the name cannot be resolved now',
  ETIMEDOUT: 'the connection timed out',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'there is no route to it',
};

/** `ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED` reads as `certificate required`. */
function alertOf(code: string): string {
  return code
    .slice(code.indexOf('ALERT_') + 6)
    .toLowerCase()
    .replaceAll('_', ' ');
}
