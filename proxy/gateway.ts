// The life of a gateway: several members, each an identity of its own that its own token has granted, with one admin and one health listener. A new
// configuration is put in force as a whole or not at all, and what it does not concern goes on.
import { join } from 'node:path';
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import { formatHostPort } from '#base/host-port';
import type { Log } from '#base/log';
import { openAdmin, openHealth } from './admin.ts';
import { openFolder } from './agent/disk.ts';
import { fail } from './agent/errors.ts';
import { gatewayAdminPages, gatewayHealthPages } from './agent/gateway-pages.ts';
import { readJoinToken } from './agent/token.ts';
import type { GatewayConfig, GatewayService } from './gateway-config.ts';
import { createMember, type Member, type MemberDeps } from './member.ts';
import type { Addresses } from './ports.ts';

export interface GatewayAddresses {
  readonly inbound?: string;
  readonly outbound?: string;
  readonly upstreams?: Readonly<Record<string, string>>;
  readonly listeners?: readonly string[];
}

export interface GatewayMember {
  /** SPIFFE ID. */
  readonly service: string;
  readonly instance: string;
  readonly addresses: GatewayAddresses;
}

export interface Gateway {
  /** HOST:PORT as bound. */
  readonly admin: string;
  readonly metrics: string;
  readonly members: readonly GatewayMember[];
  /**
   * Puts another configuration in force: services, listeners, hosts and certificates. Throws with nothing changed. Resolves to what needs a restart and
   * stays as it is, in words.
   */
  change(config: GatewayConfig): Promise<readonly string[]>;
  /** Drains every service; resolves when nothing is left. Never throws. */
  close(): Promise<void>;
}

export interface GatewayDeps {
  readonly home: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
  readonly createDataPlane?: MemberDeps['createDataPlane'];
}

interface Running {
  readonly member: Member;
  config: GatewayService;
  addresses: GatewayAddresses;
}

/** On return all its listeners are open. Throws `GATEWAY_*`, `SIDECAR_*`, `CONTROL_*` or the control plane's own refusal, with nothing left running. */
export async function startGateway(first: GatewayConfig, deps: GatewayDeps): Promise<Gateway> {
  const { log } = deps;
  const running = new Map<string, Running>();
  const leaving = new Set<Promise<void>>();
  let config = first;
  let isClosing = false;

  const start = async (service: GatewayService, whole: GatewayConfig): Promise<Running> => {
    const member = await openMember(service, { ...deps, whole });
    try {
      const addresses = addressesOf(service, await member.listen());
      member.show(addresses);
      return { member, config: service, addresses };
    } catch (thrown) {
      await member.dispose();
      throw thrown;
    }
  };
  /** All of them or none. */
  const startAll = async (services: readonly GatewayService[], whole: GatewayConfig): Promise<Running[]> => {
    const results = await Promise.allSettled(services.map((service) => start(service, whole)));
    const started = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const refused = results.find((one) => one.status === 'rejected');
    if (!refused) return started;
    await Promise.all(started.map(({ member }) => member.dispose()));
    throw refused.reason;
  };
  const serve = async ({ member, addresses }: Running): Promise<void> => {
    await member.serve();
    member.log.info('the gateway serves it', { ...addresses, revision: member.shown.snapshot()?.revision ?? 0 });
  };
  const leave = ({ member }: Running): Promise<void> => {
    const left = member
      .drain()
      .then(() => member.dispose())
      .catch((thrown: unknown) => member.log.error('it did not stop cleanly', { reason: messageOf(thrown) }))
      .finally(() => leaving.delete(left));
    leaving.add(left);
    return left;
  };
  const usePorts = async (one: Running, next: GatewayService): Promise<void> => {
    one.addresses = addressesOf(next, await one.member.usePorts(next.ports, next));
    const { limits, workers, audit, zone, weight } = one.config;
    one.config = { ...next, limits, workers, audit, zone, weight };
    one.member.show(one.addresses);
  };

  const change = async (next: GatewayConfig): Promise<readonly string[]> => {
    if (isClosing) return [];
    const wanted = new Map(next.services.map((service) => [service.service, service]));
    const added = next.services.filter(({ service }) => !running.has(service));
    const removed = [...running.values()].filter(({ config: { service } }) => !wanted.has(service));
    const changed = [...running.values()].flatMap((one) => {
      const { service } = one.config;
      const to = wanted.get(service);
      return to && !isSame(changeable(one.config), changeable(to)) ? [{ one, before: one.config, to }] : [];
    });
    const late = restartNeeded(config, next, running);
    const started = await startAll(added, config);
    const done: typeof changed = [];
    try {
      for (const each of changed) {
        await usePorts(each.one, each.to);
        done.push(each);
      }
    } catch (thrown) {
      for (const { one, before } of done) await usePorts(one, before);
      await Promise.all(started.map(({ member }) => member.dispose()));
      throw thrown;
    }
    for (const one of removed) {
      running.delete(one.config.service);
      void leave(one);
    }
    for (const one of started) {
      running.set(one.config.service, one);
      serve(one).catch((thrown: unknown) => one.member.log.error('it does not serve', { reason: messageOf(thrown) }));
    }
    const { admin, metrics, drainMs, nameServers, unsafeAdminNonLoopback } = config;
    config = { ...next, admin, metrics, drainMs, nameServers, unsafeAdminNonLoopback };
    return late;
  };

  await using undo = new AsyncDisposableStack();
  const started = await startAll(first.services, first);
  for (const one of started) {
    running.set(one.config.service, one);
    undo.defer(() => one.member.dispose());
  }
  const shown = () => [...running].map(([name, { member }]) => [name, member.shown] as const);
  const admin = await openAdmin({
    listen: first.admin,
    pages: gatewayAdminPages(shown),
    exposed: first.unsafeAdminNonLoopback,
  });
  undo.defer(() => admin.close());
  const health = await openHealth({ listen: first.metrics, pages: gatewayHealthPages(shown, () => isClosing) });
  undo.defer(() => health.close());
  await Promise.all(started.map(serve));
  undo.move();

  const shutDown = async (): Promise<void> => {
    isClosing = true;
    await changing.catch(() => undefined);
    await Promise.all([...running.values()].map(leave));
    await Promise.all(leaving);
    await Promise.all([admin.close(), health.close()]);
    log.info('the gateway has stopped');
  };
  /** One change after the other. */
  let changing: Promise<unknown> = Promise.resolve();
  let closing: Promise<void> | undefined;
  log.info('the gateway is serving', { services: [...running.keys()] });
  return {
    admin: formatHostPort(admin.address),
    metrics: formatHostPort(health.address),
    get members() {
      return [...running.values()].map(({ member: { service, instance }, addresses }) => ({
        service,
        instance,
        addresses,
      }));
    },
    change(next) {
      const result = changing.catch(() => undefined).then(() => change(next));
      changing = result;
      return result;
    },
    close() {
      closing ??= shutDown().catch((thrown: unknown) =>
        log.error('the gateway did not stop cleanly', { reason: messageOf(thrown) }),
      );
      return closing;
    },
  };
}

