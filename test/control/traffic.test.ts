// Which clusters, virtual services and instances a proxy is told of, and that a change of them costs no more than itself.
import { describe, expect, test } from 'vitest';
import { check } from '#base/schema';
import { type Snapshot, type SnapshotChange, snapshotChange, snapshotSchema, type WatchEvent } from '#wire';
import { applyChange } from '../../proxy/agent/change.ts';
import { createMesh, type Mesh, type MeshProxy, someFacts, watch } from '../helpers/control-plane.ts';

const idOf = (service: string): string => `spiffe://example.org/${service}`;
const allow = (to: string | string[], from: string, name = `${from}-${[to].flat().join('-').replace('*', 'any')}`) => ({
  kind: 'Policy',
  name,
  to,
  rules: [{ id: 'r', effect: 'allow', from: [from] }],
});
const cluster = (name: string, more: object = {}) => ({ kind: 'Cluster', name, endpoints: 'enrolled', ...more });
const virtualService = (name: string, more: object = {}) => ({
  ...{ kind: 'VirtualService', name, hosts: [name], http: [{ route: [{ cluster: name }] }] },
  ...more,
});
const apply = (mesh: Mesh, ...resources: object[]) =>
  mesh.admin.call<{ revision: number }>({
    method: 'POST',
    path: '/v1/resources',
    body: { version: 1, resources: resources.map((resource) => ({ resource })) },
  });
const report = (proxy: MeshProxy, more: object = {}) =>
  proxy.channel.call({
    method: 'POST',
    path: '/v1/proxy/report',
    body: {
      ...{ version: 1, revision: 0, notAfter: proxy.identity.notAfter, state: 'serving' },
      ...{ connections: { inbound: 0, outbound: 0 }, ...more },
    },
  });
async function serving(mesh: Mesh, service: string, port: number, facts: object = {}): Promise<MeshProxy> {
  const proxy = await mesh.enrol(service, { advertise: `127.0.0.1:${port}`, ...facts });
  await report(proxy);
  return proxy;
}
const names = (entries: readonly { readonly name: string }[] = []): string[] => entries.map(({ name }) => name);
const placesOf = ({ services }: Snapshot, service: string): string[] | undefined =>
  services.find(({ id }) => id === idOf(service))?.endpoints.map(({ address }) => address);

/** A listener that takes changes, and holds what they make of its snapshot. */
function follow(proxy: Pick<MeshProxy, 'channel'>) {
  const stream = watch(proxy, 0, true);
  let held: Snapshot | undefined;
  return {
    get held() {
      return held!;
    },
    /** The next event, taken as a proxy takes it. */
    async next(): Promise<WatchEvent> {
      const event = await stream.next();
      if (event?.type === 'snapshot') held = event.snapshot;
      else if (event?.type === 'change') {
        expect(check(snapshotChange, event.change)).toEqual([]);
        held = applyChange(held!, event.change);
        expect(held, 'the change fits').toBeDefined();
      }
      return event!;
    },
    async change(): Promise<SnapshotChange> {
      const event = await this.next();
      if (event.type !== 'change') throw new Error(`expected a change, got ${JSON.stringify(event).slice(0, 300)}`);
      return event.change;
    },
  };
}

