// What validation lets through, every proxy can take: it has the shape of a snapshot, is compiled without a fault, and no request makes it throw.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { check } from '#base/schema';
import { buildTraffic, compileRoutes, hostOf } from '#routing';
import { explainRoute, validateTraffic } from '#routing/tools';
import { type LocatedResource, type Resource, resourceSchemas, snapshotSchema } from '#wire';
import { idOf, trustDomain } from '../helpers/policy.ts';
import { asked } from '../helpers/routing.ts';

const optional = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
/** Without the keys that nothing was drawn for. */
const some = <T extends Record<string, fc.Arbitrary<unknown>>>(fields: T): fc.Arbitrary<object> =>
  fc
    .record(Object.fromEntries(Object.entries(fields).map(([key, one]) => [key, optional(one)])))
    .map((drawn) => Object.fromEntries(Object.entries(drawn).filter(([, value]) => value !== undefined)));
const pick = <T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const listOf = <T>(one: fc.Arbitrary<T>, maxLength = 3) => fc.array(one, { minLength: 1, maxLength });

const path = pick(
  '/',
  '/a',
  '/a/',
  '/a/b',
  '/a//b',
  '/%2e%2e/x',
  '/a/../b',
  '/é',
  '/%C3%A9',
  '/a;b',
  '/{id}',
  '/a\r\n',
  '/a?b',
);
const regex = pick(
  '.*',
  '/a(.*)',
  '(',
  '(a|b)+',
  '(?=a)',
  '\\1',
  '/(a+)+$',
  '[^/]*',
  '\\pN+',
  '(?i)/A',
  '(x{1,100}){1,100}',
  '^/a$',
);
const text = fc.oneof(
  pick('', '1', 'a b', 'é', '\t'),
  some({ exact: pick('1'), prefix: pick('a'), regex, present: fc.boolean() }),
);
const duration = pick('0s', '1ms', '250ms', '3s', '40d');
const headerName = pick(
  'x-a',
  'host',
  'X-A',
  'x_postern_peer',
  'content-length',
  ':path',
  '',
  '__proto__',
  'constructor',
);
const edits = some({
  set: fc.dictionary(headerName, pick('1', ' x', 'č', ''), { maxKeys: 2 }),
  add: fc.dictionary(headerName, pick('1'), { maxKeys: 2 }),
  remove: fc.array(headerName, { maxLength: 2 }),
});
const headers = some({ request: edits, response: edits });
const cluster = pick('web', 'web', 'shop', 'shop', 'ext', 'none');
const target = some({ subset: pick('v1', 'v9'), weight: fc.integer({ min: 0, max: 3 }), headers }).chain((rest) =>
  cluster.map((name) => ({ cluster: name, ...rest })),
);
const match = some({
  path: some({ exact: path, prefix: path, template: pick('/a/{id}', '/a/**', '/**', '/{', '/a/*/b'), regex }),
  methods: listOf(pick('GET', 'POST')),
  headers: fc.dictionary(headerName, text, { maxKeys: 2 }),
  withoutHeaders: fc.dictionary(headerName, text, { maxKeys: 1 }),
  query: fc.dictionary(pick('q', '', '__proto__', 'a b'), text, { maxKeys: 2 }),
  from: listOf(pick('web', '*', 'group:x', 'spiffe://example.org/a/**', 'a b')),
  ports: listOf(pick(80, 8080)),
});
const route = some({
  name: pick('one', 'two', '3'),
  match: listOf(match),
  redirect: some({
    path,
    prefix: path,
    host: pick('a.example', '*.example'),
    scheme: pick('https'),
    port: pick(81),
    status: pick(301, 304),
  }),
  directResponse: some({ body: pick('', 'x'), headers: fc.dictionary(headerName, pick('1')) }).map((rest) => ({
    status: 204,
    ...rest,
  })),
  rewrite: some({
    path,
    host: pick('a.example', '*.example'),
    regex: fc.record({ match: regex, replace: pick('/$1', '/x', '$1', '/$9', '/..') }),
  }),
  headers,
  mirror: listOf(
    cluster.map((name) => ({ cluster: name, percentage: 5 })),
    2,
  ),
  fault: some({
    delay: duration.map((fixed) => ({ fixed })),
    abort: some({ status: pick(503), grpcStatus: pick(14) }),
  }),
  timeout: duration,
  retries: some({
    perTryTimeout: duration,
    on: listOf(pick('5xx', 'reset', '503')),
    backoff: some({ base: duration, max: duration }),
  }).map((rest) => ({ attempts: 1, ...rest })),
  cors: some({ allowCredentials: fc.boolean(), allowHeaders: listOf(pick('*', 'x-a', 'a b')), maxAge: duration }).chain(
    (rest) =>
      listOf(fc.oneof(pick('*', 'https://a.example', 'a'), text)).map((allowOrigins) => ({ allowOrigins, ...rest })),
  ),
  rateLimit: duration.map((per) => ({ requests: 5, per })),
  maxBody: pick('0', '1MiB'),
});
const routed = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(route, listOf(target, 2)).map(([rest, targets]) => ({ route: targets, ...rest })) },
  { weight: 1, arbitrary: route },
);
const resource: fc.Arbitrary<object> = fc.oneof(
  some({
    service: pick('web', 'shop', 'postern/x', 'a//b'),
    http: listOf(routed, 3),
    tcp: listOf(
      some({
        match: listOf(some({ from: listOf(pick('web')), ports: listOf(pick(80)) })),
        idleTimeout: duration,
      }).chain((rest) => listOf(target).map((targets) => ({ route: targets, ...rest }))),
    ),
  }).chain((rest) =>
    fc
      .record({ name: pick('web', 'other'), hosts: listOf(pick('web', 'a.example', '*.example', 'shop')) })
      .map((own) => ({ kind: 'VirtualService', ...own, ...rest })),
  ),
  some({
    subsets: pick({ v1: { labels: { version: 'v1' } } }, { v1: { labels: {} } }),
    protocol: pick('tcp', 'http', 'h2c'),
    plaintext: fc.boolean(),
    tls: some({ sni: pick('a.example', '*.example'), ca: pick('x') }),
    via: pick('web', 'ext'),
    hosts: listOf(pick('ext.example', 'web')),
    healthCheck: some({ http: fc.record({ path: pick('/h') }), tcp: fc.constant({}), interval: duration }),
    loadBalancing: some({
      policy: pick('maglev', 'random'),
      hashOn: pick({ source: 'identity' }),
      slowStart: duration,
    }),
  }).chain((rest) =>
    fc
      .record({
        name: pick('ext', 'tcp', 'web'),
        endpoints: pick<unknown>(
          'enrolled',
          { static: ['10.0.0.1:80'] },
          { dns: 'a.example:80' },
          { dns: { name: 'a.example', type: 'srv' } },
        ),
      })
      .map((own) => ({ kind: 'Cluster', ...own, ...rest })),
  ),
);

