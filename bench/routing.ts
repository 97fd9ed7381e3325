// What finding the route of a request costs, with a thousand virtual services and fifty routes on the host, beside a mesh in which nobody wrote any.
import { type Asked, compileRoutes, hostOf, type Routes } from '#routing';
import type { HttpRoute, ServiceEntry, VirtualServiceEntry } from '#wire';
import { type Bench, cpuMicros, type Figure, quantile } from './bench.ts';

const virtualServices = 1_000;
const routesOfHost = 50;
const perBatch = 64;
const batches = 4_000;

export async function run(): Promise<Bench> {
  const services = Array.from({ length: virtualServices }, (_, index) => serviceOf(`shop/s${index}`));
  const baseline = compileRoutes({ services: services.slice(0, 1), clusters: [], virtualServices: [] });
  const written = services.map(virtualServiceOf);
  let routes = baseline;
  const compileMs = await cpuMicros(1, () => {
    routes = compileRoutes({ services, clusters: [], virtualServices: written });
  });
  const [first, ...others] = structuredClone(written);
  const changed = [{ ...first!, http: first!.http!.slice(1) }, ...others];
  const changeMs = await cpuMicros(1, () =>
    compileRoutes({ services, clusters: [], virtualServices: changed, before: routes }),
  );
  const one = (): string => 'shop/s0';
  const without = measure(baseline, one, plain);
  const figures: Figure[] = [
    figure('no virtual service at all', without, without),
    {
      what: `${virtualServices} virtual services of ${routesOfHost} routes: compiled`,
      measured: `${(compileMs / 1_000).toFixed(0)} ms`,
    },
    {
      what: 'the same again, with a change in one',
      measured: `${(changeMs / 1_000).toFixed(0)} ms`,
    },
  ];
  for (const [what, requests, bar] of [
    ['exact path, typical', exact, 1],
    ['prefix and header, typical', prefixes, 1],
    ['template', templates, 1],
    ['expression', expressions, 3],
    ['nothing matches but the last', plain, 3],
  ] as const) {
    figures.push(figure(what, measure(routes, one, requests), without, bar));
  }
  const scattered = measure(routes, (round) => `shop/s${(round * 7) % virtualServices}`, [
    ...exact,
    ...prefixes,
    ...templates,
    ...plain,
  ]);
  figures.push(figure('all of these, each request to another host', scattered, without, 3));
  return {
    title: 'Routing',
    how: `${virtualServices} virtual services, each with ${routesOfHost} routes: exact paths, prefixes with headers, templates, expressions, one for the rest. From the host to the target; p50 over ${batches} batches of ${perBatch} requests to one host, at the end to all hosts in turn, so that hardly anything is in the caches of the CPU.`,
    figures,
  };
}

function figure(what: string, p50: number, without: number, bar?: number): Figure {
  const measured = `${p50.toFixed(2)} us`;
  if (bar === undefined) return { what, measured };
  return {
    what,
    measured: `${measured}, ${(p50 - without).toFixed(2)} us more`,
    bar: `at most ${bar} us more`,
    holds: p50 - without <= bar,
  };
}

/** Microseconds from host to target, p50. */
function measure(routes: Routes, serviceAt: (round: number) => string, requests: readonly Asked[]): number {
  const hosts = Array.from({ length: virtualServices }, (_, round) => hostOf(serviceAt(round)));
  const samples: number[] = [];
  let found = 0;
  for (let batch = -1_000; batch < batches; batch++) {
    const begun = performance.now();
    for (let round = 0; round < perBatch; round++) {
      const asked = requests[round % requests.length]!;
      const action = routes.byHost(hosts[(batch + 1_000 + round) % hosts.length]!)?.http(asked);
      if (action?.kind === 'forward' && action.target(round / perBatch).cluster !== '') found++;
    }
    if (batch >= 0) samples.push(((performance.now() - begun) * 1_000) / perBatch);
  }
  if (found !== (batches + 1_000) * perBatch) throw new Error('a request found no route');
  return quantile(samples, 0.5);
}

function serviceOf(name: string): ServiceEntry {
  return { id: `spiffe://example.org/${name}`, hosts: [hostOf(name)], ports: [8080], endpoints: [] };
}

function virtualServiceOf({ id, hosts }: ServiceEntry): VirtualServiceEntry {
  const route = [{ cluster: id.slice('spiffe://example.org/'.length) }];
  const http: HttpRoute[] = Array.from({ length: routesOfHost - 1 }, (_, index) => {
    if (index % 4 === 0) return { match: [{ path: { exact: `/api/v1/things/${index}` } }], route };
    if (index % 4 === 1)
      return { match: [{ path: { prefix: `/api/v2/part${index}` }, headers: { 'x-beta': '1' } }], route };
    if (index % 4 === 2) return { match: [{ path: { template: `/api/v3/users/{id}/orders${index}` } }], route };
    return index < 12
      ? { match: [{ path: { regex: `/legacy/[a-z]+/${index}(/.*)?` } }], route }
      : { match: [{ methods: ['PATCH'], path: { prefix: `/edit/${index}` } }], route };
  });
  return { name: id.slice('spiffe://example.org/'.length), id, hosts: [...hosts], http: [...http, { route }] };
}

const fields = [
  'accept',
  'application/json',
  'user-agent',
  'curl/8',
  'x-request-id',
  'abc',
  'traceparent',
  '00-1-2-01',
  'x-beta',
  '1',
];
const asked = (path: string): Asked => ({
  ...{ method: 'GET', port: 80, path, query: '?page=2', fields, from: 'spiffe://example.org/web' },
});
const exact = [0, 8, 16, 24, 32, 40, 48].map((index) => asked(`/api/v1/things/${index}`));
const prefixes = [1, 9, 17, 25, 33, 41].map((index) => asked(`/api/v2/part${index}/sub/page`));
const templates = [2, 10, 18, 26, 34].map((index) => asked(`/api/v3/users/4711/orders${index}`));
const expressions = [3, 7, 11].map((index) => asked(`/legacy/catalogue/${index}/page`));
const plain = ['/', '/index.html', '/assets/app.js', '/deep/er/path/of/some/page'].map(asked);
