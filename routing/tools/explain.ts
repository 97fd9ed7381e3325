// Why does a request go where it goes? The same routes as a proxy has, each before the one that is taken with what did not hold.
import { messageOf } from '#base/error';
import type { HttpMatch, HttpRoute, TcpRoute, TlsRoute } from '#wire';
import type { Asked, HttpAction, Target, TunnelAction } from '../action.ts';
import { compileConditions, wordsOfPath } from '../match.ts';
import { compilePath } from '../match-path.ts';
import { indexPaths } from '../path-index.ts';
import type { RoutedCluster, Routes, VirtualHost } from '../routes.ts';
import { compileTunnelMatch } from '../tunnel-route.ts';
import { labelOf } from '../virtual-host.ts';

export interface ExplainOptions {
  /** As the request names it, without a port. */
  readonly host: string;
  readonly asked: Asked;
  /** What is asked for; HTTP when absent. `sni` is of TLS. */
  readonly protocol?: 'http' | 'tcp' | 'tls' | undefined;
  readonly sni?: string | undefined;
}

export interface RouteExplanation {
  readonly host: string;
  /** `undefined`: no virtual service, service or cluster has this host. */
  readonly virtualHost: VirtualHost | undefined;
  /** The nearest host that there is, when there is none of this name. */
  readonly nearest: string | undefined;
  /** Up to and with the one that is taken; all of them when none is. */
  readonly routes: readonly ExplainedRoute[];
  readonly action: HttpAction | TunnelAction | undefined;
  /** Where a request of the taken route goes, with its share of all of them. */
  readonly targets: readonly ExplainedTarget[];
  /** As it is sent, or why it cannot be. */
  readonly path: string | { readonly refused: string };
}

export interface ExplainedRoute {
  /** Its name, or its place. */
  readonly route: string;
  readonly isTaken: boolean;
  /** For each of its matches what did not hold, as words that read after "not". */
  readonly unmet: readonly (readonly string[])[];
}

export interface ExplainedTarget extends Pick<Target, 'cluster' | 'subset'> {
  /** 0 to 1. */
  readonly share: number;
  /** `undefined`: there is no such cluster. */
  readonly routed: RoutedCluster | undefined;
  /** A copy, whose answer is thrown away. */
  readonly isMirror: boolean;
}

export function explainRoute(
  routes: Routes,
  { host, asked, protocol = 'http', sni }: ExplainOptions,
): RouteExplanation {
  const virtualHost = routes.byHost(host);
  const nothing = { action: undefined, routes: [], targets: [], path: asked.path };
  if (!virtualHost) return { ...nothing, host, virtualHost, nearest: routes.nearest(host) };
  const given = virtualHost.entry[protocol] ?? [];
  const explained: ExplainedRoute[] = [];
  for (const [place, route] of given.entries()) {
    const unmet =
      protocol === 'http' ? unmetOf(route as HttpRoute, asked) : unmetOfTunnel(route as TcpRoute, { ...asked, sni });
    const isTaken = unmet === undefined;
    explained.push({ route: labelOf(route, place), isTaken, unmet: unmet ?? [] });
    if (isTaken) break;
  }
  const found = { host, virtualHost, nearest: undefined, routes: explained };
  const action =
    protocol === 'http'
      ? virtualHost.http(asked)
      : protocol === 'tcp'
        ? virtualHost.tcp(asked)
        : virtualHost.tls({ ...asked, sni: sni ?? host });
  const route = given[explained.length - 1];
  if (!action || !route) return { ...nothing, ...found };
  return { ...found, action, targets: targetsOf(route, routes), path: sentPath(action, asked.path) };
}

/** What did not hold of each match; `undefined` when one did. */
function unmetOf({ match }: HttpRoute, asked: Asked): readonly (readonly string[])[] | undefined {
  const unmet = (match ?? [{}]).map((one) => unmetIn(one, asked));
  return unmet.some((each) => each.length === 0) ? undefined : unmet;
}

function unmetIn(match: HttpMatch, asked: Asked): string[] {
  const path = match.path && compilePath(match.path);
  const isPath = !path || indexPaths([{ path }], () => true).first(asked) !== undefined;
  const others = compileConditions(match).filter(({ isMet }) => !isMet(asked));
  return [...(isPath ? [] : [wordsOfPath(match.path!)]), ...others.map((unmet) => unmet.what())];
}

function unmetOfTunnel(
  { match }: TcpRoute | TlsRoute,
  asked: { readonly from: string; readonly port: number; readonly sni: string | undefined },
): readonly (readonly string[])[] | undefined {
  if (!match) return undefined;
  const unmet = match.map((one) =>
    compileTunnelMatch(one)
      .filter(({ isMet }) => !isMet(asked))
      .map((unmet) => unmet.what()),
  );
  return unmet.some((each) => each.length === 0) ? undefined : unmet;
}

function targetsOf(route: HttpRoute | TcpRoute, { clusters }: Routes): ExplainedTarget[] {
  const given = route.route ?? [];
  const weights = given.map(({ weight }) => weight ?? 1);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const targets = given.map(({ cluster, subset }, index): ExplainedTarget => {
    return { cluster, subset, share: weights[index]! / sum, routed: clusters.get(cluster), isMirror: false };
  });
  const mirrors = ('mirror' in route ? (route.mirror ?? []) : []).map(
    ({ cluster, subset, percentage = 100 }): ExplainedTarget => {
      return { cluster, subset, share: percentage / 100, routed: clusters.get(cluster), isMirror: true };
    },
  );
  return [...targets, ...mirrors];
}

function sentPath(action: HttpAction | TunnelAction, path: string): RouteExplanation['path'] {
  if (!('kind' in action) || action.kind !== 'forward' || !action.rewritePath) return path;
  try {
    return action.rewritePath(path);
  } catch (thrown) {
    return { refused: messageOf(thrown) };
  }
}
