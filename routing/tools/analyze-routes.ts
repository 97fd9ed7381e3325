// Routes that do not do what somebody seems to want.
import type { HttpRoute, VirtualServiceEntry, WeightedTarget } from '#wire';
import type { Asked } from '../action.ts';
import { durationOf } from '../amounts.ts';
import { isCatchAll } from '../check/http-route.ts';
import { isIdempotent } from '../retries.ts';
import { compileVirtualHost, labelOf } from '../virtual-host.ts';
import { covers, type ReadMatch, readMatch } from './covers.ts';
import { sampleOf } from './sample.ts';
import type { Say } from './say.ts';

/** Of so many matches each is compared with each before it; of more the first. */
const mostCompared = 1_000;

/** `entry` with resolved sources; pointers are those of the resource. */
export function analyzeRoutes(entry: VirtualServiceEntry, o: { readonly anybody: string; readonly say: Say }): void {
  const { say } = o;
  const http = entry.http ?? [];
  findUnreachable(entry, o);
  for (const [index, route] of http.entries()) {
    const at = `/http/${index}`;
    const label = labelOf(route, index);
    for (const [place, match] of (route.match ?? []).entries()) {
      const { regex } = match.path ?? {};
      if (regex !== undefined && /^[\w%~@=-]/.test(regex))
        say('PT017', `${at}/match/${place}/path/regex`, `route ${label}: ${regex} matches no path`);
    }
    checkWeights(route.route ?? [], at, label, say);
    checkRetries(route, at, label, say);
    const { delay, abort } = route.fault ?? {};
    const injected = [
      ...(delay ? [`${delay.percentage ?? 100}% delayed by ${delay.fixed}`] : []),
      ...(abort ? [`${abort.percentage ?? 100}% answered ${abort.status ?? `gRPC status ${abort.grpcStatus}`}`] : []),
    ];
    if (injected.length > 0) say('PT019', `${at}/fault`, `route ${label}: ${injected.join(', ')}`);
    if (route.redirect) checkRing(entry, index, o);
  }
  for (const kind of ['tcp', 'tls'] as const)
    for (const [index, route] of (entry[kind] ?? []).entries())
      checkWeights(route.route, `/${kind}/${index}`, labelOf(route, index), say);
  if (http.length > 0 && !http.some(isCatchAll))
    say('PT021', '/http', 'requests that match none of its routes are answered 404');
}

function findUnreachable({ http = [] }: VirtualServiceEntry, { anybody, say }: { anybody: string; say: Say }): void {
  const before: { readonly label: string; readonly read: ReadMatch }[] = [];
  for (const [index, route] of http.entries()) {
    const label = labelOf(route, index);
    const matches = (route.match ?? [{}]).map(readMatch);
    const covered = matches.map((narrow) => before.find(({ read }) => covers(read, narrow)));
    for (const [place, by] of covered.entries()) {
      if (!by) continue;
      const isWhole = covered.every((each) => each !== undefined);
      const witness = sampleOf(matches[place]!.match, anybody);
      const shown = witness ? `, such as ${wordsOf(witness)}` : '';
      const message = `route ${by.label} takes everything that it matches${shown}`;
      if (!isWhole) say('PT004', `/http/${index}/match/${place}`, `route ${label}: ${message}`);
      else if (place === 0) say('PT003', `/http/${index}`, `route ${label} is never reached: ${message}`);
    }
    for (const read of matches) if (before.length < mostCompared) before.push({ label, read });
    // Each one after that is refused, and said so.
    if (isCatchAll(route)) return;
  }
}

/** A request as people read it. */
export function wordsOf({ method, path, query, fields, from }: Asked): string {
  const headers = fields.flatMap((text, at) => (at % 2 === 0 ? [`${text}: ${fields[at + 1]}`] : []));
  return [`${method} ${path}${query}`, ...headers, `from ${from}`].join(', ');
}

function checkWeights(targets: readonly WeightedTarget[], at: string, label: string, say: Say): void {
  const seen = new Set<string>();
  for (const [index, { cluster, subset, weight }] of targets.entries()) {
    const name = `${cluster}${subset === undefined ? '' : ` subset ${subset}`}`;
    const pointer = `${at}/route/${index}`;
    if (weight === 0 && targets.length > 1)
      say('PT010', pointer, `route ${label}: ${name} has weight 0 and gets nothing`);
    if (seen.has(name)) say('PT010', pointer, `route ${label}: ${name} is there twice`);
    seen.add(name);
  }
}

/** Those may come after the work was done. */
const lateGrpc = ['grpc-deadline-exceeded', 'grpc-cancelled', 'grpc-internal'];
const unprocessed = ['connect-failure', 'refused-stream'];

function checkRetries({ retries, timeout }: HttpRoute, at: string, label: string, say: Say): void {
  if (!retries || retries.attempts === 0) return;
  const { attempts, perTryTimeout, on = unprocessed, methods = [] } = retries;
  const risky = methods.filter((method) => !isIdempotent(method));
  const mayBeDone = on.filter((condition) => !unprocessed.includes(condition));
  const late = on.find((condition) => lateGrpc.includes(condition));
  if (risky.length > 0 && mayBeDone.length > 0)
    say(
      'PT012',
      `${at}/retries/methods`,
      `route ${label}: ${risky.join(', ')} is sent again after ${mayBeDone.join(', ')}`,
    );
  else if (late && methods.length === 0)
    say('PT012', `${at}/retries/on`, `route ${label}: calls of gRPC are sent again after ${late}`);
  if (timeout === undefined || perTryTimeout === undefined) return;
  const needed = durationOf(perTryTimeout) * (attempts + 1);
  if (durationOf(timeout) < needed)
    say(
      'PT013',
      `${at}/timeout`,
      `route ${label}: ${attempts + 1} tries of ${perTryTimeout} do not fit into ${timeout}`,
    );
}

/** Follows a redirect with a request that the route takes, as a client would. */
function checkRing(entry: VirtualServiceEntry, index: number, { anybody, say }: { anybody: string; say: Say }): void {
  const { match = [{}] } = entry.http![index]!;
  const host = compileVirtualHost({ entry, port: undefined });
  const [name] = entry.hosts;
  for (const one of match) {
    const asked = sampleOf(one, anybody);
    const action = asked && host.http(asked);
    if (!asked || action?.kind !== 'redirect' || action.route !== labelOf(entry.http![index]!, index)) continue;
    const authority = `${name}${asked.port === 80 ? '' : `:${asked.port}`}`;
    const to = new URL(action.location({ scheme: 'http', authority, path: asked.path, query: asked.query }));
    if (to.protocol !== 'http:' || to.hostname !== name || Number(to.port || 80) !== asked.port) continue;
    const next = host.http({ ...asked, path: to.pathname, query: to.search });
    if (next !== action && next?.route !== action.route) continue;
    return say(
      'PT018',
      `/http/${index}/redirect`,
      `route ${action.route}: ${asked.path} leads to ${to.pathname}, and that back here`,
    );
  }
}
