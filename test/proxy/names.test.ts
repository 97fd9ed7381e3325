// Names of endpoints: asked of a real name server on loopback, which may also say nothing.
import dns from 'node:dns';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createDns } from '../../proxy/discovery/dns.ts';
import { createLookup } from '../../proxy/names.ts';
import { createClock } from '../helpers/clock.ts';
import { allow, call, serviceEntry, startApp, startPair } from '../helpers/mesh.ts';
import { type NameServer, startNameServer } from '../helpers/name-server.ts';

async function start(answers: NameServer['zones'] = {}) {
  const server = await startNameServer(answers);
  const clock = createClock();
  const lookup = createLookup({ clock, dns: createDns({ servers: [server.address], questionMs: 50 }) });
  const all = (name: string): Promise<unknown> =>
    new Promise((resolve, reject) =>
      lookup(name, { all: true }, (error, found) => (error ? reject(error) : resolve(found))),
    );
  return { server, clock, lookup, all };
}

describe('a name', () => {
  test('has the addresses that DNS gives, asked once for all who want them', async () => {
    const { server, lookup, all } = await start({ 'web.example': ['192.0.2.7', '::1'], 'six.example': ['::1'] });
    const both = [
      { address: '192.0.2.7', family: 4 },
      { address: '::1', family: 6 },
    ];
    expect(await Promise.all([all('web.example'), all('WEB.example'), all('web.example')])).toEqual([both, both, both]);
    expect(await all('web.example')).toEqual(both);
    expect(server.questions).toBe(2);
    expect(await promisify(lookup)('six.example', {})).toBe('::1');
  });

  test('that a name server does not know, or is silent about, says so soon', async () => {
    const { all } = await start({ 'silent.example': 'silent' });
    await expect(all('none.example')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(all('silent.example')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
  });

  test('is asked for again after a while, and keeps its last good address while nobody answers', async () => {
    const { server, clock, all } = await start({ 'web.example': ['192.0.2.7'] });
    await all('web.example');
    server.zones = { 'web.example': ['192.0.2.8'] };
    clock.advance(14_000);
    expect(await all('web.example')).toMatchObject([{ address: '192.0.2.7' }]);
    clock.advance(2_000);
    expect(await all('web.example')).toMatchObject([{ address: '192.0.2.8' }]);
    server.zones = { 'web.example': 'silent' };
    clock.advance(60_000);
    expect(await all('web.example')).toMatchObject([{ address: '192.0.2.8' }]);
  });

  test('never leads to an address of the link or of a metadata service, and keeps its last good one instead', async () => {
    const { server, clock, all } = await start({ 'web.example': ['192.0.2.7', '169.254.169.254'] });
    server.zones = {
      ...server.zones,
      'bad.example': ['169.254.169.254', '0.0.0.0', 'fe80::1', '::ffff:169.254.169.254'],
    };
    await expect(all('bad.example')).rejects.toMatchObject({ code: 'EFORBIDDEN' });
    expect(await all('web.example')).toEqual([{ address: '192.0.2.7', family: 4 }]);
    server.zones = { 'web.example': ['169.254.169.254'] };
    clock.advance(60_000);
    expect(await all('web.example')).toEqual([{ address: '192.0.2.7', family: 4 }]);
  });

  test('localhost is this machine, whatever DNS says', async () => {
    const { server, all } = await start({ localhost: ['192.0.2.7'] });
    expect(await all('localhost')).toMatchObject([{ address: '127.0.0.1' }, { address: '::1' }]);
    expect(server.questions).toBe(0);
  });
});

test('an endpoint known by name is reached without a thread of getaddrinfo', async () => {
  const system = vi.spyOn(dns, 'lookup');
  onTestFinished(() => system.mockRestore());
  const { web, payments } = await startPair({ app: await startApp((_, response) => response.end('ok')) });
  const entry = serviceEntry('payments', payments.addresses.inbound.port);
  const endpoints = entry.endpoints.map((one) => ({ ...one, address: one.address.replace('127.0.0.1', 'localhost') }));
  web.apply({
    services: [{ ...entry, endpoints }],
    policy: { revision: 9, rules: [allow('web', 'payments')], groups: {} },
  });
  expect(await call(web)).toMatchObject({ status: 200 });
  expect(system.mock.calls.map(([name]) => name)).not.toContain('localhost');
});