describe('a proxy is told of', () => {
  test('virtual services that it may call, the clusters these lead to, and its own; of nothing else', async () => {
    const mesh = await createMesh();
    const web = await mesh.enrol('web');
    await serving(mesh, 'payments', 4001);
    await serving(mesh, 'ledger', 4002);
    await serving(mesh, 'billing', 4003);
    await apply(
      mesh,
      allow('payments', 'web'),
      allow('billing', 'ledger'),
      cluster('payments', { subsets: { v2: { labels: { version: 'v2' } } } }),
      cluster('billing'),
      cluster('web', { circuitBreaker: { maxRequests: 7 } }),
      virtualService('payments', {
        http: [
          { match: [{ path: { prefix: '/old' } }], route: [{ cluster: 'ledger' }] },
          { route: [{ cluster: 'payments' }] },
        ],
      }),
      virtualService('billing'),
      virtualService('front', { service: 'web', hosts: ['front.example'], http: [{ route: [{ cluster: 'web' }] }] }),
      { kind: 'Mesh', name: 'mesh', outboundPolicy: 'allow-any' },
    );
    const snapshot = await watch(web).snapshot();
    expect(check(snapshotSchema, snapshot)).toEqual([]);
    expect(names(snapshot.virtualServices)).toEqual(['front', 'payments']);
    expect(names(snapshot.clusters)).toEqual(['payments', 'web']);
    expect(snapshot.mesh).toEqual({ outboundPolicy: 'allow-any' });
    expect(placesOf(snapshot, 'payments')).toEqual(['127.0.0.1:4001']);
    // Its routes lead there, and no policy lets it call there: it is told that there is such a service, and not where.
    expect(placesOf(snapshot, 'ledger')).toEqual([]);
    expect(placesOf(snapshot, 'billing')).toBeUndefined();
  });

  test('where instances are of a service that a route leads to, once a policy lets it call that service', async () => {
    const mesh = await createMesh();
    await serving(mesh, 'ledger', 4002);
    const web = follow(await mesh.enrol('web'));
    await apply(
      mesh,
      allow('payments', 'web'),
      virtualService('payments', { http: [{ route: [{ cluster: 'ledger' }] }] }),
    );
    await web.next();
    expect(placesOf(web.held, 'ledger')).toEqual([]);
    await apply(mesh, allow('ledger', 'web'));
    expect((await web.next()).type).toBe('snapshot');
    expect(placesOf(web.held, 'ledger')).toEqual(['127.0.0.1:4002']);
  });

  test('clusters outside the mesh that policies let it call by their service, and no instances of them', async () => {
    const mesh = await createMesh();
    const outside = { endpoints: { static: ['192.0.2.1:443'] }, tls: {}, hosts: ['api.stripe.com'] };
    await apply(
      mesh,
      allow('stripe', 'web'),
      cluster('stripe', outside),
      cluster('other', outside.endpoints && { ...outside, hosts: ['other.example'] }),
    );
    const snapshot = await watch(await mesh.enrol('web')).snapshot();
    expect(names(snapshot.clusters)).toEqual(['stripe']);
    expect(snapshot.clusters?.[0]).toMatchObject({ id: idOf('stripe'), hosts: ['api.stripe.com'] });
    expect(snapshot.services).toEqual([]);
  });

  test('a pattern in a policy means declared services as well as enrolled ones', async () => {
    const mesh = await createMesh();
    const outside = { endpoints: { dns: 'stripe.example:443' }, tls: {}, hosts: ['stripe.example'] };
    await apply(
      mesh,
      allow('*', 'web'),
      cluster('stripe', outside),
      virtualService('shop', { http: [{ route: [{ cluster: 'stripe' }] }] }),
    );
    const snapshot = await watch(await mesh.enrol('web')).snapshot();
    expect(names(snapshot.clusters)).toEqual(['stripe']);
    expect(names(snapshot.virtualServices)).toEqual(['shop']);
  });

  test('the gateway on the way to a cluster, as a caller; and as that gateway, of the cluster and who may call it', async () => {
    const mesh = await createMesh();
    await serving(mesh, 'egress', 4009);
    const outside = { endpoints: { static: ['192.0.2.1:443'] }, tls: {}, hosts: ['stripe.example'], via: 'egress' };
    await apply(mesh, allow('stripe', 'web'), allow('other', 'web'), cluster('stripe', outside));
    const caller = await watch(await mesh.enrol('web')).snapshot();
    expect(placesOf(caller, 'egress')).toEqual(['127.0.0.1:4009']);
    expect(caller.clusters).toMatchObject([{ name: 'stripe', gateway: idOf('egress') }]);
    const gateway = await watch(await mesh.enrol('egress')).snapshot();
    expect(names(gateway.clusters)).toEqual(['stripe']);
    expect(gateway.policy.rules.map(({ to }) => to)).toEqual([[idOf('stripe')]]);
    const stranger = await watch(await mesh.enrol('stranger')).snapshot();
    expect([stranger.clusters, stranger.services, stranger.policy.rules]).toEqual([[], [], []]);
  });
});

