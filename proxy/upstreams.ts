// Every pool of connections onward. A pool belongs to one own certificate, one service and one address, so a connection made with one identity
// never carries a request of another (T34). Pools of an earlier certificate finish what they carry and vanish.
import type { SecureContext } from 'node:tls';
import type { Clock } from '#base/clock';
import type { PosternError } from '#base/error';
import type { HostPort } from '#base/host-port';
import type { Endpoint as ClusterEndpoint } from '#routing';
import type { Identity, TrustBundle } from '#spiffe';
import type { AppAddress, AppProtocol } from './app-protocol.ts';
import type { ExternalLink, MeshLink } from './cluster-link.ts';
import type { Cluster } from './clusters.ts';
import { Connection, type Turn } from './connection.ts';
import { type Dialled, dialApp, dialService, type LinkProtocol } from './dial.ts';
import { fail } from './errors.ts';
import type { UpstreamFault } from './exchange.ts';
import { createExternalPool } from './external-pool.ts';
import type { ExternalTrust } from './external-trust.ts';
import type { OpenPool } from './health/probe.ts';
import { Http1Upstream } from './http1/upstream.ts';
import { Http2Upstream } from './http2/client.ts';
import { type Bans, lifeOf } from './identity.ts';
import type { Limits } from './limits.ts';
import { type Carrier, type CarrierEvents, createLinkPool } from './link-pool.ts';
import type { LiveConnections } from './live.ts';
import type { Lookup } from './names.ts';
import { type AppConnection, type AppPool, createPool, type Pool } from './pool.ts';
import { TcpUpstream } from './tcp.ts';

/** With what new connections are made: replaced whole, never changed. */
export interface Credentials {
  readonly identity: Identity;
  readonly bundle: TrustBundle;
  readonly context: SecureContext;
  /** Rises with every replacement. */
  readonly generation: number;
}

export interface UpstreamsOptions {
  readonly app: AppAddress | undefined;
  readonly limits: Limits;
  readonly linkProtocols: readonly LinkProtocol[];
  readonly clock: Clock;
  readonly turn: Turn;
  readonly live: LiveConnections;
  readonly nextId: () => string;
  readonly credentials: () => Credentials | undefined;
  readonly bans: () => Bans;
  /** Of endpoints that are known by name. */
  readonly lookup: Lookup;
  readonly trust: ExternalTrust;
  readonly onLimit: (limit: string) => void;
  readonly onConnectFailed: (code: string) => void;
  /** The other end of a link broke the protocol, or is silent. */
  readonly onLinkFault: (code: string) => void;
}

export interface Upstreams {
  /** The pool of the application beside this proxy. */
  readonly app: Pool | undefined;
  /** Of any endpoint of a cluster, in the mesh or outside. Throws `PROXY_NOT_READY` when it is in the mesh and there are no credentials. */
  pool(cluster: Cluster, endpoint: ClusterEndpoint): Pool;
  /** Of its own for one health check, which counts nowhere else. */
  readonly openPool: OpenPool;
  /** To an endpoint of no cluster; whoever opens it retires it. */
  openOutside(link: ExternalLink, endpoint: HostPort): Pool;
  /** The cluster has changed: pools of endpoints that it has no more, or that are spoken to in another way now, retire. */
  changed(cluster: Cluster): void;
  /** Credentials were replaced: pools of earlier ones retire. */
  renewed(): void;
  retire(): void;
  readonly pools: number;
}

interface ClusterPool {
  readonly pool: Pool;
  /** With which it was made. */
  readonly link: Cluster['link'];
  readonly generation: number;
}

/** How much longer the calling hop waits, so that the hop nearer to the fault names it. */
const outboundGraceMs = 5_000;

