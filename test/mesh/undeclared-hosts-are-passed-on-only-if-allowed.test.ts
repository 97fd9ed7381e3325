import { networkInterfaces } from 'node:os';
import { describe, expect, test } from 'vitest';
import type { Snapshot } from '#wire';
import { createForbids } from '../../proxy/undeclared.ts';
import { createClock } from '../helpers/clock.ts';
import { allow, call, idOf, openRaw, startApp, startProxy, startRawApp, type TestProxy } from '../helpers/mesh.ts';
import { type NameServer, startNameServer } from '../helpers/name-server.ts';
import { createTestPki } from '../helpers/pki.ts';
import { eventually } from '../helpers/until.ts';

const anyMesh: Partial<Snapshot> = { mesh: { outboundPolicy: 'allow-any' } };

/** For this test 127.0.0.5 stands for a host elsewhere; everything else is as it is. */
const elsewhere = '127.0.0.5';
const real = createForbids({ clock: createClock() });
const forbids = (address: string): string | undefined => (address === elsewhere ? undefined : real(address));

async function start(zones: NameServer['zones'] = {}, mesh: Partial<Snapshot> = anyMesh) {
  const server = await startNameServer(zones);
  const web = await startProxy({ pki: createTestPki(), service: 'web', nameServers: [server.address], forbids });
  web.apply(mesh);
  return { server, web };
}

const codeOf = async (web: TestProxy, host: string): Promise<string> =>
  (await call(web, { host })).json().error.code ?? '';

