// Addresses as people write them on the command line, and the one that peers are told.
import { isIPv6 } from 'node:net';
import type { NetworkInterfaceInfo } from 'node:os';
import { fail } from './errors.ts';

export interface HostPort {
  /** Without the brackets of an IPv6 address. */
  readonly host: string;
  readonly port: number;
}

/** Parses `HOST:PORT` or `[IPV6]:PORT`; throws SIDECAR_ADDRESS_INVALID naming the option. */
export function parseHostPort(value: string, option: string): HostPort {
  const [, v6, name, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9._-]+)):([0-9]{1,5})$/.exec(value) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535 || (v6 !== undefined && !isIPv6(v6))) {
    throw fail('SIDECAR_ADDRESS_INVALID', { option, value });
  }
  return { host: v6 ?? name!, port };
}

/** The same for an address that is connected to, where port 0 means nothing. */
export function parseTarget(value: string, option: string): HostPort {
  const target = parseHostPort(value, option);
  if (target.port === 0) throw fail('SIDECAR_ADDRESS_INVALID', { option, value });
  return target;
}

export function formatHostPort({ host, port }: HostPort): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for 127.0.0.0/8, ::1 and the name localhost. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/**
 * Where peers reach the inbound listener when nobody said: its own address, and for one that listens on every address the host's
 * first external IPv4 one (or IPv6, or loopback when there is none).
 */
export function advertised(inbound: HostPort, interfaces: () => NodeJS.Dict<NetworkInterfaceInfo[]>): string {
  if (inbound.host !== '0.0.0.0' && inbound.host !== '::') return formatHostPort(inbound);
  const external = Object.values(interfaces())
    .flatMap((list) => list ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  const found = external.find(({ family }) => family === 'IPv4') ?? external.find(() => inbound.host === '::');
  return formatHostPort({ host: found?.address ?? '127.0.0.1', port: inbound.port });
}
