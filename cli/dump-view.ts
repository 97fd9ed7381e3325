// What a proxy says of itself, as a person reads it. Proxies of other versions may say less or more: whatever is missing is left out.
import { formatDuration } from '#base/duration';
import type { ClusterState } from '#routing';
import type { ServiceEntry, VirtualServiceEntry } from '#wire';
import { shortId } from './names.ts';
import type { Output } from './output.ts';
import { matchWords, routeWords, targetWords, tunnelMatchWords } from './route-words.ts';
import { formatSections, pairs, type Section } from './sections.ts';
import type { Cell } from './table.ts';

/** The parts that are looked at; made by `dumpOf` in the proxy. */
export interface Dump {
  readonly status?: {
    readonly service?: string;
    readonly instance?: string;
    readonly version?: string;
    readonly state?: string;
    readonly notReady?: readonly string[];
    readonly revision?: number;
    readonly policyRevision?: number;
    readonly refused?: { readonly revision: number; readonly reason: string };
    readonly controlPlane?: { readonly url: string; readonly connected: boolean };
    readonly addresses?: Readonly<Record<string, unknown>>;
  };
  readonly certificate?: { readonly serial?: string; readonly notAfter?: string };
  readonly dataPlane?: {
    readonly connections?: Readonly<Record<string, number>>;
    readonly exchanges?: number;
    /** With those that stand for services that nobody declared one for. */
    readonly virtualServices?: readonly VirtualServiceEntry[];
    readonly clusters?: readonly (Partial<ClusterState> & {
      readonly name: string;
      readonly id?: string;
      /** Why the last question for its endpoints had no good answer. */
      readonly unresolved?: string;
      /** Why endpoints are unhealthy, by address. */
      readonly failing?: Readonly<Record<string, string>>;
    })[];
    readonly peers?: readonly { readonly peer?: { readonly id?: string } }[];
    readonly limits?: Readonly<Record<string, number>>;
  };
  readonly configuration?: { readonly services?: readonly ServiceEntry[] };
  readonly policy?: { readonly rules?: readonly unknown[]; readonly groups?: Readonly<Record<string, unknown>> };
}

export interface Shown {
  readonly trustDomain: string;
  readonly now: number;
  readonly output: Output;
}

export function dumpText(dump: Dump, shown: Shown): string {
  const limits = shown.output.wide ? [limitsOf(dump)] : [];
  return formatSections(
    head(dump, shown),
    [clustersOf(dump, shown), routesOf(dump, shown), servicesOf(dump, shown), peersOf(dump, shown), ...limits],
    shown.output,
  );
}

function head({ status = {}, certificate, dataPlane, policy }: Dump, { now, output, trustDomain }: Shown): string[] {
  const { service = '?', instance = '?', version = '', state = '', refused, controlPlane, notReady = [] } = status;
  const connected = controlPlane?.connected ? 'connected' : output.paint('bad', 'not connected');
  const ends = certificate?.notAfter === undefined ? Number.NaN : Date.parse(certificate.notAfter);
  const life = ends > now ? `${formatDuration(ends - now)} left` : output.paint('bad', 'expired');
  const counts = Object.entries(dataPlane?.connections ?? {}).map(([name, count]) => `${count} ${name}`);
  return [
    `${output.paint('bold', shortId(service, trustDomain))}   ${instance}   ${version}   ${state}`,
    ...pairs([
      ['not ready', notReady.join('; ')],
      [
        'configuration',
        `revision ${status.revision ?? 0}, policy revision ${status.policyRevision ?? 0}, ${countOf(policy?.rules)} rules`,
      ],
      ['refused', refused && output.paint('bad', `revision ${refused.revision}: ${refused.reason}`)],
      ['control plane', controlPlane && `${controlPlane.url}, ${connected}`],
      ['certificate', Number.isNaN(ends) ? undefined : `${certificate?.serial ?? ''}, ${life}`],
      ['connections', dataPlane && `${counts.join(', ')}; ${dataPlane.exchanges ?? 0} exchanges under way`],
      ['listens', addressesText(status.addresses)],
    ]),
  ];
}

function addressesText(addresses: Readonly<Record<string, unknown>> | undefined): string | undefined {
  if (!addresses) return undefined;
  const flat = Object.entries(addresses).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null ? Object.entries(value) : [[name, value]],
  );
  return flat.map(([name, value]) => `${name} ${value}`).join(', ');
}

