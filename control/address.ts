// Where the server listens and under which url it is known: HOST:PORT in, URL and certificate names out.
import { isIP } from 'node:net';
import { fail } from './errors.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Reads HOST:PORT or [V6]:PORT; throws SERVER_LISTEN_INVALID. */
export function parseAddress(listen: string): Address {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(listen) ?? [];
  const host = bracketed ?? plain;
  const wrong = host === undefined || Number(port) > 65_535 || (bracketed !== undefined && isIP(bracketed) !== 6);
  if (wrong) throw fail('SERVER_LISTEN_INVALID', { listen });
  return { host, port: Number(port) };
}

/** Whether a proxy can read it as the address of an endpoint. */
export function isAddress(text: string): boolean {
  try {
    parseAddress(text);
    return true;
  } catch {
    return false;
  }
}

/** HOST:PORT, with brackets around an IPv6 address. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The address at which this machine reaches a listener: a wildcard is reached by loopback. */
export function reachableAddress({ host, port }: Address): Address {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port };
  if (host === '::') return { host: '::1', port };
  return { host, port };
}

/** The DNS and IP names of the server's certificate, for tools that check names; meshes check its SPIFFE ID. */
export function namesOf(addresses: readonly Address[]): { dns: readonly string[]; ip: readonly string[] } {
  const hosts = ['localhost', '127.0.0.1', '::1', ...addresses.map(({ host }) => host)];
  const named = [...new Set(hosts)].filter((host) => host !== '0.0.0.0' && host !== '::');
  return { dns: named.filter((host) => isIP(host) === 0), ip: named.filter((host) => isIP(host) !== 0) };
}
