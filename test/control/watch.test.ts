// What proxies are told, and when: snapshots on streams, acknowledgements, refusals, leases, bans.
import { once } from 'node:events';
import { connect } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { check } from '#base/schema';
import { parseSpiffeId, tlsClientPolicy, tlsContext } from '#spiffe';
import { type ProxyStatus, type StatusReply, snapshotSchema } from '#wire';
import { createMesh, type Mesh, type MeshProxy, someFacts, watch } from '../helpers/control-plane.ts';

const policy = (name: string, to: string, from: string, path = '/') => ({
  resource: { kind: 'Policy', name, to, rules: [{ id: 'r', effect: 'allow', from: [from], paths: [path] }] },
});
const apply = (mesh: Mesh, ...resources: object[]) =>
  mesh.admin.call<{ revision: number }>({ method: 'POST', path: '/v1/resources', body: { version: 1, resources } });
const report = (proxy: MeshProxy, revision: number, more: object = {}) =>
  proxy.channel.call({
    method: 'POST',
    path: '/v1/proxy/report',
    body: {
      ...{ version: 1, revision, notAfter: proxy.identity.notAfter, state: 'serving' },
      ...{ connections: { inbound: 1, outbound: 2 }, ...more },
    },
  });
async function statusOf(mesh: Mesh, proxy: MeshProxy): Promise<ProxyStatus> {
  const { proxies } = await mesh.admin.call<StatusReply>({ method: 'GET', path: '/v1/status' });
  return proxies.find(({ instance }) => instance === proxy.instance)!;
}

