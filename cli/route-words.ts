// Routes as people read them: what a match asks for, and what a route does. Names of services are short, shares are percent.
import { wordsOfText } from '#routing/tools';
import type { HttpMatch, HttpRoute, PathMatch, RateLimit, TcpRoute, TlsRoute, WeightedTarget } from '#wire';
import { shortId } from './names.ts';

/** `path /v2/**, GET, header x-beta is "1", from checkout`; `everything` when nothing is asked for. */
export function matchWords(matches: HttpRoute['match'], trustDomain: string): string {
  if (!matches) return 'everything';
  return matches.map((match) => oneMatch(match, trustDomain)).join(' or ');
}

export function tunnelMatchWords(route: TcpRoute | TlsRoute, trustDomain: string): string {
  if (!route.match) return 'everything';
  const words = route.match.map((match) => {
    const sni = 'sni' in match ? [`server name ${match.sni.join(', ')}`] : [];
    return [...sni, ...sourceWords(match, trustDomain)].join(', ') || 'everything';
  });
  return words.join(' or ');
}

function oneMatch(match: HttpMatch, trustDomain: string): string {
  const parts = [
    ...(match.path ? [pathWords(match.path)] : []),
    ...(match.methods ? [match.methods.join(' or ')] : []),
    ...Object.entries(match.headers ?? {}).map(([name, text]) => `header ${name}${wordsOfText(text)}`),
    ...Object.entries(match.withoutHeaders ?? {}).map(([name, text]) => `without header ${name}${wordsOfText(text)}`),
    ...Object.entries(match.query ?? {}).map(([name, text]) => `query ${name}${wordsOfText(text)}`),
    ...sourceWords(match, trustDomain),
  ];
  return parts.length > 0 ? parts.join(', ') : 'everything';
}

function sourceWords({ from, ports }: Pick<HttpMatch, 'from' | 'ports'>, trustDomain: string): string[] {
  return [
    ...(from ? [`from ${from.map((one) => shortId(one, trustDomain)).join(', ')}`] : []),
    ...(ports ? [`port ${ports.join(', ')}`] : []),
  ];
}

function pathWords({ exact, prefix, template, regex }: PathMatch): string {
  if (exact !== undefined) return `path is ${exact}`;
  if (prefix !== undefined) return `path ${prefix === '/' ? '' : prefix}/**`;
  if (template !== undefined) return `path ${template}`;
  return `path matches ${regex}`;
}

/** `90% payments/v2, 10% payments`. */
export function targetWords(targets: readonly WeightedTarget[]): string {
  if (targets.length === 1) return nameOfTarget(targets[0]!);
  return sharesOf(targets)
    .map((share, index) => `${share} ${nameOfTarget(targets[index]!)}`)
    .join(', ');
}

/** Of each target, as percent. */
export function sharesOf(targets: readonly Pick<WeightedTarget, 'weight'>[]): string[] {
  const sum = targets.reduce((total, { weight = 1 }) => total + weight, 0);
  return targets.map(({ weight = 1 }) => percent(sum === 0 ? 0 : (weight / sum) * 100));
}

export function nameOfTarget({
  cluster,
  subset,
}: {
  readonly cluster: string;
  readonly subset?: string | undefined;
}): string {
  return subset === undefined ? cluster : `${cluster}/${subset}`;
}

function percent(value: number): string {
  return `${Number(value.toFixed(2))}%`;
}

/** What an HTTP route does: where to, then everything that it changes. */
export function routeWords(route: HttpRoute): string {
  return [mainWords(route), ...extraWords(route)].join('; ');
}

function mainWords({ redirect, directResponse, route = [] }: HttpRoute): string {
  if (redirect) {
    const { status = 302, scheme, host, port, path, prefix } = redirect;
    const place = [scheme && `${scheme}://`, host, port && `:${port}`, path ?? (prefix && `${prefix}/…`)].filter(
      Boolean,
    );
    return `redirect ${status} to ${place.join('') || 'the same place'}`;
  }
  if (directResponse) return `answers ${directResponse.status} itself`;
  return `to ${targetWords(route)}`;
}

/** Everything of a route beside where it leads. */
export function extraWords(route: HttpRoute): string[] {
  const { rewrite, timeout, idleTimeout, retries, fault, mirror, cors, rateLimit, maxBody, headers } = route;
  const limits: readonly RateLimit[] = rateLimit === undefined ? [] : [rateLimit].flat();
  const edits = [headers?.request && 'request', headers?.response && 'response'].filter(Boolean);
  const or = (list: readonly string[] | undefined): string => (list ? ` on ${list.join(', ')}` : '');
  return [
    ...(rewrite?.path === undefined ? [] : [`path becomes ${rewrite.path}`]),
    ...(rewrite?.regex ? [`path becomes ${rewrite.regex.replace} by ${rewrite.regex.match}`] : []),
    ...(rewrite?.host === undefined ? [] : [`host becomes ${rewrite.host}`]),
    ...(timeout === undefined ? [] : [`timeout ${timeout}`]),
    ...(idleTimeout === undefined ? [] : [`idle timeout ${idleTimeout}`]),
    ...(retries
      ? [
          `${retries.attempts} retries${or(retries.on)}${retries.perTryTimeout ? ` (${retries.perTryTimeout} a try)` : ''}`,
        ]
      : []),
    ...(fault?.delay ? [`fault: ${percent(fault.delay.percentage ?? 100)} wait ${fault.delay.fixed}`] : []),
    ...(fault?.abort
      ? [
          `fault: ${percent(fault.abort.percentage ?? 100)} get ${fault.abort.status ?? `gRPC status ${fault.abort.grpcStatus}`}`,
        ]
      : []),
    ...(mirror ?? []).map((one) => `mirrors ${percent(one.percentage ?? 100)} to ${nameOfTarget(one)}`),
    ...limits.map(
      ({ requests, per = '1s', each }) => `at most ${requests} a ${per}${each === 'peer' ? ' each peer' : ''}`,
    ),
    ...(maxBody === undefined ? [] : [`bodies up to ${maxBody}`]),
    ...(cors ? ['CORS'] : []),
    ...(edits.length > 0 ? [`changes ${edits.join(' and ')} headers`] : []),
  ];
}
