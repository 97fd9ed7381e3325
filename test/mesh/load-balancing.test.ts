// Which instance gets a call: clusters as an operator writes them, through real sidecars. Exact shares are proved in test/routing; here, that each
// setting reaches the calls.
import { describe, expect, test } from 'vitest';
import type { ClusterState } from '#routing';
import { type Instances, open, startTraffic, type Traffic } from '../helpers/traffic.ts';
import { eventually } from '../helpers/until.ts';

const cluster = (more: string): string => `${open}kind: Cluster
name: payments
endpoints: enrolled
${more}
---
kind: VirtualService
name: payments
hosts: [payments]
http:
  - name: canary
    match: [{ path: { prefix: /canary } }]
    route: [{ cluster: payments, subset: canary }]
  - route: [{ cluster: payments }]
`;
const subsets = 'subsets: { canary: { labels: { version: v2 } } }';

async function startPayments(more: string, payments: Instances[string] = [{}, {}, {}, {}], o: { zone?: string } = {}) {
  const given = payments.map((one, at) => (at === 3 ? { ...one, labels: { version: 'v2' } } : one));
  return await startTraffic(cluster(`${subsets}\n${more}`), { payments: given }, o);
}

/** Which instances answer so many calls, by their number. */
async function answers(
  traffic: Traffic,
  calls: number,
  request: (at: number) => Parameters<Traffic['ask']>[0] = () => ({}),
) {
  const counts = new Map<number, number>();
  for (let at = 0; at < calls; at++) {
    const { status, body } = await traffic.ask(request(at));
    expect(status).toBe(200);
    const instance = Number(body.split('payments-')[1]?.split('\r')[0]);
    counts.set(instance, (counts.get(instance) ?? 0) + 1);
  }
  return counts;
}
const instances = (counts: ReadonlyMap<number, number>): number[] => [...counts.keys()].sort();

test('round robin gives each instance its turn, by weight, and none to a weight of 0', async () => {
  const traffic = await startPayments('loadBalancing: { policy: round-robin }');
  expect([...(await answers(traffic, 20)).values()]).toEqual([5, 5, 5, 5]);
  traffic.endpoint('payments', 0, { weight: 3 });
  traffic.endpoint('payments', 1, { weight: 0 });
  const counts = await answers(traffic, 20);
  expect([counts.get(1), counts.get(2)]).toEqual([expect.toSatisfy((count) => count >= 11 && count <= 13), undefined]);
});

test.each(['least-request', 'random', 'ewma'])('%s reaches every instance', async (policy) => {
  const traffic = await startPayments(`loadBalancing: { policy: ${policy} }`);
  // ewma keeps to those that were fast, unless several are busy.
  await Promise.all(Array.from({ length: 12 }, () => answers(traffic, 8)));
  expect(traffic.instances.payments!.map(({ seen }) => seen.length > 0)).toEqual([true, true, true, true]);
});

test('a subset gets what is routed to it, and nothing else is put in its place', async () => {
  const traffic = await startPayments('loadBalancing: { policy: round-robin }');
  expect(instances(await answers(traffic, 8, () => ({ path: '/canary/x' })))).toEqual([4]);
  traffic.endpoint('payments', 3, undefined);
  const refused = await traffic.ask({ path: '/canary/x' });
  expect([refused.status, refused.json().error.code]).toEqual([503, 'SERVICE_WITHOUT_ENDPOINTS']);
});

