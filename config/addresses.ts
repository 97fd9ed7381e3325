// Addresses in settings: what one must look like, and what several of them must not be together.
import { hostPortPattern, isLoopback, isWildcard, parseHostPort } from '#base/host-port';
import { type Schema, s } from '#base/schema';

export function hostPort(rules: { readonly description?: string; readonly default?: string } = {}): Schema<string> {
  return s.string({ pattern: hostPortPattern, title: 'HOST:PORT', maxLength: 300, ...rules });
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
