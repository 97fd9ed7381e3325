// `postern describe`, `status` and `proxy dump` of a mesh that runs: what they say is what is there.
import { expect, test } from 'vitest';
import type { StatusReply } from '#wire';
import { callThrough, policyFor, startApp, startLiveMesh } from '../helpers/live-mesh.ts';
import { eventually } from '../helpers/until.ts';

const routes = {
  kind: 'VirtualService',
  name: 'payments',
  hosts: ['payments'],
  http: [
    {
      match: [
        { path: { prefix: '/v2' }, headers: { 'x-beta': '1', authorization: 'Bearer s3cret' }, from: ['checkout'] },
      ],
      route: [
        { cluster: 'payments', subset: 'v2', weight: 90 },
        { cluster: 'payments', weight: 10 },
      ],
      headers: { request: { set: { 'x-api-key': 's3cret' } } },
      timeout: '2s',
    },
    { route: [{ cluster: 'payments' }] },
  ],
};
const cluster = {
  kind: 'Cluster',
  name: 'payments',
  endpoints: 'enrolled',
  subsets: { v2: { labels: { version: 'v2' } } },
  loadBalancing: { policy: 'round-robin' },
};

async function build() {
  const live = await startLiveMesh();
  const payments = await live.sidecar('payments', { app: await startApp(), labels: { version: 'v2' } });
  const checkout = await live.sidecar('checkout');
  const group = { kind: 'Group', name: 'ops', members: ['batch'] };
  await live.apply(policyFor('payments', ['checkout', 'group:ops']), group, routes, cluster);
  await eventually(
    () => callThrough(checkout, { host: 'payments', path: '/x' }),
    (status) => status === 200,
  );
  return { live, payments, checkout };
}

test('a service is described: who it is, where it runs, its routes and settings, who may call it and whom it may call', async () => {
  const { live, payments, checkout } = await build();
  const { code, stdout, stderr } = await live.run('describe', 'payments');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^payments {3}spiffe:\/\/example\.org\/payments\n/);
  expect(stdout).toContain('1 live, with 1 valid certificate\n');
  expect(stdout).toMatch(new RegExp(`${payments.instance} +synced +\\d+ .* ${payments.addresses.inbound} `));
  expect(stdout).toMatch(
    /payments +payments +0 +path \/v2\/\*\*, header x-beta is "1", header authorization .*from checkout +to 90% payments\/v2, 10% payments; timeout 2s/,
  );
  expect(stdout).toMatch(/loadBalancing\.policy +round-robin +declared\n/);
  expect(stdout).toMatch(/circuitBreaker\.maxRequests +1024 +default\n/);
  expect(stdout).toMatch(/allow +payments-access\/calls +checkout, group:ops \(batch\) +GET/);
  expect(stderr).toContain('next: postern route');

  const caller = (await live.run('describe', 'checkout')).stdout;
  expect(caller).toMatch(/Who may call it\n {2}nobody/);
  expect(caller).toMatch(/allow +payments-access\/calls +payments +GET/);
  expect(caller).toContain('defaults: nothing is declared');

  expect((await live.run('describe', payments.instance)).stdout).toMatch(/^payments {3}/);
  const whole = (await live.run('describe', 'spiffe://example.org/payments', '-o', 'json')).json();
  expect(whole).toMatchObject({
    version: 1,
    id: 'spiffe://example.org/payments',
    isEnrolled: true,
    proxies: [{ instance: payments.instance, connected: true, state: 'serving', labels: { version: 'v2' } }],
    certificates: [{ instance: payments.instance, banned: false }],
    policy: { to: [{ id: 'calls' }], from: [] },
  });
  expect(checkout.service).toBe('spiffe://example.org/checkout');
});

