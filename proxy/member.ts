// One identity at work: its folder, its certificate and the renewal of it, its record log, its data plane and its link to the control plane. A sidecar is
// one of these, a gateway several; none of them can reach another one's keys or speak in its name.
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { createRecordLog, type RecordLogOptions } from '#audit/log';
import type { Clock } from '#base/clock';
import type { Log } from '#base/log';
import { createMetrics } from '#base/metrics';
import { readVersion } from '#base/version';
import type { InstanceFacts } from '#wire';
import { createChannel } from '#wire/channel';
import { advertised } from './agent/address.ts';
import type { Holding, SidecarFolder } from './agent/disk.ts';
import { answerDump } from './agent/dump.ts';
import { obtainIdentity } from './agent/enrol.ts';
import { createLargeSnapshots } from './agent/large-snapshot.ts';
import { lockFolder } from './agent/lock.ts';
import { dumpOf, type Shown } from './agent/pages.ts';
import { pause } from './agent/pause.ts';
import { startRenewal } from './agent/renewal.ts';
import { type Reporter, startReporter } from './agent/report.ts';
import { createSnapshots } from './agent/snapshots.ts';
import { createTaps } from './agent/taps.ts';
import { startUploader } from './agent/upload.ts';
import { startWatch } from './agent/watch.ts';
import { startWitnessing } from './agent/witness.ts';
import type { DataPlaneOptions } from './data-plane.ts';
import { type Addresses, type Ports, portOfGroup } from './ports.ts';
import { createSpanExporter } from './tracing/exporter.ts';
import { createDataPlanes } from './workers.ts';

export interface MemberConfig {
  readonly folder: SidecarFolder;
  /** Needed for the first start, and again when the certificate has expired. */
  readonly token: string | undefined;
  readonly app: DataPlaneOptions['app'];
  readonly ports: Ports;
  /** Where peers reach the inbound listener; by default its address, or the host's first external one when it listens on all. */
  readonly advertise: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Where it runs, and its share beside the other instances of the service: told to callers. */
  readonly zone?: string | undefined;
  readonly weight?: number | undefined;
  /** The longest that running exchanges may go on after `drain`. */
  readonly drainMs: number;
  readonly limits?: DataPlaneOptions['limits'];
  /** Name servers as ADDRESS:PORT; those of the system by default. */
  readonly nameServers?: readonly string[] | undefined;
  /** Data-plane threads; 1 by default. */
  readonly workers?: number | undefined;
  /** How decisions are recorded; the log's own defaults otherwise. */
  readonly audit?: Pick<RecordLogOptions, 'mode' | 'maskable' | 'maxBytes' | 'maxAgeMs' | 'heartbeatMs'> | undefined;
}

export interface MemberDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
  /** The real one by default. */
  readonly createDataPlane?: typeof createDataPlanes;
}