describe('with allow-any a host that nothing declares', () => {
  test('is called in the clear, recorded with its own reason and as no service', async () => {
    const app = await startApp((request, response) => {
      response.setHeader('x-postern-decision', 'forged');
      response.end(`${request.headers.host} ${request.headers['x-forwarded-client-cert']}`);
    }, elsewhere);
    const { web } = await start({ 'www.other.example': [elsewhere] });
    const host = `www.other.example:${app.port}`;
    const answer = await call(web, { host, headers: ['x-forwarded-client-cert: forged'] });
    expect(answer).toMatchObject({ status: 200, body: `${host} undefined` });
    expect(answer.head).not.toMatch(/x-postern/);
    const [record] = await web.recorded(1);
    expect(record).toMatchObject({
      decision: 'allow',
      reason: 'outside-policy',
      endpoint: `${elsewhere}:${app.port}`,
      security: 'none',
      host,
    });
    expect(record).not.toHaveProperty('to');
    expect(web.metrics.render()).toMatch(/postern_outside_policy_total 1\n/);
  });

  test('is tunnelled to by CONNECT, as an application that begins TLS itself wants it', async () => {
    const app = await startRawApp((socket) => socket.on('data', (bytes) => socket.end(`echo ${bytes}`)), elsewhere);
    const { web } = await start({ 'www.other.example': [elsewhere] });
    const client = await openRaw(web.addresses.outbound.port);
    const host = `www.other.example:${app.port}`;
    client.send(`CONNECT ${host} HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
    await client.until(/200/);
    client.send('hello');
    await client.until(/echo hello/);
    expect((await web.recorded(1))[0]).toMatchObject({ method: 'CONNECT', reason: 'outside-policy' });
  });

  test('is looked up once, and connected to at the very address that was looked at', async () => {
    const app = await startApp((_, response) => response.end('here'), elsewhere);
    const { server, web } = await start({ 'rebind.example': [elsewhere] });
    const before = server.questions;
    expect(await call(web, { host: `rebind.example:${app.port}` })).toMatchObject({ status: 200 });
    // One for each family.
    expect(server.questions - before).toBe(2);
  });

  test.each([
    ['of the metadata service', '169.254.169.254'],
    ['of this machine', '127.0.0.1'],
    ['of no host', '0.0.0.0'],
    ['of this machine, written as IPv6', '[::ffff:127.0.0.1]'],
    ['of this machine, in hexadecimal IPv6', '[::ffff:7f00:1]'],
    ['of the metadata service, through NAT64', '[64:ff9b::a9fe:a9fe]'],
    ['of this machine in IPv6', '[::1]'],
  ])('is not called at an address %s', async (_, host) => {
    const { web } = await start();
    expect(await codeOf(web, host)).toBe('OUTSIDE_FORBIDDEN');
    expect((await web.recorded(1))[0]).toMatchObject({ decision: 'deny', reason: 'OUTSIDE_FORBIDDEN', status: 403 });
  });

  test('is not called when its name leads there, or also there', async () => {
    const { web } = await start({
      'meta.example': ['169.254.169.254'],
      'local.example': ['127.0.0.1'],
      'both.example': [elsewhere, '127.0.0.1'],
      'six.example': ['::1'],
    });
    for (const host of ['meta.example', 'local.example', 'both.example', 'six.example', 'app.localhost'])
      expect(await codeOf(web, host)).toBe('OUTSIDE_FORBIDDEN');
  });

  test('is not called at any address of this machine, its own listeners among them', () => {
    const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    expect(own.length).toBeGreaterThan(0);
    for (const { address } of own) expect(real(address)).toMatch(/this machine|its own link/);
    const at = { address: '10.1.2.3', netmask: '255.0.0.0', family: 'IPv4', mac: '', internal: false, cidr: null };
    const made = createForbids({ clock: createClock(), interfaces: () => ({ eth0: [at as never] }) });
    expect(made('10.1.2.3')).toMatch(/this machine/);
    expect(made('::ffff:10.1.2.3')).toMatch(/this machine/);
    expect(made('10.1.2.4')).toBeUndefined();
  });

  test.each(['2130706433', '0x7f000001', '127.1', '0177.0.0.1', '127.0.0.1.'])(
    'that is %s leads nowhere, or to this machine and not further',
    async (host) => {
      const { web } = await start();
      expect(['SERVICE_UNKNOWN', 'OUTSIDE_FORBIDDEN']).toContain(await codeOf(web, host));
    },
  );

  test('with a plain name, or one that DNS does not know, is an unknown service as before', async () => {
    const { web } = await start({ payments: [elsewhere] });
    expect(await codeOf(web, 'payments')).toBe('SERVICE_UNKNOWN');
    expect(await codeOf(web, 'nowhere.example')).toBe('SERVICE_UNKNOWN');
  });

  test('that nobody can resolve now is told apart from one that is refused', async () => {
    const { web } = await start({ 'failing.example': 'failing' });
    expect(await codeOf(web, 'failing.example')).toBe('UPSTREAM_CONNECT_FAILED');
  });

  test('is tried at its next address when the first one takes no connection', async () => {
    const app = await startApp((_, response) => response.end('here'), elsewhere);
    // Nothing of 192.0.2.0/24 is anywhere (RFC 5737).
    const { web } = await start({ 'two.example': ['192.0.2.1', elsewhere] });
    const answer = await call(web, { host: `two.example:${app.port}` });
    expect(answer).toMatchObject({ status: 200, body: 'here' });
  });
});

test('a host that a service has is decided by policy, whatever the mesh allows beside', async () => {
  const app = await startApp((_, response) => response.end('here'), elsewhere);
  const { web } = await start({ 'api.stripe.example': [elsewhere] });
  const stripe = {
    name: 'stripe',
    id: idOf('stripe'),
    endpoints: { static: [`${elsewhere}:${app.port}`] },
    hosts: ['api.stripe.example'],
  };
  web.apply({ ...anyMesh, clusters: [stripe] });
  expect(await call(web, { host: 'api.stripe.example' })).toMatchObject({ status: 403 });
  expect(app.accepts()).toBe(0);
  web.apply({ policy: { revision: 2, rules: [allow('web', 'stripe')], groups: {} } });
  expect(await call(web, { host: 'api.stripe.example' })).toMatchObject({ status: 200 });
});

test('without allow-any an undeclared host is refused, and nothing is looked up', async () => {
  const { server, web } = await start({ 'www.other.example': [elsewhere] }, {});
  expect(await codeOf(web, 'www.other.example')).toBe('SERVICE_UNKNOWN');
  expect(server.questions).toBe(0);
  web.apply({ mesh: { outboundPolicy: 'registry-only' } });
  expect(await codeOf(web, 'www.other.example')).toBe('SERVICE_UNKNOWN');
  expect(server.questions).toBe(0);
});

test.each([
  ['allows it no more', { mesh: { outboundPolicy: 'registry-only' } }],
  ['bans the caller', { bans: { ids: [idOf('web')], serials: [] } }],
  [
    'declares the host',
    {
      clusters: [
        { name: 'other', id: idOf('other'), endpoints: { static: ['10.0.0.1:1'] }, hosts: ['www.other.example'] },
      ],
    },
  ],
] as readonly (readonly [string, Partial<Snapshot>])[])('what runs is cut when configuration %s', async (_, change) => {
  const app = await startRawApp((socket) => socket.on('data', (bytes) => socket.write(`echo ${bytes}`)), elsewhere);
  const { web } = await start({ 'www.other.example': [elsewhere] });
  const client = await openRaw(web.addresses.outbound.port);
  const host = `www.other.example:${app.port}`;
  client.send(`CONNECT ${host} HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
  await client.until(/200/);
  client.send('one');
  await client.until(/echo one/);
  web.apply({ ...anyMesh, ...change });
  await eventually(() => client.socket.destroyed || client.socket.readableEnded, Boolean);
  expect((await web.recorded(1))[0]).toMatchObject({ decision: 'deny' });
});
