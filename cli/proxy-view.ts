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

/** Columns of tables about proxies. `status` looks at many of them, `describe` at those of one service. */
const shown = {
  status: ['INSTANCE', 'SYNC', 'REVISION', 'HEALTH', 'CERTIFICATE', 'IN', 'OUT', 'ADDRESS', 'SEEN', 'VERSION'],
  describe: ['INSTANCE', 'SYNC', 'REVISION', 'HEALTH', 'ADDRESS', 'ZONE', 'WEIGHT', 'LABELS', 'SEEN', 'VERSION'],
} as const;
const onlyWide = ['STATE', 'CONNECTED', 'ZONE', 'WEIGHT', 'LABELS', 'CERTIFICATE', 'IN', 'OUT', 'RECORDS'];

export function proxyColumns(where: keyof typeof shown, wide: boolean): readonly string[] {
  const usual: readonly string[] = shown[where];
  return wide ? [...usual, ...onlyWide.filter((name) => !usual.includes(name))] : usual;
}

/** As cells of these columns. */
export function proxyRow(proxy: ProxyStatus, columns: readonly string[], now: number): Cell[] {
  const { sync, revision, wanted, connections } = proxy;
  const cells: Readonly<Record<string, Cell>> = {
    INSTANCE: proxy.instance,
    SYNC: { text: sync, tone: tones[sync] },
    REVISION: revision === wanted ? revision : `${revision} of ${wanted}`,
    HEALTH: healthOf(proxy),
    CERTIFICATE: left({ notAfter: proxy.notAfter, now }),
    IN: connections.inbound,
    OUT: connections.outbound,
    ADDRESS: proxy.advertise,
    SEEN: ago(proxy.lastReportAt, now),
    VERSION: proxy.version,
    STATE: proxy.state,
    CONNECTED: proxy.connected ? 'yes' : { text: 'no', tone: 'warn' },
    ZONE: proxy.zone,
    WEIGHT: proxy.weight ?? 1,
    LABELS: labelsText(proxy.labels),
    RECORDS: proxy.log?.size,
  };
  return columns.map((name) => cells[name]);
}

function labelsText(labels: Readonly<Record<string, string>>): string {
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
