// GET /v1/status: each proxy, whether it has what it must have, and when it was last heard of.
import type { Witness } from '#audit';
import type { ProxyStatus, StatusReply, WitnessedLog } from '#wire';
import type { App } from '../app.ts';
import type { Instance, Registry } from '../registry.ts';
import type { Snapshots } from '../snapshots.ts';

export interface StatusRoutes {
  readonly registry: Registry;
  readonly snapshots: Snapshots;
  readonly witness: Witness;
  readonly server: () => StatusReply['server'];
}

export function statusRoutes(app: App, { registry, snapshots, witness, server }: StatusRoutes): void {
  const describe = (instance: Instance, log: WitnessedLog | undefined): ProxyStatus => {
    const { report, facts } = instance;
    const wanted = snapshots.current(instance.service)?.revision ?? 0;
    const sync = syncOf(instance, { wanted, isLeased: registry.isLeased(instance) });
    return {
      ...{ instance: instance.instance, service: instance.service, sync, wanted },
      ...{ advertise: facts?.advertise ?? '', version: facts?.version ?? '', labels: facts?.labels ?? {} },
      revision: report?.revision ?? 0,
      ...(report?.refused ? { refusal: report.refused.reason } : {}),
      lastReportAt: instance.seenAt,
      notAfter: instance.notAfter,
      connections: report?.connections ?? { inbound: 0, outbound: 0 },
      ...(log ? { log: logOf(log) } : {}),
    };
  };
  const describeAll = (): ProxyStatus[] => {
    const logs = new Map(witness.logs().map((log) => [log.instance, log]));
    return [...registry.all()].map((instance) => describe(instance, logs.get(instance.instance))).sort(byName);
  };
  app.get(
    '/v1/status',
    { config: { caller: 'admin' } },
    async (): Promise<StatusReply> => ({
      server: server(),
      proxies: describeAll(),
    }),
  );
}

function logOf({ size, seenAt, alarm, reason }: WitnessedLog): NonNullable<ProxyStatus['log']> {
  return { size, seenAt, ...(alarm === undefined ? {} : { alarm, reason: reason ?? '' }) };
}

function syncOf(
  { report }: Instance,
  now: { readonly wanted: number; readonly isLeased: boolean },
): ProxyStatus['sync'] {
  if (!now.isLeased) return 'gone';
  if (!report) return 'stale';
  if (report.refused && report.refused.revision > report.revision) return 'refused';
  return report.revision >= now.wanted ? 'synced' : 'stale';
}

function byName(one: ProxyStatus, other: ProxyStatus): number {
  return `${one.service} ${one.instance}` < `${other.service} ${other.instance}` ? -1 : 1;
}
