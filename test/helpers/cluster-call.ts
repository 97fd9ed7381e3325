// Calls the endpoints of one cluster as the outbound side does, with real connections: clusters and pools as the data plane makes them, and a caller
// that keeps what it is answered.
import { onTestFinished } from 'vitest';
import { type Clock, systemClock } from '#base/clock';
import { compileRoutes, createLiveCluster } from '#routing';
import type { Snapshot } from '#wire';
import { parseAuthority } from '../../proxy/authority.ts';
import { type Clusters, createClusters } from '../../proxy/clusters.ts';
import { createTurn } from '../../proxy/connection.ts';
import { createDns } from '../../proxy/discovery/dns.ts';
import { type Downstream, Exchange, type ResponseHead } from '../../proxy/exchange.ts';
import { createExternalTrust } from '../../proxy/external-trust.ts';
import { createChecker } from '../../proxy/health/checker.ts';
import { createTurnstile } from '../../proxy/health/turnstile.ts';
import { defaultLimits, type Limits } from '../../proxy/limits.ts';
import { createLive, type LiveConnections } from '../../proxy/live.ts';
import { createLookup } from '../../proxy/names.ts';
import { canonicalHead, type FieldList, type RawHead } from '../../proxy/request-head.ts';
import { createUpstreams, type Upstreams } from '../../proxy/upstreams.ts';

export interface Answer {
  readonly status: number;
  readonly fields: FieldList;
  readonly body: string;
}

export interface ClusterCaller {
  readonly clusters: Clusters;
  readonly upstreams: Upstreams;
  readonly live: LiveConnections;
  readonly failures: string[];
  /** Why each question for endpoints had no good answer, or that it had one. */
  readonly answers: readonly (string | undefined)[];
  /** Why each health check failed, or that it did not. */
  readonly checks: readonly (string | undefined)[];
  /** Changes of health, in their order. */
  readonly health: readonly { readonly address: string; readonly reason: string | undefined }[];
  configure(snapshot: Partial<Pick<Snapshot, 'clusters' | 'services'>>): void;
  /** One request to the first endpoint that is picked. Rejects with why it failed. */
  call(cluster: string, request?: Partial<RawHead>): Promise<Answer>;
  /** A tunnel through it: sends these bytes and its end, gives what comes back. */
  tunnel(cluster: string, bytes: string): Promise<string>;
}

export interface ClusterCallerOptions {
  readonly clock?: Clock;
  readonly limits?: Partial<Limits>;
  readonly clientCertificates?: string;
  readonly nameServers?: readonly string[];
  readonly hostsFile?: string;
  /** Health checks at a time. */
  readonly mostChecks?: number;
}

export function startClusterCaller(o: ClusterCallerOptions = {}): ClusterCaller {
  const clock = o.clock ?? systemClock;
  const limits = { ...defaultLimits, ...o.limits };
  const live = createLive({ clock, processBytes: limits.processBytes, onCut: () => undefined });
  const failures: string[] = [];
  const dns = createDns({ servers: o.nameServers, questionMs: 100, ...(o.hostsFile && { hostsFile: o.hostsFile }) });
  const answers: (string | undefined)[] = [];
  const checks: (string | undefined)[] = [];
  const health: { address: string; reason: string | undefined }[] = [];
  const turnstile = createTurnstile(o.mostChecks ?? 64);
  const upstreams = createUpstreams({
    app: { host: '127.0.0.1', port: 1, protocol: 'http' },
    limits,
    linkProtocols: ['h2'],
    clock,
    turn: createTurn(),
    live,
    nextId: () => 'id',
    credentials: () => undefined,
    bans: () => ({ ids: new Set(), serials: new Set() }),
    lookup: createLookup({ clock, dns }),
    trust: createExternalTrust({ folder: o.clientCertificates }),
    onLimit: () => undefined,
    onConnectFailed: (code) => failures.push(code),
    onLinkFault: (code) => failures.push(code),
  });
  const clusters = createClusters({
    createLive: ({ name }) =>
      createLiveCluster({ name, monotonic: () => clock.monotonic(), random: Math.random.bind(Math), zone: undefined }),
    onChange: upstreams.changed,
    clock,
    random: Math.random,
    dns,
    onDnsAnswer: ({ reason }) => answers.push(reason),
    createChecker: (_, onChange) =>
      createChecker({
        clock,
        random: Math.random,
        openPool: upstreams.openPool,
        turnstile,
        onAnswer: (reason) => checks.push(reason),
        onChange,
      }),
    onHealth: ({ address, reason }) => health.push({ address, reason }),
  });
  onTestFinished(() => {
    clusters.close();
    for (const connection of [...live.all('upstream')]) connection.cut();
    live.close();
  });
  const send = async (name: string, raw: Partial<RawHead>, caller: Caller): Promise<void> => {
    const cluster = clusters.get(name);
    const endpoint = cluster?.live.pick({ subset: undefined, hash: undefined, tried: new Set() });
    if (!cluster || !endpoint) throw new TypeError(`${name} has no endpoint`);
    const head = canonicalHead({ ...plainHead, ...raw }, { parseAuthority });
    const exchange = new Exchange({
      head,
      downstream: caller,
      responseFields: (fields) => fields,
      clock,
    });
    caller.exchange = exchange;
    const place = await upstreams.pool(cluster, endpoint).take({ tunnel: head.tunnel });
    await exchange.relay((one) => place.start(one, head.fields));
  };
  return {
    clusters,
    upstreams,
    live,
    failures,
    answers,
    checks,
    health,
    configure({ services = [], clusters: declared = [] }) {
      const routes = compileRoutes({ services, clusters: declared, virtualServices: [] });
      clusters.prepare({ clusters: routes.clusters, own: 'spiffe://example.org/web' })();
    },
    async call(name, request = {}) {
      const caller = new Caller();
      await send(name, request, caller);
      return { status: caller.answer!.status, fields: caller.answer!.fields, body: caller.text };
    },
    async tunnel(name, bytes) {
      const caller = new Caller(() => {
        caller.exchange!.requestData(Buffer.from(bytes));
        caller.exchange!.requestEnd([]);
      });
      await send(name, { method: 'CONNECT', target: '', tunnel: 'connect', length: -1 }, caller);
      return caller.text;
    },
  };
}

const plainHead: RawHead = {
  method: 'GET',
  target: '/',
  host: 'outside.example',
  fields: [],
  length: 0,
  expectsContinue: false,
  tunnel: undefined,
};

class Caller implements Downstream {
  exchange: Exchange | undefined;
  answer: ResponseHead | undefined;
  text = '';
  readonly #onReady: () => void;

  /** `onReady`: the body, or the tunnel's bytes, may come now. */
  constructor(onReady: () => void = () => undefined) {
    this.#onReady = onReady;
  }

  inform(): void {}

  head(head: ResponseHead): void {
    this.answer = head;
  }

  data(bytes: Buffer): boolean {
    this.text += bytes.toString('latin1');
    return true;
  }

  end(): void {}
  abort(): void {}
  pauseRequest(): void {}

  resumeRequest(): void {
    queueMicrotask(this.#onReady);
  }
}
