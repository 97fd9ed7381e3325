import { expect, test } from 'vitest';
import type { ClusterEntry } from '#wire';
import { startClusterCaller } from '../helpers/cluster-call.ts';
import { startApp, startRawApp } from '../helpers/mesh.ts';
import { eventually } from '../helpers/until.ts';

const outside = (more: Partial<ClusterEntry>): ClusterEntry => ({
  name: 'outside',
  id: 'spiffe://example.org/outside',
  endpoints: { static: ['127.0.0.1:1'] },
  hosts: ['outside.example'],
  plaintext: true,
  ...more,
});

test('a static plaintext cluster is called over HTTP/1.1, and its connection is used again', async () => {
  const app = await startApp((request, response) => response.end(`${request.method} ${request.headers.host}`));
  const caller = startClusterCaller();
  caller.configure({ clusters: [outside({ endpoints: { static: [`127.0.0.1:${app.port}`] } })] });
  expect(await caller.call('outside')).toMatchObject({ status: 200, body: 'GET outside.example' });
  expect(await caller.call('outside')).toMatchObject({ status: 200 });
  expect(app.accepts()).toBe(1);
});

test('what says who called does not leave, and the answer cannot speak as a proxy', async () => {
  let seen: Record<string, unknown> = {};
  const app = await startApp((request, response) => {
    seen = request.headers;
    response.setHeader('x-postern-decision', 'forged');
    response.setHeader('x-forwarded-client-cert', 'forged');
    response.setHeader('x-own', 'kept');
    response.end();
  });
  const caller = startClusterCaller();
  caller.configure({ clusters: [outside({ endpoints: { static: [`127.0.0.1:${app.port}`] } })] });
  const fields = ['x-postern-peer', 'spiffe://example.org/web', 'x-forwarded-client-cert', 'By=x', 'x-mine', '1'];
  const answer = await caller.call('outside', { fields });
  expect(Object.keys(seen).filter((name) => /postern|client-cert/.test(name))).toEqual([]);
  expect(seen['x-mine']).toBe('1');
  expect(answer.fields.filter((name) => /postern|client-cert/.test(name))).toEqual([]);
  expect(answer.fields).toContain('x-own');
});

test('a TCP cluster carries bytes as they are, and refuses HTTP requests', async () => {
  const app = await startRawApp((socket) => {
    socket.on('data', (bytes) => socket.write(`echo ${bytes}`));
    socket.on('end', () => socket.end());
  });
  const caller = startClusterCaller();
  caller.configure({ clusters: [outside({ endpoints: { static: [`127.0.0.1:${app.port}`] }, protocol: 'tcp' })] });
  expect(await caller.tunnel('outside', 'hello')).toBe('echo hello');
  await expect(caller.call('outside')).rejects.toMatchObject({ code: 'UPSTREAM_PROTOCOL_WRONG' });
});

test('an HTTP cluster refuses a tunnel', async () => {
  const app = await startApp((_, response) => response.end());
  const caller = startClusterCaller();
  caller.configure({ clusters: [outside({ endpoints: { static: [`127.0.0.1:${app.port}`] } })] });
  await expect(caller.tunnel('outside', 'hello')).rejects.toMatchObject({ code: 'UPSTREAM_PROTOCOL_WRONG' });
});

test('connections of a removed cluster end when what they carry has ended', async () => {
  let finish: (() => void) | undefined;
  const app = await startApp((_, response) => {
    response.write('one ');
    finish = () => response.end('two');
  });
  const caller = startClusterCaller();
  caller.configure({ clusters: [outside({ endpoints: { static: [`127.0.0.1:${app.port}`] } })] });
  const answer = caller.call('outside');
  await eventually(() => finish !== undefined, Boolean);
  caller.configure({ clusters: [] });
  expect(caller.clusters.get('outside')).toBeUndefined();
  expect(caller.upstreams.pools).toBe(0);
  finish!();
  expect((await answer).body).toBe('one two');
  await eventually(() => caller.live.count('upstream') === 0, Boolean);
});

