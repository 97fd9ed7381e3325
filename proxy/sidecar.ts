// The life of a sidecar, from an empty folder to a drained exit: lock, identity, record log, data plane, configuration, listeners.
// It takes no traffic before it has an identity, allows nothing before it has a configuration, and leaves nothing half-started.
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { createRecordLog, type RecordLogOptions } from '#audit/log';
import type { Clock } from '#base/clock';
import { formatHostPort, type HostPort } from '#base/host-port';
import type { Log } from '#base/log';
import { createMetrics } from '#base/metrics';
import { readVersion } from '#base/version';
import type { InstanceFacts } from '#wire';
import { createChannel } from '#wire/channel';
import { openAdmin, openHealth } from './admin.ts';
import { advertised, readAddress, readProtocolAddress, readTarget } from './agent/address.ts';
import { type Holding, openSidecarFolder } from './agent/disk.ts';
import { answerDump } from './agent/dump.ts';
import { obtainIdentity } from './agent/enrol.ts';
import { lockFolder } from './agent/lock.ts';
import { adminPages, dumpOf, healthPages, type Shown } from './agent/pages.ts';
import { pause } from './agent/pause.ts';
import { startRenewal } from './agent/renewal.ts';
import { type Reporter, startReporter } from './agent/report.ts';
import { createSnapshots } from './agent/snapshots.ts';
import { createTaps } from './agent/taps.ts';
import { startUploader } from './agent/upload.ts';
import { startWatch } from './agent/watch.ts';
import { startWitnessing } from './agent/witness.ts';
import type { AppAddress } from './app-protocol.ts';
import type { DataPlaneOptions } from './data-plane.ts';
import type { SidecarAddresses } from './ports.ts';
import { createSpanExporter } from './tracing/exporter.ts';
import { createDataPlanes } from './workers.ts';

export interface SidecarConfig {
  /** Its own state is in `<home>/sidecar`. */
  readonly home: string;
  /** Needed for the first start, and again when the certificate has expired. */
  readonly token?: string;
  /** The application, as HOST:PORT with `h2c://` or `tcp://` before it when it does not speak HTTP/1.1; so are the others, and port 0 means any free one. */
  readonly app: string;
  readonly inbound: string;
  /** Where peers reach the inbound listener; by default its address, or the host's first external one when it listens on all. */
  readonly advertise?: string;
  readonly outbound: string;
  /** Loopback ports by the service that is behind them; `tcp://` before one for a TCP service. */
  readonly upstreams: Readonly<Record<string, string>>;
  /** Loopback only, unless the next one says otherwise. */
  readonly admin: string;
  readonly unsafeAdminNonLoopback?: boolean;
  readonly metrics: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Where it runs, and its share beside the other instances of the service: told to callers. */
  readonly zone?: string;
  readonly weight?: number;
  /** The longest that running exchanges may go on after `close`. */
  readonly drainMs: number;
  readonly limits?: DataPlaneOptions['limits'];
  /** Name servers as ADDRESS:PORT; those of the system by default. */
  readonly nameServers?: readonly string[];
  /** Data-plane threads; 1 by default. */
  readonly workers?: number;
  /** How decisions are recorded; the log's own defaults otherwise. */
  readonly audit?: Pick<RecordLogOptions, 'mode' | 'maskable' | 'maxBytes' | 'maxAgeMs' | 'heartbeatMs'>;
}

export interface SidecarDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
  /** The real one by default. */
  readonly createDataPlane?: typeof createDataPlanes;
}

export interface Sidecar {
  /** HOST:PORT as bound, so with real ports; upstreams by service. */
  readonly addresses: {
    readonly inbound: string;
    readonly outbound: string;
    readonly admin: string;
    readonly metrics: string;
    readonly upstreams: Readonly<Record<string, string>>;
  };
  /** The service's SPIFFE ID. */
  readonly service: string;
  readonly instance: string;
  /** Drains, says its last words and gives the folder back; resolves when nothing of it is left. Never throws. */
  close(): Promise<void>;
}

/** How long a start waits for its first configuration before it serves without one (that is: denies everything and is not ready). */
const firstSnapshotMs = 3_000;
/** The longest that a configuration is in force before it is on disk and acknowledged. */
const keepAfterMs = 1_000;
/** How long an exit waits for its last reports and records to be received. */
const lastWordsMs = 2_000;
/** How long an exit waits for the control plane to hear that it is draining before listeners close. */
const farewellMs = 500;
/** How long it still answers after that, while callers hear of it: an idle connection closed just as a caller uses it is a failed call. */
const lingerMs = 250;

/**
 * Starts one sidecar; on return its listeners are open and its identity is durable. Throws `SIDECAR_*`, `CONTROL_*` or the control
 * plane's own refusal, with nothing left running.
 */
export async function startSidecar(config: SidecarConfig, deps: SidecarDeps): Promise<Sidecar> {
  const undo = new AsyncDisposableStack();
  try {
    return await start(config, deps, undo);
  } catch (thrown) {
    await undo.disposeAsync();
    throw thrown;
  }
}

