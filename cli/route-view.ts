// Where a call would go, as a person reads it, in the order in which a proxy finds out.
import type { LocatedResource } from '#wire';
import { placeOf } from './describe-view.ts';
import { shortId } from './names.ts';
import type { Output } from './output.ts';
import { verdictLines } from './policy-verdict.ts';
import type { RouteAnswer, RouteQuestion, TargetView } from './route-answer.ts';
import type { RouteSource } from './route-source.ts';
import { extraWords } from './route-words.ts';
import { formatSections, type Section } from './sections.ts';
import type { Cell } from './table.ts';

export interface Shown {
  readonly source: RouteSource;
  readonly asked: RouteQuestion;
  readonly answer: RouteAnswer;
  readonly output: Output;
}

export function routeText(shown: Shown): string {
  const { source, asked, answer, output } = shown;
  const from = shortId(source.from, source.trustDomain);
  const to = answer.route.virtualHost ? shortId(answer.route.virtualHost.id, source.trustDomain) : asked.host;
  const head = `${output.paint('bold', `${from} -> ${to}`)}   ${asked.method} ${asked.path}${asked.query}`;
  return formatSections([`${head}   ${verdict(shown)}`], sectionsOf(shown), output);
}

function verdict({ answer, source, output: { paint } }: Shown): string {
  const name = answer.elsewhere ?? '';
  const words: Readonly<Record<RouteAnswer['outcome'], string>> = {
    forward: paint('good', 'goes on'),
    respond: paint('warn', 'is answered by the route itself'),
    redirect: paint('warn', 'is redirected'),
    denied: paint('bad', 'is denied by policy'),
    'sent-denied': paint('bad', 'is denied by policy once it is sent on, at least in part'),
    'unknown-host': paint('bad', 'is refused: nothing has this host'),
    'not-callable': paint('bad', `is refused: its proxy is not told of ${name}, which no rule lets it call`),
    outside: paint('warn', 'leaves the mesh in the clear: nothing has this host, and the mesh allows any'),
    'no-route': paint('bad', 'is refused: no route matches'),
    'bad-rewrite': paint('bad', 'is refused: the route makes no path of it'),
  };
  return `${words[answer.outcome]}${source.isLive ? '' : paint('dim', '   (of files)')}`;
}

function sectionsOf(shown: Shown): Section[] {
  const { answer } = shown;
  if (!answer.route.virtualHost) return [unknownHost(shown)];
  const notLookedAt = answer.outcome === 'denied';
  return [
    policyOf(shown),
    routeOf(shown, notLookedAt),
    ...(answer.targets.length > 0 ? [targetsOf(shown)] : []),
    ...answer.targets.flatMap((target) => (target.policy ? [sentPolicy(shown, target)] : [])),
  ];
}

function unknownHost({ answer, asked, source }: Shown): Section {
  const { nearest } = answer.route;
  const lines = [
    answer.elsewhere === undefined
      ? `nothing that ${shortId(source.from, source.trustDomain)} may call has the host ${asked.host}`
      : `${asked.host} is the service ${answer.elsewhere}, which no rule lets ${shortId(source.from, source.trustDomain)} call`,
    ...(nearest ? [`did you mean ${nearest}?`] : []),
  ];
  return { title: 'Host', body: lines.join('\n') };
}

function policyOf({ answer, output }: Shown): Section {
  return { title: '1 Policy, on the call as it is made', body: verdictLines(answer.policy!, output.paint).join('\n') };
}

function routeOf({ answer, asked, source, output }: Shown, notLookedAt: boolean): Section {
  const { virtualHost, routes, action, path } = answer.route;
  const located = source.located.find(
    ({ resource }) => resource.kind === 'VirtualService' && resource.name === virtualHost!.name,
  );
  const hosts = virtualHost!.entry.hosts.join(', ');
  const name = located
    ? `virtual service ${virtualHost!.name}${hosts ? ` (${hosts})` : ''}`
    : `the default of ${virtualHost!.name}: everything goes to it`;
  const lines = [`${name}${whereOf(located, '')}`];
  for (const { route, isTaken, unmet } of routes) {
    const index = routes.findIndex((one) => one.route === route);
    if (isTaken)
      lines.push(`${output.paint('good', 'taken')}  route ${route}${whereOf(located, `/${asked.protocol}/${index}`)}`);
    else lines.push(`passed route ${route}: ${unmetWords(unmet)}`);
  }
  if (!action) lines.push(output.paint('bad', 'no route matches: answered with 404'));
  const answered = action && 'kind' in action ? action : undefined;
  if (answered?.kind === 'redirect') lines.push(`redirects with ${answered.status} to ${answer.location}`);
  if (answered?.kind === 'respond') lines.push(`answers ${answered.status} itself${bodyText(answered.body)}`);
  if (typeof path !== 'string') lines.push(output.paint('bad', `no path can be sent: ${path.refused}`));
  else if (answered?.kind === 'forward' && answered.rewritePath) lines.push(`sent as ${path}`);
  if (answered?.kind === 'forward') lines.push(...settingsOf(answer));
  else if (answer.written) lines.push(...extraWords(answer.written));
  return {
    title: `2 Route${notLookedAt ? ', which is not looked at: policy comes first' : ''}`,
    body: lines.join('\n'),
  };
}

