import { expect, test } from 'vitest';
import { kindOf, plainAddress } from '../../proxy/discovery/address-kinds.ts';

test.each([
  ['169.254.169.254', 'link-local'],
  ['fe80::1', 'link-local'],
  ['fe80::1%eth0', 'link-local'],
  ['fd00:ec2::254', 'link-local'],
  ['::ffff:169.254.169.254', 'link-local'],
  ['::ffff:a9fe:a9fe', 'link-local'],
  ['0:0:0:0:0:ffff:a9fe:a9fe', 'link-local'],
  ['64:ff9b::a9fe:a9fe', 'link-local'],
  ['2002:a9fe:a9fe::1', 'link-local'],
  ['::169.254.169.254', 'link-local'],
  ['100.100.100.200', 'link-local'],
  ['168.63.129.16', 'link-local'],
  ['100.100.100.201', 'other'],
  ['127.0.0.1', 'loopback'],
  ['127.255.255.254', 'loopback'],
  ['::1', 'loopback'],
  ['0:0:0:0:0:0:0:1', 'loopback'],
  ['::ffff:127.0.0.1', 'loopback'],
  ['0.0.0.0', 'nowhere'],
  ['0.1.2.3', 'nowhere'],
  ['::', 'nowhere'],
  ['::ffff:0.0.0.0', 'nowhere'],
  ['255.255.255.255', 'nowhere'],
  ['239.1.2.3', 'nowhere'],
  ['ff02::1', 'nowhere'],
  ['10.0.0.1', 'other'],
  ['192.0.2.1', 'other'],
  ['2001:db8::1', 'other'],
])('%s is %s', (address, kind) => expect(kindOf(address)).toBe(kind));

test('an IPv4 address is the same however it is written', () => {
  expect(plainAddress('::ffff:192.0.2.1')).toBe('192.0.2.1');
  expect(plainAddress('::FFFF:c000:0201')).toBe('192.0.2.1');
  expect(plainAddress('2001:db8::1')).toBe('2001:db8:0:0:0:0:0:1');
});
