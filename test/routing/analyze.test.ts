// Each code found where it is, and not where it is not.
import { describe, expect, test } from 'vitest';
import { analyzeTraffic, type FindingCode, findingCodes, type LiveFacts } from '#routing/tools';
import { trustDomain } from '../helpers/policy.ts';
import { written } from '../helpers/routing.ts';

interface Given {
  readonly live?: LiveFacts;
  readonly now?: number;
}

function findings(yaml: string, given: Given = {}) {
  return analyzeTraffic(written(yaml), { trustDomain, ...given });
}

/** The messages of one code, with line and column. */
function found(code: FindingCode, yaml: string, given: Given = {}): string[] {
  return findings(yaml, given).flatMap((one) =>
    one.code === code ? [`${one.line}:${one.column} ${one.message}`] : [],
  );
}

const routed = (http: string, more = ''): string =>
  `kind: VirtualService\nname: web\nhosts: [web]\nhttp:\n${http}\n${more}`;
const outside = (name: string, more = ''): string =>
  `---\nkind: Cluster\nname: ${name}\nendpoints: { static: ["10.0.0.1:80"] }\n${more || 'plaintext: true'}\n`;
const allow = (to: string): string =>
  `---\nkind: Policy\nname: ${to}-access\nto: ${to}\nrules: [{ id: r, effect: allow, from: ["*"] }]\n`;
const instance = (name: string, labels: Record<string, string> = {}, notAfter?: number) => ({
  instance: name,
  labels,
  notAfter,
});
const live = (...services: LiveFacts['services']): LiveFacts => ({ services });

test('what is in order gives nothing', () => {
  const yaml = routed(
    '  - { match: [{ path: { prefix: /a } }], route: [{ cluster: web }] }\n  - route: [{ cluster: web }]',
    allow('web'),
  );
  expect(findings(yaml, { live: live({ name: 'web', instances: [instance('web-1')] }), now: 0 })).toEqual([]);
});

test('PT001: what would be refused, alone and with its own hint', () => {
  const yaml = routed(
    '  - { route: [{ cluster: web, subset: v2 }] }\n  - { match: [{ path: { prefix: /a } }], route: [{ cluster: nothing }] }',
  );
  expect(findings(yaml)).toMatchObject([
    { code: 'PT001', severity: 'error', subject: 'VirtualService web', line: 6 },
    {
      code: 'PT001',
      message: 'route 0: cluster web has no subset v2',
      hint: 'write it into subsets of the cluster',
      line: 5,
    },
  ]);
});

test('PT002: a target that nothing says anything of', () => {
  const http = '  - { route: [{ cluster: wbe }] }';
  expect(found('PT002', routed(http))).toEqual(['5:26 nothing here says what wbe is']);
  for (const more of [allow('wbe'), outside('wbe')]) expect(found('PT002', routed(http, more))).toEqual([]);
});

