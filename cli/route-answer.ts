// Where a call would go and why, in the order in which a proxy does it: policy on the call, the route, and policy again on what is sent when that is
// another service or another path. Pure: nothing is asked of anybody.
import type { Explanation, Models, Question } from '#policy';
import { explain } from '#policy';
import { compileRoutes, type HttpAction, hostOf } from '#routing';
import { type ExplainedTarget, explainRoute, type RouteExplanation } from '#routing/tools';
import type { HttpRoute } from '#wire';
import type { RouteSource } from './route-source.ts';

/** What is asked, read and folded. */
export interface RouteQuestion {
  readonly protocol: 'http' | 'tcp' | 'tls';
  /** https: as callers from outside come to the edge of a gateway. */
  readonly scheme: 'http' | 'https';
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly query: string;
  readonly method: string;
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly circumstances: Pick<Question, 'claims' | 'address' | 'time'>;
}

export interface EndpointView {
  readonly address: string;
  readonly instance: string;
  readonly zone?: string | undefined;
  readonly weight: number;
  readonly health: 'healthy' | 'unhealthy';
}

export interface TargetView {
  readonly cluster: string;
  readonly subset: string | undefined;
  readonly share: number;
  readonly isMirror: boolean;
  /** SPIFFE ID of its service; `undefined`: the caller does not know this cluster. */
  readonly service: string | undefined;
  /** Present when what is sent is another service, path, Host or header than was asked for. */
  readonly policy?: Explanation;
  readonly endpoints: readonly EndpointView[];
  /** Where its endpoints come from when they are not listed. */
  readonly source: string;
}

export interface RouteAnswer {
  readonly outcome:
    | 'forward'
    | 'respond'
    | 'redirect'
    | 'denied'
    | 'sent-denied'
    | 'unknown-host'
    | 'not-callable'
    | 'outside'
    | 'no-route'
    | 'bad-rewrite';
  /** On the call as it was asked. */
  readonly policy: Explanation | undefined;
  readonly route: RouteExplanation;
  /** As it was written. */
  readonly written: HttpRoute | undefined;
  readonly targets: readonly TargetView[];
  /** Of a redirect. */
  readonly location: string | undefined;
  /** The service that has the host although the caller may not call it. */
  readonly elsewhere: string | undefined;
}

export function answerRoute(source: RouteSource, asked: RouteQuestion, models: Models): RouteAnswer {
  const routes = compileRoutes(source);
  const fields = [...asked.headers].flatMap(([name, values]) => values.flatMap((value) => [name, value]));
  const { method, path, query, port, host, protocol } = asked;
  const route = explainRoute(routes, {
    ...{ host, protocol, asked: { method, path, query, port, fields, from: source.from } },
    ...(protocol === 'tls' ? { sni: host } : {}),
  });
  const { virtualHost, action } = route;
  const authority = authorityOf(asked);
  const decide = (to: string, sent: Sent, appPort: number | undefined): Explanation => {
    const question: Question = {
      ...{
        from: source.from,
        to,
        method,
        path: sent.path,
        headers: (name) => sent.headers.get(name) ?? (name === 'host' ? [authority] : []),
      },
      ...(appPort === undefined ? {} : { port: appPort }),
      ...asked.circumstances,
    };
    return explain(source.policy, question, models);
  };
  const nothing = { policy: undefined, route, written: undefined, targets: [], location: undefined };
  if (!virtualHost) {
    const elsewhere = ownerOf(host, source);
    const outcome = elsewhere ? 'not-callable' : source.outboundPolicy === 'allow-any' ? 'outside' : 'unknown-host';
    return { ...nothing, outcome, elsewhere };
  }
  const policy = decide(virtualHost.id, asked, virtualHost.port);
  const taken = route.routes.findIndex(({ isTaken }) => isTaken);
  const written = protocol === 'http' && taken >= 0 ? virtualHost.entry.http?.[taken] : undefined;
  const sentPath = typeof route.path === 'string' ? route.path : path;
  const targets = route.targets.map((target) => {
    const { routed } = target;
    const headers = headersSent(asked.headers, fields, target, action);
    const isChanged = sentPath !== path || headers !== asked.headers;
    const isOther = routed !== undefined && (routed.id !== virtualHost.id || isChanged || target.isMirror);
    const ports = routed?.service?.ports ?? [];
    const view = viewOf(target, source);
    const appPort = ports.length === 1 ? ports[0] : undefined;
    return isOther ? { ...view, policy: decide(routed.id, { path: sentPath, headers }, appPort) } : view;
  });
  const found = { policy, route, written, targets, location: locationOf(action, asked), elsewhere: undefined };
  return { ...found, outcome: outcomeOf(found) };
}

