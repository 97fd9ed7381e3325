// K8 of the hostile inputs: DNS that does not know, floods, is truncated, changes all the time, dies, or leads where nothing may be called.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ClusterEntry } from '#wire';
import { createClock } from '../helpers/clock.ts';
import { type ClusterCaller, type ClusterCallerOptions, startClusterCaller } from '../helpers/cluster-call.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { startApp } from '../helpers/mesh.ts';
import { type NameServer, startNameServer } from '../helpers/name-server.ts';
import { eventually } from '../helpers/until.ts';

const cluster = (dns: Extract<ClusterEntry['endpoints'], { dns: unknown }>['dns']): ClusterEntry => ({
  name: 'outside',
  id: 'spiffe://example.org/outside',
  endpoints: { dns },
});

async function start(zones: NameServer['zones'], more: ClusterCallerOptions = {}) {
  const server = await startNameServer(zones);
  const clock = createClock();
  const caller = startClusterCaller({ clock, nameServers: [server.address], hostsFile: '/nowhere', ...more });
  return { server, clock, caller };
}

const addressesOf = (caller: ClusterCaller): readonly string[] =>
  caller.clusters.get('outside')!.live.endpoints.map(({ address }) => address);

async function asked(caller: ClusterCaller, entry: ClusterEntry): Promise<readonly string[]> {
  caller.configure({ clusters: [entry] });
  await caller.clusters.get('outside')!.warming;
  return addressesOf(caller);
}

/** Lets the time of the next question come, and waits until it is answered. */
async function next({ caller, clock }: { caller: ClusterCaller; clock: { advance(ms: number): void } }, ms: number) {
  const before = caller.answers.length;
  clock.advance(ms);
  await eventually(
    () => caller.answers.length,
    (count) => count > before,
    { everyMs: 5 },
  );
}

