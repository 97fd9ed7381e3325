// What an IP address is for, where that decides whether anything may be sent to it.
import { BlockList, isIPv4 } from 'node:net';

/** No host of its own: unspecified, multicast, broadcast, reserved; nothing can be served there. */
const nowhere = listOf({
  ipv4: ['0.0.0.0/8', '224.0.0.0/4', '240.0.0.0/4'],
  ipv6: ['::/128', 'ff00::/8'],
});
/** On this very link only, and what clouds tell their machines about themselves, wherever that has its address. */
const linkLocal = listOf({
  ipv4: ['169.254.0.0/16', '100.100.100.200/32', '168.63.129.16/32', '192.0.0.192/32'],
  ipv6: ['fe80::/10', 'fd00:ec2::/32', 'fd20:ce::/32'],
});
const loopback = listOf({ ipv4: ['127.0.0.0/8'], ipv6: ['::1/128'] });

export type AddressKind = 'nowhere' | 'link-local' | 'loopback' | 'other';

/** Of an IPv4 address that is written as IPv6, in whichever way, that of the IPv4 address. */
export function kindOf(address: string): AddressKind {
  const plain = plainAddress(address);
  const family = isIPv4(plain) ? 'ipv4' : 'ipv6';
  if (nowhere.check(plain, family)) return 'nowhere';
  if (linkLocal.check(plain, family)) return 'link-local';
  return loopback.check(plain, family) ? 'loopback' : 'other';
}

/**
 * Whether an answer of DNS may lead there: never to the link's own addresses, among which are those of cloud metadata services. Whoever has such a
 * name answer so has chosen where this proxy sends what others ask it to.
 */
export function mayBeAnswered(address: string): boolean {
  const kind = kindOf(address);
  return kind !== 'nowhere' && kind !== 'link-local';
}

/** IPv4-mapped (RFC 4291 section 2.5.5), IPv4-compatible, NAT64 (RFC 6052) and 6to4 (RFC 3056) addresses lead to the IPv4 one in them. */
export function plainAddress(address: string): string {
  if (isIPv4(address)) return address;
  const words = wordsOf(address.replace(/%.*$/, ''));
  if (!words) return address;
  const [a, b, c, d, e, f, g, h] = words as [number, number, number, number, number, number, number, number];
  const four = (high: number, low: number): string => [high >> 8, high & 255, low >> 8, low & 255].join('.');
  const isZero = a === 0 && b === 0 && c === 0 && d === 0;
  if (isZero && e === 0 && f === 0xffff) return four(g, h);
  if (isZero && e === 0xffff && f === 0) return four(g, h);
  if (isZero && e === 0 && f === 0 && g !== 0) return four(g, h);
  if (a === 0x64 && b === 0xff9b) return four(g, h);
  if (a === 0x2002) return four(b, c);
  return words.map((word) => word.toString(16)).join(':');
}

function wordsOf(address: string): number[] | undefined {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const hex = (one: string, other: string): string => (Number(one) * 256 + Number(other)).toString(16);
  const text = dotted ? `${dotted[1]}${hex(dotted[2]!, dotted[3]!)}:${hex(dotted[4]!, dotted[5]!)}` : address;
  const [before = '', after] = text.split('::');
  const read = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16));
  const [first, last] = [read(before), read(after ?? '')];
  if (after === undefined) return first.length === 8 ? first : undefined;
  if (first.length + last.length > 8) return undefined;
  return [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
}

function listOf({ ipv4, ipv6 }: { ipv4: readonly string[]; ipv6: readonly string[] }): BlockList {
  const list = new BlockList();
  for (const [family, nets] of [
    ['ipv4', ipv4],
    ['ipv6', ipv6],
  ] as const)
    for (const net of nets) {
      const [address, bits] = net.split('/');
      list.addSubnet(address!, Number(bits), family);
    }
  return list;
}
