// What a host leads to, and which of its routes a request takes.
import { describe, expect, test } from 'vitest';
import { type Asked, compileRoutes, type Forward, type Redirect } from '#routing';
import { idOf } from '../helpers/policy.ts';
import { asked, routesOf, service } from '../helpers/routing.ts';

const rules = (http: string): string => `
kind: VirtualService
name: payments
hosts: [payments]
http:
${http}`;

/** The label of the route that a request to `payments` takes. */
function routeOf(http: string, request: Asked): string | undefined {
  return routesOf(rules(http), ['payments']).byHost('payments')!.http(request)?.route;
}

describe('without any resource', () => {
  const routes = routesOf('', ['payments', 'shop/cart']);

  test('every service has a virtual host of its own host and name', () => {
    expect(routes.byHost('cart.shop')).toMatchObject({ name: 'shop/cart', id: idOf('shop/cart'), port: 8080 });
    expect(routes.byName('shop/cart')).toBe(routes.byHost('cart.shop'));
    expect(routes.byHost('shop/cart')).toBeUndefined();
  });
  test('requests go to its cluster, tried again when nothing of them was processed', () => {
    const action = routes.byHost('payments')!.http(asked('/any')) as Forward;
    expect(action.target(0.5)).toMatchObject({ cluster: 'payments', subset: undefined });
    expect(action.retries.attempts).toBe(2);
    expect(action.retries.isWanted({ kind: 'connect-failed' }, 'POST')).toBe(true);
    expect(action.retries.isWanted({ kind: 'refused' }, 'POST')).toBe(true);
    expect(action.retries.isWanted({ kind: 'reset' }, 'GET')).toBe(false);
    expect(action.retries.isWanted({ kind: 'answered', status: 503, grpcStatus: undefined }, 'GET')).toBe(false);
  });
  test('connections go there too', () => {
    expect(
      routes
        .byHost('payments')!
        .tcp({ from: idOf('web'), port: 80 })
        ?.target(0).cluster,
    ).toBe('payments');
  });
  test('a mistyped host has a nearest one', () => {
    expect(routes.nearest('paymets')).toBe('payments');
  });
  test('a host that two services claim leads nowhere', () => {
    const both = routesOf('', [service('a', { hosts: ['x'] }), service('b', { hosts: ['x'] })]);
    expect(both.byHost('x')).toBeUndefined();
  });
});

describe('hosts', () => {
  test('a virtual service of the name of a service has its host without saying so', () => {
    const routes = routesOf(
      'kind: VirtualService\nname: payments\nhosts: [pay.example.com]\nhttp: [{ name: mine, route: [{ cluster: payments }] }]',
      ['payments'],
    );
    expect(routes.byHost('payments')?.http(asked())?.route).toBe('mine');
    expect(routes.byHost('payments')).toBe(routes.byHost('pay.example.com'));
  });
  test('exact hosts come before the longest pattern', () => {
    const of = (name: string, host: string) =>
      `kind: VirtualService\nname: ${name}\nhosts: ['${host}']\nhttp: [{ route: [{ cluster: payments }] }]\n---\n`;
    const routes = routesOf(of('a', '*.example.com') + of('b', '*.eu.example.com') + of('c', 'x.eu.example.com'), []);
    expect(
      ['x.eu.example.com', 'y.eu.example.com', 'z.y.eu.example.com', 'y.us.example.com', 'example.com'].map(
        (host) => routes.byHost(host)?.name,
      ),
    ).toEqual(['c', 'b', 'b', 'a', undefined]);
  });
  test("a service's own host that another's virtual service claims leads nowhere", () => {
    const routes = routesOf(
      'kind: VirtualService\nname: thief\nhosts: [payments]\nhttp: [{ route: [{ cluster: thief }] }]',
      ['payments', 'thief'],
    );
    expect(routes.byHost('payments')).toBeUndefined();
    expect(routes.byName('thief')?.id).toBe(idOf('thief'));
  });
  test('a cluster outside the mesh is reached by its hosts and its name', () => {
    const routes = routesOf(
      'kind: Cluster\nname: stripe\nendpoints: { dns: "api.stripe.com:443" }\nhosts: [api.stripe.com]\ntls: {}',
    );
    expect(routes.byHost('api.stripe.com')).toMatchObject({ name: 'stripe', id: idOf('stripe') });
    expect((routes.byName('stripe')!.http(asked()) as Forward).target(0).cluster).toBe('stripe');
    expect(routes.clusters.get('stripe')?.entry?.endpoints).toEqual({ dns: { name: 'api.stripe.com', port: 443 } });
  });
});

