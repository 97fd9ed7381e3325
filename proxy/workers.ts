// Several data planes on the same ports, one for each thread, seen as one: the main thread has the first of them, what it takes the others get, and
// their decision records come together here, so that there is one log with one sequence. A thread that ends is replaced; nobody else notices.
import type { Worker, WorkerOptions } from 'node:worker_threads';
import { isPosternError, messageOf } from '#base/error';
import { exposeCollection } from '#base/memory';
import type { Identity } from '#spiffe';
import type { Snapshot } from '#wire';
import { type ClusterView, sumOfClusters } from './cluster-sum.ts';
import { createDataPlane, type DataPlane, type DataPlaneOptions } from './data-plane.ts';
import { fail } from './errors.ts';
import { defaultLimits, type Limits, limitBounds } from './limits.ts';
import { type Addresses, type Ports, portsAt } from './ports.ts';
import { createThread, type Thread, type ThreadOptions } from './thread.ts';
import type { PlainError, WorkerStart } from './worker-messages.ts';

export interface DataPlanesOptions extends DataPlaneOptions {
  /** Threads in all. */
  readonly workers: number;
  /** What requests are refused with rather than have their records lost; without it such records are counted as lost. */
  readonly blocked?: () => Error;
  /** So many records are gone before they came here. */
  readonly lose?: ThreadOptions['lose'];
  /** Node's own by default. */
  readonly platform?: NodeJS.Platform;
  /** A new thread that runs this file. */
  readonly startThread?: (file: URL, options: WorkerOptions) => Worker;
}

export interface DataPlanes extends DataPlane {
  /** Brings `counts`, `describe` and metrics up to date, which otherwise are up to a second old; absent when there is one thread. */
  gather?(): Promise<void>;
}

/** Bounds of the whole process, of which each thread gets its part. */
const divided = [
  'connections',
  'peerConnections',
  'exchanges',
  'handshakes',
  'processBytes',
  'poolConnections',
  'poolPending',
  'refusalsPerSecond',
] as const satisfies readonly (keyof Limits)[];

/** How often the threads hear whether decisions can be recorded. */
const recordingMs = 100;
/** How often they are asked what they have seen. */
const lookMs = 1_000;
/** The longest that somebody who wants to see all of it waits for a busy thread. */
const gatherMs = 500;
/** What a thread may take longer to drain than it was told to. */
const lateMs = 3_000;

