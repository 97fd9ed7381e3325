// What holds for all routes and requests, looked for with generated ones.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { foldPath } from '#base/canonical-path';
import { type Asked, compileRoutes, type Forward } from '#routing';
import { analyzeTraffic, explainRoute } from '#routing/tools';
import type { HttpMatch, HttpRoute, WeightedTarget } from '#wire';
import { idOf, trustDomain } from '../helpers/policy.ts';
import { asked } from '../helpers/routing.ts';

function hostOf(http: readonly HttpRoute[]) {
  const virtualServices = [{ name: 'v', id: idOf('v'), hosts: ['v'], http: [...http] }];
  return compileRoutes({ services: [], clusters: [], virtualServices }).byHost('v')!;
}

type Rewrite = NonNullable<HttpRoute['rewrite']>;

const segment = fc.constantFrom('a', 'b', 'ab', '');
const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => {
  const kept = segments.filter((one, index) => one !== '' || index === segments.length - 1);
  return `/${kept.join('/')}`;
});
const templated = fc
  .record({
    steps: fc.array(fc.constantFrom('a', 'b', 'ab', '*'), { maxLength: 3 }),
    end: fc.constantFrom('', '/', '/**'),
  })
  .map(({ steps, end }) => `${steps.map((step) => `/${step}`).join('')}${end}` || '/');
const pathMatch: fc.Arbitrary<NonNullable<HttpMatch['path']>> = fc.oneof(
  path.map((exact) => ({ exact })),
  path.map((prefix) => ({ prefix })),
  templated.map((template) => ({ template })),
  fc.constantFrom('/.*', '/a.*', '/(a|b)/.*', '.*b').map((regex) => ({ regex })),
);
const match: fc.Arbitrary<HttpMatch> = fc.record(
  {
    path: pathMatch,
    methods: fc.uniqueArray(fc.constantFrom('GET', 'POST'), { minLength: 1 }),
    headers: fc.record({ 'x-a': fc.constantFrom('1', '2') }),
    withoutHeaders: fc.record({ 'x-a': fc.constantFrom('1', '2', { present: true }) }),
    query: fc.record({ q: fc.constantFrom('1', '2') }),
  },
  { requiredKeys: [] },
);
const request = fc.record({
  path,
  method: fc.constantFrom('GET', 'POST'),
  header: fc.constantFrom('1', '2', undefined),
  query: fc.constantFrom('', '?q=1', '?q=2&q=1'),
});

/** As the documentation says it, segment by segment, without any index. */
function isPathMatched(given: HttpMatch['path'], of: string): boolean {
  if (!given) return true;
  if (given.exact !== undefined) return of === given.exact;
  if (given.regex !== undefined) return new RegExp(`^(?:${given.regex})$`).test(of);
  const { prefix, template } = given;
  if (prefix !== undefined) return of === prefix || of.startsWith(prefix.endsWith('/') ? prefix : `${prefix}/`);
  const wanted = template!.slice(1).split('/');
  const has = of.slice(1).split('/');
  const rest = wanted.at(-1) === '**';
  if (rest) wanted.pop();
  if (rest && wanted.length === 0) return true;
  if (rest ? has.length < wanted.length : has.length !== wanted.length) return false;
  return wanted.every((step, index) => (step === '*' ? has[index] !== '' : has[index] === step));
}

function isMatched(one: HttpMatch, of: Asked): boolean {
  const header = of.fields.indexOf('x-a');
  return (
    isPathMatched(one.path, of.path) &&
    (!one.methods || one.methods.includes(of.method)) &&
    (!one.headers || (header >= 0 && of.fields[header + 1] === one.headers['x-a'])) &&
    (!one.withoutHeaders ||
      header < 0 ||
      (typeof one.withoutHeaders['x-a'] === 'string' && of.fields[header + 1] !== one.withoutHeaders['x-a'])) &&
    (!one.query || new URLSearchParams(of.query).getAll('q').includes(one.query.q as string))
  );
}

