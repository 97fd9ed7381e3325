// The control plane as one thing: started whole or not at all, and stopped without cutting anybody short.
import { existsSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { openRecordStore, openWitnessKey } from '#audit';
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import { formatHostPort, type HostPort } from '#base/host-port';
import type { Log } from '#base/log';
import { readVersion } from '#base/version';
import { openAuthority } from '#ca';
import { namesOf, reachableAddress, readAddress } from './address.ts';
import { type App, createApp } from './app.ts';
import { fail } from './errors.ts';
import { createEvents, type NewEvent } from './events.ts';
import { removeServerFile, writeBundleFile, writeServerFile } from './home-files.ts';
import { type ControlLimits, defaultLimits } from './limits.ts';
import { createListener, type Listener } from './listener.ts';
import { lockHome } from './lock.ts';
import { createControlMetrics } from './metrics.ts';
import { createParts, type Parts } from './parts.ts';
import { createRateLimiter } from './rate.ts';
import { registerRoutes } from './routes/index.ts';
import { createServerIdentity, type ServerIdentity } from './server-identity.ts';
import { type Destination, startShipping } from './shipping.ts';
import { openStore } from './store.ts';

export interface ServerConfig {
  /** The folder that `postern ca init` made. */
  readonly home: string;
  /** HOST:PORT; port 0 takes any free one. */
  readonly listen: string;
  /** HOST:PORT that goes into tokens; the bound address by default. */
  readonly advertise?: string;
  /** Of the root key, when it is encrypted. */
  readonly passphrase?: Buffer;
  readonly limits?: Partial<ControlLimits>;
  /** Where every decision is handed on to. */
  readonly ship?: readonly Destination[];
}

export interface ServerDependencies {
  readonly clock: Clock;
  readonly log: Log;
}

export interface Server {
  /** Where this machine reaches it. */
  readonly url: string;
  readonly address: HostPort;
  /** What keeps it from its work, in words; empty when nothing does. */
  problems(): readonly string[];
  /** Stops taking connections, says goodbye to the proxies, finishes what runs (at most `stopMs`) and closes the home. */
  close(): Promise<void>;
}

/**
 * Serves the home until `close`; on return it listens. Throws SERVER_RUNNING when another process serves it, SERVER_LISTEN_FAILED, or what
 * the authority says of a home that it cannot use. Nothing stays open or locked after a failure.
 */
export async function startServer(config: ServerConfig, { clock, log }: ServerDependencies): Promise<Server> {
  const { home } = config;
  const listen = readAddress(config.listen);
  const advertise = config.advertise === undefined ? undefined : readAddress(config.advertise);
  const limits = { ...defaultLimits, ...config.limits };
  if (!existsSync(home)) throw fail('SERVER_HOME_UNUSABLE', { home, reason: 'there is no such folder' });
  const cleanup = createCleanup(log);
  try {
    const lock = lockHome(home);
    cleanup.add(() => lock.release());
    const parts = await openParts({ config, limits, clock, log, cleanup });
    return await serve({ home, listen, advertise, parts, cleanup, ship: config.ship ?? [] });
  } catch (thrown) {
    cleanup.run();
    throw thrown;
  }
}

async function openParts(o: {
  readonly config: ServerConfig;
  readonly limits: ControlLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly cleanup: Cleanup;
}): Promise<Parts> {
  const { config, limits, clock, log, cleanup } = o;
  const { home, passphrase } = config;
  const trustDomain = (): string => authority.trustDomain;
  const records = openRecordStore({
    ...{ path: join(home, 'audit.db'), clock },
    eventLog: { folder: join(home, 'events'), origin: () => `${trustDomain()}/postern/events`, log },
    witness: { name: () => `${trustDomain()}/postern/witness`, key: openWitnessKey(join(home, 'witness.pem')) },
    onAlarm: ({ instance, service, code, reason }) => {
      log.error(`the decision log of ${instance} is not what it was`, { code, reason, service });
      events.refuse({
        ...{ action: 'log.witness', outcome: 'refused', actor: service, subject: instance },
        ...{ reason: code, details: { reason } },
      });
    },
  });
  cleanup.add(() => records.close());
  const events = createEvents({ records, clock, log, refusalsPerMinute: limits.refusalsPerMinute });
  cleanup.add(() => events.close());
  const onEvent = (event: NewEvent): void => (event.outcome === 'done' ? events.record(event) : events.refuse(event));
  const authority = await openAuthority({ home, clock, log, onEvent, ...(passphrase ? { passphrase } : {}) });
  cleanup.add(() => authority.close());
  const store = openStore(join(home, 'postern.db'));
  cleanup.add(() => store.close());
  return createParts({ authority, records, events, store, limits, clock, log });
}

async function serve(o: {
  readonly home: string;
  readonly listen: HostPort;
  readonly advertise: HostPort | undefined;
  readonly parts: Parts;
  readonly cleanup: Cleanup;
  readonly ship: readonly Destination[];
}): Promise<Server> {
  const { home, listen, advertise, parts, cleanup } = o;
  const { authority, clock, events, limits, log } = parts;
  const startedAt = clock.now();
  let isStopping = false;
  let listener: Listener;
  const names = namesOf(advertise ? [listen, advertise] : [listen]);
  const identity = createServerIdentity({ authority, clock, log, names, onRenewed: () => listener.refresh() });
  cleanup.add(() => identity.close());
  const metrics = createControlMetrics(
    parts,
    () => listener,
    () => shipping.inTrouble,
  );
  const shipping = startShipping({
    ...{ home, destinations: o.ship, records: parts.records, clock, log, random: Math.random },
    onShipped: metrics.shipped,
  });
  cleanup.add(() => shipping.close());
  const makeServer = (handler: RequestListener) => {
    listener = createListener({
      ...{ identity: () => identity.current, bundle: () => authority.bundle(), clock, limits, handler },
      onRefused: (refusal) =>
        events.refuse({ action: 'handshake', outcome: 'refused', actor: 'unauthenticated', ...refusal }),
    });
    return listener.server;
  };
  const app = createApp({
    ...{ authority, clock, events, log, limits, makeServer },
    peerOf: (socket) => listener.peerOf(socket),
    isStopping: () => isStopping,
    onAnswer: metrics.answered,
  });
  let url = '';
  const problems = (): string[] => problemsOf(parts, isStopping);
  registerRoutes(app, {
    ...{ parts, metrics, problems },
    enrolRate: createRateLimiter({ ...limits.enrolPerAddress, clock }),
    renewRate: createRateLimiter({ ...limits.renewPerInstance, clock }),
    newsRate: createRateLimiter({ ...limits.newsPerInstance, clock }),
    tokenUrl: () => (advertise ? `https://${formatHostPort(advertise)}` : url),
    server: () => ({
      ...{ version: readVersion(), trustDomain: authority.trustDomain, startedAt },
      revision: parts.resources.policy.revision,
    }),
  });
  await app.ready();
  // The server is made while Fastify is, so the listener exists from here on.
  const { server } = listener!;
  cleanup.add(follow({ home, parts, identity, listener: listener! }));
  cleanup.add(everySecond(parts));
  const address = await bind(server, listen);
  cleanup.add(() => listener.cutAll());
  url = `https://${formatHostPort(reachableAddress(address))}`;
  writeBundleFile(home, authority.bundle());
  writeServerFile(home, { url, pid: process.pid });
  cleanup.add(() => removeServerFile(home));
  events.record({ action: 'server.start', outcome: 'done', actor: 'local', details: { url, version: readVersion() } });
  log.info('listening', { url });

  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    isStopping = true;
    await drain({ parts, listener, app });
    events.record({ action: 'server.stop', outcome: 'done', actor: 'local' });
    cleanup.run();
  };
  return { url, address, problems, close: () => (stopped ??= stop()) };
}