export function createUpstreams(o: UpstreamsOptions): Upstreams {
  const { limits, clock } = o;
  const ofClusters = new Map<Cluster, Map<string, ClusterPool>>();
  const retireOf = (cluster: Cluster, isKept: (entry: ClusterPool, address: string) => boolean): void => {
    const own = ofClusters.get(cluster);
    if (!own) return;
    for (const [address, entry] of own) {
      if (isKept(entry, address)) continue;
      own.delete(address);
      entry.pool.retire();
    }
    if (own.size === 0) ofClusters.delete(cluster);
  };

  const connectionOn = ({ socket }: Dialled): Connection =>
    new Connection({ id: o.nextId(), socket, turn: o.turn, bufferBytes: limits.bufferBytes });
  const shared = { limits, monotonic: () => clock.monotonic(), onLimit: o.onLimit };

  const appOptions = (dialled: Dialled) => {
    const connection = connectionOn(dialled);
    o.live.add(connection, 'upstream');
    return { ...shared, connection, responseMs: limits.responseMs, faultOf: appFault };
  };
  const appOn = (dialled: Dialled, pool: AppPool, protocol: AppProtocol): AppConnection => {
    const options = { ...appOptions(dialled), onGone: (upstream: AppConnection) => pool.gone(upstream) };
    if (protocol === 'tcp') return new TcpUpstream(options);
    return new Http1Upstream({ ...options, onIdle: (upstream, ms) => pool.idle(upstream, ms) });
  };
  const multiplexedAppOn = (dialled: Dialled, { onRoom, onGone }: CarrierEvents): Carrier =>
    new Http2Upstream({
      ...appOptions(dialled),
      scheme: 'http',
      idleMs: limits.poolIdleMs,
      onRoom,
      onGone,
      onFault: (fault) => o.onLinkFault(fault.code),
    });
  const linkOn = (
    dialled: Dialled,
    { onRoom, onGone }: CarrierEvents,
    hop: { identity: Identity; service: string },
  ): Carrier => {
    const connection = connectionOn(dialled);
    const { peer, protocol } = dialled;
    if (peer) {
      connection.peer = { id: peer.uri, serial: peer.serial };
      Object.assign(connection, lifeOf(clock.now(), peer, hop.identity));
    }
    o.live.add(connection, 'upstream');
    const options = {
      ...shared,
      connection,
      responseMs: limits.responseMs + outboundGraceMs,
      faultOf: (fault: UpstreamFault) => serviceFault(fault, hop.service),
      onGone,
    };
    if (protocol === 'h2')
      return new Http2Upstream({
        ...options,
        scheme: 'https',
        idleMs: limits.poolIdleMs,
        onRoom,
        onFault: (fault) => o.onLinkFault(fault.code),
      });
    return new Http1Upstream({
      ...options,
      onIdle(upstream, announcedMs = Number.POSITIVE_INFINITY) {
        // A second less than the server says, so that we close first.
        const ms = Math.min(limits.poolIdleMs, announcedMs - 1_000);
        if (ms <= 0) return upstream.retire();
        connection.deadline = clock.monotonic() + ms;
        onRoom();
      },
    });
  };
  const counted = async (dialling: Promise<Dialled>): Promise<Dialled> => {
    try {
      return await dialling;
    } catch (thrown) {
      o.onConnectFailed((thrown as PosternError).code);
      throw thrown;
    }
  };
  const bounds = {
    clock,
    connections: limits.poolConnections,
    pending: limits.poolPending,
    pendingMs: limits.poolPendingMs,
    onLimit: o.onLimit,
  };
  const createServicePool = (link: Omit<MeshLink, 'kind'>, endpoint: HostPort, credentials: Credentials): Pool => {
    const id = link.expect;
    return createLinkPool({
      ...bounds,
      connections: link.maxConnections ?? bounds.connections,
      pending: link.maxPending ?? bounds.pending,
      expected: o.linkProtocols[0] === 'h2' ? limits.http2Streams : 1,
      overloaded: () => fail('UPSTREAM_OVERLOADED', { service: id.uri }),
      dial: async (events) => {
        const options = {
          ...credentials,
          expect: id,
          protocols: o.linkProtocols,
          bans: o.bans,
          clock,
          connectMs: limits.connectMs,
          lookup: o.lookup,
        };
        const dialled = await counted(dialService({ host: endpoint.host, port: endpoint.port }, options));
        return linkOn(dialled, events, { identity: credentials.identity, service: id.uri });
      },
    });
  };

  const appBounds = { ...bounds, overloaded: () => fail('APP_OVERLOADED') };
  const createAppPool = (app: AppAddress): Pool => {
    const dialIt = (): Promise<Dialled> => counted(dialApp(app, { clock, connectMs: limits.connectMs }));
    return app.protocol === 'h2c'
      ? createLinkPool({
          ...appBounds,
          expected: limits.http2Streams,
          dial: async (events) => multiplexedAppOn(await dialIt(), events),
        })
      : createPool({
          ...appBounds,
          idleMs: limits.appIdleMs,
          dial: async (pool) => appOn(await dialIt(), pool, app.protocol),
        });
  };

  const externalConnectionOn = (dialled: Dialled): Connection => {
    const connection = connectionOn(dialled);
    o.live.add(connection, 'upstream');
    return connection;
  };
  const { lookup, trust, onLimit, onLinkFault } = o;
  const externalOptions = {
    limits,
    clock,
    lookup,
    trust,
    onLimit,
    onLinkFault,
    counted,
    connectionOn: externalConnectionOn,
  };
  const createClusterPool = ({ link: declared, live }: Cluster, endpoint: ClusterEndpoint): Pool => {
    const { maxConnections, maxPending } = live.bounds;
    const link = {
      ...declared,
      maxConnections:
        declared.maxConnections === undefined ? Math.min(limits.poolConnections, maxConnections) : maxConnections,
      maxPending: declared.maxPending === undefined ? Math.min(limits.poolPending, maxPending) : maxPending,
    };
    if (link.kind === 'mesh') return createServicePool(link, endpoint, ready());
    return createExternalPool({ ...externalOptions, link, endpoint });
  };
  const ready = (): Credentials => {
    const credentials = o.credentials();
    if (!credentials) throw fail('PROXY_NOT_READY');
    return credentials;
  };

  return {
    app: o.app && createAppPool(o.app),
    pool(cluster, endpoint) {
      let own = ofClusters.get(cluster);
      const generation = cluster.link.kind === 'mesh' ? ready().generation : 0;
      const entry = own?.get(endpoint.address);
      if (entry && entry.link === cluster.link && entry.generation === generation) return entry.pool;
      entry?.pool.retire();
      const pool = createClusterPool(cluster, endpoint);
      if (cluster.isGone) pool.retire();
      else {
        own ??= new Map();
        ofClusters.set(cluster, own);
        own.set(endpoint.address, { pool, link: cluster.link, generation });
      }
      return pool;
    },
    openPool: (link, endpoint, changed) =>
      createExternalPool({
        ...externalOptions,
        link,
        endpoint,
        limits: { ...limits, ...changed },
        counted: (dialling) => dialling,
        onLimit: () => undefined,
        onLinkFault: () => undefined,
      }),
    openOutside: (link, endpoint) => createExternalPool({ ...externalOptions, link, endpoint }),
    changed(cluster) {
      const addresses = new Set(cluster.isGone ? [] : cluster.live.endpoints.map(({ address }) => address));
      retireOf(cluster, ({ link }, address) => link === cluster.link && addresses.has(address));
    },
    renewed() {
      const current = o.credentials()?.generation;
      for (const cluster of ofClusters.keys())
        retireOf(cluster, ({ link, generation }) => link.kind === 'external' || generation === current);
    },
    retire() {
      for (const cluster of ofClusters.keys()) retireOf(cluster, () => false);
    },
    get pools() {
      let count = 0;
      for (const own of ofClusters.values()) count += own.size;
      return count;
    },
  };
}

function serviceFault(fault: UpstreamFault, service: string): PosternError {
  if (fault.kind === 'closed') return fail('UPSTREAM_CLOSED', { service });
  if (fault.kind === 'timeout') return fail('UPSTREAM_TIMEOUT', { service, ms: fault.ms });
  return fail('UPSTREAM_REPLY_INVALID', { service, reason: fault.reason });
}

function appFault(fault: UpstreamFault): PosternError {
  if (fault.kind === 'closed') return fail('APP_CLOSED');
  if (fault.kind === 'timeout') return fail('APP_TIMEOUT', { ms: fault.ms });
  return fail('APP_REPLY_INVALID', { reason: fault.reason });
}
