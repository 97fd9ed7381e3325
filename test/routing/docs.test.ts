// docs/traffic.md is true: its resources are in order, and its tables say where requests go.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseResources } from '#config/resources';
import { validateResources } from '#policy';
import { explainRoute, type RouteExplanation, validateTraffic } from '#routing/tools';
import { idOf, trustDomain } from '../helpers/policy.ts';
import { asked, routesOf } from '../helpers/routing.ts';

const page = readFileSync(new URL('../../docs/traffic.md', import.meta.url), 'utf8');
/** Each example with the rows of the table below it, if that is about requests. */
const examples = page
  .split('```yaml\n')
  .filter((part) => part.startsWith('kind: VirtualService'))
  .map((part) => {
    const end = part.indexOf('```');
    const below = part.slice(end).split('\n## ')[0]!;
    const rows = [...below.matchAll(/^\| ([A-Z]+) ([^ ]+) \| (\S+) \| (.*?) ?\| (.*?) ?\| (.*) \|$/gm)];
    return { yaml: part.slice(0, end), rows: rows.map(([, ...cells]) => cells as string[]) };
  });

test('its examples have no problem', () => {
  expect(examples.length).toBeGreaterThan(6);
  for (const { yaml } of examples) {
    const { resources, problems } = parseResources(yaml, 'docs/traffic.md');
    expect([...problems, ...validateResources(resources), ...validateTraffic(resources, { trustDomain })]).toEqual([]);
    expect(() => routesOf(yaml)).not.toThrow();
  }
});

describe('requests go where its tables say', () => {
  const rows = examples.flatMap(({ yaml, rows }) => rows.map((cells) => [yaml, ...cells] as const));
  test('there are tables', () => {
    expect(rows.length).toBeGreaterThan(25);
  });
  test.each(rows.map(([yaml, ...cells]) => [...cells, yaml] as string[]))(
    '%s %s from %s with "%s": %s, %s',
    (...cells) => {
      const [method, url, from, header, route, to, yaml] = cells as [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
      ];
      const [, authority, path] = /^([^/]+)(\/.*)$/.exec(url)!;
      const [host, port = '80'] = authority!.split(':') as [string, string?];
      const [name, value] = header.split(': ') as [string, string?];
      const headers = value === undefined ? {} : { [name]: value };
      const one = asked(path, { method, port: Number(port), from: idOf(from), headers });
      const explained = explainRoute(routesOf(yaml, ['payments']), { host, asked: one });
      expect(explained.action?.route ?? '').toBe(route);
      expect(wordsOf(explained, { authority: authority!, path: one.path, query: one.query })).toBe(to);
    },
  );
});

function wordsOf(
  { action, targets, path }: RouteExplanation,
  o: { authority: string; path: string; query: string },
): string {
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