const services = ['web', 'shop'];
const requests = ['/', '/a', '/a/b', '/a/b/c?q=1&q=%ff&=&a+b', '*'].map((of) =>
  asked(of, { headers: { 'x-a': '1', origin: 'https://a.example' } }),
);

test('generated resources that have no problem are taken by a proxy', () => {
  let taken = 0;
  fc.assert(
    fc.property(fc.array(resource, { minLength: 1, maxLength: 2 }), (drawn) => {
      const unique = [
        ...new Map(
          drawn.map((one) => [JSON.stringify([(one as Resource).kind, (one as Resource).name]), one]),
        ).values(),
      ];
      const located = unique.map((one) => ({ resource: one as Resource })) satisfies LocatedResource[];
      // As on apply: shape first, then meaning.
      if (located.some((one) => check(resourceSchemas[one.resource.kind], one.resource).length > 0)) return;
      const problems = validateTraffic(located, { trustDomain, services: new Set(services) });
      expect(problems.every(({ message }) => message !== '')).toBe(true);
      if (problems.length > 0) return;
      taken++;
      const traffic = buildTraffic({ resources: located, trustDomain });
      const entries = services.map((name) => ({ id: idOf(name), hosts: [hostOf(name)], ports: [80], endpoints: [] }));
      const snapshot = {
        ...{ version: 1, revision: 1, service: idOf('web'), bundle: '{}', bans: { ids: [], serials: [] } },
        policy: { revision: 1, rules: [], groups: {} },
        services: entries,
        ...traffic,
      };
      expect(check(snapshotSchema, JSON.parse(JSON.stringify(snapshot)))).toEqual([]);
      const routes = compileRoutes({ services: entries, ...traffic });
      for (const { entry } of routes.virtualHosts)
        for (const host of entry.hosts)
          for (const one of requests) {
            const { action, path: sent } = explainRoute(routes, { host: host.replace('*', 'x'), asked: one });
            if (action && 'kind' in action && action.kind === 'forward') {
              expect(routes.clusters.has(action.target(0.5).cluster)).toBe(true);
              expect(action.request?.apply(one.fields) ?? []).not.toContain('host');
            }
            if (action && 'kind' in action && action.kind === 'redirect')
              expect(action.location({ scheme: 'http', authority: 'x', path: one.path, query: '' })).toMatch(
                /^https?:\/\/[^\s]*$/,
              );
            if (typeof sent !== 'string') expect(sent.refused).toMatch(/canonical/);
          }
    }),
    { numRuns: 4_000 },
  );
  expect(taken).toBeGreaterThan(100);
});
