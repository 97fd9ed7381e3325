// Addresses in settings: HOST:PORT, and whether a host is this machine only.
import { isIPv4 } from 'node:net';
import { type Schema, s } from '#base/schema';

// Ports 0 to 65535; 0 is any free one.
const port = '([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])';
export const hostPortPattern = `^(\\[[0-9a-fA-F:.]+\\]|[a-zA-Z0-9._-]+):${port}$`;

export function hostPort(rules: { readonly description: string; readonly default?: string }): Schema<string> {
  return s.string({ pattern: hostPortPattern, title: 'HOST:PORT', maxLength: 300, ...rules });
}

/** The parts of a valid HOST:PORT; the host without brackets. */
export function partsOf(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}

/** True when only processes of this machine can reach it. */
export function isLoopback(address: string): boolean {
  const { host } = partsOf(address);
  return (isIPv4(host) && host.startsWith('127.')) || host === '::1' || host.toLowerCase() === 'localhost';
}

/** The first two of the named addresses that cannot both be listened on. */
export function clash(
  addresses: readonly (readonly [name: string, address: string])[],
): readonly [string, string] | undefined {
  for (const [index, [name, address]] of addresses.entries()) {
    const one = partsOf(address);
    if (one.port === 0) continue;
    for (const [otherName, otherAddress] of addresses.slice(0, index)) {
      const other = partsOf(otherAddress);
      if (one.port === other.port && (one.host === other.host || isAny(one.host) || isAny(other.host)))
        return [otherName, name];
    }
  }
  return undefined;
}

function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}