describe('PT003, PT004: what is never reached', () => {
  test.each<[string, string, string[]]>([
    ['a prefix before what is below it', 'path: { prefix: /a }', ['path: { exact: /a/b }']],
    [
      'a template before what fits it',
      'path: { template: "/a/{id}" }',
      ['path: { exact: /a/b }', 'path: { template: "/a/*" }'],
    ],
    [
      'an expression before what fits it',
      'path: { regex: "/a.*" }',
      ['path: { exact: /ab }', 'path: { regex: "/a.*" }'],
    ],
    [
      'fewer conditions before more',
      'methods: [GET, PUT]',
      ['methods: [PUT], path: { prefix: /a }', 'methods: [GET], from: [shop]'],
    ],
    [
      'a header before a narrower one',
      'headers: { x-a: { prefix: a } }',
      ['headers: { x-a: ab }', 'headers: { x-a: { prefix: ab }, x-b: c }'],
    ],
    [
      'everybody before somebody',
      'from: ["spiffe://example.org/shop/**"], path: { prefix: /a }',
      ['from: [shop/cart], path: { prefix: /a/b }'],
    ],
    [
      'what may not be there before what has less of it',
      'withoutHeaders: { x-a: { prefix: ab } }',
      ['withoutHeaders: { x-a: { prefix: a } }', 'withoutHeaders: { x-a: { present: true } }, methods: [GET]'],
    ],
    [
      'what may not be there before what is without it',
      'withoutHeaders: { x-a: "1" }',
      ['headers: { x-a: { present: false } }'],
    ],
    ['a parameter that is there before its value', 'query: { q: { present: true } }', ['query: { q: "1" }']],
  ])('%s', (_, wide, narrow) => {
    for (const one of narrow) {
      const http = `  - { name: wide, match: [{ ${wide} }], route: [{ cluster: web }] }\n  - { name: narrow, match: [{ ${one} }], route: [{ cluster: web }] }`;
      expect(found('PT003', routed(http))).toEqual([
        expect.stringMatching(/^6:5 route narrow is never reached: route wide takes everything that it matches/),
      ]);
    }
  });
  test.each([
    ['a longer segment', 'path: { prefix: /a }', 'path: { exact: /ab }'],
    ['a wider path', 'path: { template: "/a/{id}" }', 'path: { prefix: /a }'],
    ['another method', 'methods: [GET]', 'methods: [GET, PUT]'],
    ['any method', 'methods: [GET]', 'path: { exact: /a }'],
    ['a header that only the first asks for', 'path: { prefix: /a }, headers: { x-a: b }', 'path: { prefix: /a }'],
    ['an expression that is not the same', 'path: { regex: "/a[a-z]*" }', 'path: { regex: "/a[a-c]*" }'],
    ['a slash at the end', 'path: { prefix: /a/ }', 'path: { prefix: /a }'],
    ['what may not be there', 'withoutHeaders: { x-a: { prefix: a } }', 'withoutHeaders: { x-a: { prefix: ab } }'],
    ['a header that has another value beside', 'withoutHeaders: { x-a: "1" }', 'headers: { x-a: "2" }'],
    ['an absent header', 'headers: { x-a: { present: true } }', 'headers: { x-a: { present: false } }'],
  ])('not %s', (_, wide, narrow) => {
    const http = `  - { match: [{ ${wide} }], route: [{ cluster: web }] }\n  - { match: [{ ${narrow} }], route: [{ cluster: web }] }`;
    expect([...found('PT003', routed(http)), ...found('PT004', routed(http))]).toEqual([]);
  });
  test('one match of several, with a request that shows it', () => {
    const http =
      '  - { match: [{ path: { prefix: /a } }], route: [{ cluster: web }] }\n  - { match: [{ path: { exact: /b } }, { path: { template: "/a/{id}" }, methods: [PUT], headers: { x-a: "1" } }], route: [{ cluster: web }] }';
    expect(found('PT004', routed(http))).toEqual([
      '6:40 route 1: route 0 takes everything that it matches, such as PUT /a/x, x-a: 1, from spiffe://example.org/anybody',
    ]);
    expect(found('PT003', routed(http))).toEqual([]);
  });
});

