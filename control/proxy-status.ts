// One proxy as operators see it: does it hold what it must, is it heard of, how is the application beside it.
import type { Witness } from '#audit';
import type { ProxyStatus, WitnessedLog } from '#wire';
import type { Instance, Registry } from './registry.ts';
import type { Snapshots } from './snapshots.ts';
import type { Watchers } from './watchers.ts';

export interface StatusParts {
  readonly registry: Registry;
  readonly snapshots: Snapshots;
  readonly watchers: Pick<Watchers, 'isConnected'>;
  readonly witness: Witness;
}

/** Sorted by service and instance. */
export function statusOfProxies(instances: Iterable<Instance>, parts: StatusParts): ProxyStatus[] {
  const logs = new Map(parts.witness.logs().map((log) => [log.instance, log]));
  return [...instances]
    .map((instance) => statusOf(instance, { ...parts, log: logs.get(instance.instance) }))
    .sort(byName);
}

function statusOf(instance: Instance, o: StatusParts & { readonly log: WitnessedLog | undefined }): ProxyStatus {
  const { report, facts } = instance;
  const wanted = o.snapshots.current(instance.service)?.revision ?? 0;
  const connected = o.watchers.isConnected(instance.instance);
  const sync = syncOf(instance, { wanted, connected, isLeased: o.registry.isLeased(instance) });
  return {
    ...{ instance: instance.instance, service: instance.service, sync, wanted },
    ...{ advertise: facts?.advertise ?? '', version: facts?.version ?? '', labels: facts?.labels ?? {} },
    revision: report?.revision ?? 0,
    ...(report?.refused ? { refusal: report.refused.reason } : {}),
    ...{ connected, state: report?.state ?? 'unknown' },
    ...(report?.health ? { health: report.health } : {}),
    ...(facts?.zone === undefined ? {} : { zone: facts.zone }),
    ...(facts?.weight === undefined ? {} : { weight: facts.weight }),
    ...(facts?.appPort === undefined ? {} : { appPort: facts.appPort }),
    lastReportAt: instance.seenAt,
    notAfter: instance.notAfter,
    connections: report?.connections ?? { inbound: 0, outbound: 0 },
    ...(o.log ? { log: logOf(o.log) } : {}),
  };
}

function logOf({ size, seenAt, alarm, reason }: WitnessedLog): NonNullable<ProxyStatus['log']> {
  return { size, seenAt, ...(alarm === undefined ? {} : { alarm, reason: reason ?? '' }) };
}

function syncOf(
  { report }: Instance,
  now: { readonly wanted: number; readonly connected: boolean; readonly isLeased: boolean },
): ProxyStatus['sync'] {
  if (!now.isLeased) return report?.state === 'draining' ? 'left' : 'gone';
  if (report?.refused && report.refused.revision > report.revision) return 'refused';
  if (report && report.revision >= now.wanted) return 'synced';
  return now.connected ? 'stale' : 'not-sent';
}

function byName(one: ProxyStatus, other: ProxyStatus): number {
  return `${one.service} ${one.instance}` < `${other.service} ${other.instance}` ? -1 : 1;
}
