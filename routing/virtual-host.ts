// One virtual service made ready: the first of its routes that matches, found without looking at each.
import type { HttpMatch, HttpRoute, VirtualServiceEntry } from '#wire';
import type { Asked, HttpAction } from './action.ts';
import { compileHttpRoute } from './http-route.ts';
import { type Condition, compileConditions } from './match.ts';
import { compilePath, everyPath, type PathMatcher } from './match-path.ts';
import { indexPaths } from './path-index.ts';
import type { VirtualHost } from './routes.ts';
import { compileTunnelRoute } from './tunnel-route.ts';

/** One match of one route. */
interface Alternative {
  readonly path: PathMatcher;
  readonly conditions: readonly Condition[];
  readonly action: HttpAction;
}

/** Throws for what validation has refused before. */
export function compileVirtualHost(o: {
  readonly entry: VirtualServiceEntry;
  readonly port: number | undefined;
}): VirtualHost {
  const { entry, port } = o;
  const alternatives = (entry.http ?? []).flatMap((route, place) => alternativesOf(route, place, entry.name));
  const index = indexPaths(alternatives, holds);
  const tunnels = (['tcp', 'tls'] as const).map((kind) =>
    (entry[kind] ?? []).map((route, place) =>
      compileTunnelRoute(route, { virtualService: entry.name, label: labelOf(route, place) }),
    ),
  );
  const [tcp, tls] = tunnels as [(typeof tunnels)[0], (typeof tunnels)[0]];
  return {
    name: entry.name,
    entry,
    id: entry.id,
    port,
    http: (asked) => index.first(asked)?.action,
    tcp: (asked) => tcp.find((route) => route.matches(asked))?.action,
    tls: (asked) => tls.find((route) => route.matches(asked))?.action,
  };
}

/** Of a route: its name, or its place. */
export function labelOf({ name }: { readonly name?: string }, place: number): string {
  return name ?? String(place);
}

function alternativesOf(route: HttpRoute, place: number, virtualService: string): Alternative[] {
  const matches: readonly HttpMatch[] = route.match ?? [{}];
  const actions = new Map<string | undefined, HttpAction>();
  return matches.map((match) => {
    const path = match.path ? compilePath(match.path) : everyPath;
    const { prefix } = path;
    const action =
      actions.get(prefix) ?? compileHttpRoute(route, { virtualService, label: labelOf(route, place), prefix });
    actions.set(prefix, action);
    return { path, conditions: compileConditions(match), action };
  });
}

function holds({ conditions }: Alternative, asked: Asked): boolean {
  for (const condition of conditions) if (!condition.isMet(asked)) return false;
  return true;
}