describe('with what is known of the running mesh', () => {
  const cluster = '---\nkind: Cluster\nname: web\nendpoints: enrolled\nsubsets: { v2: { labels: { version: v2 } } }\n';
  const http = '  - { route: [{ cluster: web, subset: v2 }] }';
  test('PT005: a subset of which no instance is there', () => {
    const some = live({ name: 'web', instances: [instance('web-1', { version: 'v1' })] });
    expect(found('PT005', routed(http, cluster), { live: some })).toEqual([
      '5:39 none of the 1 instances of web has version=v2',
    ]);
    const fitting = live({ name: 'web', instances: [instance('web-1', { version: 'v2' })] });
    expect(found('PT005', routed(http, cluster), { live: fitting })).toEqual([]);
    expect(found('PT005', routed(http, cluster))).toEqual([]);
  });
  test('PT006: a service of which none is there', () => {
    expect(found('PT006', routed(http, cluster), { live: live({ name: 'web', instances: [] }) })).toEqual([
      '5:26 web has no instances',
    ]);
  });
  test('PT009: a policy for nobody', () => {
    const yaml = routed(
      '  - { route: [{ cluster: web }] }',
      allow('wbe') + outside('ext') + allow('ext') + allow('web'),
    );
    expect(found('PT009', yaml, { live: live({ name: 'web', instances: [instance('a')] }) })).toEqual([
      '9:5 there is no service and no cluster wbe',
    ]);
    expect(found('PT009', yaml)).toEqual([]);
  });
  test('PT016: a certificate that was not renewed', () => {
    const at = (notAfter: number) =>
      findings('kind: Mesh\nname: mesh', {
        live: live({ name: 'web', instances: [instance('web-1', {}, notAfter)] }),
        now: 1_000_000,
      });
    expect(at(1_000_000)).toMatchObject([
      { code: 'PT016', subject: 'service web', message: 'the certificate of its instance web-1 has expired' },
    ]);
    expect(at(1_000_000 + 120_000)).toEqual([]);
  });
});

describe('with policies', () => {
  test('PT007: a virtual service that nobody may call', () => {
    const http = '  - { route: [{ cluster: web }] }';
    expect(found('PT007', routed(http, allow('shop')))).toEqual(['2:7 no policy admits anybody to web']);
    for (const to of ['web', '"*"', '"spiffe://example.org/**"'])
      expect(found('PT007', routed(http, allow(to).replace(/name: .*/, 'name: p')))).toEqual([]);
    expect(found('PT007', routed(http))).toEqual([]);
  });
  test('PT008: a route to another service that nobody may call', () => {
    const http = '  - { route: [{ cluster: web, weight: 1 }, { cluster: canary, weight: 1 }] }';
    expect(found('PT008', routed(http, allow('web') + outside('canary')))).toEqual([
      '5:55 no policy admits anybody to canary, so what is sent there is refused',
    ]);
    const served = 'plaintext: true\nservice: web';
    expect(found('PT008', routed(http, allow('web') + outside('canary', served)))).toEqual([]);
  });
});

describe('a route by itself', () => {
  test.each<[FindingCode, string, string]>([
    [
      'PT010',
      'route: [{ cluster: web, weight: 0 }, { cluster: web2, weight: 1 }]',
      'web has weight 0 and gets nothing',
    ],
    ['PT010', 'route: [{ cluster: web, weight: 1 }, { cluster: web, weight: 1 }]', 'web is there twice'],
    [
      'PT012',
      'route: [{ cluster: web }], retries: { attempts: 1, on: [reset], methods: [GET, POST] }',
      'POST is sent again after reset',
    ],
    [
      'PT012',
      'route: [{ cluster: web }], retries: { attempts: 1, on: [grpc-internal] }',
      'calls of gRPC are sent again after grpc-internal',
    ],
    [
      'PT013',
      'route: [{ cluster: web }], timeout: 2s, retries: { attempts: 2, perTryTimeout: 1s }',
      '3 tries of 1s do not fit into 2s',
    ],
    ['PT017', 'match: [{ path: { regex: "v[0-9]+/.*" } }], route: [{ cluster: web }]', 'v[0-9]+/.* matches no path'],
    ['PT018', 'match: [{ path: { prefix: /a } }], redirect: { prefix: /a/b }', '/a leads to /a/b, and that back here'],
    [
      'PT019',
      'route: [{ cluster: web }], fault: { delay: { fixed: 2s, percentage: 10 }, abort: { status: 503 } }',
      '10% delayed by 2s, 100% answered 503',
    ],
  ])('%s: %s', (code, route, message) => {
    expect(found(code, routed(`  - { ${route} }`))).toEqual([expect.stringContaining(`route 0: ${message}`)]);
  });
  test.each<[FindingCode, string]>([
    ['PT010', 'route: [{ cluster: web, weight: 1 }, { cluster: web2, weight: 1 }]'],
    ['PT012', 'route: [{ cluster: web }], retries: { attempts: 1, methods: [POST] }'],
    ['PT012', 'route: [{ cluster: web }], retries: { attempts: 1, on: [reset, "503", grpc-unavailable] }'],
    ['PT013', 'route: [{ cluster: web }], timeout: 3s, retries: { attempts: 2, perTryTimeout: 1s }'],
    ['PT017', 'match: [{ path: { regex: ".*/v[0-9]+" } }], route: [{ cluster: web }]'],
    ['PT018', 'match: [{ path: { prefix: /a } }], redirect: { prefix: /b }'],
    ['PT018', 'redirect: { scheme: https }'],
    ['PT018', 'redirect: { host: other.example }'],
    ['PT019', 'route: [{ cluster: web }]'],
    ['PT021', 'route: [{ cluster: web }]'],
  ])('not %s: %s', (code, route) => {
    expect(found(code, routed(`  - { ${route} }`))).toEqual([]);
  });
  test('PT021: nothing for the rest', () => {
    expect(found('PT021', routed('  - { match: [{ path: { prefix: /a } }], route: [{ cluster: web }] }'))).toEqual([
      '5:3 requests that match none of its routes are answered 404',
    ]);
  });
});

