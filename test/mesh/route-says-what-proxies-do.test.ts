// `postern route` is asked, and then the call is made through real sidecars: what it says is what they do, and what it says of files is what it says of
// the mesh that these files make.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { DecisionRecord, RecordReply } from '#wire';
import { temporaryFolder } from '../helpers/folder.ts';
import { callThrough, policyFor, startApp, startLiveMesh } from '../helpers/live-mesh.ts';
import { eventually } from '../helpers/until.ts';

const resources = [
  policyFor('payments', ['checkout'], ['GET', 'POST']),
  policyFor('ledger', ['payments']),
  policyFor('mail', ['checkout']),
  {
    kind: 'VirtualService',
    name: 'payments',
    hosts: ['payments', 'pay.example.test'],
    http: [
      {
        name: 'canary',
        match: [{ path: { prefix: '/v2' }, headers: { 'x-beta': '1' } }],
        route: [
          { cluster: 'payments', subset: 'v2', weight: 90 },
          { cluster: 'payments', weight: 10 },
        ],
        timeout: '2s',
        retries: { attempts: 2, on: ['connect-failure', '503'] },
      },
      { match: [{ path: { prefix: '/moved' } }], redirect: { prefix: '/there', status: 308 } },
      { match: [{ path: { prefix: '/teapot' } }], directResponse: { status: 418, body: 'short and stout' } },
      { match: [{ path: { prefix: '/books' } }], rewrite: { path: '/ledger' }, route: [{ cluster: 'ledger' }] },
      {
        name: 'mail',
        match: [{ path: { prefix: '/mail' } }],
        rewrite: { path: '/letters' },
        route: [{ cluster: 'mail' }],
      },
      { match: [{ methods: ['GET'] }], route: [{ cluster: 'payments' }] },
    ],
  },
  { kind: 'Cluster', name: 'payments', endpoints: 'enrolled', subsets: { v2: { labels: { version: 'v2' } } } },
];

interface Said {
  readonly outcome: string;
  readonly virtualService?: { readonly name: string };
  readonly action?: { readonly route: string; readonly status?: number; readonly location?: string };
  readonly path: string;
  readonly targets: readonly {
    readonly cluster: string;
    readonly endpoints: readonly { readonly instance: string }[];
  }[];
  readonly routes: readonly { readonly route: string; readonly unmet: readonly (readonly string[])[] }[];
}

async function build() {
  const live = await startLiveMesh();
  const app = await startApp((request, response) => void response.end(request.url));
  const v2 = await live.sidecar('payments', { app, labels: { version: 'v2' } });
  await live.sidecar('payments', { app, labels: { version: 'v1' } });
  await live.sidecar('ledger', { app });
  await live.sidecar('mail', { app });
  const checkout = await live.sidecar('checkout');
  await live.apply(...resources);
  await eventually(
    () => callThrough(checkout, { host: 'payments', path: '/warm' }),
    (status) => status === 200,
  );
  const folder = join(temporaryFolder(), 'mesh');
  mkdirSync(folder);
  writeFileSync(join(folder, 'all.yaml'), resources.map((one) => stringify(one)).join('---\n'));
  const ask = async (...words: readonly string[]) => {
    const { code, stdout } = await live.run('route', ...words, '-o', 'json');
    return { code, said: JSON.parse(stdout) as Said };
  };
  return { live, v2, checkout, folder, ask };
}

