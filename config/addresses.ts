// Addresses in settings: what one must look like, and what several of them must not be together.
import { hostPortPattern, isLoopback, isWildcard, parseHostPort } from '#base/host-port';
import { type Schema, s } from '#base/schema';

export function hostPort(rules: { readonly description?: string; readonly default?: string } = {}): Schema<string> {
  return s.string({ pattern: hostPortPattern, title: 'HOST:PORT', maxLength: 300, ...rules });
}

/** An address with the name of what is spoken there before it, when that is not the first of `protocols`. */
export function protocolAddress(
  protocols: readonly [string, ...string[]],
  rules: { readonly description?: string; readonly default?: string } = {},
): Schema<string> {
  const pattern = `^(?:(?:${protocols.join('|')})://)?${hostPortPattern.slice(1)}`;
  const title = `HOST:PORT, or ${protocols.slice(1).join('://HOST:PORT or ')}://HOST:PORT`;
  return s.string({ pattern, title, maxLength: 300, ...rules });
}

/** HOST:PORT of such an address. */
export function bareAddress(address: string): string {
  return address.replace(/^[a-z0-9]+:\/\//, '');
}

/** True for an address that cannot be connected to. */
export function isAnyPort(address: string): boolean {
  return parseHostPort(address)?.port === 0;
}

/** True when only processes of this machine can reach it. */
export function isLocal(address: string): boolean {
  const parts = parseHostPort(address);
  return parts !== undefined && isLoopback(parts.host);
}

/** The first two of the named addresses that cannot both be listened on. */
export function clash(
  addresses: readonly (readonly [name: string, address: string])[],
): readonly [string, string] | undefined {
  for (const [index, [name, address]] of addresses.entries()) {
    const one = parseHostPort(address);
    if (!one || one.port === 0) continue;
    for (const [otherName, otherAddress] of addresses.slice(0, index)) {
      const other = parseHostPort(otherAddress);
      if (one.port !== other?.port) continue;
      if (one.host === other.host || isWildcard(one.host) || isWildcard(other.host)) return [otherName, name];
    }
  }
  return undefined;
}
