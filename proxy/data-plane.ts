// The data plane of one sidecar: its listeners, and what is in force behind them. Identity and configuration are replaced by single
// assignments after everything new has been built, so a refused snapshot changes nothing.
import { createSecureContext } from 'node:tls';
import type { Clock } from '#base/clock';
import { isPosternError, messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';
import { buildProgram, compileProgram, isQuick, type Program, selfChecked } from '#policy';
import type { Part } from '#routing';
import { type Identity, type TrustBundle, tlsContext } from '#spiffe';
import type { PolicySet, Snapshot } from '#wire';
import type { AppAddress } from './app-protocol.ts';
import { createAuthorityParser } from './authority.ts';
import { createBehind } from './behind.ts';
import { createTurn } from './connection.ts';
import { createDataPlaneMetrics } from './data-plane-metrics.ts';
import { type LinkProtocol, linkProtocols } from './dial.ts';
import { createDns } from './discovery/dns.ts';
import { cutAll, type Draining, drainAll, retireAll } from './drain.ts';
import { fail } from './errors.ts';
import { createIds, createTimes, type RecordDraft } from './exchange-record.ts';
import { createExternalTrust } from './external-trust.ts';
import type { Failing } from './health/health-checks.ts';
import { isBanned, Peer } from './identity.ts';
import { defaultLimits, type Limits } from './limits.ts';
import type { ListenOptions } from './listen.ts';
import { createListeners } from './listeners.ts';
import { createLive } from './live.ts';
import { createLookup } from './names.ts';
import { createOnward } from './onward.ts';
import type { Plane, View } from './plane.ts';
import type { Addresses, Ports } from './ports.ts';
import { createRateLimits } from './rate-limits.ts';
import { createPlaces } from './shares.ts';
import { createTracer } from './tracing/context.ts';
import { type Credentials, createUpstreams } from './upstreams.ts';
import { isSameTrust, lostRoot, noBans, viewOf } from './view.ts';

export interface DataPlaneOptions extends Ports {
  /** The application beside this proxy, when there is one. */
  readonly app?: AppAddress | undefined;
  readonly instance: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Called once for each exchange or refused connection, after it; must not throw or wait. */
  readonly record: (record: RecordDraft) => void;
  /** Throws `AUDIT_*` when decisions cannot be recorded and must be: the request is refused with it. By default they always can. */
  readonly assertRecording?: () => void;
  readonly limits?: Partial<Limits>;
  /** What links to other proxies may speak, the better one first; HTTP/2 and HTTP/1.1 by default. */
  readonly linkProtocols?: readonly LinkProtocol[];
  /** Where client certificates for clusters outside the mesh lie, as NAME.crt and NAME.key; without it there are none. */
  readonly clientCertificates?: string;
  /** Name servers as ADDRESS:PORT; those of the system by default. */
  readonly nameServers?: readonly string[];
  /** Where it runs: endpoints of the same zone are preferred by clusters that say so. */
  readonly zone?: string | undefined;
  /** Why an address that nothing declares may not be called; of this machine and its links by default. */
  readonly forbids?: (address: string) => string | undefined;
  /** `failing` has changed. */
  readonly onFailing?: () => void;
  /** `health` has changed. */
  readonly onHealth?: () => void;
  /** Which of the threads of this process it is: what clusters may have in progress is divided among them. */
  readonly part?: Part;
  /** Other threads of this process listen on the same ports. */
  readonly sharing?: ListenOptions['sharing'];
  /** The longest that running exchanges may go on after `drain`. */
  readonly drainMs: number;
}

export interface DataPlane {
  /** For connections from now on; those made with the earlier one finish what they carry. */
  setIdentity(identity: Identity): void;
  /**
   * In force on return, for running exchanges too; or, when its policy takes long to build, its bans and bundle are, and the promise tells when the rest is
   * (false: a newer one came before). Throws or rejects with `SNAPSHOT_REFUSED`, and the policy of before stays.
   */
  applySnapshot(snapshot: Snapshot): Promise<boolean> | undefined;
  /** Opens every listener or none. Throws `PROXY_LISTEN_FAILED`. */
  listen(): Promise<Addresses>;
  /** Listens on these ports from now on, on all or on none of the new ones; what is not concerned goes on. Throws `PROXY_LISTEN_FAILED`. */
  usePorts(ports: Ports): Promise<Addresses>;
  readonly counts: { readonly inbound: number; readonly outbound: number };
  /** Whether requests can be served at all: an identity and a snapshot are there. */
  readonly isReady: boolean;
  /** What the health check of its own service says of the application; `undefined`: it has none, or has not been answered. */
  readonly health: 'healthy' | 'unhealthy' | undefined;
  /** What its health checks have found; those of a plane that shares its ports come from the first one, by `tellFailing`. */
  readonly failing: Failing;
  tellFailing(failing: Failing): void;
  /** Takes nothing new, lets exchanges end until `drainMs` have passed, then cuts. A second call cuts now. */
  drain(): Promise<void>;
  /** For the admin page: no secret in it. */
  describe(): unknown;
}

export function createDataPlane(o: DataPlaneOptions): DataPlane {
  const { clock, log } = o;
  const limits: Limits = { ...defaultLimits, ...o.limits };
  const monotonic = (): number => clock.monotonic();
  let identity: Identity | undefined;
  let local: Peer | undefined;
  let view: View | undefined;
  let policy: Snapshot['policy'] | undefined;
  let building: { snapshot: Snapshot; readonly program: Promise<Program>; readonly abort: AbortController } | undefined;
  let credentials: Credentials | undefined;
  let isDraining = false;
  let drained: Promise<void> | undefined;

  const live = createLive({
    clock,
    processBytes: limits.processBytes,
    onCut(reason) {
      metrics.cut(reason);
      if (reason === 'overload') metrics.limit('process-bytes');
    },
  });
  const metrics = createDataPlaneMetrics(
    o.metrics,
    {
      inbound: () => live.count('inbound'),
      outbound: () => live.count('outbound'),
      upstream: () => live.count('upstream'),
    },
    { names: () => view?.names, clusters: () => clusters },
  );
  const nextId = createIds({ random: o.random, now: clock.now() });
  const tracer = createTracer();
  const turn = createTurn();
  const dns = createDns({ servers: o.nameServers });
  const upstreams = createUpstreams({
    app: o.app,
    limits,
    linkProtocols: o.linkProtocols ?? linkProtocols,
    clock,
    turn,
    live,
    nextId,
    credentials: () => credentials,
    bans: () => view?.bans ?? noBans,
    lookup: createLookup({ clock, dns }),
    trust: createExternalTrust({ folder: o.clientCertificates }),
    onLimit: metrics.limit,
    onConnectFailed: metrics.connectFailed,
    onLinkFault: (code) => metrics.linkFault('upstream', code),
  });
  const onward = createOnward({
    ...{ app: o.app, clock, log, metrics: o.metrics, counts: metrics, random: o.random, dns, upstreams },
    ...{ zone: o.zone, part: o.part, isTold: o.sharing === 'more', forbids: o.forbids },
    ...{ onFailing: o.onFailing, onHealth: o.onHealth },
  });
  const { clusters, group, undeclared } = onward;
  const behind = createBehind({ app: o.app, upstreams, clusters, group, ports: o });
  const usePorts = async (ports: Ports): Promise<Addresses> => {
    const useBehind = behind.prepare(ports);
    const opened = await listeners.use(ports);
    useBehind();
    return opened;
  };
  const plane: Plane = {
    behind: behind.now,
    instance: o.instance,
    clock,
    limits,
    metrics,
    live,
    turn,
    upstreams,
    clusters,
    undeclared,
    rateLimits: createRateLimits({ monotonic, threads: o.part?.of }),
    keeping: { bytes: 0, most: limits.retryBytes, each: limits.retryBodyBytes },
    random: o.random,
    places: createPlaces(limits.exchanges),
    nextId,
    timeText: createTimes(),
    trace(fields, { isPublic = false }) {
      const tracing = view?.tracing;
      return tracing && tracer.begin(fields, { tracing, isFromOutside: isPublic, at: o.random() });
    },
    traceUnder: (trace) => tracer.under(trace),
    parseAuthority: createAuthorityParser(),
    record(record) {
      try {
        o.record(record);
      } catch (thrown) {
        log.error('a decision record was lost', { id: record.id, reason: messageOf(thrown) });
      }
    },
    assertRecording: o.assertRecording ?? (() => undefined),
    identity: () => identity,
    local: () => local,
    view: () => view,
  };

  const listeners = createListeners({
    plane,
    log,
    linkProtocols: o.linkProtocols ?? linkProtocols,
    isDraining: () => isDraining,
    sharing: o.sharing,
  });

  const draining: Draining = {
    clock,
    live,
    listeners,
    drainMs: o.drainMs,
    onCut: () => metrics.cut('drain'),
    closeOnward() {
      onward.close();
      upstreams.retire();
    },
  };

  const checked = (rules: Program, set: PolicySet): Program =>
    selfChecked(rules, {
      set,
      monotonic,
      onSame: () => metrics.selfCheck('same'),
      onMismatch: ({ question, program, casbin }) => {
        metrics.selfCheck('different');
        const answers = { program: program.effect, rule: program.rule, reason: program.reason, casbin };
        log.error('the policy program and casbin differ: denied', {
          ...question,
          ...answers,
          revision: program.revision,
        });
      },
      onUnavailable: (reason) => log.warn('casbin cannot check this policy', { reason: messageOf(reason) }),
    });

  /** Builds both sides' TLS contexts; throws before anything is changed. */
  const contextsOf = (own: Identity, bundle: TrustBundle) => {
    const options = tlsContext({ identity: own, bundle });
    const generation = (credentials?.generation ?? 0) + 1;
    return { options, credentials: { identity: own, bundle, context: createSecureContext(options), generation } };
  };
  const useContexts = (contexts: ReturnType<typeof contextsOf>): void => {
    credentials = contexts.credentials;
    listeners.useContext(contexts.options);
    upstreams.renewed();
  };

  return {
    get counts() {
      return { inbound: live.count('inbound'), outbound: live.count('upstream') };
    },
    get isReady() {
      return view !== undefined && credentials !== undefined && !isDraining;
    },
    get failing() {
      return onward.failing;
    },
    tellFailing: onward.tellFailing,
    get health() {
      return onward.health;
    },
    setIdentity(next) {
      const contexts = view && contextsOf(next, view.bundle);
      identity = next;
      local = Peer.local(next);
      if (contexts) useContexts(contexts);
    },
    applySnapshot(snapshot) {
      if (!identity) throw refusal(snapshot, 'this proxy has no identity yet');
      if (snapshot.service !== identity.id.uri) throw refusal(snapshot, `it is for ${snapshot.service}`);
      const newest = Math.max(view?.revision ?? 0, building?.snapshot.revision ?? 0);
      // The policy of before needs no second compiling: new bans beside it are in force at once, whatever its size.
      const isKept = view !== undefined && policy !== undefined && isSamePolicy(policy, snapshot.policy);
      const isUrgentOnly = isKept && snapshot.revision === view?.revision;
      if (snapshot.revision < newest && !isUrgentOnly)
        throw refusal(snapshot, `revision ${newest} is in force already`);
      if (isKept || isQuick(snapshot.policy)) {
        if (!isUrgentOnly) stopBuilding();
        putInForce(snapshot, () =>
          isKept ? view!.program : checked(compileProgram(snapshot.policy), snapshot.policy),
        );
        return undefined;
      }
      const held = view;
      if (held && policy) putInForce({ ...snapshot, policy, revision: held.revision }, () => held.program, held);
      return build(snapshot);
    },
    listen: () => usePorts(o),
    usePorts,
    drain() {
      if (isDraining) cutAll(draining);
      isDraining = true;
      drained ??= drainAll(draining);
      return drained;
    },
    describe: () => ({
      revision: view?.revision,
      isDraining,
      connections: {
        inbound: live.count('inbound'),
        outbound: live.count('outbound'),
        upstream: live.count('upstream'),
      },
      exchanges: live.exchanges.size,
      pools: upstreams.pools,
      policyRevision: view?.program.revision,
      virtualServices: view?.routes.virtualHosts.map(({ entry }) => entry),
      clusters: clusters.describe(),
      ...(group.cluster && { group: group.cluster.live.describe() }),
      peers: [...live.all('inbound')]
        .slice(0, 1_000)
        .map(({ id, peer, remote, cutAt }) => ({ id, peer, remote, cutAt })),
      limits,
    }),
  };

  /** Checks everything before the first assignment. Throws `SNAPSHOT_REFUSED`. */
  function putInForce(snapshot: Snapshot, program: () => Program, held?: View): void {
    let next: View;
    let useOnward: () => void;
    let contexts: ReturnType<typeof contextsOf> | undefined;
    try {
      next = viewOf(snapshot, identity!.id.trustDomain, program, { held, before: view });
      useOnward = onward.prepare({ clusters: next.routes.clusters, own: identity!.id });
      if (!view || !isSameTrust(view.bundle, next.bundle)) contexts = contextsOf(identity!, next.bundle);
    } catch (thrown) {
      throw refusal(snapshot, messageOf(thrown), thrown);
    }
    const before = view;
    view = next;
    policy = snapshot.policy;
    useOnward();
    if (contexts) useContexts(contexts);
    live.recheck();
    live.cutPeers((peer) => isBanned(next.bans, peer));
    if (before && lostRoot(before.bundle, next.bundle)) retireAll(live, ['inbound', 'upstream']);
  }

  /** In turns, while the program of before serves. What comes with the same policy meanwhile waits for the same build; another policy ends it. */
  async function build(snapshot: Snapshot): Promise<boolean> {
    if (building && isSamePolicy(building.snapshot.policy, snapshot.policy)) building.snapshot = snapshot;
    else {
      stopBuilding();
      const abort = new AbortController();
      const program = buildProgram(snapshot.policy, {
        monotonic,
        pause: () => new Promise((resolve) => setImmediate(resolve)),
        around: (rules) => checked(rules, snapshot.policy),
        signal: abort.signal,
      });
      building = { snapshot, program, abort };
    }
    const own = building;
    try {
      const program = await own.program;
      if (building !== own || own.snapshot !== snapshot) return false;
      building = undefined;
      putInForce(snapshot, () => program);
      return true;
    } catch (thrown) {
      if (own.abort.signal.aborted || (building === own && own.snapshot !== snapshot)) return false;
      if (building === own) building = undefined;
      throw isPosternError(thrown, 'SNAPSHOT_REFUSED') ? thrown : refusal(snapshot, messageOf(thrown), thrown);
    }
  }

  function stopBuilding(): void {
    building?.abort.abort();
    building = undefined;
  }
}

function refusal({ revision }: Snapshot, reason: string, cause?: unknown): Error {
  return fail('SNAPSHOT_REFUSED', { revision, reason }, { cause });
}

/** Said by the control plane, which has made both texts; without its word only the very same object is the same. */
function isSamePolicy(one: PolicySet, other: PolicySet): boolean {
  return one === other || (one.digest !== undefined && one.digest === other.digest && one.revision === other.revision);
}
