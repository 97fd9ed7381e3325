// Every problem of meaning, at once, where it was written.
import { describe, expect, test } from 'vitest';
import { validateTraffic } from '#routing/tools';
import { trustDomain } from '../helpers/policy.ts';
import { written } from '../helpers/routing.ts';

/** Problems as `line:column message`, hints in brackets. */
function problemsOf(yaml: string, services?: readonly string[]): string[] {
  const problems = validateTraffic(written(yaml), { trustDomain, services: services && new Set(services) });
  return problems.map(({ file, line, column, message, hint }) => {
    expect(file).toBe('routes.yaml');
    return `${line}:${column} ${message}${hint ? ` [${hint}]` : ''}`;
  });
}

/** Messages without the resource's name, of one HTTP route to `web`. */
function ofRoute(route: string): string[] {
  return problemsOf(`kind: VirtualService\nname: web\nhosts: [web]\nhttp:\n  - ${route}\n`).map((problem) =>
    problem.replace(/^\d+:\d+ VirtualService web: (route 0: )?/, ''),
  );
}

function ofCluster(rest: string): string[] {
  return problemsOf(`kind: Cluster\nname: web\n${rest}\n`).map((problem) =>
    problem.replace(/^\d+:\d+ Cluster web: /, ''),
  );
}

test('K4: all problems of all resources are reported at once with line and column', () => {
  const yaml = `kind: Cluster
name: payments
endpoints: enrolled
subsets: { v2: { labels: { version: v2 } } }
---
kind: VirtualService
name: payments
hosts: [payments, web]
http:
  - match: [{ path: { prefix: /v2 } }]
    route: [{ cluster: payments, subset: v3, weight: 0 }, { cluster: paymnts, weight: 0 }]
  - route: [{ cluster: payments }]
  - route: [{ cluster: payments }]
---
kind: VirtualService
name: other
hosts: [payments]
`;
  expect(problemsOf(yaml, ['payments', 'web', 'other'])).toEqual([
    '13:5 VirtualService payments: route 2 is never reached: route 1 matches everything',
    '11:42 VirtualService payments: route 0: cluster payments has no subset v3 [did you mean v2?]',
    '11:70 VirtualService payments: route 0: there is no cluster and no service paymnts [did you mean payments?]',
    '11:12 VirtualService payments: route 0: the weights sum to 0: nothing could be sent anywhere',
    '8:19 VirtualService payments: web is the host of the service web [only what is for web may claim it: service: web]',
    '17:9 VirtualService other: payments is the host of the service payments [only what is for payments may claim it: service: payments]',
    '17:9 VirtualService other: payments is also claimed by VirtualService payments; the other is at routes.yaml:6:1',
  ]);
});

describe('what a route leads to', () => {
  const to = (cluster: string, more = '') =>
    `kind: VirtualService\nname: a\nhosts: [a.example]\nhttp: [{ route: [{ cluster: ${cluster} }] }]\n${more}`;
  test('may be a cluster, a service, or what a policy speaks of', () => {
    const policy = '---\nkind: Policy\nname: p\nto: later\nrules: [{ id: r, effect: allow, from: [soon] }]';
    expect(problemsOf(to('web'), ['web', 'a'])).toEqual([]);
    expect(problemsOf(to('later', policy), ['a'])).toEqual([]);
    expect(problemsOf(to('soon', policy), ['a'])).toEqual([]);
    expect(
      problemsOf(to('x', '---\nkind: Cluster\nname: x\nendpoints: { static: ["a:1"] }\nplaintext: true'), []),
    ).toEqual([]);
  });
  test("is nobody's guess: what none of them knows is refused where services are known", () => {
    expect(problemsOf(to('web'), ['a'])).toEqual([
      '4:29 VirtualService a: route 0: there is no cluster and no service web [declare the cluster, or make a token for the service first]',
    ]);
    expect(problemsOf(to('web'))).toEqual([]);
  });
});