describe.each(['ring-hash', 'maglev'])('%s', (policy) => {
  test.each<[string, (user: string) => Parameters<Traffic['ask']>[0]]>([
    ['{ header: x-user }', (user) => ({ headers: [`X-User: ${user}`] })],
    ['{ cookie: session }', (user) => ({ headers: [`Cookie: theme=dark; session=${user}`] })],
    ['{ query: user }', (user) => ({ path: `/?page=1&user=${user}` })],
  ])('on %s, a user stays at one instance while it serves, and users are spread', async (hashOn, request) => {
    const traffic = await startPayments(`loadBalancing: { policy: ${policy}, hashOn: ${hashOn} }`);
    const homes: number[] = [];
    for (let user = 0; user < 16; user++) {
      const home = instances(await answers(traffic, 2, () => request(`user-${user}`)));
      expect(home).toHaveLength(1);
      homes.push(home[0]!);
    }
    expect(new Set(homes).size).toBeGreaterThan(1);
    const gone = homes[0]!;
    traffic.endpoint('payments', gone - 1, { unhealthy: true });
    for (const [user, home] of homes.entries()) {
      const now = instances(await answers(traffic, 1, () => request(`user-${user}`)));
      expect(now).toEqual(home === gone ? [expect.not.toSatisfy((each) => each === gone)] : [home]);
    }
    traffic.endpoint('payments', gone - 1, { unhealthy: undefined } as never);
    expect(instances(await answers(traffic, 1, () => request('user-0')))).toEqual([gone]);
  });

  test('whoever comes without the cookie is given one, and stays where it began', async () => {
    const traffic = await startPayments(`loadBalancing: { policy: ${policy}, hashOn: { cookie: session, ttl: 90m } }`);
    const homes = new Set<number>();
    for (let browser = 0; browser < 16; browser++) {
      const first = await traffic.ask();
      const [, cookie] = /set-cookie: (session=[0-9a-f]{16}); Path=\/; HttpOnly; SameSite=Lax; Max-Age=5400\r/.exec(
        `${first.head}\r`,
      ) ?? [first.head];
      const home = instances(await answers(traffic, 3, () => ({ headers: [`Cookie: a=b; ${cookie}`] })));
      expect(home).toEqual([Number(first.body.split('payments-')[1]?.split('\r')[0])]);
      homes.add(home[0]!);
    }
    expect(homes.size).toBeGreaterThan(1);
    const known = await traffic.ask({ headers: ['Cookie: session=mine'] });
    expect(known.head).not.toContain('set-cookie');
    for (const one of traffic.instances.payments!)
      one.answer = (_, response) => void response.setHeader('set-cookie', 'session=of-the-app').end('ok');
    const own = await traffic.ask();
    expect(own.head.match(/set-cookie: .*/g)).toEqual([expect.stringContaining('session=of-the-app')]);
  });

  test('on the source, one caller stays at one instance', async () => {
    for (const source of ['identity', 'address']) {
      const traffic = await startPayments(`loadBalancing: { policy: ${policy}, hashOn: { source: ${source} } }`);
      expect(instances(await answers(traffic, 12))).toHaveLength(1);
    }
  });
});

test('the own zone comes first, then those to fail over to in their order', async () => {
  const traffic = await startPayments(
    'loadBalancing: { policy: round-robin, zones: { failover: [eu-2] } }',
    [{ zone: 'eu-3' }, { zone: 'eu-1' }, { zone: 'eu-2' }, {}],
    { zone: 'eu-1' },
  );
  expect(instances(await answers(traffic, 8))).toEqual([2]);
  traffic.endpoint('payments', 1, { unhealthy: true });
  expect(instances(await answers(traffic, 8))).toEqual([3]);
  traffic.endpoint('payments', 2, undefined);
  expect(instances(await answers(traffic, 8))).toEqual([1, 4]);
});

test('an instance that is healthy again begins with a small share', async () => {
  const traffic = await startPayments('loadBalancing: { policy: round-robin, slowStart: 1h }');
  expect((await answers(traffic, 20)).get(1)).toBe(5);
  traffic.endpoint('payments', 0, { unhealthy: true });
  expect(instances(await answers(traffic, 6))).toEqual([2, 3, 4]);
  traffic.endpoint('payments', 0, { unhealthy: undefined } as never);
  expect((await answers(traffic, 60)).get(1) ?? 0).toBeLessThan(5);
});

test('an instance whose success rate stands out is left out', async () => {
  const traffic = await startPayments(
    `loadBalancing: { policy: round-robin }
outlierDetection: { consecutive5xx: 0, successRate: { minEndpoints: 3, minRequests: 10, stdevFactor: 1 }, interval: 100ms, maxEjected: 30% }`,
  );
  const bad = traffic.instances.payments![2]!;
  bad.answer = (_, response) => void response.writeHead(bad.seen.length % 2 ? 500 : 200).end();
  const [web, all] = [traffic.web.plane, traffic.instances.payments!];
  const call = async (): Promise<string | undefined> => {
    await Promise.all(all.map(() => traffic.ask()));
    const { clusters } = web.describe() as { clusters: (ClusterState & { name: string })[] };
    return clusters.find(({ name }) => name === 'payments')?.endpoints[2]?.ejectedWhy;
  };
  expect(await eventually(call, (why) => why !== undefined, { everyMs: 1 })).toMatch(
    /^success rate .* beside .* of all$/,
  );
  const before = bad.seen.length;
  expect(instances(await answers(traffic, 6))).toEqual([1, 2, 4]);
  expect(bad.seen.length).toBe(before);
});