describe('of an instance callers are told', () => {
  test('its zone and weight', async () => {
    const mesh = await createMesh();
    await serving(mesh, 'payments', 4001, { zone: 'eu-1a', weight: 3 });
    await apply(mesh, allow('payments', 'web'));
    const { services } = await watch(await mesh.enrol('web')).snapshot();
    expect(services[0]?.endpoints).toMatchObject([{ zone: 'eu-1a', weight: 3 }]);
  });

  test('that it is unhealthy, at once, and that it is not any more', async () => {
    const mesh = await createMesh();
    const payments = await serving(mesh, 'payments', 4001);
    await apply(mesh, allow('payments', 'web'));
    const web = follow(await mesh.enrol('web'));
    await web.next();
    await report(payments, { health: 'unhealthy' });
    await web.change();
    expect(web.held.services[0]?.endpoints).toMatchObject([{ address: '127.0.0.1:4001', unhealthy: true }]);
    await report(payments, { health: 'healthy' });
    await web.change();
    expect(web.held.services[0]?.endpoints[0]).not.toHaveProperty('unhealthy');
  });

  test('C10: health that flaps is told so often only; that it is gone always', async () => {
    const mesh = await createMesh({ limits: { newsPerInstance: { burst: 3, perSecond: 0.2 } } });
    const payments = await serving(mesh, 'payments', 4001);
    for (let turn = 0; turn < 2; turn++) {
      await report(payments, { health: 'unhealthy' });
      await report(payments, { health: 'healthy' });
    }
    await report(payments, { health: 'unhealthy' });
    await expect(report(payments, { health: 'healthy' })).rejects.toMatchObject({ code: 'REQUEST_TOO_MANY' });
    await report(payments, { health: 'unhealthy' });
  });
});

describe('a change', () => {
  test('of one endpoint is that endpoint, however many there are', async () => {
    const mesh = await createMesh();
    const many = await Promise.all(Array.from({ length: 20 }, (_, nth) => serving(mesh, 'payments', 4_000 + nth)));
    await serving(mesh, 'ledger', 5_000);
    await apply(mesh, allow(['payments', 'ledger'], 'web'), cluster('payments'), virtualService('payments'));
    const web = follow(await mesh.enrol('web'));
    await web.next();
    const before = web.held;
    await report(many[7]!, { facts: { ...someFacts, advertise: '127.0.0.1:4999' } });
    const change = await web.change();
    expect(change).toEqual({
      from: before.revision,
      revision: expect.any(Number),
      endpoints: [
        {
          id: idOf('payments'),
          put: [{ instance: many[7]!.instance, address: '127.0.0.1:4999', labels: {} }],
          gone: [],
        },
      ],
    });
    await report(many[3]!, { state: 'draining' });
    expect((await web.change()).endpoints).toEqual([{ id: idOf('payments'), put: [], gone: [many[3]!.instance] }]);
    expect(placesOf(web.held, 'payments')).toHaveLength(19);
    expect(web.held.policy).toBe(before.policy);
  });

  test('of a cluster or a virtual service is that one, and leaves the policy alone', async () => {
    const mesh = await createMesh();
    await serving(mesh, 'payments', 4001);
    await apply(mesh, allow(['payments', 'shop'], 'web'), cluster('payments'), virtualService('payments'));
    const web = follow(await mesh.enrol('web'));
    await web.next();
    const { policy } = web.held;
    await apply(mesh, virtualService('shop', { http: [{ route: [{ cluster: 'payments' }] }] }));
    expect(Object.keys(await web.change())).toEqual(['from', 'revision', 'virtualServices']);
    await apply(mesh, cluster('payments', { circuitBreaker: { maxRequests: 9 } }));
    expect((await web.change()).clusters?.put).toMatchObject([
      { name: 'payments', circuitBreaker: { maxRequests: 9 } },
    ]);
    await mesh.admin.call({ method: 'DELETE', path: '/v1/resources/VirtualService/shop' });
    expect((await web.change()).virtualServices).toEqual({ put: [], gone: ['shop'] });
    expect(web.held.policy).toBe(policy);
    expect(names(web.held.virtualServices)).toEqual(['payments']);
  });

  test('reaches nobody whom it does not concern', async () => {
    const mesh = await createMesh();
    const payments = await serving(mesh, 'payments', 4001);
    await apply(mesh, allow('payments', 'web'), allow('ledger', 'books'));
    const books = follow(await mesh.enrol('books'));
    await books.next();
    await apply(mesh, cluster('payments'), virtualService('payments'));
    await report(payments, { facts: { ...someFacts, advertise: '127.0.0.1:4777' } });
    await apply(mesh, allow('later', 'books'));
    const event = await books.next();
    expect(event.type).toBe('snapshot');
    expect(books.held.policy.rules.map(({ policy }) => policy).sort()).toEqual(['books-later', 'books-ledger']);
  });

  test('of policy, bans or the mesh is a whole snapshot', async () => {
    const mesh = await createMesh();
    const web = follow(await mesh.enrol('web'));
    await web.next();
    await apply(mesh, allow('payments', 'web'));
    expect((await web.next()).type).toBe('snapshot');
    await apply(mesh, { kind: 'Mesh', name: 'mesh', outboundPolicy: 'allow-any' });
    expect((await web.next()).type).toBe('snapshot');
    await mesh.admin.call({ method: 'POST', path: '/v1/bans', body: { version: 1, id: idOf('evil') } });
    expect((await web.next()).type).toBe('snapshot');
    expect(web.held.bans.ids).toEqual([idOf('evil')]);
  });

  test('makes the same snapshot, whatever changes, as one who asks anew is sent whole', async () => {
    const mesh = await createMesh();
    const proxies: Record<string, MeshProxy> = {};
    const at = (nth: number): string => ['alpha', 'beta', 'gamma'][nth % 3]!;
    for (let nth = 0; nth < 6; nth++) proxies[`${at(nth)}-${nth}`] = await serving(mesh, at(nth), 4_000 + nth);
    await apply(mesh, allow('*', 'web'));
    const asker = await mesh.enrol('web');
    const web = follow(asker);
    await web.next();
    const all = Object.values(proxies);
    const steps: (() => Promise<unknown>)[] = [
      () => report(all[0]!, { facts: { ...someFacts, advertise: '127.0.0.1:6000', labels: { version: 'v2' } } }),
      () =>
        apply(
          mesh,
          cluster('beta'),
          virtualService('beta'),
          virtualService('aaa', { http: [{ route: [{ cluster: 'gamma' }] }] }),
        ),
      () => report(all[1]!, { state: 'draining' }),
      () => report(all[4]!, { state: 'draining' }),
      () => serving(mesh, 'delta', 7_000),
      () =>
        apply(
          mesh,
          cluster('alpha'),
          cluster('zeta', { endpoints: { static: ['192.0.2.9:1'] }, plaintext: true, hosts: ['zeta.example'] }),
        ),
      () => report(all[1]!, { health: 'unhealthy' }),
      () => report(all[2]!, { facts: { ...someFacts, appPort: 9_999 } }),
      () => mesh.admin.call({ method: 'DELETE', path: '/v1/resources/VirtualService/aaa' }),
    ];
    for (const step of steps) {
      const { revision } = web.held;
      await step();
      while (web.held.revision === revision) await web.next();
    }
    const fresh = await watch({ channel: mesh.channel(asker.identity) }).snapshot();
    while (web.held.revision < fresh.revision) await web.next();
    const { policy, ...rest } = web.held;
    expect(rest).toEqual({ ...fresh, policy: undefined });
    expect({ ...policy, revision: 0 }).toEqual({ ...fresh.policy, revision: 0 });
  });
});