describe('routes', () => {
  test.each<[string, string[]]>([
    ['route: [{ cluster: a }]', []],
    ['match: [{}]', ['it does nothing [write one of route, redirect and directResponse]']],
    ['{ route: [{ cluster: a }], redirect: { path: /x } }', ['it has route and redirect [write one of them]']],
    [
      '{ redirect: { path: /x }, retries: { attempts: 1 } }',
      ['retries means nothing without route: nothing is sent on'],
    ],
    ['route: [{ cluster: a, weight: 1 }, { cluster: b }]', ['target b has no weight [each of several needs one]']],
    ['route: [{ cluster: a, weight: 0 }]', ['the weights sum to 0: nothing could be sent anywhere']],
    ['redirect: { status: 302 }', ['it leads where it comes from [write path, prefix, host, scheme or port]']],
    ['redirect: { path: /x, status: 304 }', ['304 is no redirect [one of 301, 302, 303, 307, 308]']],
    ['redirect: { prefix: /x }', ['there is no prefix to replace [match by path.prefix, or write path]']],
    ['redirect: { path: "/x\\r\\ny" }', ['path "/x\\r\\ny" is not in the form that requests have: it has "\\r"']],
    ['redirect: { host: "*.x" }', ['*.x is a pattern; one name is needed here']],
    ['directResponse: { status: 204, body: x }', ['an answer of 204 has no body']],
    [
      'directResponse: { status: 200, headers: { content-length: "3" } }',
      ["header content-length is the proxy's own and cannot be set"],
    ],
    [
      '{ route: [{ cluster: a }], rewrite: { path: /a/../b } }',
      ['path "/a/../b" is not in the form that requests have [write /b]'],
    ],
    [
      '{ route: [{ cluster: a }], rewrite: { path: /a, regex: { match: /.*, replace: / } } }',
      ['it has path and regex [write one of them]'],
    ],
    [
      '{ route: [{ cluster: a }], rewrite: { regex: { match: "/(a)", replace: "/$2" } } }',
      ['there is no group 2: the expression has 1'],
    ],
    [
      '{ route: [{ cluster: a }], rewrite: { regex: { match: "/(?=a)", replace: "/x" } } }',
      ['"/(?=a)" is no RE2 expression: invalid or unsupported Perl syntax: `(?=`'],
    ],
    ['{ route: [{ cluster: a }], rewrite: {} }', ['it changes nothing [write path, regex or host]']],
    ['{ route: [{ cluster: a }], timeout: 0s }', ['timeout is zero [leave it out when there should be none]']],
    ['{ route: [{ cluster: a }], timeout: 30d }', ['timeout 30d is longer than 24 days']],
    [
      '{ route: [{ cluster: a }], timeout: 1s, retries: { attempts: 1, perTryTimeout: 2s } }',
      ['one try may take longer than the whole request'],
    ],
    [
      '{ route: [{ cluster: a }], retries: { attempts: 0, on: ["503"] } }',
      ['it says how to try again, and that it never does'],
    ],
    [
      '{ route: [{ cluster: a }], retries: { attempts: 1, backoff: { base: 1s, max: 10ms } } }',
      ['the longest back-off is shorter than the first'],
    ],
    ['{ route: [{ cluster: a }], fault: {} }', ['it does nothing [write delay or abort]']],
    [
      '{ route: [{ cluster: a }], fault: { abort: { status: 503, grpcStatus: 14 } } }',
      ['write one of status and grpcStatus'],
    ],
    [
      '{ route: [{ cluster: a }], rateLimit: { requests: 1, per: 0s } }',
      ['per is zero [leave it out when there should be none]'],
    ],
    [
      '{ name: "0", route: [{ cluster: a }] }',
      ['route 0: a number is the place of a route without a name'].map((m) => m.replace('route 0: ', '')),
    ],
  ])('%s', (route, problems) => {
    expect(ofRoute(route)).toEqual(problems);
  });
});

describe("headers that are not a route's to change", () => {
  test.each([
    'host',
    'content-length',
    'transfer-encoding',
    'connection',
    'te',
    'upgrade',
    'forwarded',
    'x-forwarded-client-cert',
    'x-postern-peer',
    'x_postern_peer',
  ])('%s', (name) => {
    for (const change of [`set: { ${name}: x }`, `add: { ${name}: x }`, `remove: [${name}]`])
      expect(ofRoute(`{ route: [{ cluster: a }], headers: { request: { ${change} } } }`)).toEqual([
        expect.stringContaining(`header ${name} is the proxy's own`),
      ]);
  });
  test.each<[string, string]>([
    ['set: { ":path": /x }', '":path" is no header name'],
    ['set: { X-A: b }', '"X-A" is no lower-case header name [write x-a]'],
    ['set: { x-a: "č" }', 'header x-a: its value has spaces around it or a character that HTTP cannot carry'],
    ['{ set: { x-a: b }, remove: [x-a] }', 'header x-a is both set and removed'],
  ])('%s', (change, message) => {
    const changes = change.startsWith('{') ? change : `{ ${change} }`;
    expect(ofRoute(`{ route: [{ cluster: a }], headers: { response: ${changes} } }`)).toEqual([message]);
  });
});