describe('a snapshot', () => {
  test('comes at once, valid, with the own rules, the services that may be called and nothing else', async () => {
    const mesh = await createMesh();
    const payments = await mesh.enrol('shop/payments', { advertise: '127.0.0.1:4001', labels: { version: 'v1' } });
    const checkout = await mesh.enrol('checkout');
    await report(payments, 0);
    await apply(mesh, policy('one', 'shop/payments', 'checkout'), policy('other', 'ledger', 'billing'));
    const snapshot = await watch(checkout).snapshot();
    expect(check(snapshotSchema, snapshot)).toEqual([]);
    expect(snapshot.service).toBe('spiffe://example.org/checkout');
    expect(snapshot.policy.rules.map(({ policy: name }) => name)).toEqual(['one']);
    expect(snapshot.services).toEqual([
      {
        id: 'spiffe://example.org/shop/payments',
        hosts: ['payments.shop'],
        ports: [8080],
        endpoints: [{ instance: payments.instance, address: '127.0.0.1:4001', labels: { version: 'v1' } }],
      },
    ]);
    // The called side must know the rule, not where its callers are.
    const other = await watch(payments).snapshot();
    expect(other.policy.rules.map(({ policy: name }) => name)).toEqual(['one']);
    expect(other.services).toEqual([]);
  });

  test.each(['payments:65536', 'payments:99999', '[::::]:15008', '[12]:15008'])(
    'never holds an address that no proxy could read, such as %s: whoever says so is refused',
    async (advertise) => {
      const mesh = await createMesh();
      const payments = await mesh.enrol('payments');
      await report(payments, 0);
      await apply(mesh, policy('one', 'payments', 'checkout'));
      const refused = report(payments, 0, { facts: { ...someFacts, advertise } });
      await expect(refused).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
      await expect(mesh.enrol('payments', { advertise })).rejects.toThrow();
      const checkout = await mesh.enrol('checkout');
      const [entry] = (await watch(checkout).snapshot()).services;
      expect(entry?.endpoints.map(({ address }) => address)).toEqual([someFacts.advertise]);
    },
  );

  test('C10: an instance cannot make its callers take one snapshot after the other; that it leaves always counts', async () => {
    const mesh = await createMesh({ limits: { newsPerInstance: { burst: 4, perSecond: 0.2 } } });
    const [payments, other] = [await mesh.enrol('payments'), await mesh.enrol('payments')];
    await apply(mesh, policy('one', 'payments', 'checkout'));
    const stream = watch(await mesh.enrol('checkout'));
    const [flapping, port] = [
      { state: 'draining' },
      (at: number) => ({ facts: { ...someFacts, advertise: `127.0.0.1:${at}` } }),
    ];
    await report(payments, 0, port(4001));
    await report(payments, 0, port(4002));
    await report(payments, 0, flapping);
    await report(payments, 0);
    await report(payments, 0, port(4003));
    for (const more of [port(4004), port(4005)])
      await expect(report(payments, 0, more)).rejects.toMatchObject({ code: 'REQUEST_TOO_MANY' });
    // The heartbeat goes on, and so does everybody else.
    await report(payments, 0);
    await report(other, 0, port(4009));
    await report(payments, 0, flapping);
    await expect(report(payments, 0)).rejects.toMatchObject({ code: 'REQUEST_TOO_MANY' });
    for (;;) {
      const [entry] = (await stream.snapshot()).services;
      if (entry?.endpoints.map(({ address }) => address).join() === '127.0.0.1:4009') break;
    }
    mesh.clock.advance(5_000);
    await report(payments, 0);
  });

  test('is valid whatever the length of a name in it', async () => {
    const mesh = await createMesh();
    const longest = `${'a'.repeat(60)}/`.repeat(30).slice(0, -1);
    await apply(mesh, policy('one', longest, 'checkout'));
    const snapshot = await watch(await mesh.enrol('checkout')).snapshot();
    expect(check(snapshotSchema, snapshot)).toEqual([]);
    expect(snapshot.services).toMatchObject([{ id: `spiffe://example.org/${longest}` }]);
  });

  test('is pushed when its content changes, with a higher revision, and not when it does not', async () => {
    const mesh = await createMesh();
    const [payments, checkout] = [await mesh.enrol('payments'), await mesh.enrol('checkout')];
    const stream = watch(checkout);
    const first = await stream.snapshot();
    await apply(mesh, policy('unrelated', 'ledger', 'billing'));
    await apply(mesh, policy('mine', 'payments', 'checkout'));
    const second = await stream.snapshot();
    expect(second.revision).toBeGreaterThan(first.revision);
    expect(second.policy.rules.map(({ policy: name }) => name)).toEqual(['mine']);
    expect(second.services[0]?.endpoints).toEqual([]);
    await report(payments, 0);
    const third = await stream.snapshot();
    expect(third.services[0]?.endpoints.map(({ instance }) => instance)).toEqual([payments.instance]);
    await report(payments, 0);
    await report(payments, 0, { facts: { ...someFacts, advertise: '127.0.0.1:9999' } });
    expect((await stream.snapshot()).services[0]?.endpoints[0]?.address).toBe('127.0.0.1:9999');
  });

  test('K6: many changes at once are one push', async () => {
    const mesh = await createMesh();
    const checkout = await mesh.enrol('checkout');
    const stream = watch(checkout);
    await stream.snapshot();
    const { revision } = await apply(
      mesh,
      ...Array.from({ length: 50 }, (_, i) => policy(`p${i}`, 'payments', 'checkout')),
    );
    const snapshot = await stream.snapshot();
    expect(snapshot.policy.revision).toBe(revision);
    expect(snapshot.policy.rules).toHaveLength(50);
  });

  test('Z2: after a restart is never older than what was sent before, and higher than what a proxy says it has', async () => {
    const mesh = await createMesh();
    const checkout = await mesh.enrol('checkout');
    const before = await watch(checkout).snapshot();
    mesh.clock.step(-20_000);
    await mesh.restart();
    const stream = watch({ channel: mesh.channel(checkout.identity) });
    expect((await stream.snapshot()).revision).toBeGreaterThan(before.revision);
    const ahead = before.revision + 10_000_000;
    const third = await watch({ channel: mesh.channel(checkout.identity) }, ahead).snapshot();
    expect(third.revision).toBeGreaterThan(ahead);
  });

  test('a proxy that claims an absurd revision does not use up the numbers', async () => {
    const mesh = await createMesh();
    const [checkout, payments] = [await mesh.enrol('checkout'), await mesh.enrol('payments')];
    const told = await watch(checkout, Number.MAX_SAFE_INTEGER).snapshot();
    expect(told.revision).toBeLessThan(mesh.clock.now() + 100_000);
    expect((await watch(payments).snapshot()).revision).toBeLessThan(mesh.clock.now() + 100_000);
  });
});