test('a cluster of which an endpoint is gone keeps the connections to the others', async () => {
  const [one, other] = [
    await startApp((_, response) => response.end('one')),
    await startApp((_, response) => response.end('other')),
  ];
  const caller = startClusterCaller();
  const both = [`127.0.0.1:${one.port}`, `127.0.0.1:${other.port}`];
  caller.configure({ clusters: [outside({ endpoints: { static: both } })] });
  const answers = new Set<string>();
  while (answers.size < 2) answers.add((await caller.call('outside')).body);
  caller.configure({ clusters: [outside({ endpoints: { static: both.slice(1) } })] });
  await eventually(() => caller.live.count('upstream') === 1, Boolean);
  const accepted = other.accepts();
  expect((await caller.call('outside')).body).toBe('other');
  expect(other.accepts()).toBe(accepted);
});

test('an endpoint whose cluster is spoken to in another way is connected to anew', async () => {
  const app = await startApp((_, response) => response.end());
  const caller = startClusterCaller();
  const endpoints = { static: [`127.0.0.1:${app.port}`] };
  caller.configure({ clusters: [outside({ endpoints })] });
  await caller.call('outside');
  caller.configure({ clusters: [outside({ endpoints, circuitBreaker: { maxConnections: 2 } })] });
  await caller.call('outside');
  expect(app.accepts()).toBe(2);
});

test('the bounds of a cluster are those of its pools', async () => {
  const waiting: (() => void)[] = [];
  const app = await startApp((_, response) => waiting.push(() => response.end()));
  const caller = startClusterCaller();
  const endpoints = { static: [`127.0.0.1:${app.port}`] };
  caller.configure({ clusters: [outside({ endpoints, circuitBreaker: { maxConnections: 1, maxPending: 1 } })] });
  const first = caller.call('outside');
  await eventually(() => waiting.length === 1, Boolean);
  const second = caller.call('outside');
  await expect(caller.call('outside')).rejects.toMatchObject({ code: 'UPSTREAM_OVERLOADED' });
  waiting.shift()!();
  await first;
  await eventually(() => waiting.length === 1, Boolean);
  waiting.shift()!();
  await second;
  expect(app.accepts()).toBe(1);
});

test('a configuration that makes no sense changes nothing', async () => {
  const app = await startApp((_, response) => response.end());
  const caller = startClusterCaller();
  caller.configure({ clusters: [outside({ endpoints: { static: [`127.0.0.1:${app.port}`] } })] });
  const broken = outside({ name: 'second', endpoints: { static: ['127.0.0.1:99999'] } });
  expect(() => caller.configure({ clusters: [broken] })).toThrow(/99999/);
  expect(await caller.call('outside')).toMatchObject({ status: 200 });
});

test('a snapshot that says the same of a cluster costs it nothing, and one that says something else is taken', async () => {
  const app = await startApp((_, response) => response.end());
  const caller = startClusterCaller();
  const entry = outside({ endpoints: { static: [`127.0.0.1:${app.port}`] } });
  caller.configure({ clusters: [entry] });
  const cluster = caller.clusters.get('outside')!;
  const before = cluster.live.endpoints;
  caller.configure({ clusters: [entry] });
  expect(cluster.live.endpoints).toBe(before);
  caller.configure({ clusters: [{ ...entry, endpoints: { static: ['127.0.0.1:1'] } }] });
  expect(cluster.live.endpoints.map(({ address }) => address)).toEqual(['127.0.0.1:1']);
});

test('what is wrong with a cluster is there to be seen', async () => {
  const app = await startApp((_, response) => response.writeHead(500).end());
  const caller = startClusterCaller({ hostsFile: '/nowhere', nameServers: ['127.0.0.1:1'] });
  caller.configure({
    clusters: [
      outside({
        endpoints: { static: [`127.0.0.1:${app.port}`] },
        healthCheck: { http: { path: '/' }, interval: '100ms' },
      }),
      outside({ name: 'named', endpoints: { dns: 'shop.example:80' } }),
    ],
  });
  const described = await eventually(
    () => caller.clusters.describe(),
    ([one, other]) => Object.keys(one!.failing).length > 0 && other!.unresolved !== undefined,
  );
  expect(described).toMatchObject([
    { name: 'outside', failing: { [`127.0.0.1:${app.port}`]: 'it answered 500' } },
    { name: 'named', unresolved: 'shop.example cannot be resolved now', endpoints: [] },
  ]);
});
