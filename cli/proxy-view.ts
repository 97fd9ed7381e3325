// How one proxy looks in tables, and what is not well with it.
import { formatDuration } from '#base/duration';
import type { ProxyStatus } from '#wire';
import type { Tone } from './paint.ts';
import type { Cell } from './table.ts';
import { ago, left } from './when.ts';

const tones: Readonly<Record<ProxyStatus['sync'], Tone>> = {
  synced: 'good',
  stale: 'warn',
  'not-sent': 'bad',
  refused: 'bad',
  left: 'dim',
  gone: 'bad',
};

/** As cells of `proxyColumns`. */
export function proxyRow(proxy: ProxyStatus, { now, wide }: { readonly now: number; readonly wide: boolean }): Cell[] {
  const { sync, revision, wanted, connections, lastReportAt } = proxy;
  return [
    proxy.instance,
    { text: sync, tone: tones[sync] },
    revision === wanted ? revision : `${revision} of ${wanted}`,
    healthOf(proxy),
    left({ notAfter: proxy.notAfter, now }),
    connections.inbound,
    connections.outbound,
    proxy.advertise,
    ago(lastReportAt, now),
    proxy.version,
    ...(wide
      ? [
          proxy.state,
          proxy.connected ? 'yes' : { text: 'no', tone: 'warn' as const },
          proxy.zone,
          proxy.weight ?? 1,
          labelsText(proxy.labels),
          proxy.log?.size,
        ]
      : []),
  ];
}

export function proxyColumns(wide: boolean): readonly string[] {
  const usual = ['INSTANCE', 'SYNC', 'REVISION', 'HEALTH', 'CERTIFICATE', 'IN', 'OUT', 'ADDRESS', 'SEEN', 'VERSION'];
  return wide ? [...usual, 'STATE', 'CONNECTED', 'ZONE', 'WEIGHT', 'LABELS', 'RECORDS'] : usual;
}

export function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
}

function healthOf({ health, state }: ProxyStatus): Cell {
  if (state === 'draining') return { text: 'draining', tone: 'dim' };
  if (health === undefined) return undefined;
  return { text: health, tone: health === 'healthy' ? 'good' : 'bad' };
}

/** What is not well, each with the name of the instance; empty when all is. One that left in good order is well. */
export function troublesOf(proxy: ProxyStatus, now: number): string[] {
  const { instance, sync, wanted, revision, health, log, notAfter, lastReportAt } = proxy;
  const ageText = formatDuration(now - lastReportAt);
  const troubles: Readonly<Record<ProxyStatus['sync'], string | undefined>> = {
    synced: undefined,
    left: undefined,
    stale: `holds revision ${revision}, and ${wanted} was sent`,
    'not-sent': `is not connected, so revision ${wanted} cannot be sent`,
    refused: `refused revision ${wanted}: ${proxy.refusal ?? 'no reason given'}`,
    gone: `was last heard of ${ageText} ago`,
  };
  const found = [
    troubles[sync],
    sync !== 'left' && notAfter <= now
      ? `has a certificate that expired ${formatDuration(now - notAfter)} ago`
      : undefined,
    health === 'unhealthy' && sync !== 'left' && sync !== 'gone'
      ? 'finds the application beside it unhealthy'
      : undefined,
    log?.alarm === undefined ? undefined : `has a decision log that is not what it was (${log.alarm}): ${log.reason}`,
  ];
  return found.flatMap((text) => (text === undefined ? [] : [`${instance} ${text}`]));
}