describe('K8: endpoints from addresses', () => {
  test('are called at the port that the cluster names', async () => {
    const app = await startApp((_, response) => response.end('here'));
    const { caller } = await start({ 'shop.example': ['127.0.0.1'] });
    await asked(caller, cluster(`shop.example:${app.port}`));
    expect(await caller.call('outside')).toMatchObject({ body: 'here' });
  });

  test('change when the answer has had its time, and not before', async () => {
    const { server, clock, caller } = await start({ 'shop.example': ['192.0.2.1', '192.0.2.2'] });
    server.ttl = 10;
    expect(await asked(caller, cluster('shop.example:80'))).toEqual(['192.0.2.1:80', '192.0.2.2:80']);
    server.zones = { 'shop.example': ['192.0.2.2', '192.0.2.3'] };
    const { questions } = server;
    clock.advance(8_999);
    expect(server.questions).toBe(questions);
    await next({ caller, clock }, 2_100);
    expect(addressesOf(caller)).toEqual(['192.0.2.2:80', '192.0.2.3:80']);
  });

  test('are asked for at `refresh` when the time to live is longer', async () => {
    const { server, clock, caller } = await start({ 'shop.example': ['192.0.2.1'] });
    server.ttl = 86_400;
    await asked(caller, cluster({ name: 'shop.example', port: 80, refresh: '5s' }));
    server.zones = { 'shop.example': ['192.0.2.9'] };
    await next({ caller, clock }, 5_600);
    expect(addressesOf(caller)).toEqual(['192.0.2.9:80']);
  });

  test('with a time to live of nothing are asked for once a second at most', async () => {
    const { server, clock, caller } = await start({ 'shop.example': ['192.0.2.1'] });
    server.ttl = 0;
    await asked(caller, cluster('shop.example:80'));
    for (let second = 0; second < 5; second++) {
      server.zones = { 'shop.example': [`192.0.2.${second + 10}`] };
      clock.advance(899);
      expect(caller.answers.length).toBe(second + 1);
      await next({ caller, clock }, 250);
      expect(addressesOf(caller)).toEqual([`192.0.2.${second + 10}:80`]);
    }
  });

  test('that only come in another order change nothing', async () => {
    const { server, clock, caller } = await start({ 'shop.example': ['192.0.2.1', '192.0.2.2'] });
    await asked(caller, cluster('shop.example:80'));
    const before = caller.clusters.get('outside')!.live.endpoints;
    server.zones = { 'shop.example': ['192.0.2.2', '192.0.2.1'] };
    await next({ caller, clock }, 40_000);
    expect(caller.clusters.get('outside')!.live.endpoints).toBe(before);
  });

  test.each([
    ['does not exist any more', {}],
    ['has nothing of this type', { 'shop.example': 'empty' }],
    ['makes the server fail', { 'shop.example': 'failing' }],
    ['is met with silence', { 'shop.example': 'silent' }],
    ['leads to the metadata service', { 'shop.example': ['169.254.169.254'] }],
    ['leads nowhere', { 'shop.example': ['0.0.0.0', '::', '255.255.255.255', '224.0.0.1'] }],
  ] as const)('stay the last good ones when the name %s', async (_, zones) => {
    const { server, clock, caller } = await start({ 'shop.example': ['192.0.2.1'] });
    await asked(caller, cluster('shop.example:80'));
    server.zones = zones;
    await next({ caller, clock }, 40_000);
    expect(caller.answers.at(-1)).toBeTypeOf('string');
    expect(addressesOf(caller)).toEqual(['192.0.2.1:80']);
    server.zones = { 'shop.example': ['192.0.2.7'] };
    await next({ caller, clock }, 40_000);
    expect(addressesOf(caller)).toEqual(['192.0.2.7:80']);
  });

  test('stay when the name server dies', async () => {
    const { server, clock, caller } = await start({ 'shop.example': ['192.0.2.1'] });
    await asked(caller, cluster('shop.example:80'));
    server.close();
    for (let time = 0; time < 3; time++) await next({ caller, clock }, 40_000);
    expect(addressesOf(caller)).toEqual(['192.0.2.1:80']);
  });

  test('are none, with a reason, before the first good answer', async () => {
    const { server, clock, caller } = await start({});
    expect(await asked(caller, cluster('shop.example:80'))).toEqual([]);
    expect(caller.answers).toEqual([expect.stringMatching(/no such host name/)]);
    server.zones = { 'shop.example': ['192.0.2.1'] };
    await next({ caller, clock }, 1_200);
    expect(addressesOf(caller)).toEqual(['192.0.2.1:80']);
  });

  test('are bounded, and come whole although the answer is too large for one datagram', async () => {
    const many = Array.from({ length: 300 }, (_, at) => `192.0.${2 + (at >> 8)}.${at & 255}`);
    const { server, caller } = await start({ 'shop.example': many, 'large.example': many.slice(0, 100) });
    expect((await asked(caller, cluster('large.example:80'))).length).toBe(100);
    expect(server.tcpQuestions).toBeGreaterThan(0);
    const found = await asked(caller, cluster('shop.example:80'));
    expect(found.length).toBeLessThanOrEqual(256);
    expect(found.length).toBeGreaterThan(100);
  });

  test('are those of IPv6 where there are no others', async () => {
    const { caller } = await start({ 'both.example': ['192.0.2.1', '2001:db8::1'], 'six.example': ['2001:db8::1'] });
    expect(await asked(caller, cluster('both.example:80'))).toEqual(['192.0.2.1:80']);
    expect(await asked(caller, cluster('six.example:80'))).toEqual(['[2001:db8::1]:80']);
  });

  test('of another name are never those of the name before', async () => {
    const { caller } = await start({ 'one.example': ['192.0.2.1'] });
    await asked(caller, cluster('one.example:80'));
    expect(await asked(caller, cluster('unknown.example:80'))).toEqual([]);
  });

  test('are asked for no more when configuration takes the cluster away', async () => {
    const { server, clock, caller } = await start({ 'shop.example': ['192.0.2.1'] });
    await asked(caller, cluster('shop.example:80'));
    caller.configure({ clusters: [] });
    const { questions } = server;
    clock.advance(600_000);
    expect(server.questions).toBe(questions);
  });

  test('come from the hosts file where it has the name, read anew when it changes', async () => {
    const hostsFile = join(temporaryFolder(), 'hosts');
    writeFileSync(hostsFile, '# ours\n192.0.2.1 Shop.example shop # and more\n999.1.1.1 bad\n');
    const { server, clock, caller } = await start({ 'shop.example': ['192.0.2.9'] }, { hostsFile });
    expect(await asked(caller, cluster('shop.example:80'))).toEqual(['192.0.2.1:80']);
    writeFileSync(hostsFile, '192.0.2.22 shop.example\n');
    await next({ caller, clock }, 40_000);
    expect(addressesOf(caller)).toEqual(['192.0.2.22:80']);
    expect(await asked(caller, cluster('localhost:80'))).toEqual(['127.0.0.1:80']);
    expect(server.questions).toBe(0);
  });
});

