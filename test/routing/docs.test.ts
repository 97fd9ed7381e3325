// docs/traffic.md is true: its resources are in order, and its tables say where requests go.
import { describe, expect, test } from 'vitest';
import { parseResources } from '#config/resources';
import { validateResources } from '#policy';
import { explainRoute, type RouteExplanation, validateTraffic } from '#routing/tools';
import { idOf, trustDomain } from '../helpers/policy.ts';
import { asked, routesOf } from '../helpers/routing.ts';
import { readTrafficPage } from '../helpers/traffic-page.ts';

const examples = readTrafficPage();

test('its examples have no problem', () => {
  expect(examples.length).toBeGreaterThan(6);
  for (const { yaml } of examples) {
    const { resources, problems } = parseResources(yaml, 'docs/traffic.md');
    expect([...problems, ...validateResources(resources), ...validateTraffic(resources, { trustDomain })]).toEqual([]);
    expect(() => routesOf(yaml)).not.toThrow();
  }
});

describe('requests go where its tables say', () => {
  const rows = examples.flatMap(({ yaml, rows }) => rows.map((row) => ({ yaml, ...row })));
  test('there are tables', () => {
    expect(rows.length).toBeGreaterThan(25);
  });
  test.each(rows)('$method $authority$path from $from: $route, $to', ({ yaml, authority, ...row }) => {
    const [host = '', port = '80'] = authority.split(':');
    const { method, headers, from } = row;
    const one = asked(row.path, { method, port: Number(port), from: idOf(from), headers });
    const explained = explainRoute(routesOf(yaml, ['payments']), { host, asked: one });
    expect(explained.action?.route ?? '').toBe(row.route);
    expect(wordsOf(explained, { authority, path: one.path, query: one.query })).toBe(row.to);
  });
});

function wordsOf(
  { virtualHost, action, targets, path }: RouteExplanation,
  o: { authority: string; path: string; query: string },
): string {
  // Nothing has the host: whoever calls it is refused like one whom policy denies.
  if (!virtualHost) return '403';
  if (!action || !('kind' in action)) return '404';
  if (action.kind === 'respond') return `${action.status} ${action.body}`.trim();
  if (action.kind === 'redirect')
    return `${action.status} ${action.location({ scheme: 'http', authority: o.authority, path: o.path, query: o.query })}`;
  const shares = targets.filter(({ isMirror }) => !isMirror);
  const names = shares.map(({ cluster, subset, share }) =>
    [cluster, ...(subset ? [subset] : []), ...(share < 1 ? [`${Math.round(share * 100)}%`] : [])].join(' '),
  );
  return `${names.join(', ')}${path === o.path ? '' : ` as ${path}`}`;
}