describe('matches', () => {
  test.each<[string, string[]]>([
    ['path: { exact: /a, prefix: /b }', ['path: write one of exact, prefix, template and regex']],
    ['path: {}', ['path: write one of exact, prefix, template and regex']],
    ['path: { exact: "/a//b" }', ['path "/a//b" is not in the form that requests have [write /a/b]']],
    ['path: { prefix: "/a;b" }', ['path "/a;b" is not in the form that requests have: it has ";"']],
    ['path: { template: "/a/{id" }', ['path "/a/{id": a parameter is a whole segment, such as {id}, not "{id"']],
    ['path: { regex: "(" }', ['"(" is no RE2 expression: missing closing ): `(`']],
    ['path: { regex: "((a{1,100}){1,100}){1,100}" }', [expect.stringContaining('is no RE2 expression')]],
    ['headers: { Host: x }', ['"Host" is no lower-case header name [write host]']],
    ['headers: { host: x }', ['header host is not among those that routes see [write it into hosts]']],
    ['headers: { x-a: { exact: a, prefix: b } }', ['header x-a: write one of exact, prefix, regex and present']],
    ['withoutHeaders: { host: x }', ['header host is not among those that routes see [write it into hosts]']],
    [
      'withoutHeaders: { x-a: { present: false } }',
      ['without a header x-a that is not there [write headers: { x-a: { present: true } }]'],
    ],
    ['query: { a: {} }', ['query parameter a: write one of exact, prefix, regex and present']],
    [
      'from: ["group:a"]',
      ['group:a: routes do not know groups [name the services, or spiffe://trust-domain/prefix/**]'],
    ],
    ['from: ["a b"]', [expect.stringContaining('"a b": ')]],
  ])('%s', (match, problems) => {
    expect(ofRoute(`{ match: [{ ${match} }], route: [{ cluster: a }] }`)).toEqual(problems);
  });
});

test('more expressions than a request may have to be tried on are refused', () => {
  const of = (count: number) =>
    ofRoute(
      `{ route: [{ cluster: a }], match: [${`{ path: { regex: "/a" }, headers: { x-a: { regex: b } } },`.repeat(count)}] }`,
    );
  expect(of(60)).toEqual([]);
  const many = Array.from(
    { length: 3 },
    () =>
      `{ match: [${'{ path: { regex: "/a" }, query: { a: { regex: b } } },'.repeat(60)}], route: [{ cluster: a }] }`,
  );
  expect(problemsOf(`kind: VirtualService\nname: web\nhosts: [web]\nhttp: [${many.join(', ')}]`)).toEqual([
    '4:7 VirtualService web: its matches have 360 expressions, more than 256 [write prefixes or templates]',
  ]);
});

describe('CORS', () => {
  test.each<[string, string[]]>([
    ['{ allowOrigins: ["*"] }', []],
    [
      '{ allowOrigins: ["*"], allowCredentials: true }',
      ['with credentials, any page of anybody could act for its visitors [name the origins]'],
    ],
    [
      '{ allowOrigins: [{ regex: "https://.*" }], allowCredentials: true }',
      ['with credentials, any page of anybody could act for its visitors [name the origins]'],
    ],
    [
      '{ allowOrigins: ["null"], allowCredentials: true }',
      ['with credentials, any page of anybody could act for its visitors [name the origins]'],
    ],
    ...[
      '{ prefix: "https://a.example" }',
      '{ prefix: "https://" }',
      '{ regex: "null|https://a[.]example" }',
      '{ regex: "http://.*" }',
      '{ regex: "https://.*[.]com" }',
      '{ present: true }',
    ].map((open): [string, string[]] => [
      `{ allowOrigins: [${open}], allowCredentials: true }`,
      ['with credentials, any page of anybody could act for its visitors [name the origins]'],
    ]),
    ['{ allowOrigins: [{ prefix: "https://a.example:" }], allowCredentials: true }', []],
    ['{ allowOrigins: [{ regex: "https://.*[.]a[.]example" }], allowCredentials: true }', []],
    ['{ allowOrigins: [{ prefix: "https://a.example" }] }', []],
    ['{ allowOrigins: ["https://a.example"], allowCredentials: true }', []],
    [
      '{ allowOrigins: ["a.example"] }',
      ['"a.example" is no origin [a browser sends scheme://host or scheme://host:port, lower case]'],
    ],
    ['{ allowOrigins: ["https://a.example"], allowHeaders: ["a b"] }', ['"a b" is no header name']],
    [
      '{ allowOrigins: ["https://a.example"], allowMethods: ["*"], allowCredentials: true }',
      ['with credentials, * is no wildcard to a browser [name the methods]'],
    ],
  ])('%s', (cors, problems) => {
    expect(ofRoute(`{ route: [{ cluster: a }], cors: ${cors} }`)).toEqual(problems);
  });
});

