// What docs/traffic.md says of clusters is true: its examples have no problem and do what is said, its defaults are those of the code.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { JsonSchema } from '#base/schema';
import { parseResources } from '#config/resources';
import { type ClusterSettings, hashOf } from '#routing';
import { validateTraffic } from '#routing/tools';
import { type ClusterResource, resourceSchemas } from '#wire';
import { balanceSettings, breakerBounds, outlierBounds } from '../../routing/balance/settings.ts';
import { endpointNamed, nothingTried, trial } from '../helpers/live-cluster.ts';

const page = readFileSync(new URL('../../docs/traffic.md', import.meta.url), 'utf8')
  .split(/^(?=## )/m)
  .filter((section) => /^## (Load balancing|Resilience)\n/.test(section))
  .join('');
const yaml = [...page.matchAll(/```yaml\n(kind: Cluster\n.*?)```/gs)].map(([, block]) => block!).join('---\n');
const { resources, problems } = parseResources(yaml, 'docs/traffic.md');
const declared = (name: string): ClusterSettings =>
  resources.map(({ resource }) => resource as ClusterResource).find((each) => each.name === name)!;
type Declared = Required<ClusterSettings>;
const answered = (status: number) => ({ kind: 'answered', status, grpcStatus: undefined }) as const;
const endpoints = ['a', 'b', 'c', 'd'].map((name) => endpointNamed(name));

describe('the examples', () => {
  test('have no problem', () => {
    expect([...problems, ...validateTraffic(resources, { trustDomain: 'mesh.example' })]).toEqual([]);
  });

  test('catalogue: its subsets are told apart, and a new endpoint begins slowly', () => {
    const [stable, canary, fresh] = [
      endpointNamed('a', { labels: { version: 'v1' } }),
      endpointNamed('b', { labels: { version: 'v2' } }),
      endpointNamed('c', { labels: { version: 'v1' } }),
    ];
    const run = trial({ endpoints: [stable, canary], settings: declared('catalogue') });
    expect(run.counts(50, { subset: 'stable' })).toEqual({ 'a:1': 50 });
    expect(run.counts(50, { subset: 'canary' })).toEqual({ 'b:1': 50 });
    run.update([stable, canary, fresh]);
    expect(run.counts(110, { subset: 'stable' })['c:1']).toBeLessThan(15);
    run.clock.advance(30_000);
    expect(run.counts(1_000, { subset: 'stable' })['c:1']).toBeGreaterThan(400);
  });

  test('carts: a session stays at its endpoint', () => {
    const run = trial({ endpoints, settings: declared('carts') });
    const at = (session: string) => {
      const fields = ['cookie', `theme=dark; session=${session}`];
      const asked = { fields, query: '', identity: 'spiffe://mesh.example/web', address: '10.0.0.1' };
      const hash = hashOf(run.cluster.hashOn!, asked);
      return run.cluster.pick({ subset: undefined, hash, tried: nothingTried })!.address;
    };
    const sessions = Array.from({ length: 100 }, (_, count) => `s${count}`);
    expect(new Set(sessions.map(at)).size).toBe(4);
    expect(sessions.map(at)).toEqual(sessions.map(at));
  });

  test('prices: the own zone, then eu-west, then eu-north', () => {
    const zoned = (healthy: readonly string[]) =>
      ['us', 'eu-north', 'eu-west', 'own'].map((zone) =>
        endpointNamed(zone, { zone, isUnhealthy: !healthy.includes(zone) }),
      );
    const run = trial({ zone: 'own', endpoints: zoned([]), settings: declared('prices') });
    for (const healthy of [['own', 'eu-west'], ['eu-west', 'eu-north', 'us'], ['eu-north', 'us'], ['us']]) {
      run.update(zoned(healthy));
      expect(run.counts(20)).toEqual({ [`${healthy[0]}:1`]: 20 });
    }
  });

  test('search: 2000 requests and a tenth of them retries', () => {
    const { cluster } = trial({ endpoints, settings: declared('search') });
    const granted = (admit: () => unknown) => Array.from({ length: 3_000 }, admit).filter(Boolean).length;
    expect(granted(() => cluster.admit())).toBe(2_000);
    expect(granted(() => cluster.admitRetry())).toBe(64);
    expect(cluster.bounds.retryBudget).toBe(0.1);
  });

  test('payments: three server errors in a row are one too many, of half of the endpoints at most', () => {
    const { cluster, told } = trial({ endpoints, settings: declared('payments') });
    for (const endpoint of endpoints) for (let count = 0; count < 3; count++) cluster.begin(endpoint)(answered(500));
    expect(told).toEqual(['a:1 3 server errors in a row', 'b:1 3 server errors in a row']);
  });
});

describe('defaults', () => {
  const rows = [
    ...page.matchAll(/^\| `((?:loadBalancing|circuitBreaker|outlierDetection)\.[^`]+)` \| (?:`(.*?)`|none) /gm),
  ];
  const inSchema = (path: string): JsonSchema =>
    path.split('.').reduce((schema, key) => schema.properties![key]!, resourceSchemas.Cluster as JsonSchema);
  /** Every setting under the three, as dotted paths. */
  const settingsIn = (path: string): string[] => {
    const { properties } = inSchema(path);
    return properties ? Object.keys(properties).flatMap((key) => settingsIn(`${path}.${key}`)) : [path];
  };

  test.each(rows.map(([, path, shown]) => [path!, shown]))('%s is %s in the schema as on the page', (path, shown) => {
    const { default: usual } = inSchema(path);
    expect(usual === undefined ? undefined : String(usual)).toBe(shown);
  });

  test('every setting of breakers and outlier detection is on the page', () => {
    const shown = rows.map(([, path]) => path);
    expect(shown).toEqual(
      expect.arrayContaining(['circuitBreaker', 'outlierDetection'].flatMap((path) => settingsIn(path))),
    );
  });

  test('what is not declared is taken as the schema says', () => {
    const explicit = (path: string): unknown => {
      const { properties, default: usual } = inSchema(path);
      if (!properties) return usual;
      const values = Object.keys(properties).map((key) => [key, explicit(`${path}.${key}`)] as const);
      return Object.fromEntries(values.filter(([, value]) => value !== undefined));
    };
    const circuitBreaker = explicit('circuitBreaker') as Declared['circuitBreaker'];
    const whole = { index: 0, of: 1 };
    expect(breakerBounds({ circuitBreaker }, whole)).toEqual(breakerBounds({}, whole));
    const outlierDetection = explicit('outlierDetection') as Declared['outlierDetection'];
    expect(outlierBounds({ outlierDetection })).toEqual(outlierBounds({ outlierDetection: { successRate: {} } }));
    const loadBalancing = explicit('loadBalancing') as Declared['loadBalancing'];
    expect(balanceSettings({ loadBalancing })).toEqual(balanceSettings({ loadBalancing: { zones: {} } }));
  });
});