type Sent = Pick<RouteQuestion, 'path' | 'headers'>;

/** As the route and its target leave them; the same when they change nothing. */
function headersSent(
  given: Sent['headers'],
  fields: readonly string[],
  { cluster, subset }: Pick<TargetView, 'cluster' | 'subset'>,
  action: RouteExplanation['action'],
): Sent['headers'] {
  if (!action || !('kind' in action) || action.kind !== 'forward') return given;
  const { request, rewriteHost } = action;
  const own = action.targets.find((target) => target.cluster === cluster && target.subset === subset)?.request;
  if (!request && !own && rewriteHost === undefined) return given;
  const edited = request ? request.apply(fields) : fields;
  const sent = own ? own.apply(edited) : edited;
  const headers = new Map<string, readonly string[]>();
  for (let at = 0; at < sent.length; at += 2)
    headers.set(sent[at]!, [...(headers.get(sent[at]!) ?? []), sent[at + 1]!]);
  if (rewriteHost !== undefined) headers.set('host', [rewriteHost]);
  return headers;
}

function outcomeOf({
  policy,
  route,
  targets,
}: Pick<RouteAnswer, 'policy' | 'route' | 'targets'>): RouteAnswer['outcome'] {
  if (policy?.decision.effect === 'deny') return 'denied';
  const { action } = route;
  if (!action) return 'no-route';
  if ('kind' in action && action.kind !== 'forward') return action.kind;
  if (typeof route.path !== 'string') return 'bad-rewrite';
  const isRefused = ({ isMirror, share, service, policy: sent }: TargetView): boolean =>
    !isMirror && share > 0 && (service === undefined || sent?.decision.effect === 'deny');
  return targets.some(isRefused) ? 'sent-denied' : 'forward';
}

function locationOf(action: RouteExplanation['action'], asked: RouteQuestion): string | undefined {
  if (!action || !('kind' in action) || (action as HttpAction).kind !== 'redirect') return undefined;
  const { scheme, path, query } = asked;
  const authority = authorityOf(asked);
  return (action as Extract<HttpAction, { kind: 'redirect' }>).location({ scheme, authority, path, query });
}

/** As a caller writes it: without the port that its scheme has anyway. */
function authorityOf({ scheme, host, port }: RouteQuestion): string {
  return port === (scheme === 'https' ? 443 : 80) ? host : `${host}:${port}`;
}

/** Whose host it is, of those that the caller is not told of. */
function ownerOf(host: string, { known, located, trustDomain }: RouteSource): string | undefined {
  for (const { resource } of located)
    if (resource.kind === 'VirtualService' && resource.hosts.includes(host)) return resource.service ?? resource.name;
  const own = `spiffe://${trustDomain}/`;
  const found = known.find((id) => id.startsWith(own) && hostOf(id.slice(own.length)) === host);
  return found?.slice(own.length);
}

function viewOf({ cluster, subset, share, isMirror, routed }: ExplainedTarget, { isLive }: RouteSource): TargetView {
  const view = { cluster, subset, share, isMirror, service: routed?.id };
  if (!routed) return { ...view, endpoints: [], source: 'unknown to the caller' };
  const { entry, service } = routed;
  const given = entry?.endpoints ?? 'enrolled';
  const wanted = subset === undefined ? {} : (entry?.subsets?.[subset]?.labels ?? {});
  const fits = (labels: Readonly<Record<string, string>> = {}): boolean =>
    Object.entries(wanted).every(([name, value]) => labels[name] === value);
  if (given === 'enrolled') {
    const endpoints = (service?.endpoints ?? []).filter(({ labels }) => fits(labels));
    return {
      ...view,
      endpoints: endpoints.map(({ address, instance, zone, weight = 1, unhealthy }) => ({
        ...{ address, instance, zone, weight, health: unhealthy ? 'unhealthy' : 'healthy' },
      })),
      source: isLive ? 'no instance' : 'the enrolled instances',
    };
  }
  if ('dns' in given)
    return { ...view, endpoints: [], source: `DNS ${typeof given.dns === 'string' ? given.dns : given.dns.name}` };
  const listed = given.static.map((one) => (typeof one === 'string' ? { address: one } : one));
  return {
    ...view,
    endpoints: listed
      .filter((one) => fits('labels' in one ? one.labels : {}))
      .map(({ address, ...one }) => ({
        ...{ address, instance: address, zone: 'zone' in one ? one.zone : undefined },
        ...{ weight: ('weight' in one ? one.weight : undefined) ?? 1, health: 'healthy' },
      })),
    source: 'no endpoint',
  };
}
