// Everything of one service as a person reads it: who it is, where it runs, how calls reach it, who may call it and whom it may call.
import type { ClusterResource, LocatedResource, PolicyRule, ServiceReport, VirtualServiceResource } from '#wire';
import { shortId } from './names.ts';
import type { Output } from './output.ts';
import { proxyColumns, proxyRow } from './proxy-view.ts';
import { matchWords, routeWords, targetWords, tunnelMatchWords } from './route-words.ts';
import { formatSections, pairs, type Section } from './sections.ts';
import { type Setting, settingsInForce } from './settings-in-force.ts';
import type { Cell } from './table.ts';
import { left, utc } from './when.ts';

export interface Shown {
  readonly report: ServiceReport;
  readonly trustDomain: string;
  readonly now: number;
  readonly output: Output;
}

export function describeService(shown: Shown): string {
  return formatSections(
    head(shown),
    [...instances(shown), routes(shown), ...clusters(shown), admits(shown), calls(shown)],
    shown.output,
  );
}

/** What is asked of clusters of this service, also when none is declared: those of every cluster that is its own. */
export function clustersInForce({ name, resources }: ServiceReport): {
  readonly name: string;
  readonly declared: boolean;
  readonly settings: readonly Setting[];
}[] {
  const declared = resources.flatMap(({ resource }) => (resource.kind === 'Cluster' ? [resource] : []));
  const own = declared.some((cluster) => cluster.name === name);
  return [
    ...(own ? [] : [{ name, declared: false, settings: settingsInForce({}) }]),
    ...declared.map((cluster) => ({ name: cluster.name, declared: true, settings: settingsInForce(cluster) })),
  ];
}

function head({ report, now, output: { paint } }: Shown): string[] {
  const { id, name, ban, host, ports, denials, isEnrolled, proxies, resources } = report;
  const declared = resources.flatMap(({ resource }) => {
    const isOwn =
      (resource.kind === 'Cluster' || resource.kind === 'VirtualService') &&
      (resource.service ?? resource.name) === name;
    return isOwn ? (resource.hosts ?? []) : [];
  });
  const isOutside = resources.some(({ resource }) => resource.kind === 'Cluster' && resource.endpoints !== 'enrolled');
  const hosts = new Set([...(isOutside && declared.length > 0 ? [] : [host]), ...declared]);
  const since = `since ${utc(denials.since).slice(11, 16)} UTC`;
  const live = proxies.filter(({ sync }) => sync !== 'left' && sync !== 'gone').length;
  const valid = report.certificates.filter(({ notAfter, banned: isBanned }) => notAfter > now && !isBanned).length;
  const banned = ban && `${paint('bad', 'banned')} by ${ban.by} ${utc(ban.at)}${ban.reason ? `: ${ban.reason}` : ''}`;
  return [
    `${paint('bold', name)}   ${id}`,
    ...pairs([
      [
        'identity',
        banned ??
          (isEnrolled
            ? undefined
            : isOutside
              ? 'none of the mesh: it is outside'
              : 'never enrolled: known by what is declared of it'),
      ],
      ['called as', [...hosts].join(', ')],
      ['app port', ports.join(', ')],
      [
        'instances',
        isOutside && !isEnrolled ? undefined : `${live} live, with ${valid} valid certificate${valid === 1 ? '' : 's'}`,
      ],
      ['denied', `${denials.called} calls to it, ${denials.calling} calls by it, ${since}`],
    ]),
  ];
}

/** Of a service outside the mesh there are neither proxies nor certificates of ours. */
function instances(shown: Shown): Section[] {
  const outside = shown.report.resources.flatMap(({ resource }) =>
    resource.kind === 'Cluster' && resource.endpoints !== 'enrolled' ? [resource] : [],
  );
  const isOutside = outside.length > 0 && !shown.report.isEnrolled;
  return isOutside ? outside.map(outsideEndpoints) : [proxies(shown), certificates(shown)];
}