describe('a cluster by itself', () => {
  const one = (code: FindingCode, rest: string, now?: number) =>
    found(code, `kind: Cluster\nname: ext\nhosts: [ext.example]\n${rest}`, now === undefined ? {} : { now }).length;
  test.each<[FindingCode, number, string]>([
    ['PT011', 1, 'endpoints: { static: ["10.0.0.1:80"] }\nplaintext: true'],
    ['PT011', 0, 'endpoints: { static: ["127.0.0.1:80"] }\nplaintext: true'],
    ['PT011', 0, 'endpoints: { static: ["10.0.0.1:80"] }\ntls: { sni: ext.example }'],
    ['PT011', 0, 'endpoints: { static: ["10.0.0.1:80"] }\nplaintext: true\nvia: gateway'],
    ['PT015', 1, 'endpoints: { static: ["10.0.0.1:80", "10.0.0.2:80"] }\nplaintext: true'],
    ['PT015', 0, 'endpoints: { static: ["10.0.0.1:80"] }\nplaintext: true'],
    ['PT015', 1, 'endpoints: { dns: "ext.example:443" }\ntls: {}'],
    ['PT015', 0, 'endpoints: { dns: "ext.example:443" }\ntls: {}\nhealthCheck: { tcp: {} }'],
    ['PT022', 1, 'endpoints: { dns: "ext.example:443" }\ntls: {}\nhealthCheck: { tcp: {}, interval: 1s, timeout: 2s }'],
    ['PT022', 0, 'endpoints: { dns: "ext.example:443" }\ntls: {}\nhealthCheck: { tcp: {}, timeout: 2s }'],
    ['PT014', 0, 'endpoints: { dns: "ext.example:443" }\ntls: {}'],
  ])('%s: %i of %s', (code, count, rest) => {
    expect(one(code, rest)).toBe(count);
  });
  test('PT014: one that nothing leads to', () => {
    expect(found('PT014', outside('lost').slice(4))).toEqual(['2:7 no route leads to it, and it has no hosts']);
    expect(
      found('PT014', routed('  - { route: [{ cluster: web }], mirror: [{ cluster: ext }] }', outside('ext'))),
    ).toEqual([]);
  });
});

test('PT020: outbound to anything', () => {
  expect(found('PT020', 'kind: Mesh\nname: mesh\noutboundPolicy: allow-any')).toHaveLength(1);
  expect(found('PT020', 'kind: Mesh\nname: mesh\noutboundPolicy: registry-only')).toEqual([]);
});

test('every code has a test here', async () => {
  const { readFileSync } = await import('node:fs');
  const text = readFileSync(new URL(import.meta.url), 'utf8');
  expect(Object.keys(findingCodes).filter((code) => !text.includes(`'${code}`) && !text.includes(`${code}:`))).toEqual(
    [],
  );
});
