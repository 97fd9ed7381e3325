// Rules, dashboard and the queries on docs/observability.md ask for metrics and labels that there are. docs/metrics.md is what the code exposes: another test holds it to that.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

interface Family {
  readonly type: string;
  readonly labels: readonly string[];
}

const families = new Map<string, Family>(
  [...read('docs/metrics.md').matchAll(/^\| `(\w+)` \| (\w+) \| (.*?) \|/gm)].map(([, name, type, labels]) => [
    name!,
    { type: type!, labels: [...labels!.matchAll(/`(\w+)`/g)].map(([, label]) => label!) },
  ]),
);

interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}
const rules = (
  parse(read('deploy/observability/postern.rules.yaml')) as { groups: readonly { rules: readonly Rule[] }[] }
).groups.flatMap((group) => group.rules);
const recorded = new Map(rules.flatMap(({ record, expr }) => (record ? [[record, expr] as const] : [])));

const dashboard = JSON.parse(read('deploy/observability/postern-dashboard.json')) as {
  readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: string }[] };
};

/** Scraping adds them. */
const scraped = ['instance', 'job', 'le'];

/** What an expression of PromQL asks for that there is not. */
function problemsOf(expr: string): string[] {
  const problems: string[] = [];
  for (const [open, close] of ['()', '{}', '[]'] as const)
    if (expr.split(open!).length !== expr.split(close!).length) problems.push(`${open}${close} do not match`);
  const plain = expr.replace(/"[^"]*"/g, '""');
  const labels = new Set(scraped);
  for (const [, name, , matchers = ''] of plain.matchAll(/\b(postern[\w:]+)(\{([^}]*)\})?/g)) {
    const found = familyOf(name!);
    if (!found) {
      problems.push(`there is no ${name}`);
      continue;
    }
    for (const label of found) labels.add(label);
    for (const [, label] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g))
      if (!found.includes(label!) && !scraped.includes(label!)) problems.push(`${name} has no label ${label}`);
  }
  for (const [, list] of plain.matchAll(/\bby \(([^)]*)\)/g))
    for (const label of list!.split(/,\s*/))
      if (!labels.has(label)) problems.push(`nothing in it has a label ${label}`);
  return problems;
}

/** The labels of a family, or of what a rule has recorded. */
function familyOf(name: string): readonly string[] | undefined {
  const rule = recorded.get(name);
  if (rule !== undefined) return /\bby \(([^)]*)\)/.exec(rule)?.[1]?.split(/,\s*/);
  const family = families.get(name);
  if (family && family.type !== 'histogram') return family.labels;
  const histogram = families.get(name.replace(/_(bucket|sum|count)$/, ''));
  return histogram?.type === 'histogram' && name.match(/_(bucket|sum|count)$/) ? histogram.labels : undefined;
}

test.each(rules.map((rule) => [rule.alert ?? rule.record!, rule] as const))(
  'rule %s asks for what there is',
  (_, rule) => {
    expect(problemsOf(rule.expr)).toEqual([]);
    const asked = Object.values(rule.annotations ?? {}).join(' ');
    for (const [, label] of asked.matchAll(/\$labels\.(\w+)/g))
      expect([
        ...scraped,
        ...[...rule.expr.matchAll(/postern[\w:]+/g)].flatMap(([name]) => familyOf(name) ?? []),
      ]).toContain(label);
    if (rule.alert) expect(rule.labels?.severity).toMatch(/^(page|ticket)$/);
  },
);

test.each(dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const)))(
  'panel %s asks for what there is',
  (_, expr) => expect(problemsOf(expr)).toEqual([]),
);

test('the choices of the dashboard are labels that there are, and every one that panels use is there', () => {
  const names = dashboard.templating.list.map(({ name }) => name);
  for (const { query } of dashboard.templating.list) {
    const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(query) ?? [];
    if (metric) expect(familyOf(metric)).toContain(label);
  }
  for (const [, used] of JSON.stringify(dashboard.panels).matchAll(/\$\{?(\w+)/g))
    expect([...names, '__rate_interval']).toContain(used);
});

const documented = [...read('docs/observability.md').matchAll(/^\| [^|]+ \| `(.*postern_.*)` \|$/gm)].map(
  ([, query]) => query!,
);
test('the page has queries', () => expect(documented.length).toBeGreaterThan(4));
test.each(documented)('the query on the page asks for what there is: %s', (query) => {
  expect(problemsOf(query)).toEqual([]);
});

test('an expression that asks for something else is told', () => {
  expect(problemsOf('rate(postern_nothing_total[5m])')).toEqual(['there is no postern_nothing_total']);
  expect(problemsOf('postern_cluster_panic{service="a"}')).toEqual(['postern_cluster_panic has no label service']);
  expect(problemsOf('sum by (host) (postern_cluster_panic)')).toEqual(['nothing in it has a label host']);
  expect(problemsOf('postern_http_request_bytes')).toEqual(['there is no postern_http_request_bytes']);
});
