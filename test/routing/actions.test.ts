// What a matched route tells a proxy: retries, header changes, CORS, limits, faults, tunnels.
import { describe, expect, test } from 'vitest';
import type { Forward, Outcome, Respond } from '#routing';
import { idOf } from '../helpers/policy.ts';
import { asked, routesOf } from '../helpers/routing.ts';

const action = (route: string): Forward =>
  routesOf(`kind: VirtualService\nname: v\nhosts: [v]\nhttp:\n  - { ${route}, route: [{ cluster: c }] }`)
    .byHost('v')!
    .http(asked()) as Forward;

describe('retries', () => {
  const answered = (status: number, grpcStatus?: number): Outcome => ({ kind: 'answered', status, grpcStatus });
  const isWanted = (retries: string, outcome: Outcome, method = 'GET') =>
    action(`retries: ${retries}`).retries.isWanted(outcome, method);

  test.each<[string, Outcome, string, boolean]>([
    ['{ attempts: 1 }', { kind: 'connect-failed' }, 'POST', true],
    ['{ attempts: 1 }', { kind: 'refused' }, 'POST', true],
    ['{ attempts: 1 }', { kind: 'timeout' }, 'GET', false],
    ['{ attempts: 1, on: [reset] }', { kind: 'reset' }, 'GET', true],
    ['{ attempts: 1, on: [reset] }', { kind: 'reset' }, 'POST', false],
    ['{ attempts: 1, on: [reset] }', { kind: 'reset' }, 'QUERY', true],
    ['{ attempts: 1, on: [reset] }', { kind: 'connect-failed' }, 'GET', false],
    ['{ attempts: 1, on: [reset], methods: [POST] }', { kind: 'reset' }, 'POST', true],
    ['{ attempts: 1, on: [reset], methods: [POST] }', { kind: 'reset' }, 'GET', false],
    ['{ attempts: 1, on: [timeout] }', { kind: 'timeout' }, 'PUT', true],
    ['{ attempts: 1, on: ["5xx"] }', answered(599), 'GET', true],
    ['{ attempts: 1, on: ["5xx"] }', answered(499), 'GET', false],
    ['{ attempts: 1, on: ["5xx"] }', { kind: 'reset' }, 'GET', true],
    ['{ attempts: 1, on: ["5xx"] }', { kind: 'reset' }, 'PATCH', false],
    ['{ attempts: 1, on: [gateway-error] }', answered(503), 'DELETE', true],
    ['{ attempts: 1, on: [gateway-error] }', answered(500), 'GET', false],
    ['{ attempts: 1, on: [retriable-4xx] }', answered(409), 'GET', true],
    ['{ attempts: 1, on: ["429"] }', answered(429), 'GET', true],
    ['{ attempts: 1, on: ["429"] }', answered(429), 'POST', false],
    ['{ attempts: 1, on: [grpc-unavailable] }', answered(200, 14), 'POST', true],
    ['{ attempts: 1, on: [grpc-unavailable] }', answered(200, 13), 'POST', false],
    ['{ attempts: 1, on: [grpc-unavailable], methods: [GET] }', answered(200, 14), 'POST', false],
    ['{ attempts: 1, on: [grpc-internal] }', answered(200), 'POST', false],
  ])('%s: %j of %s: %s', (retries, outcome, method, wanted) => {
    expect(isWanted(retries, outcome, method)).toBe(wanted);
  });
  test('the back-off doubles up to its longest, with full jitter', () => {
    const { retries } = action('retries: { attempts: 9, backoff: { base: 10ms, max: 50ms } }');
    expect([1, 2, 3, 4, 9].map((retry) => retries.backoffMs(retry, 1))).toEqual([10, 20, 40, 50, 50]);
    expect(retries.backoffMs(3, 0)).toBe(0);
    expect(retries.backoffMs(3, 0.5)).toBe(20);
  });
  test('how long a try may take, and where the next goes', () => {
    const { retries } = action('retries: { attempts: 3, perTryTimeout: 250ms, anotherEndpoint: false }');
    expect(retries).toMatchObject({ attempts: 3, perTryTimeoutMs: 250, anotherEndpoint: false });
  });
});

describe('header changes', () => {
  const fields = ['x-a', '1', 'accept', '*/*', 'x-a', '2'];
  test.each([
    ['set: { x-a: "3" }', ['accept', '*/*', 'x-a', '3']],
    ['add: { x-a: "3" }', [...fields, 'x-a', '3']],
    ['remove: [x-a]', ['accept', '*/*']],
    ['remove: [accept], add: { accept: text/html }', ['x-a', '1', 'x-a', '2', 'accept', 'text/html']],
  ])('%s', (changes, edited) => {
    const given = Object.freeze([...fields]);
    expect(action(`headers: { request: { ${changes} } }`).request!.apply(given)).toEqual(edited);
    expect(action(`headers: { response: { ${changes} } }`).response!.apply(given)).toEqual(edited);
  });
  test('without any there is nothing to apply', () => {
    expect(action('headers: { request: {} }').request).toBeUndefined();
  });
});