describe('a stream', () => {
  test('is one for each instance: a newer one ends the older', async () => {
    const mesh = await createMesh();
    const checkout = await mesh.enrol('checkout');
    const older = watch(checkout);
    await older.snapshot();
    await watch({ channel: mesh.channel(checkout.identity) }).snapshot();
    expect(await older.next()).toBeUndefined();
  });

  test('pings', async () => {
    const mesh = await createMesh();
    const checkout = await mesh.enrol('checkout');
    const stream = checkout.channel.stream({
      method: 'POST',
      path: '/v1/proxy/watch',
      body: { version: 1, revision: 0 },
    });
    const seen: string[] = [];
    for await (const event of stream) {
      seen.push((event as { type: string }).type);
      if (seen.length === 3) break;
      mesh.clock.advance(5_000);
    }
    expect(seen).toEqual(['snapshot', 'ping', 'ping']);
  });

  test('is refused when there are as many as may be', async () => {
    const mesh = await createMesh({ limits: { watches: 1 } });
    const [one, two] = [await mesh.enrol('one'), await mesh.enrol('two')];
    await watch(one).snapshot();
    await expect(watch(two).next()).rejects.toMatchObject({ code: 'WATCH_FULL' });
  });

  test('says goodbye when the server stops, and the server does not wait for it', async () => {
    const mesh = await createMesh();
    const checkout = await mesh.enrol('checkout');
    const stream = watch(checkout);
    await stream.snapshot();
    const closed = mesh.server.close();
    expect(await stream.next()).toEqual({ type: 'goodbye' });
    expect(await stream.next()).toBeUndefined();
    await closed;
  });

  test('K2: streams that are left unread and opened again do not pile up', async () => {
    const mesh = await createMesh();
    const checkout = await mesh.enrol('checkout');
    const rules = Array.from({ length: 12_000 }, (_, i) => ({
      ...{ id: `rule-${i}`, effect: 'allow', from: ['checkout'], paths: [`/${'x'.repeat(1_000)}/${i}`] },
    }));
    await apply(mesh, { resource: { kind: 'Policy', name: 'large', to: 'payments', rules } });
    const { host, port } = mesh.server.address;
    const server = parseSpiffeId('spiffe://example.org/postern/server');
    const unread = connect({
      ...{ host, port, ...tlsContext({ identity: checkout.identity, bundle: mesh.bundle() }) },
      ...tlsClientPolicy({ bundle: mesh.bundle(), now: Date.now, expect: server }),
    });
    await once(unread, 'secureConnect');
    unread.on('error', () => undefined);
    const body = '{"version":1,"revision":0}';
    unread.pause();
    unread.write(
      `POST /v1/proxy/watch HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await expect.poll(() => unread.bytesRead, { timeout: 25_000 }).toBeGreaterThan(0);
    const whole = JSON.stringify(await watch(checkout).snapshot()).length;
    let taken = 0;
    unread.on('data', (bytes: Buffer) => {
      taken += bytes.length;
    });
    unread.resume();
    await once(unread, 'close');
    // What the kernel held; the rest of it was let go when the second stream began.
    expect(taken).toBeLessThan(whole);
  });

  test('K2: a reader that takes nothing gets only the newest snapshot, and is cut in the end', async () => {
    const mesh = await createMesh();
    const checkout = await mesh.enrol('checkout');
    const many = (name: string) => ({
      resource: {
        kind: 'Policy',
        name,
        to: 'payments',
        rules: Array.from({ length: 2_000 }, (_, i) => ({
          ...{ id: `rule-${i}`, effect: 'allow', from: ['checkout'] },
          paths: [`/${name}/${'x'.repeat(1_000)}/${i}`],
        })),
      },
    });
    await apply(mesh, many('a'));
    const { host, port } = mesh.server.address;
    const expect_ = (await import('#spiffe')).parseSpiffeId('spiffe://example.org/postern/server');
    const socket = connect({
      ...{ host, port, ...tlsContext({ identity: checkout.identity, bundle: mesh.bundle() }) },
      ...tlsClientPolicy({ bundle: mesh.bundle(), now: Date.now, expect: expect_ }),
    });
    await once(socket, 'secureConnect');
    socket.on('error', () => undefined);
    const body = '{"version":1,"revision":0}';
    socket.pause();
    socket.write(
      `POST /v1/proxy/watch HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    const before = process.memoryUsage().rss;
    for (const name of ['b', 'c', 'd', 'e', 'f']) await apply(mesh, many(name));
    // One snapshot of the last state is 12 MB; five waiting ones would be 40 MB and more.
    expect(process.memoryUsage().rss - before).toBeLessThan(250e6);
    for (let s = 0; s < 8; s++) mesh.clock.advance(5_000);
    socket.resume();
    await once(socket, 'close');
  });
});

describe('a report', () => {
  test('acknowledges: stale before, synced after', async () => {
    const mesh = await createMesh();
    const checkout = await mesh.enrol('checkout');
    const { revision } = await watch(checkout).snapshot();
    expect((await statusOf(mesh, checkout)).sync).toBe('stale');
    await report(checkout, revision);
    expect(await statusOf(mesh, checkout)).toMatchObject({
      ...{ sync: 'synced', revision, wanted: revision, connections: { inbound: 1, outbound: 2 } },
      ...{ advertise: '127.0.0.1:15008', version: '0.1.0', service: 'spiffe://example.org/checkout' },
    });
  });

  test('K5: refuses: status shows the reason', async () => {
    const mesh = await createMesh();
    const checkout = await mesh.enrol('checkout');
    const stream = watch(checkout);
    const first = await stream.snapshot();
    await apply(mesh, policy('mine', 'payments', 'checkout'));
    const second = await stream.snapshot();
    await report(checkout, first.revision, { refused: { revision: second.revision, reason: 'the port is taken' } });
    expect(await statusOf(mesh, checkout)).toMatchObject({ sync: 'refused', refusal: 'the port is taken' });
    expect(await mesh.events('snapshot')).toMatchObject([{ outcome: 'refused', actor: checkout.service }]);
  });

  test('keeps the lease: without it an instance leaves discovery, with it comes back', async () => {
    const mesh = await createMesh();
    const [payments, checkout] = [await mesh.enrol('payments'), await mesh.enrol('checkout')];
    await apply(mesh, policy('mine', 'payments', 'checkout'));
    await report(payments, 1);
    const stream = watch(checkout);
    const count = async () => (await stream.snapshot()).services[0]?.endpoints.length;
    expect(await count()).toBe(1);
    mesh.clock.advance(14_000);
    await report(payments, 1);
    mesh.clock.advance(14_000);
    expect((await statusOf(mesh, payments)).sync).not.toBe('gone');
    mesh.clock.advance(2_000);
    expect(await count()).toBe(0);
    expect((await statusOf(mesh, payments)).sync).toBe('gone');
    await report(payments, 1);
    expect(await count()).toBe(1);
    await report(payments, 1, { state: 'draining' });
    expect(await count()).toBe(0);
  });

  test('an instance that enrolled but does not serve yet is not in discovery', async () => {
    const mesh = await createMesh();
    const [, checkout] = [await mesh.enrol('payments'), await mesh.enrol('checkout')];
    await apply(mesh, policy('mine', 'payments', 'checkout'));
    expect((await watch(checkout).snapshot()).services[0]?.endpoints).toEqual([]);
  });

  test('after a restart the instances that were alive are still found, and leave when they stay away', async () => {
    const mesh = await createMesh();
    const [payments, checkout] = [await mesh.enrol('payments'), await mesh.enrol('checkout')];
    await apply(mesh, policy('mine', 'payments', 'checkout'));
    await report(payments, 1);
    await mesh.restart();
    const stream = watch({ channel: mesh.channel(checkout.identity) });
    expect((await stream.snapshot()).services[0]?.endpoints).toHaveLength(1);
    mesh.clock.advance(16_000);
    expect((await stream.snapshot()).services[0]?.endpoints).toHaveLength(0);
  });
});

describe('a ban', () => {
  test('T26: cuts the live connection of the banned, tells the others, and takes its endpoints away', async () => {
    const mesh = await createMesh();
    const [payments, checkout] = [await mesh.enrol('payments'), await mesh.enrol('checkout')];
    await apply(mesh, policy('mine', 'payments', 'checkout'));
    await report(payments, 1);
    const [banned, other] = [watch(payments), watch(checkout)];
    await banned.snapshot();
    expect((await other.snapshot()).services[0]?.endpoints).toHaveLength(1);
    await mesh.admin.call({ method: 'POST', path: '/v1/bans', body: { version: 1, id: 'payments', reason: 'test' } });
    await expect(banned.next()).rejects.toMatchObject({ code: 'CONTROL_UNREACHABLE' });
    const told = await other.snapshot();
    expect(told.bans.ids).toEqual(['spiffe://example.org/payments']);
    expect(told.services[0]?.endpoints).toEqual([]);
    await mesh.admin.call({ method: 'POST', path: '/v1/unbans', body: { version: 1, id: 'payments' } });
    const after = await other.snapshot();
    expect([after.bans.ids, after.services[0]?.endpoints.length]).toEqual([[], 1]);
    expect((await mesh.events('ban'))[0]).toMatchObject({
      outcome: 'done',
      actor: 'spiffe://example.org/postern/admin/ada',
    });
  });

  test('of a serial takes that instance out of discovery', async () => {
    const mesh = await createMesh();
    const [payments, checkout] = [await mesh.enrol('payments'), await mesh.enrol('checkout')];
    await apply(mesh, policy('mine', 'payments', 'checkout'));
    await report(payments, 1);
    const other = watch(checkout);
    await other.snapshot();
    const { serial } = payments.identity;
    await mesh.admin.call({ method: 'POST', path: '/v1/bans', body: { version: 1, serial } });
    const told = await other.snapshot();
    expect([told.bans.serials, told.services[0]?.endpoints]).toEqual([[serial], []]);
  });

  test('cannot shut out the admin who makes it', async () => {
    const mesh = await createMesh();
    const { serial, id } = mesh.adminIdentity;
    for (const target of [{ serial }, { id: id.uri }]) {
      const ban = mesh.admin.call({ method: 'POST', path: '/v1/bans', body: { version: 1, ...target } });
      await expect(ban).rejects.toMatchObject({ code: 'BAN_SELF' });
    }
  });
});

test('T26: a connection ends when the identity that opened it does', async () => {
  const mesh = await createMesh();
  const checkout = await mesh.enrol('checkout');
  const stream = watch(checkout);
  await stream.snapshot();
  mesh.clock.advance(3_600_001);
  await expect(stream.next()).rejects.toMatchObject({ code: 'CONTROL_UNREACHABLE' });
});
