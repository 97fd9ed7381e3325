// Requests to hosts that nothing declares, in a mesh whose `outboundPolicy` is allow-any: passed on in the clear to the host and port that they name. Never to
// this machine, its links or the metadata service of its cloud: a name is resolved first, and what is connected to is the address that was looked at.
import { isIP } from 'node:net';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import type { Clock } from '#base/clock';
import { isPosternError, messageOf } from '#base/error';
import { formatHostPort, type HostPort } from '#base/host-port';
import type { ExternalLink } from './cluster-link.ts';
import { kindOf, plainAddress } from './discovery/address-kinds.ts';
import { type Dns, NameFault } from './discovery/dns.ts';
import { fail } from './errors.ts';
import { isBanned } from './identity.ts';
import type { View } from './plane.ts';
import type { Pool } from './pool.ts';
import { portOf } from './route.ts';
import { deny, denyUnknown, noteOutside, type Running, send } from './serve.ts';

export interface Undeclared {
  /** `undefined`: it may be called; why not otherwise. */
  readonly forbids: (address: string) => string | undefined;
  resolve(host: string): Promise<readonly string[]>;
  poolAt(endpoint: HostPort, protocol: 'http' | 'tcp'): Pool;
  retire(): void;
}

export interface UndeclaredOptions {
  readonly dns: Dns;
  readonly forbids: (address: string) => string | undefined;
  readonly openPool: (link: ExternalLink, endpoint: HostPort) => Pool;
}

/** Places that connections are kept to; the one that was not used for longest makes room. */
const mostPools = 256;
/** Addresses of one name that are tried. */
const mostTries = 3;

export function createUndeclared({ dns, forbids, openPool }: UndeclaredOptions): Undeclared {
  const pools = new Map<string, Pool>();
  return {
    forbids,
    async resolve(host) {
      if (isIP(host)) return [host];
      const { found } = await dns.addresses(host);
      return found.map(({ address }) => address);
    },
    poolAt(endpoint, protocol) {
      const key = `${protocol} ${formatHostPort(endpoint)}`;
      const pool = pools.get(key) ?? openPool(linkTo(endpoint, protocol), endpoint);
      pools.delete(key);
      pools.set(key, pool);
      if (pools.size > mostPools) {
        const [oldest, unused] = pools.entries().next().value!;
        pools.delete(oldest);
        unused.retire();
      }
      return pool;
    },
    retire() {
      for (const pool of pools.values()) pool.retire();
      pools.clear();
    },
  };
}

function linkTo(endpoint: HostPort, protocol: 'http' | 'tcp'): ExternalLink {
  const bounds = { maxConnections: undefined, maxPending: undefined };
  const name = formatHostPort(endpoint);
  return { kind: 'external', name, protocol, tls: undefined, hosts: [], authority: undefined, ...bounds };
}

/** A plain name means a service and nothing else; what is no service's name is refused as such. */
export function isUndeclared({ allowsAny }: View, { heard, exchange }: Running): boolean {
  return allowsAny && heard.isPublic !== true && /[.:]/.test(exchange.head.host);
}

/** Passes the request on, or says why it does not. */
export async function passOn(running: Running, view: View): Promise<void> {
  const { exchange, heard, record } = running;
  const { plane, caller } = heard;
  const { undeclared } = plane;
  const { host, tunnel, fields } = exchange.head;
  if (caller && isBanned(view.bans, { id: caller.uri, serial: caller.serial }))
    throw fail('PEER_BANNED', { id: caller.uri });
  const port = portOf(exchange.head);
  let addresses: readonly string[];
  try {
    addresses = await undeclared.resolve(host);
  } catch (thrown) {
    // It may as well have been meant as the name of a service.
    if (thrown instanceof NameFault && thrown.code === 'ENOTFOUND') return denyUnknown(running, view, host);
    const place = formatHostPort({ host, port });
    throw fail('UPSTREAM_CONNECT_FAILED', { service: host, endpoint: place, reason: messageOf(thrown) });
  }
  const current = plane.view();
  // Another configuration may have come meanwhile.
  if (!current?.allowsAny || current.routes.byHost(host)) return denyUnknown(running, current ?? view, host);
  const reasons = addresses.map(undeclared.forbids);
  const refused = reasons.find((reason) => reason !== undefined);
  // All of them: a name that leads to this machine too is an attempt on it.
  if (refused !== undefined) {
    const fault = fail('OUTSIDE_FORBIDDEN', { host, reason: refused });
    return deny(running, { ...decided(current, 'deny'), reason: 'OUTSIDE_FORBIDDEN' }, fault);
  }
  noteOutside(running, decided(current, 'allow'), (now) => now.allowsAny && !now.routes.byHost(host));
  record.security = 'none';
  const pools = addresses.slice(0, mostTries).map((address) => ({ host: address, port }));
  for (const [at, endpoint] of pools.entries()) {
    record.endpoint = formatHostPort(endpoint);
    try {
      await send(running, undeclared.poolAt(endpoint, tunnel === 'connect' ? 'tcp' : 'http'), fields);
      return;
    } catch (thrown) {
      if (!isPosternError(thrown, 'UPSTREAM_CONNECT_FAILED') || at + 1 === pools.length) throw thrown;
    }
  }
}

const decided = <const E extends 'allow' | 'deny'>({ program }: View, effect: E) =>
  ({ effect, reason: 'outside-policy', matched: [], shadow: [], revision: program.revision }) as const;

/** How long what the system says of its own addresses is taken for true. */
const ownMs = 5_000;

/** Whatever is this machine itself, on its links only, or no host at all. */
export function createForbids(o: {
  readonly clock: Clock;
  readonly interfaces?: () => NodeJS.Dict<NetworkInterfaceInfo[]>;
}): (address: string) => string | undefined {
  const { clock, interfaces = networkInterfaces } = o;
  let own = new Set<string>();
  let until = Number.NEGATIVE_INFINITY;
  const isOwn = (address: string): boolean => {
    if (clock.monotonic() >= until) {
      const all = Object.values(interfaces()).flatMap((list) => list ?? []);
      own = new Set(all.map((one) => plainAddress(one.address)));
      until = clock.monotonic() + ownMs;
    }
    return own.has(plainAddress(address));
  };
  return (address) => {
    const kind = kindOf(address);
    if (kind !== 'other') return `${address} is ${words[kind]}`;
    return isOwn(address) ? `${address} is this machine` : undefined;
  };
}
const words = {
  loopback: 'this machine',
  'link-local': 'an address of its own link or of a metadata service',
  nowhere: 'no host',
} as const;
