// Where a request goes: first which service a name means (policy needs to know), then, with a permit, which endpoints serve it.
// A name that two services claim means neither.
import { type HostPort, parseHostPort } from '#base/host-port';
import { suggest } from '#base/suggest';
import { parseSpiffeId, type SpiffeId } from '#spiffe';
import type { ServiceEntry } from '#wire';
import type { Permit } from './authorize.ts';

export interface Endpoint extends HostPort {
  readonly address: string;
  readonly instance: string;
}

/** A service that can be called. */
export interface Destination {
  readonly id: SpiffeId;
  readonly hosts: readonly string[];
  /** The application's port, when the service has exactly one. */
  readonly port: number | undefined;
  readonly endpoints: readonly Endpoint[];
}

/** What an allowed request may be sent to. Made only by `routeTo`. */
export interface Route {
  readonly permit: Permit;
  readonly destination: Destination;
}

export interface Routes {
  readonly destinations: readonly Destination[];
  byHost(host: string): Destination | undefined;
  /** By the service's name, which is its SPIFFE path. */
  byService(name: string): Destination | undefined;
  /** The nearest known name, for people who have mistyped one. */
  nearest(name: string): string | undefined;
}

/**
 * Throws when an entry names no valid SPIFFE ID: a snapshot is taken whole or not at all. An address that makes no sense is only left out:
 * it is the word of one instance, which must not be able to keep its callers from the next policy or ban.
 */
export function buildRoutes(services: readonly ServiceEntry[]): Routes {
  const hosts = new Map<string, Destination | undefined>();
  const byName = new Map<string, Destination>();
  for (const entry of services) {
    const destination = destinationOf(entry);
    if (byName.has(destination.id.service)) throw new TypeError(`the service ${destination.id.uri} comes twice`);
    byName.set(destination.id.service, destination);
    for (const host of entry.hosts) hosts.set(host, hosts.has(host) ? undefined : destination);
  }
  return {
    destinations: [...byName.values()],
    byHost: (host) => hosts.get(host),
    byService: (name) => byName.get(name),
    nearest: (name) => suggest(name, [...hosts.keys()]),
  };
}

/** The second half of routing: only with a permit for that very service. */
export function routeTo(permit: Permit, destination: Destination): Route {
  if (permit.to !== destination.id.uri) throw new TypeError('the permit is for another service');
  return { permit, destination };
}

function destinationOf({ id, hosts, ports, endpoints }: ServiceEntry): Destination {
  return {
    id: parseSpiffeId(id),
    hosts,
    port: ports.length === 1 ? ports[0] : undefined,
    endpoints: endpoints.flatMap(({ address, instance }) => {
      const place = parseHostPort(address);
      return place ? [{ ...place, address, instance }] : [];
    }),
  };
}