/** The identity is the configured one, or there is none: a token for another service is not used up first. */
async function openMember(service: GatewayService, deps: GatewayDeps & { whole: GatewayConfig }): Promise<Member> {
  const { clock, log, home, whole } = deps;
  const wanted = service.service;
  const folder = openFolder(join(home, 'gateway', wanted.replaceAll('/', '+')));
  const held = folder.readHolding();
  const isNeeded = held === undefined || held.identity.notAfter <= clock.now();
  const token = isNeeded ? service.token() : undefined;
  if (isNeeded && token === undefined) throw fail('GATEWAY_TOKEN_MISSING', { service: wanted, path: folder.path });
  if (token !== undefined) {
    const granted = readJoinToken(token, clock.now()).service.service;
    if (granted !== wanted) throw fail('GATEWAY_TOKEN_FOREIGN', { service: wanted, granted });
  }
  if (held && held.identity.id.service !== wanted)
    throw fail('GATEWAY_TOKEN_FOREIGN', { service: wanted, granted: held.identity.id.service });
  const { drainMs, nameServers } = whole;
  const { service: _, token: __, ...own } = service;
  return createMember(
    { ...own, folder, token, app: undefined, drainMs, nameServers },
    {
      clock,
      log,
      ...(deps.random && { random: deps.random }),
      ...(deps.createDataPlane && { createDataPlane: deps.createDataPlane }),
    },
  );
}

function addressesOf({ ports }: GatewayService, opened: Addresses): GatewayAddresses {
  const { inbound, outbound, upstreams, edges } = opened;
  return {
    ...(inbound && { inbound: formatHostPort(inbound) }),
    ...(outbound && { outbound: formatHostPort(outbound) }),
    ...(ports.upstreams.length > 0 && {
      upstreams: Object.fromEntries(upstreams.map(({ name, address }) => [name, formatHostPort(address)])),
    }),
    ...(edges.length > 0 && { listeners: edges.map(formatHostPort) }),
  };
}

function changeable({ ports, advertise, labels }: GatewayService) {
  return { ports, advertise, labels };
}

/** By what the file calls them. */
const wholeNames = {
  admin: 'admin',
  metrics: 'metrics',
  drainMs: 'drain',
  nameServers: 'dns',
  unsafeAdminNonLoopback: 'unsafeAdminNonLoopback',
} as const;

/** What a running process keeps as it was begun with. */
function restartNeeded(
  before: GatewayConfig,
  next: GatewayConfig,
  running: ReadonlyMap<string, Running>,
): readonly string[] {
  const late: string[] = [];
  for (const [name, shown] of Object.entries(wholeNames))
    if (!isSame(before[name as keyof typeof wholeNames], next[name as keyof typeof wholeNames])) late.push(shown);
  for (const service of next.services) {
    const now = running.get(service.service)?.config;
    if (!now) continue;
    for (const name of ['limits', 'workers', 'audit', 'zone', 'weight'] as const)
      if (!isSame(now[name], service[name])) late.push(`${name} of ${service.service}`);
  }
  return late;
}

/** Of plain data that one reader has made, with its keys in one order. */
function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