describe('CORS', () => {
  const plan = (cors: string) => action(`cors: ${cors}`).cors!;
  const from = (origin: string, method = 'GET', more: Record<string, string> = {}) =>
    asked('/', { method, headers: { origin, ...more } });
  const preflight = { 'access-control-request-method': 'PUT' };
  const one = plan(
    '{ allowOrigins: ["https://a.example", { regex: "https://[a-z]+[.]b[.]example" }], allowMethods: [PUT], allowHeaders: [X-A], exposeHeaders: [x-b], maxAge: 10m, allowCredentials: true }',
  );

  test('a preflight of an allowed origin is told what it may do', () => {
    expect(one.preflight(from('https://a.example', 'OPTIONS', preflight))).toEqual([
      ...['access-control-allow-origin', 'https://a.example', 'vary', 'Origin'],
      ...['access-control-allow-methods', 'PUT', 'access-control-allow-headers', 'X-A'],
      ...['access-control-max-age', '600', 'access-control-allow-credentials', 'true'],
    ]);
  });
  test('one of another origin is told nothing', () => {
    expect(one.preflight(from('https://evil.example', 'OPTIONS', preflight))).toEqual(['vary', 'Origin']);
    expect(one.preflight(from('https://x.b.example.evil', 'OPTIONS', preflight))).toEqual(['vary', 'Origin']);
    expect(one.answer(from('https://evil.example'))).toEqual(['vary', 'Origin']);
  });
  test('an OPTIONS request that asks for nothing is no preflight', () => {
    expect(one.preflight(from('https://a.example', 'OPTIONS'))).toBeUndefined();
    expect(one.preflight(from('https://a.example', 'GET', preflight))).toBeUndefined();
    expect(one.preflight(asked('/', { method: 'OPTIONS', headers: preflight }))).toBeUndefined();
  });
  test('answers say whose page may read them, and that others may not from a cache', () => {
    expect(one.answer(from('https://x.b.example'))).toEqual([
      ...['access-control-allow-origin', 'https://x.b.example', 'vary', 'Origin'],
      ...['access-control-expose-headers', 'x-b', 'access-control-allow-credentials', 'true'],
    ]);
    expect(one.answer(asked())).toEqual(['vary', 'Origin']);
  });
  test('with two Origins nobody asks', () => {
    const fields = ['origin', 'https://a.example', 'origin', 'https://a.example'];
    expect(one.answer({ fields })).toEqual(['vary', 'Origin']);
  });
  test('anybody is *, and nothing varies', () => {
    const anybody = plan('{ allowOrigins: ["*"] }');
    expect(anybody.answer(from('https://any.example'))).toEqual(['access-control-allow-origin', '*']);
    expect(anybody.answer(asked())).toEqual([]);
  });
});

describe('amounts', () => {
  test('limits, times, sizes and shares are numbers', () => {
    expect(
      action(
        'rateLimit: [{ requests: 100, per: 1m, burst: 20, each: peer }, { requests: 5 }], maxBody: 10MiB, timeout: 2s, idleTimeout: 1m, fault: { delay: { fixed: 2s, percentage: 10 }, abort: { grpcStatus: 14, percentage: 0.5 } }, mirror: [{ cluster: m, percentage: 25 }]',
      ),
    ).toMatchObject({
      rateLimits: [
        { requests: 100, perMs: 60_000, burst: 20, each: 'peer' },
        { requests: 5, perMs: 1_000, burst: 5, each: 'route' },
      ],
      maxBody: 10 * 2 ** 20,
      timeoutMs: 2_000,
      idleTimeoutMs: 60_000,
      fault: { delay: { ms: 2_000, share: 0.1 }, abort: { status: 503, grpcStatus: 14, share: 0.005 } },
      mirrors: [{ target: { cluster: 'm', subset: undefined }, share: 0.25 }],
    });
  });
  test('the key of a limit stays while its configuration does', () => {
    const key = (more: string) => action(`name: r, rateLimit: { requests: 5 }${more}`).rateLimits[0]!.key;
    expect(key('')).toBe(key(', timeout: 3s'));
    expect(action('name: r, rateLimit: { requests: 6 }').rateLimits[0]!.key).not.toBe(key(''));
  });
});

describe('answers without a service', () => {
  test('a direct response has its status, body and fields', () => {
    const respond = routesOf(
      'kind: VirtualService\nname: v\nhosts: [v]\nhttp: [{ directResponse: { status: 503, body: closed, headers: { retry-after: "60" } } }]',
    )
      .byHost('v')!
      .http(asked()) as Respond;
    expect(respond).toMatchObject({ kind: 'respond', status: 503, body: 'closed', fields: ['retry-after', '60'] });
  });
});

describe('connections', () => {
  const host = routesOf(`kind: VirtualService
name: db
hosts: [db]
tcp:
  - { name: admin, match: [{ from: [dba], ports: [5433] }], route: [{ cluster: db, weight: 3 }, { cluster: db2, weight: 1 }] }
  - { name: all, match: [{ ports: [5432] }], route: [{ cluster: db }], idleTimeout: 1h }
tls:
  - { name: exact, match: [{ sni: [a.example.com] }], route: [{ cluster: a }] }
  - { name: below, match: [{ sni: ["*.example.com"] }], route: [{ cluster: b }] }
`).byHost('db')!;
  test('go by who calls and the port', () => {
    expect(host.tcp({ from: idOf('dba'), port: 5433 })?.route).toBe('admin');
    expect(host.tcp({ from: idOf('dba'), port: 5433 })?.target(0.8).cluster).toBe('db2');
    expect(host.tcp({ from: idOf('web'), port: 5433 })).toBeUndefined();
    expect(host.tcp({ from: idOf('web'), port: 5432 })).toMatchObject({ route: 'all', idleTimeoutMs: 3_600_000 });
  });
  test('of TLS by the server name, whole labels below a pattern', () => {
    const to = (sni: string) => host.tls({ from: idOf('web'), port: 443, sni })?.route;
    expect([
      to('a.example.com'),
      to('x.y.example.com'),
      to('example.com'),
      to('aexample.com'),
      to('.example.com'),
    ]).toEqual([...['exact', 'below', undefined, undefined, undefined]]);
  });
});