describe('the first route that matches is taken', () => {
  test.each<[string, string, Asked, string | undefined]>([
    [
      'a prefix matches itself',
      '  - { name: a, match: [{ path: { prefix: /v2 } }], route: [{ cluster: payments }] }',
      asked('/v2'),
      'a',
    ],
    [
      'and below',
      '  - { name: a, match: [{ path: { prefix: /v2 } }], route: [{ cluster: payments }] }',
      asked('/v2/x'),
      'a',
    ],
    [
      'but no longer segment',
      '  - { name: a, match: [{ path: { prefix: /v2 } }], route: [{ cluster: payments }] }',
      asked('/v20'),
      undefined,
    ],
    [
      'an exact path is that alone',
      '  - { name: a, match: [{ path: { exact: /v2 } }], route: [{ cluster: payments }] }',
      asked('/v2/'),
      undefined,
    ],
    [
      'a template by segments',
      '  - { name: a, match: [{ path: { template: "/a/{id}/c" } }], route: [{ cluster: payments }] }',
      asked('/a/b/c'),
      'a',
    ],
    [
      'a template with the rest',
      '  - { name: a, match: [{ path: { template: "/a/*/**" } }], route: [{ cluster: payments }] }',
      asked('/a/b'),
      'a',
    ],
    [
      'an expression matches all of it',
      '  - { name: a, match: [{ path: { regex: "/v[0-9]+" } }], route: [{ cluster: payments }] }',
      asked('/v12/x'),
      undefined,
    ],
    [
      'a method',
      '  - { name: a, match: [{ methods: [POST] }], route: [{ cluster: payments }] }',
      asked('/', { method: 'POST' }),
      'a',
    ],
    [
      'another method',
      '  - { name: a, match: [{ methods: [POST] }], route: [{ cluster: payments }] }',
      asked('/'),
      undefined,
    ],
    [
      'a header',
      '  - { name: a, match: [{ headers: { x-beta: "1" } }], route: [{ cluster: payments }] }',
      asked('/', { headers: { 'x-beta': '1' } }),
      'a',
    ],
    [
      'a header that must be absent',
      '  - { name: a, match: [{ headers: { x-beta: { present: false } } }], route: [{ cluster: payments }] }',
      asked('/', { headers: { 'x-beta': '1' } }),
      undefined,
    ],
    [
      'a parameter, decoded',
      '  - { name: a, match: [{ query: { "a b": "c&d" } }], route: [{ cluster: payments }] }',
      asked('/?x=1&a+b=c%26d'),
      'a',
    ],
    [
      'any value of a parameter',
      '  - { name: a, match: [{ query: { v: "2" } }], route: [{ cluster: payments }] }',
      asked('/?v=1&v=2'),
      'a',
    ],
    ['a caller', '  - { name: a, match: [{ from: [web] }], route: [{ cluster: payments }] }', asked('/'), 'a'],
    [
      'another caller',
      '  - { name: a, match: [{ from: [shop] }], route: [{ cluster: payments }] }',
      asked('/'),
      undefined,
    ],
    [
      'a port',
      '  - { name: a, match: [{ ports: [8080] }], route: [{ cluster: payments }] }',
      asked('/', { port: 8080 }),
      'a',
    ],
  ])('%s', (_, http, request, route) => {
    expect(routeOf(http, request)).toBe(route);
  });
  test('in their order, whatever the kind of match', () => {
    const http = `
  - { name: prefix, match: [{ path: { prefix: /a }, methods: [GET] }], route: [{ cluster: payments }] }
  - { name: exact, match: [{ path: { exact: /a/b } }], route: [{ cluster: payments }] }
  - { name: rest, route: [{ cluster: payments }] }`;
    expect(routeOf(http, asked('/a/b'))).toBe('prefix');
    expect(routeOf(http, asked('/a/b', { method: 'PUT' }))).toBe('exact');
    expect(routeOf(http, asked('/c'))).toBe('rest');
  });
  test('a route of two prefixes rewrites the one that matched', () => {
    const routes = routesOf(
      rules(
        '  - { match: [{ path: { prefix: /a } }, { path: { prefix: /b/c } }], rewrite: { path: /n }, route: [{ cluster: payments }] }',
      ),
    );
    const rewritten = (path: string) => (routes.byHost('payments')!.http(asked(path)) as Forward).rewritePath!(path);
    expect([rewritten('/a/x'), rewritten('/b/c'), rewritten('/b/c/')]).toEqual(['/n/x', '/n', '/n/']);
  });
});

describe('redirects', () => {
  const location = (redirect: string, o: Partial<Parameters<Redirect['location']>[0]> = {}) => {
    const http = `  - { match: [{ path: { prefix: /old } }], redirect: ${redirect} }`;
    const action = routesOf(rules(http), ['payments']).byHost('payments')!.http(asked('/old/x')) as Redirect;
    return action.location({ scheme: 'http', authority: 'payments:8080', path: '/old/x', query: '?a=1', ...o });
  };
  test.each([
    ['{ path: /new }', 'http://payments:8080/new?a=1'],
    ['{ prefix: /new }', 'http://payments:8080/new/x?a=1'],
    ['{ scheme: https }', 'https://payments/old/x?a=1'],
    ['{ host: other }', 'http://other/old/x?a=1'],
    ['{ port: 80 }', 'http://payments/old/x?a=1'],
    ['{ port: 81, host: "::1" }', 'http://[::1]:81/old/x?a=1'],
  ])('%s', (redirect, to) => {
    expect(location(redirect)).toBe(to);
  });
});

test('what has not changed is not compiled again', () => {
  const options = (path: string) => ({
    services: [service('payments'), service('web')],
    clusters: [],
    virtualServices: [
      {
        name: 'payments',
        id: idOf('payments'),
        hosts: [],
        http: [{ match: [{ path: { prefix: path } }], route: [{ cluster: 'web' }] }],
      },
    ],
  });
  const before = compileRoutes(options('/a'));
  const same = compileRoutes({ ...options('/a'), before });
  const changed = compileRoutes({ ...options('/b'), before });
  expect([same.byHost('payments'), same.byHost('web')]).toEqual([before.byHost('payments'), before.byHost('web')]);
  expect(same.byHost('payments')).toBe(before.byHost('payments'));
  expect(changed.byHost('web')).toBe(before.byHost('web'));
  expect(changed.byHost('payments')!.http(asked('/a'))).toBeUndefined();
  expect(changed.byHost('payments')!.http(asked('/b'))).toBeDefined();
});