describe('clusters', () => {
  const outside = 'endpoints: { static: ["a:1"] }\nplaintext: true\n';
  test.each<[string, string[]]>([
    ['endpoints: enrolled', []],
    [
      'endpoints: enrolled\nplaintext: true',
      ['plaintext is for endpoints outside the mesh: enrolled ones are reached over mTLS'],
    ],
    [
      'endpoints: { static: ["a:1"] }',
      ['it says neither tls nor plaintext [write tls: {}, or plaintext: true if it must go unencrypted]'],
    ],
    [
      'endpoints: { static: ["a:1"] }\nplaintext: true\ntls: { sni: a }',
      ['it has tls and plaintext [write one of them]'],
    ],
    ['endpoints: { static: ["10.0.0.1:1"] }\ntls: {}', []],
    ['endpoints: { static: ["10.0.0.1:1"] }\ntls: { sni: a, ca: x }', ['it has no certificate in PEM']],
    [
      'endpoints: { static: ["a:0", "b:99999", "c:1", "c:1"] }\nplaintext: true',
      ['"a:0" is no HOST:PORT', '"b:99999" is no HOST:PORT', 'c:1 is there twice [give it more weight instead]'],
    ],
    [
      'endpoints: { dns: "a.example" }\nplaintext: true',
      ['a.example has no port [write NAME:PORT; only SRV records have one of their own]'],
    ],
    [
      'endpoints: { dns: { name: _a._tcp.example, type: srv, port: 1 } }\nplaintext: true',
      ['SRV records have ports of their own'],
    ],
    ['endpoints: { dns: "10.0.0.1:80" }\nplaintext: true', ['10.0.0.1 is an address [write static: [HOST:PORT]]']],
    [`${outside}via: web`, ['it would be its own gateway']],
    [
      `${outside}via: gw\n---\nkind: Cluster\nname: gw\nendpoints: { dns: "gw.example:1" }\nplaintext: true\nvia: web`,
      [
        'gw is itself outside the mesh; a gateway is enrolled',
        '6:1 Cluster gw: web is itself outside the mesh; a gateway is enrolled',
      ],
    ],
    [
      `${outside}loadBalancing: { policy: maglev }`,
      ['maglev needs hashOn [a header, cookie, query parameter or source]'],
    ],
    [
      `${outside}loadBalancing: { hashOn: { source: identity } }`,
      ['least-request does not look at it [write ring-hash or maglev]'],
    ],
    [
      `${outside}protocol: tcp\nloadBalancing: { policy: maglev, hashOn: { cookie: session, ttl: 1h } }`,
      ['a connection of TCP has no cookie [write source: identity or source: address]'],
    ],
    [`${outside}protocol: tcp\nloadBalancing: { policy: maglev, hashOn: { source: identity } }`, []],
    [`${outside}healthCheck: {}`, ['write one of http, grpc and tcp']],
    [`${outside}healthCheck: { tcp: {}, grpc: {} }`, ['write one of http, grpc and tcp']],
    [`${outside}subsets: { v2: { labels: { version: v2 } } }`, ['subset v2 has no endpoint: none has all its labels']],
    [
      `${outside}outlierDetection: { baseEjection: 10m, maxEjection: 1m }`,
      ['the longest ejection is shorter than the first'],
    ],
  ])('%s', (rest, problems) => {
    expect(ofCluster(rest).map((problem) => problem.replace(/^10:6 /, '6:1 '))).toEqual(
      problems.map((problem) =>
        typeof problem === 'string' ? expect.stringContaining(problem.replace(/^6:1 Cluster gw: /, '')) : problem,
      ),
    );
  });
  test('one outside the mesh cannot be a service of it', () => {
    expect(problemsOf(`kind: Cluster\nname: web\n${outside}`, ['web'])).toEqual([
      '3:12 Cluster web: web is a service of the mesh, so its endpoints are its instances [give it another service: or name]',
    ]);
  });
  test('one that speaks TCP takes no HTTP routes', () => {
    const yaml = `kind: Cluster\nname: db\nprotocol: tcp\n${outside}---\nkind: VirtualService\nname: v\nhosts: [v]\nservice: db\nhttp: [{ route: [{ cluster: db }] }]`;
    expect(problemsOf(yaml)).toEqual([
      expect.stringContaining('cluster db speaks TCP; only tcp and tls routes lead there'),
    ]);
  });
});

test('no resource but mesh is called Mesh', () => {
  expect(() => written('kind: Mesh\nname: other')).toThrow(/name/);
});
