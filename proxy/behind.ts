// What stands behind the inbound listener: the application beside this proxy, a group of instances that have no proxy of their own, or the way out of
// the mesh. It says what a request that came in is a call to, which policy must know, and takes it there once there is a permit.
import { formatHostPort } from '#base/host-port';
import { type Endpoint, usualRetries } from '#routing';
import { type AppAddress, speaks } from './app-protocol.ts';
import type { Permit } from './authorize.ts';
import { authorityFor, hasHost } from './cluster-link.ts';
import type { Cluster } from './clusters.ts';
import { fail } from './errors.ts';
import { forward } from './forward.ts';
import type { GroupCluster } from './group.ts';
import { fieldsForApp, fieldsForPeer } from './headers.ts';
import type { View } from './plane.ts';
import type { Pool } from './pool.ts';
import type { Ports } from './ports.ts';
import { clusterField, type FieldList, type RequestHead, valuesOf } from './request-head.ts';
import { type Running, send } from './serve.ts';
import { hashFor } from './sticky.ts';
import type { Upstreams } from './upstreams.ts';

export interface Behind {
  /** The port that policies call `ports`, when there is exactly one. */
  readonly port: number | undefined;
  /** SPIFFE ID of what a request is a call to; `own` is that of this proxy. `undefined`: of nothing that is to be had here. */
  idOf(head: RequestHead, own: string, view: View): string | undefined;
  /** With a permit for that ID only. */
  send(running: Running, permit: Permit, own: string): Promise<unknown>;
}

/** What stands there now, and how it becomes something else. */
export function createBehind(o: {
  readonly app: AppAddress | undefined;
  readonly upstreams: Pick<Upstreams, 'app' | 'pool'>;
  readonly clusters: EgressOptions['clusters'];
  readonly group: GroupCluster;
  readonly ports: Ports;
}) {
  const { app, upstreams, clusters, group } = o;
  const { pool } = upstreams;
  const outside = behindIsOutside({ clusters, pool });
  const instances = behindIsGroup({ cluster: () => group.cluster, pool });
  const given = app && upstreams.app ? behindIsApp(app, upstreams.app) : undefined;
  const of = ({ behind }: Ports): Behind => given ?? (behind === 'outside' ? outside : behind ? instances : nothing);
  let now = of(o.ports);
  return {
    now: () => now,
    /** Checks everything and changes nothing; the result puts it in force and cannot fail. Throws what is wrong. */
    prepare(ports: Ports): () => void {
      const useGroup = group.prepare(ports.behind === 'outside' ? undefined : ports.behind);
      return () => {
        useGroup();
        now = of(ports);
      };
    },
  };
}

/** The application beside this proxy. */
function behindIsApp(app: AppAddress, pool: Pool): Behind {
  const address = formatHostPort(app);
  return {
    port: app.port,
    idOf: (_, own) => own,
    send(running, { to }, own) {
      const { exchange, record } = running;
      const { tunnel } = exchange.head;
      if (!speaks(app.protocol, tunnel))
        throw fail('APP_PROTOCOL_WRONG', {
          service: to,
          protocol: app.protocol,
          wanted: tunnel === 'connect' ? 'a TCP tunnel' : 'HTTP',
        });
      record.endpoint = address;
      return send(running, pool, toApp(running, own));
    },
  };
}

interface GroupOptions {
  readonly cluster: () => Cluster | undefined;
  readonly pool: PoolOf;
}

/** Instances of this proxy's own service. */
function behindIsGroup({ cluster: find, pool }: GroupOptions): Behind {
  return {
    get port() {
      const ports = new Set(find()?.live.endpoints.map(({ port }) => port));
      return ports.size === 1 ? [...ports][0] : undefined;
    },
    idOf: (_, own) => own,
    async send(running, _, own) {
      const cluster = find();
      if (!cluster) throw fail('SERVICE_WITHOUT_ENDPOINTS', { service: own });
      if (cluster.warming) await cluster.warming;
      await passOn(running, { service: own, cluster, pool, fields: toApp(running, own) });
    },
  };
}

interface EgressOptions {
  readonly clusters: { get(name: string): Cluster | undefined; readonly all: Iterable<Cluster> };
  readonly pool: PoolOf;
}

/** Clusters outside the mesh to which this proxy is the declared way, and no others. */
function behindIsOutside({ clusters, pool }: EgressOptions): Behind {
  /** The one that the proxy before this one has chosen, else the one that has the host: policy decides on whichever it is. */
  const find = (head: RequestHead, own: string, { routes }: View): Cluster | undefined => {
    const isMine = (name: string): boolean => {
      const entry = routes.clusters.get(name)?.entry;
      return entry?.gateway === own && clusters.get(name)?.link.kind === 'external';
    };
    const [named, more] = valuesOf(head.fields, clusterField);
    if (more !== undefined) return undefined;
    if (named !== undefined) return isMine(named) ? clusters.get(named) : undefined;
    for (const cluster of clusters.all)
      if (isMine(cluster.name) && cluster.link.kind === 'external' && hasHost(cluster.link, head.host)) return cluster;
    return undefined;
  };
  return {
    port: undefined,
    idOf: (head, own, view) => find(head, own, view)?.id,
    async send(running, { to }, own) {
      const { exchange, heard, record } = running;
      const view = heard.plane.view();
      const cluster = view && find(exchange.head, own, view);
      // Another configuration may have come since the permit was given.
      if (!cluster || cluster.id !== to) throw fail('PROXY_NOT_READY');
      if (cluster.warming) await cluster.warming;
      const { link } = cluster;
      record.cluster = cluster.name;
      record.security = link.kind === 'external' && link.tls ? 'tls' : 'none';
      const authority = authorityFor(link, exchange.head);
      if (authority !== exchange.head.authority) exchange.outgoing = { ...exchange.head, authority };
      await passOn(running, {
        service: to,
        cluster,
        pool,
        fields: fieldsForPeer(exchange.head.fields, running.trace),
      });
    },
  };
}

/** Nothing at all. */
const nothing: Behind = {
  port: undefined,
  idOf: () => undefined,
  send: () => Promise.reject(fail('PROXY_NOT_READY')),
};

/** To an endpoint of the cluster. What nobody has taken is tried at another one; anything else is for the caller to repeat. */
function passOn(
  running: Running,
  { service, cluster, pool, fields }: { service: string; cluster: Cluster; pool: PoolOf; fields: FieldList },
): Promise<void> {
  return forward(running, {
    service,
    cluster: cluster.live,
    subset: undefined,
    hash: hashFor(running, cluster.live),
    pool: (endpoint) => pool(cluster, endpoint),
    fields,
    retries: usualRetries,
    timeoutMs: undefined,
    idleTimeoutMs: undefined,
    isMesh: false,
  });
}
type PoolOf = (cluster: Cluster, endpoint: Endpoint) => Pool;

function toApp({ exchange, heard, record, trace }: Running, own: string) {
  return fieldsForApp(exchange.head.fields, { own, peer: heard.caller!.uri, decision: record.id, trace });
}