test('a service that is not there is told with the nearest, and one that was never enrolled is known by what is declared', async () => {
  const { live } = await build();
  const unknown = await live.run('describe', 'paymnts');
  expect(unknown).toMatchObject({ code: 4, stdout: '', stderr: expect.stringContaining('did you mean payments?') });
  const declared = await live.run('describe', 'batch');
  expect(declared).toMatchObject({ code: 4 });
  await live.apply(policyFor('batch', ['checkout']));
  expect((await live.run('describe', 'batch')).stdout).toContain('never enrolled');
});

test('a service outside the mesh is described by what is declared of it: where it is, how it is called, who may', async () => {
  const { live } = await build();
  const stripe = {
    ...{ kind: 'Cluster', name: 'stripe', hosts: ['api.stripe.test'], endpoints: { static: ['10.0.0.1:443'] } },
    ...{ tls: { sni: 'api.stripe.test' }, outlierDetection: { consecutive5xx: 3 } },
  };
  await live.apply(stripe, policyFor('stripe', ['payments']));
  const { code, stdout } = await live.run('describe', 'stripe');
  expect(code).toBe(0);
  expect(stdout).toMatch(/called as +api\.stripe\.test\n/);
  expect(stdout).toMatch(/Outside the mesh\n {2}10\.0\.0\.1:443\n {2}callers call it themselves, by TLS/);
  expect(stdout).toMatch(/outlierDetection\.consecutive5xx +3 +declared\n/);
  expect(stdout).toMatch(/tls\.sni +api\.stripe\.test +declared\n/);
  expect(stdout).toMatch(/allow +stripe-access\/calls +payments +GET/);
  expect(stdout).not.toContain('Certificates');
});

test('refusals are counted and a ban is said out loud', async () => {
  const { live, checkout } = await build();
  expect(await callThrough(checkout, { host: 'payments', path: '/x', method: 'DELETE' })).toBe(403);
  const report = () => live.run('describe', 'payments', '-o', 'json');
  const counted = await eventually(report, (one) => (one.json().denials as { called: number }).called > 0);
  expect(counted.stderr).toBe('');
  await live.mesh.admin.call({
    method: 'POST',
    path: '/v1/bans',
    body: { version: 1, id: 'checkout', reason: 'lost' },
  });
  const { stdout, stderr } = await live.run('describe', 'checkout');
  expect(stdout).toMatch(/identity +banned by spiffe:\/\/example.org\/postern\/admin\/ada .*: lost/);
  expect(stderr).toContain('checkout is banned');
});

test('status is 0 while all is well, 3 when a proxy is not, and waits for that when told to', async () => {
  const { live, checkout } = await build();
  expect(await live.run('status', '--wait', '20s')).toMatchObject({ code: 0 });
  expect((await live.run('status', 'payments', '-o', 'json')).json<StatusReply>().proxies).toHaveLength(1);
  expect((await live.run('status', 'payments', '-o', 'wide')).stdout).toMatch(/ZONE +WEIGHT +LABELS .*\n.*version=v2/);
  const proxies = async () => (await live.run('status', '-o', 'json')).json<StatusReply>().proxies;
  await checkout.close();
  const left = await eventually(proxies, (all) => all.some(({ sync }) => sync === 'left' || !all[0]?.connected));
  expect(left.find(({ instance }) => instance === checkout.instance)).toMatchObject({ state: 'draining' });
});

test('a proxy that refused a configuration is not well', async () => {
  const { live } = await build();
  const batch = await live.mesh.enrol('batch');
  const report = {
    ...{
      version: 1,
      revision: 1,
      refused: { revision: 2, reason: 'the port is taken' },
      notAfter: batch.identity.notAfter,
    },
    ...{ connections: { inbound: 0, outbound: 0 }, state: 'serving', health: 'unhealthy' },
  };
  await batch.channel.call({ method: 'POST', path: '/v1/proxy/report', body: report });
  const { code, stdout, stderr } = await live.run('status', '--wait', '300ms');
  expect(code).toBe(3);
  expect(stdout).toMatch(/batch +\S+ +refused .* unhealthy/);
  expect(stderr).toContain(`${batch.instance} refused revision`);
  expect(stderr).toContain('the port is taken');
  expect(stderr).toContain('finds the application beside it unhealthy');
});

