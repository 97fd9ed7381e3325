// HOST:PORT is read in one way everywhere, and who can reach a host is not guessed.
import { describe, expect, test } from 'vitest';
import { formatHostPort, hostPortPattern, isLoopback, isWildcard, parseHostPort } from '#base/host-port';

describe('HOST:PORT', () => {
  test.each([
    ['127.0.0.1:8443', '127.0.0.1', 8_443],
    ['mesh.example.org:443', 'mesh.example.org', 443],
    ['localhost:0', 'localhost', 0],
    ['[::1]:65535', '::1', 65_535],
    ['[fe80::1:2]:1', 'fe80::1:2', 1],
  ])('%s is read, and written again as it was', (text, host, port) => {
    expect(parseHostPort(text)).toEqual({ host, port });
    expect(formatHostPort({ host, port })).toBe(text);
    expect(text).toMatch(new RegExp(hostPortPattern));
  });

  test.each([
    ...[
      '',
      ':80',
      'a',
      'a:',
      'a:-1',
      'a:65536',
      'a:99999',
      'a:1.0',
      'a:0x10',
      'a :1',
      'a:1 ',
      'a:1\n',
      'a/b:1',
      'u@a:1',
    ],
    ...['::1:80', '[::1]', '[::1]80', '[1.2.3.4]:1', '[::zz]:1', '[::]]:1', '[fe80::1%eth0]:1', 'https://a:1'],
  ])('%j is not an address', (text) => expect(parseHostPort(text)).toBeUndefined());

  test.each([
    ...['127.0.0.1', '127.9.9.9', '::1', 'localhost', 'LOCALHOST'].map((host) => [host, true] as const),
    ...['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example.org', '127.0.0.256', 'localhost.example.org', ''].map(
      (host) => [host, false] as const,
    ),
  ])('%j is this machine only: %s', (host, expected) => expect(isLoopback(host)).toBe(expected));

  test('two addresses mean every address', () => {
    expect(['0.0.0.0', '::', '127.0.0.1', '::1', ''].filter(isWildcard)).toEqual(['0.0.0.0', '::']);
  });
});