export interface Member {
  /** The service's SPIFFE ID. */
  readonly service: string;
  readonly instance: string;
  /** For the admin and health pages. `addresses` are whatever `show` said last. */
  readonly shown: Shown;
  readonly log: Log;
  /** Opens every port or none. Throws `PROXY_LISTEN_FAILED`. */
  listen(): Promise<Addresses>;
  /** The same for other ports, while it serves. */
  usePorts(ports: Ports, facts: Pick<MemberConfig, 'advertise' | 'labels'>): Promise<Addresses>;
  /** What the admin page calls its addresses. */
  show(addresses: unknown): void;
  /** Waits a moment for a first configuration, then reports to the control plane; without one it denies everything. */
  serve(): Promise<void>;
  /** Ends what runs and says its last words. */
  drain(): Promise<void>;
  /** Gives everything back; after `drain`, or at once. */
  dispose(): Promise<void>;
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

/** On return its identity is durable and nothing listens yet. Throws `SIDECAR_*`, `CONTROL_*` or the control plane's own refusal, with nothing left running. */
export async function createMember(config: MemberConfig, deps: MemberDeps): Promise<Member> {
  const undo = new AsyncDisposableStack();
  try {
    return await create(config, deps, undo);
  } catch (thrown) {
    await undo.disposeAsync();
    throw thrown;
  }
}

async function create(config: MemberConfig, deps: MemberDeps, undo: AsyncDisposableStack): Promise<Member> {
  const { folder } = config;
  const { clock, random = Math.random } = deps;
  const version = readVersion();
  const startedAt = clock.now();
  let { advertise, labels } = config;
  let { inbound, behind } = config.ports;
  const facts = (): InstanceFacts => ({
    ...(inbound && { advertise: advertise ?? advertised(inbound, networkInterfaces) }),
    ...appPortOf(config.app?.port ?? (typeof behind === 'object' ? portOfGroup(behind) : undefined)),
    labels,
    ...(config.zone === undefined ? {} : { zone: config.zone }),
    ...(config.weight === undefined ? {} : { weight: config.weight }),
    version,
  });

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
    ...config.ports,
    app: config.app,
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
    ...(config.zone !== undefined && { zone: config.zone }),
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
  const large = createLargeSnapshots();
  const snapshots = createSnapshots({
    service: id,
    folder,
    large,
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
      const kept = snapshots.keep();
      if (kept) void kept.then(() => reporter?.reportNow());
      else reporter?.reportNow();
    });
  };
  undo.defer(() => {
    cancelKeep?.();
    return snapshots.keep();
  });
  const watch = startWatch({
    ...shared,
    revision: () => snapshots.newest,
    readLarge: (line) => large.read(line),
    onSnapshot: (value, problems) => {
      if (snapshots.take(value, problems)) configured.abort();
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
  let addresses: unknown;
  const shown: Shown = {
    now: () => clock.now(),
    holding: () => holding,
    snapshot: () => snapshots.current,
    refused: () => snapshots.refused,
    connected: () => watch.connected,
    renewal: () => renewal.state,
    state: () => state,
    addresses: () => addresses,
    counts: () => dataPlane.counts,
    describe: () => dataPlane.describe(),
    gather: () => dataPlane.gather?.(),
    metrics,
    version,
    startedAt,
  };
  undo.defer(() => dataPlane.drain());
  let lastWords: (cut: AbortSignal) => Promise<unknown>[] = () => [];

  return {
    service: id.uri,
    instance: holding.instance,
    shown,
    log,
    async listen() {
      const opened = await dataPlane.listen();
      inbound = opened.inbound;
      return opened;
    },
    async usePorts(ports, more) {
      const opened = await dataPlane.usePorts(ports);
      inbound = opened.inbound;
      behind = ports.behind;
      ({ advertise, labels } = more);
      reporter?.reportNow();
      return opened;
    },
    show(named) {
      addresses = named;
    },
    async serve() {
      if (!snapshots.current) await pause(clock, firstSnapshotMs, configured.signal);
      if (!snapshots.current)
        log.warn('no configuration has arrived: everything is denied until one does', { url: holding.url });
      state = 'serving';
      const reports = startReporter({
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
      reporter = reports;
      const uploader = startUploader({ ...shared, records });
      const witnessing = startWitnessing({ ...shared, records });
      lastWords = (cut) => {
        const lastRecords = records.flush().then(() => uploader.close(cut));
        const lastSignature = lastRecords.then(() => records.sign()).then(() => witnessing.close());
        return [spans.close(), reports.close(), lastRecords, lastSignature];
      };
    },
    async drain() {
      state = 'draining';
      log.info('draining', { connections: dataPlane.counts, atMostMs: config.drainMs });
      if (reporter) await within(clock, farewellMs, reporter.reportNow());
      await pause(clock, Math.min(lingerMs, config.drainMs / 4), new AbortController().signal);
      // Bans and renewals still count while exchanges run out.
      await dataPlane.drain();
      const cut = new AbortController();
      await within(clock, lastWordsMs, Promise.allSettled(lastWords(cut.signal)));
      cut.abort();
    },
    dispose: () => undo.disposeAsync(),
  };
}

function appPortOf(port: number | undefined): Pick<InstanceFacts, 'appPort'> {
  return port === undefined ? {} : { appPort: port };
}

/** Waits for `work`, but no longer than `ms`. */
async function within(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  const late = new AbortController();
  await Promise.race([work.catch(() => undefined), pause(clock, ms, late.signal)]);
  late.abort();
}
