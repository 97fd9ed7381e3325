// Why a request goes where it goes, in the words that people are shown.
import { expect, test } from 'vitest';
import { explainRoute } from '#routing/tools';
import { asked, routesOf } from '../helpers/routing.ts';

const routes = routesOf(
  `kind: VirtualService
name: payments
hosts: [payments]
http:
  - name: beta
    match:
      - { path: { prefix: /v2 }, headers: { x-beta: "1" }, methods: [GET] }
      - { path: { exact: /beta }, query: { on: { present: true } } }
    route: [{ cluster: payments }]
  - match: [{ from: [checkout] }]
    directResponse: { status: 403 }
  - name: split
    match: [{ path: { prefix: /charges } }]
    rewrite: { path: /api/charges }
    route: [{ cluster: payments, weight: 90 }, { cluster: canary, weight: 10 }]
    mirror: [{ cluster: shadow, percentage: 5 }]
  - name: bad
    match: [{ path: { prefix: /bad } }]
    rewrite: { regex: { match: "/bad/(.*)", replace: "/%$1" } }
    route: [{ cluster: payments }]
tcp:
  - { match: [{ ports: [5433], from: [dba] }], route: [{ cluster: payments }] }
tls:
  - { match: [{ sni: [a.example] }], route: [{ cluster: payments }] }
`,
  ['payments'],
);

test('each route before the one that is taken says what did not hold', () => {
  const {
    routes: explained,
    action,
    virtualHost,
  } = explainRoute(routes, { host: 'payments', asked: asked('/charges/1') });
  expect(explained).toEqual([
    {
      route: 'beta',
      isTaken: false,
      unmet: [
        ['path /v2 or below', 'header x-beta is "1"'],
        ['path /beta', 'query on is there'],
      ],
    },
    { route: '1', isTaken: false, unmet: [['from spiffe://example.org/checkout']] },
    { route: 'split', isTaken: true, unmet: [] },
  ]);
  expect(action?.route).toBe('split');
  expect(virtualHost?.name).toBe('payments');
});
test('where it goes, with shares and the path that is sent', () => {
  const { targets, path } = explainRoute(routes, { host: 'payments', asked: asked('/charges/1') });
  expect(path).toBe('/api/charges/1');
  expect(
    targets.map(({ cluster, share, isMirror, routed }) => [cluster, share, isMirror, routed !== undefined]),
  ).toEqual([
    ['payments', 0.9, false, true],
    ['canary', 0.1, false, false],
    ['shadow', 0.05, true, false],
  ]);
});
test('when none is taken all of them are shown', () => {
  const { routes: explained, action, targets } = explainRoute(routes, { host: 'payments', asked: asked('/none') });
  expect(explained.map(({ isTaken }) => isTaken)).toEqual([false, false, false, false]);
  expect([action, targets]).toEqual([undefined, []]);
});
test('a rewrite that gives no canonical path is refused, with the reason', () => {
  expect(explainRoute(routes, { host: 'payments', asked: asked('/bad/zz') }).path).toEqual({
    refused: 'the route makes no canonical path of this one: it has a % that begins no escape',
  });
});
test('a host that nobody has comes with the nearest', () => {
  expect(explainRoute(routes, { host: 'paymets', asked: asked() })).toMatchObject({
    virtualHost: undefined,
    nearest: 'payments',
    routes: [],
  });
});
test('connections by port, caller and server name', () => {
  const tcp = explainRoute(routes, { host: 'payments', asked: asked('/', { port: 5432 }), protocol: 'tcp' });
  expect(tcp.routes[0]!.unmet).toEqual([['port 5433', 'from spiffe://example.org/dba']]);
  const tls = explainRoute(routes, { host: 'payments', asked: asked(), protocol: 'tls', sni: 'b.example' });
  expect(tls.routes[0]!.unmet).toEqual([['server name a.example']]);
  const found = explainRoute(routes, { host: 'payments', asked: asked(), protocol: 'tls', sni: 'a.example' });
  expect(found.targets[0]).toMatchObject({ cluster: 'payments', share: 1 });
});
