// Where the server listens, how this machine reaches it, and the names in its certificate.
import { isIP } from 'node:net';
import { type HostPort, isWildcard, parseHostPort } from '#base/host-port';
import { fail } from './errors.ts';

/** An address to listen on or to tell others; throws SERVER_LISTEN_INVALID. */
export function readAddress(listen: string): HostPort {
  const address = parseHostPort(listen);
  if (!address) throw fail('SERVER_LISTEN_INVALID', { listen });
  return address;
}

/** The address at which this machine reaches a listener: a wildcard is reached by loopback. */
export function reachableAddress({ host, port }: HostPort): HostPort {
  if (!isWildcard(host)) return { host, port };
  return { host: host === '::' ? '::1' : '127.0.0.1', port };
}

/** The DNS and IP names of the server's certificate, for tools that check names; meshes check its SPIFFE ID. */
export function namesOf(addresses: readonly HostPort[]): { dns: readonly string[]; ip: readonly string[] } {
  const hosts = ['localhost', '127.0.0.1', '::1', ...addresses.map(({ host }) => host)];
  const named = [...new Set(hosts)].filter((host) => !isWildcard(host));
  return { dns: named.filter((host) => isIP(host) === 0), ip: named.filter((host) => isIP(host) !== 0) };
}