/** What must happen when the authority changes. Put off to a microtask: it may be in the middle of a transaction. */
function follow(o: { home: string; parts: Parts; identity: ServerIdentity; listener: Listener }): () => void {
  const { home, parts, identity, listener } = o;
  const { authority, registry, snapshots, watchers, log } = parts;
  let isActive = true;
  const react = {
    bundle() {
      snapshots.changed('bundle');
      watchers.refresh();
      listener.refresh();
      writeBundleFile(home, authority.bundle());
    },
    issuing() {
      identity.renew();
      // Leaves of the old root must be gone before it can be; a plain change of the issuing CA can wait for their half-life.
      if (authority.status().rootRotation.phase !== 'stable') watchers.askToRenew();
    },
    bans() {
      for (const { serial } of authority.bans()) {
        const instance = serial === undefined ? undefined : authority.instanceOf(serial);
        if (instance !== undefined) registry.leave(instance);
      }
      snapshots.changed('bans');
      watchers.refresh();
      listener.cut((svid) => authority.isBanned(svid));
    },
  };
  authority.onChange((what) =>
    queueMicrotask(() => {
      if (!isActive) return;
      try {
        react[what]();
      } catch (thrown) {
        log.error('a change of the authority could not be followed', { what, reason: messageOf(thrown) });
      }
    }),
  );
  return () => {
    isActive = false;
  };
}

