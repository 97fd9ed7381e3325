// The addresses of a sidecar's settings, and the one that peers are told.
import type { NetworkInterfaceInfo } from 'node:os';
import { formatHostPort, type HostPort, isWildcard, parseHostPort } from '#base/host-port';
import { fail } from './errors.ts';

/** An address to listen on; throws SIDECAR_ADDRESS_INVALID naming the option. */
export function readAddress(value: string, option: string): HostPort {
  const address = parseHostPort(value);
  if (!address) throw fail('SIDECAR_ADDRESS_INVALID', { option, value });
  return address;
}

/** An address with what is spoken there before it, as in `tcp://HOST:PORT`; HTTP when nothing is. */
export function readProtocolAddress<P extends string>(
  value: string,
  option: string,
  protocols: readonly P[],
): { readonly protocol: P; readonly address: string } {
  const [, named, address = value] = /^([a-z0-9]+):\/\/(.*)$/.exec(value) ?? [];
  const protocol = protocols.find((one) => one === (named ?? protocols[0]));
  if (!protocol) throw fail('SIDECAR_ADDRESS_INVALID', { option, value });
  return { protocol, address };
}

/** The same for an address that is connected to, where port 0 means nothing. */
export function readTarget(value: string, option: string): HostPort {
  const target = readAddress(value, option);
  if (target.port === 0) throw fail('SIDECAR_ADDRESS_INVALID', { option, value });
  return target;
}

/**
 * Where peers reach the inbound listener when nobody said: its own address, and for one that listens on every address the host's
 * first external IPv4 one (or IPv6, or loopback when there is none).
 */
export function advertised(inbound: HostPort, interfaces: () => NodeJS.Dict<NetworkInterfaceInfo[]>): string {
  if (!isWildcard(inbound.host)) return formatHostPort(inbound);
  const external = Object.values(interfaces())
    .flatMap((list) => list ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  const found = external.find(({ family }) => family === 'IPv4') ?? external.find(() => inbound.host === '::');
  return formatHostPort({ host: found?.address ?? '127.0.0.1', port: inbound.port });
}
