// The HTTP side of the control plane: who may call which route, and what a refusal looks like. A route that does not say whom it is for
// cannot be registered; a request whose connection did not pass the gate is cut.
import type { RequestListener } from 'node:http';
import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Clock } from '#base/clock';
import type { PosternError } from '#base/error';
import type { Log } from '#base/log';
import type { Authority } from '#ca';
import { actorOf, assertAllowed, type Caller, callerOf, type Needs } from './caller.ts';
import { fail } from './errors.ts';
import type { Events, RequestContext } from './events.ts';
import type { ControlLimits } from './limits.ts';
import type { Peer } from './listener.ts';
import { refusalOf, replyOf } from './refusal.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whom the route is for; a route without it is not accepted. */
    caller?: Needs;
    /** For routes that change something: the action of its events. Refused while events cannot be written. */
    action?: string;
  }
  interface FastifyRequest {
    caller: Caller;
    context: RequestContext;
  }
}

export interface AppOptions {
  readonly authority: Authority;
  readonly clock: Clock;
  readonly events: Events;
  readonly log: Log;
  readonly limits: ControlLimits;
  readonly peerOf: (socket: Socket) => Peer | undefined;
  readonly makeServer: (handler: RequestListener) => Server;
  /** True once a stop has begun: what has not begun yet is refused. */
  readonly isStopping: () => boolean;
  readonly onAnswer: (status: number) => void;
}

export type App = FastifyInstance<Server>;

export function createApp(options: AppOptions): App {
  const { authority, clock, events, log, limits, peerOf, makeServer, isStopping, onAnswer } = options;
  const app: App = Fastify({
    serverFactory: (handler) => makeServer(handler as RequestListener),
    // Shapes are checked by base/schema.ts, so the two compilers and their start-up time are left out.
    schemaController: { compilersFactory: { buildValidator: () => noCompiler, buildSerializer: () => noCompiler } },
    bodyLimit: limits.bodyBytes,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    exposeHeadRoutes: false,
    logger: false,
    routerOptions: { maxParamLength: 2_048 },
    clientErrorHandler: refuseUnparsed,
    frameworkErrors: (error, _request, reply) => answer(error, undefined, reply as never),
  });
  app.removeContentTypeParser('text/plain');
  app.decorateRequest('caller');
  app.decorateRequest('context');
  app.addHook('onRoute', ({ url, config }) => {
    if (!config?.caller) throw new TypeError(`route ${url} does not say whom it is for`);
  });
  app.addHook('onRequest', (request, reply, done) => {
    const peer = peerOf(request.raw.socket);
    if (!peer) {
      reply.hijack();
      request.raw.socket.destroy();
      return;
    }
    request.context = { remote: peer.remote, isRefused: false };
    request.caller = { kind: 'public', remote: peer.remote };
    // One question for each connection without an identity: it has no business to stay.
    if (!peer.svid || isStopping()) reply.header('connection', 'close');
    if (isStopping()) throw fail('SERVER_STOPPING');
    const { config } = request.routeOptions;
    request.caller = callerOf(peer, { authority, now: clock.now() });
    assertAllowed(request.caller, request.is404 ? 'any' : config.caller);
    if (config.action !== undefined) events.assertWritable();
    done();
  });
  app.addHook('preHandler', (request, _reply, done) => events.within(request.context, done));
  app.addHook('onSend', async (_request, reply) => void reply.header('cache-control', 'no-store'));
  app.addHook('onResponse', async (_request, reply) => onAnswer(reply.statusCode));
  app.setNotFoundHandler(({ method, url }) => {
    throw fail('ROUTE_UNKNOWN', { method, path: url.split('?', 1)[0]!.slice(0, 200) });
  });
  app.setErrorHandler((thrown, request, reply) => answer(thrown, request, reply));

  function answer(thrown: unknown, request: FastifyRequest | undefined, reply: FastifyReply): FastifyReply {
    const error = refusalOf(thrown, log);
    const action = request?.routeOptions.config.action;
    const isAboutAccess = error.status === 401 || error.status === 403 || error.status === 429;
    if (request && !request.context.isRefused && (action !== undefined || isAboutAccess)) {
      const { method, url } = request;
      events.refuse({
        action: action ?? 'access',
        outcome: error.status >= 500 ? 'failed' : 'refused',
        actor: actorOf(request.caller),
        reason: error.code,
        remote: request.context.remote,
        details: { ...plainDetails(error), request: `${method} ${url.split('?', 1)[0]}`.slice(0, 300) },
      });
    }
    if (error.status === 429) reply.header('retry-after', '5');
    return reply.code(error.status).type('application/json').send(replyOf(error, request?.caller));
  }
  return app;
}

/** An error's details are safe to log, and so to keep; only what an event can carry. */
function plainDetails({ details }: PosternError): Record<string, string | number | boolean> {
  const plain = Object.entries(details).flatMap(([name, value]) =>
    value === undefined || value === null ? [] : [[name, typeof value === 'string' ? value.slice(0, 1_000) : value]],
  );
  return Object.fromEntries(plain.slice(0, 16));
}

const noCompiler = () => (): never => {
  throw new TypeError('shapes are checked by base/schema.ts');
};

/** What llhttp does not take never becomes a request: a bare status line, and the connection ends. */
function refuseUnparsed(error: NodeJS.ErrnoException, socket: Socket): void {
  const lines: Readonly<Record<string, string>> = {
    HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
    ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
  };
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  socket.end(
    `HTTP/1.1 ${lines[error.code ?? ''] ?? '400 Bad Request'}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
  );
}