/** One row for each endpoint, as this very proxy sees it. */
function clustersOf({ dataPlane }: Dump, _: Shown): Section {
  const clusters = listOf<NonNullable<NonNullable<Dump['dataPlane']>['clusters']>[number]>(dataPlane?.clusters);
  const rows = clusters.flatMap(
    ({ name, requests = 0, panic, refused = {}, unresolved, failing = {}, endpoints = [] }) => {
      const bites = Object.entries(refused).filter(([, count]) => count > 0);
      const notes = [
        ...(panic ? ['panic'] : []),
        ...bites.map(([what, count]) => `${what} bit ${count}x`),
        ...(unresolved === undefined ? [] : [unresolved]),
      ].join(', ');
      const first: Cell[] = [name, requests];
      if (endpoints.length === 0)
        return [[...first, { text: 'no endpoint', tone: 'warn' as const }, '', '', '', '', '', notes]];
      return endpoints.map((one): Cell[] => [
        ...first,
        one.address,
        one.instance,
        one.zone,
        one.weight,
        one.active,
        stateOf(one),
        [failing[one.address], notes].filter((note) => note).join(', '),
      ]);
    },
  );
  const columns = ['CLUSTER', 'REQUESTS', 'ENDPOINT', 'INSTANCE', 'ZONE', 'WEIGHT', 'ACTIVE', 'STATE', 'NOTES'];
  return { title: 'Clusters, as this proxy sees them now', body: { columns, rows, empty: 'none' } };
}

function stateOf({ health, ejectedForMs, ejectedWhy }: ClusterState['endpoints'][number]): Cell {
  if (ejectedForMs !== undefined && ejectedForMs > 0)
    return { text: `ejected ${formatDuration(ejectedForMs)} (${ejectedWhy ?? '?'})`, tone: 'bad' };
  return { text: health, tone: health === 'healthy' ? 'good' : 'bad' };
}

function routesOf({ dataPlane }: Dump, { trustDomain }: Shown): Section {
  const rows = listOf<VirtualServiceEntry>(dataPlane?.virtualServices).flatMap((entry) => {
    const { name, hosts, http = [], tcp = [], tls = [] } = entry;
    const all = [
      ...http.map((route, at) => [route.name ?? String(at), matchWords(route.match, trustDomain), routeWords(route)]),
      ...tcp.map((route, at) => [
        `tcp ${route.name ?? at}`,
        tunnelMatchWords(route, trustDomain),
        `to ${targetWords(route.route)}`,
      ]),
      ...tls.map((route, at) => [
        `tls ${route.name ?? at}`,
        tunnelMatchWords(route, trustDomain),
        `to ${targetWords(route.route)}`,
      ]),
    ];
    return all.map((row) => [name, hosts.join(', '), ...row]);
  });
  const columns = ['VIRTUAL SERVICE', 'HOSTS', 'ROUTE', 'MATCHES', 'DOES'];
  return {
    title: 'Virtual services',
    body: { columns, rows, empty: 'none: it may call nobody' },
  };
}

function servicesOf({ configuration }: Dump, { trustDomain }: Shown): Section {
  const rows = listOf<ServiceEntry>(configuration?.services).map(({ id, hosts, ports, endpoints }): Cell[] => [
    shortId(id, trustDomain),
    hosts.join(', '),
    ports.join(', '),
    endpoints.length,
  ]);
  const columns = ['SERVICE', 'HOSTS', 'APP PORTS', 'ENDPOINTS'];
  return { title: 'Services that it may call', body: { columns, rows, empty: 'none' } };
}

/** By who, the most connections first. */
function peersOf({ dataPlane }: Dump, { trustDomain }: Shown): Section {
  const counts = new Map<string, number>();
  for (const { peer } of listOf<{ readonly peer?: { readonly id?: string } }>(dataPlane?.peers)) {
    const { id = '?' } = peer ?? {};
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  const rows = [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([peer, count]): Cell[] => [shortId(peer, trustDomain), count]);
  return { title: 'Connected peers', body: { columns: ['PEER', 'CONNECTIONS'], rows, empty: 'none' } };
}

function limitsOf({ dataPlane }: Dump): Section {
  const rows = Object.entries(dataPlane?.limits ?? {}).map(([name, value]): Cell[] => [name, value]);
  return { title: 'Limits', body: { columns: ['LIMIT', 'VALUE'], rows } };
}

/** Parts that were too large to be sent are no lists. */
function listOf<T>(value: unknown): readonly T[] {
  return Array.isArray(value) ? (value as readonly T[]) : [];
}

function countOf(value: unknown): number | string {
  return Array.isArray(value) ? value.length : '?';
}