describe('what is said is what is done', () => {
  const calls: readonly [
    what: string,
    o: { method?: string; path: string; headers?: Record<string, string>; host?: string },
    status: number,
    code: number,
  ][] = [
    ['the canary, by its header', { path: '/v2/x', headers: { 'x-beta': '1' } }, 200, 0],
    ['without its header', { path: '/v2/other' }, 200, 0],
    ['by another host of it', { path: '/y', host: 'pay.example.test' }, 200, 0],
    ['a redirect', { path: '/moved/a?b=1' }, 308, 0],
    ['an answer of the route itself', { path: '/teapot' }, 418, 0],
    ['another service, which the caller may call', { path: '/mail/7' }, 200, 0],
    ['another service, which the caller may not call', { path: '/books/7' }, 403, 3],
    ['denied before any route', { path: '/teapot', method: 'DELETE' }, 403, 3],
    ['no route', { path: '/x', method: 'POST' }, 404, 4],
    ['a host that the caller may not know', { path: '/x', host: 'ledger' }, 403, 3],
    ['a host that nobody has', { path: '/x', host: 'nobody.test' }, 403, 4],
  ];
  test('for every kind of route, live and from files', async () => {
    const { live, checkout, folder, ask } = await build();
    for (const [what, { host = 'payments', path, method = 'GET', headers = {} }, status, code] of calls) {
      const flags = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
      const words = ['checkout', `http://${host}${path}`, '-X', method, ...flags];
      const { said, ...told } = await ask(...words);
      expect(told.code, what).toBe(code);
      const got = await callThrough(checkout, { host, path, method, headers });
      expect(got, what).toBe(status);
      const record = await recordOf(live, { method, path: path.split('?')[0]!, host });
      expect({ virtualService: record.virtualService, route: record.route }, what).toEqual(
        said.outcome === 'denied' || said.virtualService === undefined || said.action === undefined
          ? { virtualService: undefined, route: undefined }
          : { virtualService: said.virtualService.name, route: said.action.route },
      );
      if (record.cluster)
        expect(
          said.targets.map(({ cluster }) => cluster),
          what,
        ).toContain(record.cluster.split('/')[0]);

      const offline = await ask(...words, '-f', folder, '--trust-domain', 'example.org');
      expect(offline.code, `${what}, from files`).toBe(code);
      const plain = ({ outcome, action, path: sent, routes, virtualService }: Said) => ({
        outcome,
        action,
        sent,
        routes,
        virtualService,
      });
      if (said.virtualService) expect(plain(offline.said), `${what}, from files`).toEqual(plain(said));
    }
  });

  const recordOf = (
    live: Awaited<ReturnType<typeof startLiveMesh>>,
    o: { method: string; path: string; host: string },
  ) =>
    eventually(
      async () => {
        const path = `/v1/records?hop=outbound&path=${encodeURIComponent(o.path)}&limit=1000`;
        const { records } = await live.mesh.admin.call<RecordReply>({ method: 'GET', path });
        return records.findLast(({ method, host }) => method === o.method && host === o.host) as DecisionRecord;
      },
      (found) => found !== undefined,
    );
});

test('the answer names each route that was passed and why, the shares, the endpoints of a subset and the settings in force', async () => {
  const { live, v2, ask } = await build();
  const { said } = await ask('checkout', 'http://payments/v2/x', '-H', 'x-beta: 1');
  expect(said.targets.map(({ endpoints }) => endpoints.length)).toEqual([1, 2]);
  expect(said.targets[0]!.endpoints[0]!.instance).toBe(v2.instance);
  const plain = await live.run('route', 'checkout', 'http://payments/v2/x');
  expect(plain.stdout).toContain('passed route canary: not header x-beta is "1"');
  expect(plain.stdout).toMatch(/retries {2}2 more tries after connect-failure, refused-stream {3}\(default\)/);
  const canary = await live.run('route', 'checkout', 'http://payments/v2/x', '-H', 'x-beta: 1');
  expect(canary.stdout).toMatch(/90% +payments +v2 +payments +as above +127\.0\.0\.1:\d+ /);
  expect(canary.stdout).toContain('timeout  2s');
  const refused = await live.run('route', 'checkout', 'http://payments/books');
  expect(refused.stdout).toMatch(/4 Policy, on what is sent: ledger \/ledger\n {2}deny {3}default-deny/);
});

test('mistakes are told with what may have been meant, before anything is asked', async () => {
  const { live, folder } = await build();
  const wrong: readonly [words: readonly string[], code: number, says: string][] = [
    [['checkout', 'http://paymets/x'], 4, ''],
    [['chekout', 'http://payments/x'], 4, 'did you mean checkout?'],
    [['checkout', 'http://payments/a%2fb'], 2, 'it has an escaped /'],
    [['checkout', 'ftp://payments/a'], 2, 'is no URL'],
    [['checkout', 'http:///a'], 2, ''],
    [['checkout', 'http://payments:0/a'], 2, 'is no host'],
    [['checkout', 'http://payments/a', '-X', 'get'], 2, 'write it in upper case'],
    [['checkout', 'http://payments/a', '-H', 'nothing'], 2, 'has no name'],
    [['checkout', 'http://payments/a', '--claims', '[]'], 2, 'not a JSON object'],
    [['checkout', 'tcp://payments:5432/a'], 2, 'has no path'],
    [['checkout', 'http://payments/a', '-f', join(folder, 'none.yaml')], 1, '[CLI_FILES_INVALID]'],
  ];
  for (const [words, code, says] of wrong) {
    const outcome = await live.run('route', ...words);
    expect([words, outcome.code]).toEqual([words, code]);
    expect(outcome.stderr).toContain(says);
  }
  expect((await live.run('route', 'checkout', 'http://paymets/x')).stdout).toContain('did you mean payments?');
});