/** Throws `PROXY_WORKERS_UNSUPPORTED` where ports cannot be shared. */
export function createDataPlanes(o: DataPlanesOptions): DataPlanes {
  const restarts = o.metrics.counter({
    name: 'postern_worker_restarts_total',
    help: 'Data-plane threads that ended and were started again.',
  });
  if (o.workers <= 1) return createDataPlane(o);
  const { platform = process.platform, clock } = o;
  if (platform !== 'linux') throw fail('PROXY_WORKERS_UNSUPPORTED', { workers: o.workers, platform });
  const whole: Limits = { ...defaultLimits, ...o.limits };
  let isTelling = false;
  /** Once for all that is found in one turn of the event loop. */
  const tellFailing = (): void => {
    if (isTelling) return;
    isTelling = true;
    setImmediate(() => {
      isTelling = false;
      for (const thread of threads) thread.send({ type: 'health', failing: main.failing });
    });
  };
  const main = createDataPlane({
    ...o,
    limits: partOf(whole, o.workers, 0),
    part: { index: 0, of: o.workers },
    sharing: 'first',
    onFailing: tellFailing,
  });
  let identity: Identity | undefined;
  /** What is in force here, and what will be once its policy is built. */
  let inForce: Snapshot | undefined;
  let pending: Snapshot | undefined;
  let ports: Ports = o;
  let addresses: Addresses | undefined;
  let refusal: PlainError | undefined;
  let isOver = false;
  const cancels = new Map<string, () => void>();

  const threads = Array.from({ length: o.workers - 1 }, (_, nth): Thread => {
    const thread = createThread({
      index: nth + 1,
      clock,
      log: o.log,
      random: o.random,
      begin: () => beginning(nth + 1),
      onStarted() {
        if (refusal) thread.send({ type: 'recording', refusal });
        thread.send({ type: 'health', failing: main.failing });
        if (pending) void follow(thread, { ...pending, ...urgentOf(inForce) }, settledOf(pending));
      },
      onRestart: () => restarts().value++,
      record(record) {
        try {
          o.record(record);
        } catch (thrown) {
          o.log.error('a decision record was lost', { id: record.id, reason: messageOf(thrown) });
        }
      },
      lose: o.lose ?? (() => undefined),
      startThread: o.startThread,
    });
    return thread;
  });
  o.metrics.include(() => threads.map(({ samples }) => samples));

  function beginning(index: number): Omit<WorkerStart, 'shared'> {
    return {
      settings: {
        app: o.app,
        ...portsAt(ports, addresses!),
        instance: o.instance,
        drainMs: o.drainMs,
        limits: partOf(whole, o.workers, index),
        part: { index, of: o.workers },
        ...(o.linkProtocols && { linkProtocols: o.linkProtocols }),
        ...(o.zone !== undefined && { zone: o.zone }),
        ...(o.clientCertificates !== undefined && { clientCertificates: o.clientCertificates }),
        ...(o.nameServers && { nameServers: o.nameServers }),
      },
      identity: identity && { key: identity.key, chain: identity.chain },
      snapshot: inForce,
      failing: main.failing,
      blocked: o.blocked && plainOf(o.blocked()),
    };
  }

  /** Whether a snapshot that is being built here came into force. */
  const settling = new WeakMap<Snapshot, Promise<boolean>>();
  const settledOf = (snapshot: Snapshot): Promise<boolean> => settling.get(snapshot) ?? Promise.resolve(true);

  /** Sees that a thread decides by what this one does: fails closed when it does not. */
  async function follow(thread: Thread, snapshot: Snapshot, here: Promise<boolean>): Promise<void> {
    const there = await thread.apply(snapshot);
    const isInForce = await here.catch(() => undefined);
    if (there === 'refused' && isInForce === true)
      thread.replace('it refused a configuration that the others have taken');
    if (there === 'in-force' && isInForce === undefined)
      thread.replace('it has taken a configuration that the main thread refused');
  }

  function every(ms: number, name: string, run: () => void): void {
    if (isOver) return;
    run();
    cancels.set(
      name,
      clock.after(ms, () => every(ms, name, run)),
    );
  }
  const tellRecording = (): void => {
    const before = refusal;
    refusal = undefined;
    try {
      o.assertRecording?.();
    } catch (thrown) {
      refusal = plainOf(thrown);
    }
    if (refusal?.message === before?.message) return;
    for (const thread of threads) thread.send({ type: 'recording', refusal });
  };
  const end = async (): Promise<void> => {
    isOver = true;
    for (const cancel of cancels.values()) cancel();
    await Promise.all(threads.map((thread) => thread.end()));
  };

  const counts = (what: 'inbound' | 'outbound'): number =>
    main.counts[what] + threads.reduce((sum, thread) => sum + thread.count(what), 0);
  let drained: Promise<void> | undefined;
  return {
    get counts() {
      return { inbound: counts('inbound'), outbound: counts('outbound') };
    },
    get failing() {
      return main.failing;
    },
    tellFailing: main.tellFailing,
    // The application is asked by one thread.
    get health() {
      return main.health;
    },
    // A thread listens only while it is ready, so nobody meets one that is not.
    get isReady() {
      return main.isReady;
    },
    setIdentity(next) {
      main.setIdentity(next);
      identity = next;
      for (const thread of threads) thread.send({ type: 'identity', key: next.key, chain: next.chain });
    },
    applySnapshot(next) {
      // Refused here, it reaches nobody.
      const built = main.applySnapshot(next);
      if (built) {
        if (inForce) inForce = { ...inForce, ...urgentOf(next) };
        pending = next;
        settling.set(next, built);
      } else {
        inForce = next;
        if (pending && pending.revision <= next.revision) pending = undefined;
      }
      const here = built ?? Promise.resolve(true);
      const everywhere = threads.map((thread) => follow(thread, next, here));
      const settled = here.then(
        (isInForce) => {
          if (isInForce && built) inForce = { ...next, ...(pending === next ? {} : urgentOf(inForce)) };
          if (pending === next) pending = undefined;
        },
        () => {
          if (pending === next) pending = undefined;
        },
      );
      if (!addresses) return built;
      // In force is what every thread decides by.
      return Promise.all([settled, ...everywhere]).then(() => here);
    },
    async listen() {
      addresses = await main.listen();
      const hide = exposeCollection();
      try {
        await Promise.all(threads.map((thread) => thread.start()));
      } catch (thrown) {
        hide();
        void main.drain();
        await Promise.all([main.drain(), end()]);
        throw fail(
          'PROXY_LISTEN_FAILED',
          { address: 'the shared ports', reason: messageOf(thrown) },
          { cause: thrown },
        );
      }
      hide();
      every(recordingMs, 'recording', tellRecording);
      every(lookMs, 'look', () => threads.forEach((thread) => void thread.look()));
      return addresses;
    },
    async usePorts(next) {
      const before = addresses;
      const opened = await main.usePorts(next);
      [ports, addresses] = [next, opened];
      if (before) await Promise.all(threads.map((thread) => thread.usePorts(portsAt(next, opened))));
      return opened;
    },
    drain() {
      const all = Promise.all([main.drain(), ...threads.map((thread) => thread.drain(o.drainMs + lateMs))]);
      drained ??= all.then(end);
      return drained;
    },
    async gather() {
      const late = Promise.withResolvers<void>();
      const cancel = clock.after(gatherMs, late.resolve);
      await Promise.race([Promise.all(threads.map((thread) => thread.look())), late.promise]);
      cancel();
    },
    describe() {
      const own = main.describe() as Description;
      const others = threads.flatMap(({ description }) => (description ? [description as Description] : []));
      const all = [own, ...others];
      const sum = (of: (one: Description) => number): number => all.reduce((total, one) => total + of(one), 0);
      return {
        ...own,
        connections: {
          inbound: sum(({ connections }) => connections.inbound),
          outbound: sum(({ connections }) => connections.outbound),
          upstream: sum(({ connections }) => connections.upstream),
        },
        exchanges: sum(({ exchanges }) => exchanges),
        pools: sum(({ pools }) => pools),
        clusters: sumOfClusters(all.map(({ clusters }) => clusters)),
        peers: all.flatMap(({ peers }) => peers).slice(0, 1_000),
        limits: whole,
        workers: [
          { worker: 0, isListening: addresses !== undefined, ...main.counts, restarts: 0 },
          ...threads.map((thread) => ({
            worker: thread.index,
            isListening: thread.isListening,
            inbound: thread.count('inbound'),
            outbound: thread.count('outbound'),
            restarts: thread.restarts,
          })),
        ],
      };
    },
  };
}

/** What of a data plane's description is added up. */
interface Description {
  readonly connections: { readonly inbound: number; readonly outbound: number; readonly upstream: number };
  readonly exchanges: number;
  readonly pools: number;
  readonly clusters: readonly ClusterView[];
  readonly peers: readonly unknown[];
}

/** One thread's part: the parts add up to the whole, unless that is less than each of them needs. */
function partOf(limits: Limits, workers: number, index: number): Limits {
  const parts = divided.map((name) => {
    const part = Math.floor(limits[name] / workers) + (index < limits[name] % workers ? 1 : 0);
    return [name, Math.max(limitBounds[name]!.least ?? 1, part)];
  });
  return { ...limits, ...Object.fromEntries(parts) };
}

/** What does not wait for a policy. */
function urgentOf(snapshot: Snapshot | undefined): Partial<Pick<Snapshot, 'bundle' | 'bans'>> {
  return snapshot ? { bundle: snapshot.bundle, bans: snapshot.bans } : {};
}

function plainOf(thrown: unknown): PlainError {
  const fault = isPosternError(thrown) ? thrown : fail('PROXY_FAULT', { reason: messageOf(thrown) });
  const { code, message, status, retryable, exposed } = fault;
  return { code, message, status, retryable, exposed };
}