async function start(config: SidecarConfig, deps: SidecarDeps, undo: AsyncDisposableStack): Promise<Sidecar> {
  const { clock, random = Math.random } = deps;
  const version = readVersion();
  const startedAt = clock.now();
  const listen = readAddresses(config);
  let bound: HostPort = listen.inbound;
  const facts = (): InstanceFacts => ({
    advertise: config.advertise ?? advertised(bound, networkInterfaces),
    appPort: listen.app.port,
    labels: config.labels,
    ...(config.zone === undefined ? {} : { zone: config.zone }),
    ...(config.weight === undefined ? {} : { weight: config.weight }),
    version,
  });

  const folder = openSidecarFolder(config.home);
  undo.defer(lockFolder(folder.path));
  let holding = await obtainIdentity({ folder, token: config.token, facts: facts(), clock, random, log: deps.log });
  const { id } = holding.identity;
  const log = deps.log.with({ service: id.service, instance: holding.instance });
  const metrics = createMetrics();

  for (const stranded of folder.strandedRecords(holding.instance)) {
    log.warn('decision records of an earlier instance were not all received; they stay here', { folder: stranded });
  }
  const records = createRecordLog({
    folder: folder.recordsOf(holding.instance),
    origin: `${id.uri.slice('spiffe://'.length)}/${holding.instance}`,
    clock,
    log,
    ...config.audit,
  });
  undo.defer(() => records.close());
  const spans = createSpanExporter({
    resource: { service: id.service, trustDomain: id.trustDomain, instance: holding.instance, version },
    clock,
    random,
    log,
    metrics,
  });
  let reporter: Reporter | undefined;
  const dataPlane = (deps.createDataPlane ?? createDataPlanes)({
    ...listen,
    workers: config.workers ?? 1,
    instance: holding.instance,
    clock,
    log,
    metrics,
    random,
    record(record) {
      if (taps.isOn) taps.see(record);
      records.append(record);
      spans.note(record);
    },
    assertRecording: () => {
      if (!records.accepting) throw records.refusal();
    },
    ...(config.audit?.mode === 'block' && { blocked: () => records.refusal() }),
    lose: (count, reason) => records.lose(count, reason),
    ...(config.limits && { limits: config.limits }),
    clientCertificates: join(folder.path, 'client-certificates'),
    ...(config.nameServers && { nameServers: config.nameServers }),
    onHealth: () => void reporter?.reportNow(),
    drainMs: config.drainMs,
  });
  dataPlane.setIdentity(holding.identity);

  const channel = createChannel({
    url: holding.url,
    identity: () => holding.identity,
    bundle: () => holding.bundle,
    clock,
  });
  undo.defer(() => channel.close());
  const shared = { channel, clock, random, log, metrics };
  const taps = createTaps(shared);
  undo.defer(() => taps.close());

  const configured = new AbortController();
  const snapshots = createSnapshots({
    service: id,
    folder,
    apply: (snapshot) => dataPlane.applySnapshot(snapshot),
    onSettled: () => {
      if (snapshots.current) configured.abort();
      keepSoon();
    },
    bundle: () => holding.bundle,
    adoptBundle: (bundle, bundleText) => {
      holding = { ...holding, bundle, bundleText };
    },
    log,
    metrics,
  });
  snapshots.restore();
  spans.sendTo(snapshots.current?.mesh?.tracing?.otlp);
  // A push wakes every proxy at once: all of them enforce it before any of them keeps and acknowledges it.
  let cancelKeep: (() => void) | undefined;
  const keepSoon = (): void => {
    spans.sendTo(snapshots.current?.mesh?.tracing?.otlp);
    cancelKeep ??= clock.after(keepAfterMs * (0.2 + 0.8 * random()), () => {
      cancelKeep = undefined;
      snapshots.keep();
      reporter?.reportNow();
    });
  };
  undo.defer(() => {
    cancelKeep?.();
    snapshots.keep();
  });
  const watch = startWatch({
    ...shared,
    revision: () => snapshots.newest,
    onSnapshot: (value) => {
      if (snapshots.take(value)) configured.abort();
      keepSoon();
    },
    onChange: (value) => {
      const isTaken = snapshots.takeChange(value);
      if (isTaken) keepSoon();
      return isTaken;
    },
    onRenew: () => renewal.renewSoon(),
    onLook(event) {
      if (event.type === 'tap') taps.begin(event);
      else if (event.type === 'untap') taps.end(event.id);
      else void answerDump(event.id, { channel, log, read: () => dumpOf(shown) });
    },
  });
  undo.defer(() => watch.close());
  const adopt = (next: Holding): void => {
    dataPlane.setIdentity(next.identity);
    // The bundle may have been replaced by a snapshot since; the newer one stays.
    const { bundle, bundleText } = holding;
    holding = next.bundle.sequence > bundle.sequence ? next : { ...next, bundle, bundleText };
    watch.reopen();
    reporter?.reportNow();
  };
  const renewal = startRenewal({ ...shared, holding: () => holding, adopt, folder });
  undo.defer(() => renewal.close());

  let state: 'starting' | 'serving' | 'draining' = 'starting';
  let where: Sidecar['addresses'] | undefined;
  const shown: Shown = {
    now: () => clock.now(),
    holding: () => holding,
    snapshot: () => snapshots.current,
    refused: () => snapshots.refused,
    connected: () => watch.connected,
    renewal: () => renewal.state,
    state: () => state,
    addresses: () => where,
    counts: () => dataPlane.counts,
    describe: () => dataPlane.describe(),
    gather: () => dataPlane.gather?.(),
    metrics,
    version,
    startedAt,
  };
  undo.defer(() => dataPlane.drain());
  const [opened, admin, health] = await openAll([
    dataPlane.listen() as Promise<SidecarAddresses>,
    openAdmin({ listen: listen.admin, pages: adminPages(shown), exposed: config.unsafeAdminNonLoopback === true }).then(
      (one) => closeLater(one, undo),
    ),
    openHealth({ listen: listen.metrics, pages: healthPages(shown) }).then((one) => closeLater(one, undo)),
  ]);
  bound = opened.inbound;
  const addresses = addressesOf(opened, { admin: admin.address, metrics: health.address });
  where = addresses;

  if (!snapshots.current) await pause(clock, firstSnapshotMs, configured.signal);
  if (!snapshots.current)
    log.warn('no configuration has arrived: everything is denied until one does', { url: holding.url });
  state = 'serving';
  reporter = startReporter({
    ...shared,
    facts,
    report: () => ({
      revision: snapshots.revision,
      ...(snapshots.refused && { refused: snapshots.refused }),
      notAfter: holding.identity.notAfter,
      connections: dataPlane.counts,
      state: state === 'draining' ? 'draining' : 'serving',
      ...(dataPlane.health && { health: dataPlane.health }),
    }),
  });
  const uploader = startUploader({ ...shared, records });
  const witnessing = startWitnessing({ ...shared, records });
  log.info('the sidecar is serving', { ...addresses, revision: snapshots.revision, ms: clock.now() - startedAt });

  const shutDown = async (): Promise<void> => {
    state = 'draining';
    log.info('draining', { connections: dataPlane.counts, atMostMs: config.drainMs });
    await within(clock, farewellMs, reporter.reportNow());
    await pause(clock, Math.min(lingerMs, config.drainMs / 4), new AbortController().signal);
    // Bans and renewals still count while exchanges run out.
    await dataPlane.drain();
    const cut = new AbortController();
    const lastRecords = records.flush().then(() => uploader.close(cut.signal));
    const lastWords = [
      spans.close(),
      reporter.close(),
      lastRecords,
      lastRecords.then(() => records.sign()).then(() => witnessing.close()),
    ];
    await within(clock, lastWordsMs, Promise.allSettled(lastWords));
    cut.abort();
    await undo.disposeAsync();
    deps.log.info('the sidecar has stopped', { service: id.service });
  };
  let closing: Promise<void> | undefined;
  return {
    addresses,
    service: id.uri,
    instance: holding.instance,
    close: () => {
      closing ??= shutDown().catch((thrown: unknown) =>
        log.error('the sidecar did not stop cleanly', { reason: String(thrown) }),
      );
      return closing;
    },
  };
}

