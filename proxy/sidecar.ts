// The life of a sidecar, from an empty folder to a drained exit: one member, beside its application, with its admin and health listeners.
// It takes no traffic before it has an identity, allows nothing before it has a configuration, and leaves nothing half-started.
import type { RecordLogOptions } from '#audit/log';
import { formatHostPort, type HostPort } from '#base/host-port';
import { openAdmin, openHealth } from './admin.ts';
import { readAddress, readProtocolAddress, readTarget } from './agent/address.ts';
import { openSidecarFolder } from './agent/disk.ts';
import { adminPages, healthPages } from './agent/pages.ts';
import type { AppAddress } from './app-protocol.ts';
import type { DataPlaneOptions } from './data-plane.ts';
import { createMember, type MemberDeps } from './member.ts';
import type { SidecarAddresses } from './ports.ts';

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

export type SidecarDeps = MemberDeps;

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
  const startedAt = deps.clock.now();
  const { app, admin: adminAt, metrics: metricsAt, ...ports } = readAddresses(config);
  const folder = openSidecarFolder(config.home);
  const { token, advertise, labels, zone, weight, drainMs, limits, nameServers, workers, audit } = config;
  const member = await createMember(
    { folder, token, app, ports, advertise, labels, zone, weight, drainMs, limits, nameServers, workers, audit },
    deps,
  );
  undo.defer(() => member.dispose());
  const { log, shown } = member;
  const [opened, admin, health] = await openAll([
    member.listen() as Promise<SidecarAddresses>,
    openAdmin({ listen: adminAt, pages: adminPages(shown), exposed: config.unsafeAdminNonLoopback === true }).then(
      (one) => closeLater(one, undo),
    ),
    openHealth({ listen: metricsAt, pages: healthPages(shown) }).then((one) => closeLater(one, undo)),
  ]);
  const addresses = addressesOf(opened, { admin: admin.address, metrics: health.address });
  member.show(addresses);
  await member.serve();
  const revision = shown.snapshot()?.revision ?? 0;
  log.info('the sidecar is serving', { ...addresses, revision, ms: deps.clock.now() - startedAt });

  const shutDown = async (): Promise<void> => {
    await member.drain();
    await undo.disposeAsync();
    deps.log.info('the sidecar has stopped', { service: member.service });
  };
  let closing: Promise<void> | undefined;
  return {
    addresses,
    service: member.service,
    instance: member.instance,
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
