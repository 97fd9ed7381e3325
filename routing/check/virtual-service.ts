// Does a virtual service make sense by itself and beside the clusters that it leads to?
import { isIP } from 'node:net';
import type { Report } from '#policy';
import type { HttpMatch, VirtualServiceResource } from '#wire';
import { checkDuration } from './amount.ts';
import { checkHttpRoute, isCatchAll } from './http-route.ts';
import type { Known } from './known.ts';
import { checkSources } from './match.ts';
import { checkRouteNames, checkService } from './name.ts';
import { checkTargets } from './target.ts';

export function checkVirtualService(
  resource: VirtualServiceResource,
  { known, report }: { readonly known: Known; readonly report: Report },
): void {
  const { name, service = name, http, tcp, tls } = resource;
  checkService(service, resource.service === undefined ? '/name' : '/service', report);
  const within =
    (label: string): Report =>
    (pointer, message, hint) =>
      report(pointer, `route ${label}: ${message}`, hint);
  if (service !== name && known.services?.has(name))
    report('/service', `it is named like the service ${name}, and is for ${service}`, 'give it a name of its own');
  if (!http && !tcp && !tls && !known.clusters.has(service) && !known.isService(service))
    report('', `it has no routes, and there is no cluster ${service} that its hosts could lead to`);

  for (const kind of ['http', 'tcp', 'tls'] as const) {
    const routes = resource[kind] ?? [];
    checkRouteNames(routes, `/${kind}`, report);
    // Once nothing gets past a route, each of those after it is a mistake; one word about the first is enough.
    const last = routes.findIndex((route) =>
      kind === 'http' ? isCatchAll(route) : !route.match || isOpen(route.match),
    );
    if (last >= 0 && last < routes.length - 1)
      report(
        `/${kind}/${last + 1}`,
        `route ${routes[last + 1]!.name ?? last + 1} is never reached: route ${routes[last]!.name ?? last} matches everything`,
      );
  }
  const expressions = (http ?? []).reduce((sum, { match }) => sum + (match ?? []).reduce(countExpressions, 0), 0);
  if (expressions > mostExpressions)
    report(
      '/http',
      `its matches have ${expressions} expressions, more than ${mostExpressions}`,
      'write prefixes or templates',
    );
  for (const [index, route] of (http ?? []).entries())
    checkHttpRoute(route, `/http/${index}`, { known, report: within(route.name ?? String(index)) });
  for (const kind of ['tcp', 'tls'] as const) {
    for (const [index, route] of (resource[kind] ?? []).entries()) {
      const at = `/${kind}/${index}`;
      const say = within(route.name ?? String(index));
      for (const [place, match] of (route.match ?? []).entries()) {
        checkSources(match.from, `${at}/match/${place}/from`, say);
        for (const [which, sni] of ('sni' in match ? (match.sni as readonly string[]) : []).entries())
          if (isIP(sni)) say(`${at}/match/${place}/sni/${which}`, `${sni} is an address; a server name never is`);
      }
      checkTargets(route.route, { pointer: `${at}/route`, protocol: 'tcp', known, report: say });
      checkDuration(route.idleTimeout, `${at}/idleTimeout`, say);
    }
  }
}

/** A request may have to be tried on each of them. */
const mostExpressions = 256;
function countExpressions(sum: number, { path, headers, withoutHeaders, query }: HttpMatch): number {
  const texts = [headers, withoutHeaders, query].flatMap((all) => Object.values(all ?? {}));
  const written = texts.filter((text) => typeof text !== 'string' && text.regex !== undefined).length;
  return sum + written + (path?.regex === undefined ? 0 : 1);
}

function isOpen(match: readonly object[]): boolean {
  return match.some((one) => Object.keys(one).length === 0);
}