test('a proxy says what it holds, by way of the control plane and on its own machine, and no secret is among it', async () => {
  const { live, payments, checkout } = await build();
  const { code, stdout } = await live.run('proxy', 'dump', 'checkout');
  expect(code).toBe(0);
  expect(stdout).toMatch(new RegExp(`^checkout {3}${checkout.instance} {3}\\S+ {3}serving\n`));
  expect(stdout).toMatch(/payments +payments +\d+ +1\n/);
  expect(stdout).toMatch(
    new RegExp(`payments +0 +${payments.addresses.inbound} +${payments.instance} +- +1 +0 +healthy`),
  );
  expect(stdout).toMatch(/payments +payments +0 +path \/v2\/\*\*, .* to 90% payments\/v2, 10% payments; timeout 2s/);

  const whole = await live.run('proxy', 'dump', payments.instance, '-o', 'json');
  const { proxies } = whole.json<{ proxies: { instance: string; dump: Record<string, Record<string, unknown>> }[] }>();
  expect(proxies).toHaveLength(1);
  expect(proxies[0]!.dump.status).toMatchObject({ instance: payments.instance, ready: true });
  expect(proxies[0]!.dump.dataPlane).toMatchObject({ peers: [{ peer: { id: 'spiffe://example.org/checkout' } }] });
  const local = await live.run('proxy', 'dump', '--admin', payments.addresses.admin, '-o', 'json');
  expect(local.json<{ proxies: unknown[] }>().proxies).toMatchObject([{ instance: payments.instance }]);
  const page = await (await fetch(`http://${checkout.addresses.admin}/clusters`)).json();
  expect(page).toMatchObject([{ name: 'payments', endpoints: [{ instance: payments.instance, health: 'healthy' }] }]);
  for (const { stdout: text } of [whole, local, await live.run('proxy', 'dump', 'checkout', '-o', 'json')])
    expect(text).not.toMatch(/s3cret|PRIVATE KEY/);
});

test.runIf(process.platform === 'linux')(
  'of a proxy with several threads each cluster is shown once, with the sum of them',
  async () => {
    const { live } = await build();
    const batch = await live.sidecar('batch', { workers: 2 });
    await live.apply(policyFor('payments', ['checkout', 'batch']));
    await eventually(
      () => callThrough(batch, { host: 'payments', path: '/x' }),
      (status) => status === 200,
    );
    const whole = await live.run('proxy', 'dump', 'batch', '-o', 'json');
    const [only] = whole.json<{ proxies: { dump: { dataPlane: { clusters: object[]; workers: object[] } } }[] }>()
      .proxies;
    expect(only!.dump.dataPlane.clusters).toMatchObject([{ name: 'payments', endpoints: [{ health: 'healthy' }] }]);
    expect(only!.dump.dataPlane.workers).toHaveLength(2);
  },
);

test('a proxy that is not connected, or does not answer, is told and ends with 5', async () => {
  const { live, checkout } = await build();
  await live.mesh.enrol('silent');
  expect(await live.run('proxy', 'dump', 'silent')).toMatchObject({
    code: 5,
    stderr: expect.stringContaining('is not connected'),
  });
  expect(await live.run('proxy', 'dump', 'chekout')).toMatchObject({
    code: 4,
    stderr: expect.stringContaining('checkout?'),
  });
  expect(await live.run('proxy', 'dump')).toMatchObject({ code: 2 });
  await checkout.close();
  expect(await live.run('proxy', 'dump', '--admin', checkout.addresses.admin)).toMatchObject({
    code: 5,
    stderr: expect.stringContaining('[CLI_ADMIN_UNREACHABLE]'),
  });
});
