// Who shares a bucket when somebody floods? An IPv4 address is one host; an IPv6 host has a whole /64 of addresses to ask from.

/** The IPv4 address (also of a mapped one), or the first 64 bits of an IPv6 one. Never throws: anything else is its own network. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:([0-9.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('%', 1)[0]!.toLowerCase().split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array<string>(Math.max(0, tail === undefined ? 0 : 8 - groups.length - after.length)).fill('0');
  return `${[...groups, ...zeros, ...after].slice(0, 4).join(':')}::/64`;
}