function whereOf(located: LocatedResource | undefined, pointer: string): string {
  const place = located && placeOf(located, pointer);
  return place === undefined ? '' : `   ${place}`;
}

function unmetWords(unmet: readonly (readonly string[])[]): string {
  return unmet.map((each) => `not ${each.join(', not ')}`).join('; or ');
}

function bodyText(body: string): string {
  return body === '' ? '' : `: ${JSON.stringify(body.length > 60 ? `${body.slice(0, 60)}…` : body)}`;
}

/** Retries and time-outs in force, declared or default, then everything else that the route changes. */
function settingsOf({ written, route: { action } }: RouteAnswer): string[] {
  if (!action || !('kind' in action) || action.kind !== 'forward') return [];
  const { retries = undefined, timeout, rewrite, ...rest } = written ?? {};
  const { attempts, perTryTimeoutMs } = action.retries;
  const on = retries?.on ?? ['connect-failure', 'refused-stream'];
  const each = perTryTimeoutMs === undefined ? '' : `, ${perTryTimeoutMs}ms a try`;
  const after =
    attempts === 0 ? 'never' : `${attempts} more ${attempts === 1 ? 'try' : 'tries'} after ${on.join(', ')}${each}`;
  return [
    `retries  ${after}${retries ? '' : '   (default)'}`,
    `timeout  ${timeout ?? 'none   (default)'}`,
    ...extraWords(rewrite?.host === undefined ? rest : { ...rest, rewrite: { host: rewrite.host } }),
  ];
}

function targetsOf({ answer, source, output }: Shown): Section {
  const rows = answer.targets.flatMap((target) => {
    const share = `${Number((target.share * 100).toFixed(2))}%${target.isMirror ? ' copied' : ''}`;
    const decided = target.policy?.decision.effect;
    const first: Cell[] = [
      share,
      target.cluster,
      target.subset,
      target.service === undefined ? { text: 'unknown', tone: 'bad' } : shortId(target.service, source.trustDomain),
      decided === undefined ? 'as above' : { text: decided, tone: decided === 'allow' ? 'good' : 'bad' },
    ];
    if (target.endpoints.length === 0) {
      if (decided === 'deny') return [[...first, 'not told to whom may not call']];
      const isEmpty = source.isLive && /^no /.test(target.source);
      return [[...first, isEmpty ? { text: target.source, tone: 'bad' as const } : target.source]];
    }
    const shown = output.wide ? target.endpoints : target.endpoints.slice(0, 8);
    const more = target.endpoints.length - shown.length;
    return [
      ...shown.map(({ address, instance, zone, weight, health }): Cell[] => [
        ...first,
        address,
        instance,
        zone,
        weight,
        { text: health, tone: health === 'healthy' ? 'good' : 'bad' },
      ]),
      ...(more > 0 ? [[...first, `and ${more} more: -o wide`]] : []),
    ];
  });
  const columns = [
    'SHARE',
    'CLUSTER',
    'SUBSET',
    'SERVICE',
    'POLICY',
    'ENDPOINT',
    'INSTANCE',
    'ZONE',
    'WEIGHT',
    'HEALTH',
  ];
  return { title: '3 Leads to', body: { columns, rows } };
}

function sentPolicy({ source, answer, output }: Shown, target: TargetView): Section {
  const { path } = answer.route;
  const to = shortId(target.service ?? target.cluster, source.trustDomain);
  const what = `${to} ${typeof path === 'string' ? path : ''}${target.isMirror ? ' (the copy)' : ''}`;
  return { title: `4 Policy, on what is sent: ${what}`, body: verdictLines(target.policy!, output.paint).join('\n') };
}
