// One snapshot made ready to be used: trust, routes, bans and what requests are looked at for. Made whole before anything is replaced.
import { createTokenVerifier, type Program } from '#policy';
import { compileRoutes } from '#routing';
import { parseBundle, type TrustBundle } from '#spiffe';
import type { Snapshot, VirtualServiceEntry } from '#wire';
import type { View } from './plane.ts';
import { tracingOf } from './tracing/context.ts';
import { knownNames } from './traffic-way.ts';

export const noBans = { ids: new Set<string>(), serials: new Set<string>() };

export interface Earlier {
  /** The view whose routes it keeps. */
  readonly held: View | undefined;
  /** The one in force until now: what has not changed in its routes is not made again. */
  readonly before: View | undefined;
}

/** Throws what makes no sense in it. */
export function viewOf(
  snapshot: Snapshot,
  trustDomain: string,
  program: () => Program,
  { held, before }: Earlier,
): View {
  const bundle = parseBundle(trustDomain, snapshot.bundle);
  if (bundle.roots.length === 0) throw new TypeError('its trust bundle holds no roots');
  const { service, services, clusters = [], virtualServices = [] } = snapshot;
  const routes = held?.routes ?? compileRoutes({ services, clusters, virtualServices, before: before?.routes });
  const behind = new Set(clusters.flatMap(({ id, gateway }) => (gateway === service ? [id] : [])));
  const isServedHere = (id: string): boolean => id === service || behind.has(id);
  return {
    revision: snapshot.revision,
    bundle,
    program: program(),
    tokens: snapshot.policy.issuers && createTokenVerifier(snapshot.policy.issuers),
    routes,
    isLimited: routes.virtualHosts.some(({ id, entry }) => isServedHere(id) && hasLimits(entry)),
    bans: { ids: new Set(snapshot.bans.ids), serials: new Set(snapshot.bans.serials) },
    allowsAny: held?.allowsAny ?? snapshot.mesh?.outboundPolicy === 'allow-any',
    tracing: tracingOf(snapshot.mesh),
    names: knownNames({ routes, trustDomain, istioNames: snapshot.mesh?.metrics?.istioNames === true }),
  };
}

function hasLimits({ http = [] }: VirtualServiceEntry): boolean {
  return http.some(({ rateLimit, maxBody }) => rateLimit !== undefined || maxBody !== undefined);
}

const namesOf = ({ roots }: TrustBundle): string[] => roots.map((der) => Buffer.from(der).toString('base64'));

export function isSameTrust(one: TrustBundle, other: TrustBundle): boolean {
  return namesOf(one).sort().join() === namesOf(other).sort().join();
}

/** Whether a root that connections may have been verified with is trusted no more. */
export function lostRoot(before: TrustBundle, after: TrustBundle): boolean {
  const still = new Set(namesOf(after));
  return namesOf(before).some((root) => !still.has(root));
}