describe('routes', () => {
  test('the first that matches is the first that matches by looking at each in turn', () => {
    const list = fc.array(fc.array(match, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(list, fc.array(request, { minLength: 1, maxLength: 20 }), (matches, requests) => {
        const host = hostOf(matches.map((each) => ({ match: each, route: [{ cluster: 'c' }] })));
        for (const { path: of, query, method, header } of requests) {
          const one = asked(`${of}${query}`, { method, headers: header === undefined ? {} : { 'x-a': header } });
          const place = matches.findIndex((each) => each.some((alternative) => isMatched(alternative, one)));
          expect(host.http(one)?.route).toBe(place < 0 ? undefined : String(place));
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test('what is said to be never reached is reached by no request', () => {
    const list = fc.array(fc.array(match, { minLength: 1, maxLength: 2 }), { minLength: 2, maxLength: 8 });
    let said = 0;
    fc.assert(
      fc.property(list, fc.array(request, { minLength: 1, maxLength: 40 }), (matches, requests) => {
        const http = matches.map((each) => ({ match: each, route: [{ cluster: 'c' }] }));
        const resource = { kind: 'VirtualService' as const, name: 'v', hosts: ['v'], http };
        const unreached = analyzeTraffic([{ resource }], { trustDomain })
          .filter(({ code }) => code === 'PT003')
          .map(({ pointer }) => pointer!.replace('/http/', ''));
        said += unreached.length;
        for (const { path: of, query, method, header } of requests) {
          const one = asked(`${of}${query}`, { method, headers: header === undefined ? {} : { 'x-a': header } });
          expect(unreached).not.toContain(hostOf(http).http(one)?.route);
        }
      }),
      { numRuns: 500 },
    );
    expect(said).toBeGreaterThan(50);
  });

  test('the explanation takes the route that a proxy takes', () => {
    const list = fc.array(fc.array(match, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(list, request, (matches, { path: of, query, method, header }) => {
        const http = matches.map((each) => ({ match: each, route: [{ cluster: 'c' }] }));
        const virtualServices = [{ name: 'v', id: idOf('v'), hosts: ['v'], http }];
        const routes = compileRoutes({ services: [], clusters: [], virtualServices });
        const one = asked(`${of}${query}`, { method, headers: header === undefined ? {} : { 'x-a': header } });
        const { routes: explained, action } = explainRoute(routes, { host: 'v', asked: one });
        expect(explained.find(({ isTaken }) => isTaken)?.route).toBe(action?.route);
        expect(action?.route).toBe(hostOf(http).http(one)?.route);
      }),
    );
  });

  test('a rewrite gives a canonical path or none', () => {
    const replacement = fc.constantFrom('/n', '/', '/n/', '/a/b');
    const rewrite: fc.Arbitrary<[HttpMatch, Rewrite]> = fc.oneof(
      fc.tuple(path, replacement).map(([prefix, to]) => [{ path: { prefix } }, { path: to }] as [HttpMatch, Rewrite]),
      fc
        .tuple(
          fc.constantFrom('/(.*)', '/([^/]*)/?(.*)', '(.*)b'),
          fc.constantFrom('/$1', '/$1/..', '/./$1', '//$1', '/%$1', '/..', '/x$1/../$1', '/$$;'),
        )
        .map(([from, replace]) => [{}, { regex: { match: from, replace } }] as [HttpMatch, Rewrite]),
    );
    const refuse = (): never => {
      throw new TypeError('not canonical');
    };
    const segments = fc.array(fc.constantFrom('a', 'b', '2f', 'a.', '%C3%A9'), { maxLength: 4 });
    fc.assert(
      fc.property(rewrite, segments, ([by, to], parts) => {
        const given = `/${parts.join('/')}`;
        const action = hostOf([{ match: [by], rewrite: to, route: [{ cluster: 'c' }] }]).http(asked(given)) as
          | Forward
          | undefined;
        if (!action) return;
        let made: string;
        try {
          made = action.rewritePath!(given);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'ROUTE_PATH_INVALID' });
          return;
        }
        expect(foldPath(made, refuse)).toBe(made);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('weights', () => {
  const targets = (weights: readonly number[]): WeightedTarget[] =>
    weights.map((weight, index) => ({ cluster: `c${index}`, weight }));
  const weights = fc
    .array(fc.integer({ min: 0, max: 1_000 }), { minLength: 1, maxLength: 8 })
    .filter((each) => each.some((weight) => weight > 0));

  test('each target gets its share of evenly spread numbers, to within one of them', () => {
    fc.assert(
      fc.property(weights, (each) => {
        const action = hostOf([{ route: targets(each) }]).http(asked()) as Forward;
        const draws = 2_000;
        const counts = each.map(() => 0);
        for (let draw = 0; draw < draws; draw++)
          counts[Number(action.target((draw + 0.5) / draws).cluster.slice(1))]!++;
        const sum = each.reduce((total, weight) => total + weight, 0);
        for (const [index, weight] of each.entries())
          expect(Math.abs(counts[index]! - (draws * weight) / sum)).toBeLessThanOrEqual(1.001);
      }),
    );
  });
  test('a target of weight 0 gets nothing, at either end of the numbers', () => {
    const action = hostOf([{ route: targets([0, 1, 0]) }]).http(asked()) as Forward;
    for (const at of [0, 0.5, 1 - Number.EPSILON]) expect(action.target(at).cluster).toBe('c1');
  });
});

test('an expression that others take exponential time for answers at once, however long the text', () => {
  const route = { match: [{ path: { regex: '/(x+x+)+y' } }], route: [{ cluster: 'c' }] };
  expect(hostOf([route]).http(asked(`/${'x'.repeat(8_000)}`))).toBeUndefined();
  expect(hostOf([route]).http(asked(`/${'x'.repeat(8_000)}y`))).toBeDefined();
});
test('the larger an expression, the shorter the texts that it looks at', () => {
  const route = { match: [{ path: { regex: '/(a|b)*a(a|b){300}' } }], route: [{ cluster: 'c' }] };
  expect(hostOf([route]).http(asked(`/${'a'.repeat(400)}`))).toBeDefined();
  expect(hostOf([route]).http(asked(`/${'a'.repeat(4_000)}`))).toBeUndefined();
});
test('a text that is longer than any expression may look at matches none', () => {
  const route = { match: [{ path: { regex: '.*' } }], route: [{ cluster: 'c' }] };
  expect(hostOf([route]).http(asked(`/${'x'.repeat(9_000)}`))).toBeUndefined();
});