describe('K8: endpoints from service records', () => {
  const srv = cluster({ name: '_shop._tcp.example', type: 'srv' });

  test('have the ports and weights of their records', async () => {
    const { caller } = await start({
      '_shop._tcp.example': [
        { target: 'a.example', port: 81, weight: 10 },
        { target: 'b.example', port: 82, weight: 30 },
        { target: 'c.example', port: 83, weight: 0 },
      ],
      'a.example': ['192.0.2.1'],
      'b.example': ['192.0.2.2'],
      'c.example': ['192.0.2.3'],
    });
    await asked(caller, srv);
    const found = caller.clusters.get('outside')!.live.endpoints;
    expect(found.map(({ address, weight }) => [address, weight])).toEqual([
      ['192.0.2.1:81', 33],
      ['192.0.2.2:82', 100],
      ['192.0.2.3:83', 1],
    ]);
  });

  test('of a lower priority are used only when none of a higher one has an address', async () => {
    const { server, clock, caller } = await start({
      '_shop._tcp.example': [
        { target: 'first.example', port: 80, priority: 10 },
        { target: 'second.example', port: 80, priority: 20 },
      ],
      'first.example': ['192.0.2.1'],
      'second.example': ['192.0.2.2'],
    });
    expect(await asked(caller, srv)).toEqual(['192.0.2.1:80']);
    server.zones = {
      '_shop._tcp.example': [{ target: 'second.example', port: 80, priority: 20 }],
      'second.example': ['192.0.2.2'],
    };
    await next({ caller, clock }, 40_000);
    expect(addressesOf(caller)).toEqual(['192.0.2.2:80']);
  });

  test('keep the address of a target that cannot be resolved just now', async () => {
    const { server, clock, caller } = await start({
      '_shop._tcp.example': [
        { target: 'a.example', port: 80 },
        { target: 'b.example', port: 80 },
      ],
      'a.example': ['192.0.2.1'],
      'b.example': ['192.0.2.2'],
    });
    await asked(caller, srv);
    server.zones = { ...server.zones, 'b.example': 'failing' };
    await next({ caller, clock }, 40_000);
    expect(addressesOf(caller)).toEqual(['192.0.2.1:80', '192.0.2.2:80']);
  });

  test('stay when the record says that there is no such service', async () => {
    const { server, clock, caller } = await start({
      '_shop._tcp.example': [{ target: 'a.example', port: 80 }],
      'a.example': ['192.0.2.1'],
    });
    await asked(caller, srv);
    server.zones = { '_shop._tcp.example': [{ target: '.', port: 0 }] };
    await next({ caller, clock }, 40_000);
    expect(addressesOf(caller)).toEqual(['192.0.2.1:80']);
    expect(caller.answers.at(-1)).toMatch(/no such host name/);
  });
});

test('an address question without a port is refused with the configuration', () => {
  const caller = startClusterCaller();
  expect(() => caller.configure({ clusters: [cluster('shop.example')] })).toThrow(/names no port for shop\.example/);
});