/** Every address at once, so that a wrong one is told before anything is opened. */
function readAddresses(config: SidecarConfig) {
  return {
    app: readApp(config.app),
    inbound: readAddress(config.inbound, 'inbound'),
    outbound: readAddress(config.outbound, 'outbound'),
    admin: readAddress(config.admin, 'admin'),
    metrics: readAddress(config.metrics, 'metrics'),
    upstreams: Object.entries(config.upstreams).map(([name, value]) => {
      const { protocol, address } = readProtocolAddress(value, 'upstream', ['http', 'tcp']);
      return { name, protocol, listen: readAddress(address, 'upstream') };
    }),
  };
}

function readApp(value: string): AppAddress {
  const { protocol, address } = readProtocolAddress(value, 'app', ['http', 'h2c', 'tcp']);
  return { ...readTarget(address, 'app'), protocol };
}

function addressesOf(
  opened: SidecarAddresses,
  { admin, metrics }: { readonly admin: HostPort; readonly metrics: HostPort },
): Sidecar['addresses'] {
  return {
    inbound: formatHostPort(opened.inbound),
    outbound: formatHostPort(opened.outbound),
    admin: formatHostPort(admin),
    metrics: formatHostPort(metrics),
    upstreams: Object.fromEntries(opened.upstreams.map(({ name, address }) => [name, formatHostPort(address)])),
  };
}

/** Waits for all of them even when one fails, so that none opens after the failure was dealt with. */
async function openAll<T extends readonly unknown[]>(opening: { [K in keyof T]: Promise<T[K]> }): Promise<T> {
  const results = await Promise.allSettled(opening);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return results.map((result) => (result as PromiseFulfilledResult<unknown>).value) as unknown as T;
}

function closeLater<T extends { close(): Promise<void> }>(one: T, undo: AsyncDisposableStack): T {
  undo.defer(() => one.close());
  return one;
}

/** Waits for `work`, but no longer than `ms`. */
async function within(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  const late = new AbortController();
  await Promise.race([work.catch(() => undefined), pause(clock, ms, late.signal)]);
  late.abort();
}