function outsideEndpoints(cluster: ClusterResource): Section {
  const { endpoints, tls, via } = cluster;
  const security = tls ? 'by TLS' : 'in the clear';
  const way = via === undefined ? `callers call it themselves, ${security}` : `callers go by the egress gateway ${via}`;
  const lines = [endpointsText(endpoints), `${way}; how one of them finds it now: postern proxy dump CALLER`];
  return { title: 'Outside the mesh', body: lines.join('\n') };
}

function proxies({ report, now, output }: Shown): Section {
  const columns = proxyColumns('describe', output.wide);
  const rows = report.proxies.map((proxy) => proxyRow(proxy, columns, now));
  const empty = `none: postern token create ${report.name} lets one join`;
  return { title: 'Proxies', body: { columns, rows, empty } };
}

/** People want to know what ends next; all of them are in `-o wide` and JSON. */
function certificates({ report, now, output }: Shown): Section {
  const sorted = [...report.certificates].sort((a, b) => b.notAfter - a.notAfter);
  const newest = new Map(sorted.toReversed().map((one) => [one.instance, one]));
  const list = output.wide ? sorted : [...newest.values()];
  const rows = list.map((one): Cell[] => [
    one.serial,
    one.instance,
    one.banned ? { text: 'banned', tone: 'bad' } : { text: 'valid', tone: 'good' },
    utc(one.notAfter),
    left({ ...one, now }),
  ]);
  const columns = ['SERIAL', 'INSTANCE', 'STATE', 'NOT AFTER', 'LEFT'];
  return { title: 'Certificates', body: { columns, rows, empty: 'none that is valid' } };
}

function routes({ report, trustDomain }: Shown): Section {
  const { name, resources } = report;
  const declared = resources.flatMap((located) => (located.resource.kind === 'VirtualService' ? [located] : []));
  const rows = declared.flatMap((located) => routeRows(located, trustDomain));
  const isOwn = declared.some(({ resource }) => resource.name === name);
  const usual = isOwn ? [] : [[name, report.host, '-', 'everything', `to ${name}`, '(default)']];
  const columns = ['VIRTUAL SERVICE', 'HOSTS', 'ROUTE', 'MATCHES', 'DOES', 'WHERE'];
  return { title: 'Routes', body: { columns, rows: [...usual, ...rows] } };
}

function routeRows(located: LocatedResource, trustDomain: string): Cell[][] {
  const { name, hosts, http = [], tcp = [], tls = [] } = located.resource as VirtualServiceResource;
  const rows: Cell[][] = [];
  const add = (route: string, match: string, does: string, pointer: string): void => {
    rows.push([name, hosts.join(', '), route, match, does, placeOf(located, pointer)]);
  };
  for (const [index, route] of http.entries())
    add(route.name ?? String(index), matchWords(route.match, trustDomain), routeWords(route), `/http/${index}`);
  for (const [index, route] of tcp.entries())
    add(
      `tcp ${route.name ?? index}`,
      tunnelMatchWords(route, trustDomain),
      `to ${targetWords(route.route)}`,
      `/tcp/${index}`,
    );
  for (const [index, route] of tls.entries())
    add(
      `tls ${route.name ?? index}`,
      tunnelMatchWords(route, trustDomain),
      `to ${targetWords(route.route)}`,
      `/tls/${index}`,
    );
  if (rows.length === 0)
    add('-', 'everything', `to ${(located.resource as VirtualServiceResource).service ?? name}`, '');
  return rows;
}

/** `mesh.yaml:12`, of the nearest place around the pointer that is known. */
export function placeOf({ origin }: Pick<LocatedResource, 'origin'>, pointer: string): string | undefined {
  if (!origin) return undefined;
  for (let at = pointer; ; at = at.slice(0, at.lastIndexOf('/'))) {
    const [line] = Object.hasOwn(origin.positions, at) ? origin.positions[at]! : [];
    if (line !== undefined) return `${origin.file}:${line}`;
    if (at === '') return origin.file;
  }
}