/** Three heartbeats of a proxy's log. */
const silentMs = 900_000;

function everySecond({ registry, rotation, events, records, clock }: Parts): () => void {
  let disarm = (): void => undefined;
  let ticks = 0;
  const isAlive = (instance: string): boolean => {
    const found = registry.get(instance);
    return found !== undefined && registry.isLeased(found);
  };
  const tick = (): void => {
    disarm = clock.after(1_000, tick);
    registry.tick();
    rotation.tick();
    if (events.waiting > 0) events.retry();
    if (++ticks % 60 === 0) records.witness.watch({ silentMs, isAlive });
  };
  tick();
  return () => {
    disarm();
    registry.tick();
  };
}

function problemsOf({ events, authority }: Parts, isStopping: boolean): string[] {
  return [
    ...(isStopping ? ['the server is stopping'] : []),
    ...(events.waiting > 0 ? [`${events.waiting} events wait for the disk`] : []),
    ...(authority.status().issuing.length === 0 ? ['there is no issuing CA'] : []),
  ];
}

async function bind(server: Listener['server'], { host, port }: HostPort): Promise<HostPort> {
  const words: Readonly<Record<string, string>> = {
    EADDRINUSE: 'another program listens there',
    EADDRNOTAVAIL: 'this machine does not have that address',
    EACCES: 'this user may not listen there',
    ENOTFOUND: 'there is no such host',
  };
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const reason = words[cause.code ?? ''] ?? messageOf(cause);
      reject(fail('SERVER_LISTEN_FAILED', { listen: formatHostPort({ host, port }), reason }, { cause }));
    });
    server.listen({ host, port, backlog: 1_024 }, resolve);
  });
  server.removeAllListeners('error');
  server.on('error', () => undefined);
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? { host: bound.address, port: bound.port } : { host, port };
}

/** Ends the streams, lets requests in flight finish, and cuts what is left at the deadline. */
async function drain({ parts, listener, app }: { parts: Parts; listener: Listener; app: App }): Promise<void> {
  const { server } = listener;
  const { watchers, tails, taps, clock, limits } = parts;
  const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
  watchers.close();
  tails.close();
  taps.close();
  server.closeIdleConnections();
  const disarm = clock.after(limits.stopMs, () => listener.cutAll());
  await closed;
  disarm();
  await app.close();
}

interface Cleanup {
  add(step: () => void): void;
  /** Undoes the steps, last first; one that fails does not keep the others from running. */
  run(): void;
}

function createCleanup(log: Log): Cleanup {
  const steps: (() => void)[] = [];
  return {
    add: (step) => void steps.push(step),
    run() {
      for (const step of steps.splice(0).reverse()) {
        try {
          step();
        } catch (thrown) {
          log.warn('closing left something behind', { reason: messageOf(thrown) });
        }
      }
    },
  };
}
