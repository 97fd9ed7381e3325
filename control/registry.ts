// Which instances there are, where, and whether they are alive. An instance is in discovery while it says that it serves and its lease
// holds; what it says of itself never touches its identity.
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import { type Endpoint, type InstanceFacts, leaseMs, type ProxyReport } from '#wire';
import type { Store, StoredInstance } from './store.ts';

/** The working copy of one instance. */
export interface Instance extends StoredInstance {
  /** Monotonic milliseconds until which it counts as alive. */
  readonly leaseUntil: number;
  readonly report: ProxyReport | undefined;
}

export interface Registry {
  all(): Iterable<Instance>;
  get(instance: string): Instance | undefined;
  /** SPIFFE IDs of the services that have an instance on record. */
  services(): Iterable<string>;
  /** The live endpoints of a service, by instance name. */
  endpoints(service: string): { readonly endpoints: readonly Endpoint[]; readonly ports: readonly number[] };
  /** Durable on return. A new instance is in discovery only after it reported that it serves. */
  enrolled(o: { instance: string; service: string; facts: InstanceFacts; notAfter: number }): void;
  renewed(o: { instance: string; service: string; notAfter: number }): void;
  /** Takes a report and renews the lease; never fails because of the disk. */
  reported(o: { instance: string; service: string; notAfter: number; report: ProxyReport }): void;
  /** Whether taking this report would tell callers something new of the instance; that it goes away or is unhealthy does not count. */
  isNews(o: { instance: string; report: ProxyReport }): boolean;
  /** Takes an instance out of discovery until it reports again. */
  leave(instance: string): void;
  isLeased(instance: Instance): boolean;
  /** Ends leases that ran out, forgets who is long gone, and writes what is new; call it about each second. */
  tick(): void;
}

export interface RegistryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** Certificates on record that have not expired: instances that a crash kept out of the store are found again here. */
  readonly certificates: readonly { readonly instance: string; readonly service: string; readonly notAfter: number }[];
  /** The endpoints of this service changed. */
  readonly onChange: (service: string) => void;
}

/** An instance that vanished is shown for this long after its certificate expired. */
const rememberMs = 3_600_000;

export function createRegistry({ store, clock, log, certificates, onChange }: RegistryOptions): Registry {
  const instances = new Map<string, Instance>();
  const byService = new Map<string, Set<string>>();
  const unsaved = new Set<string>();
  let failing = false;

  const put = (next: Instance): void => {
    const before = instances.get(next.instance);
    instances.set(next.instance, next);
    const names = byService.get(next.service) ?? new Set();
    byService.set(next.service, names.add(next.instance));
    const isStored =
      before?.notAfter === next.notAfter && before.gone === next.gone && before.facts === next.facts && !!before;
    if (!isStored) unsaved.add(next.instance);
    const isNews =
      before?.gone !== next.gone || before.facts !== next.facts || isUnhealthy(before) !== isUnhealthy(next);
    if (isNews) onChange(next.service);
  };
  const drop = ({ instance, service }: Instance): void => {
    instances.delete(instance);
    unsaved.delete(instance);
    const names = byService.get(service);
    names?.delete(instance);
    if (names?.size === 0) byService.delete(service);
  };
  const lease = (): number => clock.monotonic() + leaseMs;
  const blank = (o: { instance: string; service: string; notAfter: number }): Instance =>
    instances.get(o.instance) ?? {
      ...{ instance: o.instance, service: o.service, notAfter: o.notAfter, facts: undefined, gone: true },
      ...{ seenAt: clock.now(), leaseUntil: lease(), report: undefined },
    };
  const save = (): void => {
    const rows = [...unsaved].flatMap((name) => instances.get(name) ?? []);
    if (rows.length === 0) return;
    store.saveInstances(rows);
    unsaved.clear();
  };

  for (const stored of store.instances()) put({ ...stored, leaseUntil: lease(), report: undefined });
  unsaved.clear();
  for (const found of certificates) {
    const known = blank(found);
    if (!instances.has(found.instance) || known.notAfter < found.notAfter) put({ ...known, notAfter: found.notAfter });
  }

  return {
    all: () => instances.values(),
    get: (instance) => instances.get(instance),
    services: () => byService.keys(),
    endpoints(service) {
      const live = [...(byService.get(service) ?? [])]
        .sort()
        .flatMap((name) => instances.get(name) ?? [])
        .filter(({ gone, facts }) => !gone && facts?.advertise !== undefined);
      return {
        endpoints: live.map(endpointOf),
        ports: [...new Set(live.flatMap(({ facts }) => facts!.appPort ?? []))].sort((a, b) => a - b),
      };
    },
    enrolled({ facts, ...o }) {
      put({ ...blank(o), facts, notAfter: o.notAfter, seenAt: clock.now(), leaseUntil: lease() });
      save();
    },
    renewed(o) {
      const known = blank(o);
      put({ ...known, notAfter: Math.max(known.notAfter, o.notAfter) });
    },
    reported({ report, ...o }) {
      const known = blank(o);
      const facts = report.facts && !isSame(report.facts, known.facts) ? report.facts : known.facts;
      const notAfter = Math.max(known.notAfter, o.notAfter);
      const now = { seenAt: clock.now(), leaseUntil: lease(), gone: report.state !== 'serving' };
      put({ ...known, ...now, facts, notAfter, report });
    },
    isNews({ instance, report }) {
      const { facts, state } = report;
      const known = instances.get(instance);
      if (facts !== undefined && !isSame(facts, known?.facts)) return true;
      if (state !== 'serving') return false;
      return known?.gone !== false || (isUnhealthy(known) && !isUnhealthy({ report }));
    },
    leave(instance) {
      const known = instances.get(instance);
      if (known && !known.gone) put({ ...known, gone: true, leaseUntil: clock.monotonic() });
    },
    isLeased: ({ leaseUntil }) => leaseUntil > clock.monotonic(),
    tick() {
      const now = clock.now();
      const elapsed = clock.monotonic();
      const forgotten: Instance[] = [];
      for (const known of instances.values()) {
        if (known.leaseUntil > elapsed) continue;
        if (!known.gone) put({ ...known, gone: true });
        else if (known.notAfter < now && known.seenAt < now - rememberMs) forgotten.push(known);
      }
      try {
        save();
        if (forgotten.length > 0) store.forgetInstances(forgotten.map(({ instance }) => instance));
        for (const known of forgotten) drop(known);
        failing = false;
      } catch (thrown) {
        if (!failing) log.error('instances could not be written; trying again', { reason: messageOf(thrown) });
        failing = true;
      }
    },
  };
}

function endpointOf({ instance, facts, report }: Instance): Endpoint {
  const { advertise, labels, zone, weight } = facts!;
  return {
    instance,
    address: advertise!,
    labels,
    ...(zone === undefined ? {} : { zone }),
    ...(weight === undefined ? {} : { weight }),
    ...(isUnhealthy({ report }) ? { unhealthy: true } : {}),
  };
}

function isUnhealthy({ report }: Pick<Instance, 'report'>): boolean {
  return report?.health === 'unhealthy';
}

function isSame(one: InstanceFacts, other: InstanceFacts | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