function clusters({ report, output }: Shown): Section[] {
  return clustersInForce(report).map(({ name, declared, settings }) => {
    const shown = output.wide ? settings : settings.filter((one) => one.isDeclared || usualNames.has(one.name));
    const found = report.resources.find(({ resource }) => resource.kind === 'Cluster' && resource.name === name);
    const where = declared ? (placeOf(found!, '') ?? 'declared') : 'defaults: nothing is declared';
    const source = found ? endpointsText((found.resource as ClusterResource).endpoints) : 'enrolled instances';
    const rows = shown.map((one): Cell[] => [
      one.name,
      one.value,
      one.isDeclared ? 'declared' : { text: 'default', tone: 'dim' },
    ]);
    return { title: `Cluster ${name}   ${source}   ${where}`, body: { columns: ['SETTING', 'VALUE', 'FROM'], rows } };
  });
}

/** Of a cluster that says nothing, what people ask for first; the rest with -o wide. */
const usualNames = new Set([
  'loadBalancing.policy',
  'circuitBreaker.maxConnections',
  'circuitBreaker.maxRequests',
  'circuitBreaker.retryBudget',
]);

function endpointsText(endpoints: ClusterResource['endpoints']): string {
  if (typeof endpoints === 'string') return 'enrolled instances';
  if ('static' in endpoints)
    return endpoints.static.map((one) => (typeof one === 'string' ? one : one.address)).join(', ');
  return `DNS ${typeof endpoints.dns === 'string' ? endpoints.dns : endpoints.dns.name}`;
}

function admits({ report, trustDomain, output }: Shown): Section {
  const { to, models, groups } = report.policy;
  const rows = to.map((rule) => ruleRow(rule, { of: rule.from, trustDomain, groups }, output));
  const empty = 'nobody: what nothing allows is denied';
  const also = models.length > 0 ? `; decided also by CasbinModel ${models.join(', ')}` : '';
  return {
    title: `Who may call it${also}`,
    body: { columns: ['EFFECT', 'RULE', 'FROM', ...ruleColumns], rows, empty },
  };
}

function calls({ report, trustDomain, output }: Shown): Section {
  const { from, groups, more } = report.policy;
  const rows = from.map((rule) => ruleRow(rule, { of: rule.to, trustDomain, groups }, output));
  const left = more > 0 ? ` (${more} more rules: postern policy can ${report.name})` : '';
  const body = { columns: ['EFFECT', 'RULE', 'TO', ...ruleColumns], rows, empty: 'nothing' };
  return { title: `What it may call${left}`, body };
}

const ruleColumns = ['METHODS', 'PATHS', 'WHEN', 'WHERE'];

function ruleRow(
  rule: PolicyRule,
  o: {
    readonly of: readonly string[];
    readonly trustDomain: string;
    readonly groups: ServiceReport['policy']['groups'];
  },
  { wide }: Output,
): Cell[] {
  const { effect, shadow, methods, paths, ports, when = [], source } = rule;
  const whom = o.of.map((text) => {
    const members = text.startsWith('group:') ? o.groups[text.slice('group:'.length)] : undefined;
    const list =
      members && (wide || members.length <= 4)
        ? ` (${members.map((one) => shortId(one, o.trustDomain)).join(', ')})`
        : '';
    return `${shortId(text, o.trustDomain)}${list}`;
  });
  const conditions = [
    ...(ports ? [`port ${ports.join(' or ')}`] : []),
    ...when.map(({ key, in: values }) => `${key} in ${values.join(', ')}`),
  ];
  return [
    { text: shadow ? `shadow ${effect}` : effect, tone: shadow ? 'dim' : effect === 'allow' ? 'good' : 'bad' },
    `${rule.policy}/${rule.id}`,
    whom.join(', '),
    methods?.join(', ') ?? 'any',
    paths?.join(', ') ?? 'any',
    conditions.join('; '),
    source && `${source.file}:${source.line}`,
  ];
}