describe('what is applied', () => {
  const remove = (mesh: Mesh, kind: string, name: string) =>
    mesh.admin.call({ method: 'DELETE', path: `/v1/resources/${kind}/${name}` });
  const problemsOf = (work: Promise<unknown>): Promise<readonly string[]> =>
    work.then(
      () => [],
      (thrown: { readonly problems: readonly { readonly message: string }[] }) =>
        thrown.problems.map(({ message }) => message),
    );

  test('K4: unknown fields, kinds, clusters, subsets and weights: every problem at once, and the last good state stays', async () => {
    const mesh = await createMesh();
    const web = follow(await mesh.enrol('web'));
    await apply(mesh, allow(['payments', 'shop'], 'web'), cluster('payments'), virtualService('payments'));
    while ((web.held?.clusters ?? []).length === 0) await web.next();
    const { revision } = web.held;
    const good = allow('ledger', 'web');
    const shapes = await problemsOf(
      apply(
        mesh,
        good,
        cluster('payments', { subset: {} }),
        { kind: 'Clutser', name: 'x' },
        virtualService('a', { http: [{ timeout: 3 }] }),
      ),
    );
    expect(shapes).toEqual([
      expect.stringContaining('Cluster payments: /subset unknown key "subset"'),
      'Clutser x: the kind is not known',
      expect.stringContaining('VirtualService a: /http/0/timeout must be a'),
    ]);
    const meanings = await problemsOf(
      apply(
        mesh,
        good,
        virtualService('payments', {
          http: [
            { match: [{ path: { prefix: '/a' } }], route: [{ cluster: 'payments', subset: 'v9' }] },
            { match: [{ path: { prefix: '/b' } }], route: [{ cluster: 'nowhere' }] },
            {
              route: [
                { cluster: 'payments', weight: 0 },
                { cluster: 'payments', weight: 0 },
              ],
            },
          ],
        }),
        virtualService('thief', { hosts: ['payments'] }),
      ),
    );
    for (const words of [/no subset v9/, /no cluster and no service nowhere/, /sum to 0/, /also claimed by/])
      expect(
        meanings.filter((text) => words.test(text)),
        String(words),
      ).toHaveLength(1);
    // Nothing of either was taken: what comes next is the next good change.
    await apply(mesh, cluster('payments', { circuitBreaker: { maxRequests: 3 } }));
    expect((await web.change()).from).toBe(revision);
    expect(web.held.policy.rules).toHaveLength(1);
  });

  test('a cluster that a virtual service leads to cannot be deleted, and it is said which; after that one it can', async () => {
    const mesh = await createMesh();
    const outside = cluster('stripe', { endpoints: { static: ['192.0.2.1:443'] }, tls: {}, hosts: ['stripe.example'] });
    await apply(
      mesh,
      allow('pay', 'web'),
      outside,
      virtualService('pay', { http: [{ route: [{ cluster: 'stripe' }] }] }),
    );
    expect(await problemsOf(remove(mesh, 'Cluster', 'stripe'))).toEqual([
      'VirtualService pay: route 0: there is no cluster and no service stripe',
    ]);
    await expect(remove(mesh, 'Cluster', 'stripe')).rejects.toMatchObject({
      problems: [{ hint: 'Cluster stripe is needed here: take this out first, then delete it' }],
    });
    await remove(mesh, 'VirtualService', 'pay');
    await remove(mesh, 'Cluster', 'stripe');
  });

  test('a dry run says what an updated one was and would be, and changes nothing', async () => {
    const mesh = await createMesh();
    await apply(mesh, allow('payments', 'web'), cluster('payments'));
    const resources = [cluster('payments', { circuitBreaker: { maxRequests: 3 } }), cluster('web')];
    const body = { version: 1, dryRun: true, resources: resources.map((resource) => ({ resource })) };
    const { changes } = await mesh.admin.call<{ changes: unknown }>({ method: 'POST', path: '/v1/resources', body });
    expect(changes).toEqual([
      { kind: 'Cluster', name: 'payments', change: 'updated', before: cluster('payments'), after: resources[0] },
      { kind: 'Cluster', name: 'web', change: 'created' },
    ]);
    const { resources: kept } = await mesh.admin.call<{ resources: readonly { resource: unknown }[] }>({
      method: 'GET',
      path: '/v1/resources?kind=Cluster',
    });
    expect(kept).toEqual([{ resource: cluster('payments') }]);
  });

  test('a rollback brings clusters and virtual services back as they were, as a change', async () => {
    const mesh = await createMesh();
    await serving(mesh, 'payments', 4001);
    const { revision } = await apply(mesh, allow('payments', 'web'), cluster('payments'), virtualService('payments'));
    const web = follow(await mesh.enrol('web'));
    await web.next();
    const { clusters, virtualServices } = web.held;
    await apply(
      mesh,
      cluster('payments', { circuitBreaker: { maxRequests: 3 } }),
      virtualService('other', {
        service: 'payments',
        hosts: ['o.example'],
        http: [{ route: [{ cluster: 'payments' }] }],
      }),
    );
    await web.change();
    await mesh.admin.call({ method: 'POST', path: '/v1/rollback', body: { version: 1, revision } });
    await web.change();
    expect([web.held.clusters, web.held.virtualServices]).toEqual([clusters, virtualServices]);
  });

  test('a token that nobody used holds up no later change, although a route leads to its service', async () => {
    const mesh = await createMesh();
    await mesh.token('cart');
    await apply(mesh, virtualService('shop', { hosts: ['shop.example'], http: [{ route: [{ cluster: 'cart' }] }] }));
    mesh.clock.advance(3_600_000 / 2);
    await apply(mesh, allow('payments', 'web'));
    const another = virtualService('more', { hosts: ['more.example'], http: [{ route: [{ cluster: 'trolley' }] }] });
    expect(await problemsOf(apply(mesh, another))).toHaveLength(1);
  });
});
