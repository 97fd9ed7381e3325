// The tables of docs/traffic.md through real sidecars: each request is sent by the caller that its row names, and arrives where the row says, as the row says.
import { beforeEach, describe, expect, test } from 'vitest';
import { call } from '../helpers/mesh.ts';
import { open, startTraffic, type Traffic } from '../helpers/traffic.ts';
import { type Row, readTrafficPage } from '../helpers/traffic-page.ts';

const callers = ['qa', 'load-test'];
const examples = readTrafficPage().filter(({ rows }) => rows.length > 0);

/** Two instances of every service that the example leads to, one of each version. */
function servicesOf(yaml: string): Parameters<typeof startTraffic>[1] {
  const names = new Set([...yaml.matchAll(/(?:cluster|service|name): ([a-z][a-z-]*)/g)].map(([, name]) => name!));
  const versions = [{ labels: { version: 'v1' } }, { labels: { version: 'v2' } }];
  const called = [...names].filter((name) => new RegExp(`(cluster|service): ${name}\\b`).test(yaml));
  return Object.fromEntries(called.map((name) => [name, versions]));
}

describe.each(examples.map(({ yaml, rows }) => [/name: (\S+)/.exec(yaml)![1]!, yaml, rows] as const))(
  'the example %s',
  (_, yaml, rows) => {
    let traffic: Traffic;
    beforeEach(async () => {
      traffic = await startTraffic(`${open}${yaml}`, servicesOf(yaml), { callers });
    });

    test('every row of its table', async () => {
      for (const row of rows) await send(traffic, row);
    });
  },
);

async function send(traffic: Traffic, row: Row): Promise<void> {
  const words = `${row.method} ${row.authority}${row.path} from ${row.from}`;
  const proxy = traffic.caller(row.from);
  const headers = Object.entries(row.headers).map(([name, value]) => `${name}: ${value}`);
  const before = proxy.records.length;
  const { method, authority: host, path } = row;
  const answer = await call(proxy, { method, host, path, headers, ...(method === 'GET' ? {} : { body: '' }) });
  const records = await proxy.recorded(before + 1);
  const record = records.slice(before).find(({ mirrored }) => !mirrored)!;
  expect(record.route ?? '', words).toBe(row.route);
  const [, status, rest = ''] = /^([1-5][0-9]{2})(?: (.*))?$/.exec(row.to) ?? [];
  if (status !== undefined) {
    expect(answer.status, words).toBe(Number(status));
    if (status.startsWith('3')) expect(answer.head.toLowerCase(), words).toContain(`location: ${rest}\r\n`.trimEnd());
    else if (rest) expect(answer.body, words).toBe(rest);
    return;
  }
  // What somebody injects on purpose may take its place.
  if (record.fault !== undefined) return;
  expect(answer.status, words).toBe(200);
  const [targets = '', sent] = row.to.split(' as ');
  const clusters = targets.split(', ').map((target) => target.replace(/ \d+%$/, '').replace(' ', '/'));
  expect(clusters, words).toContain(record.cluster);
  const [service = '', subset] = record.cluster!.split('/');
  const [, name = ''] = /([a-z-]+-[12])\r?\n?/.exec(answer.body) ?? [];
  const instance = traffic.instances[service]!.find((one) => one.name === name);
  expect(instance, `${words}: ${answer.body}`).toBeDefined();
  if (subset === 'v2') expect(name, words).toBe(`${service}-2`);
  expect(instance!.seen.at(-1)!.url.split('?')[0], words).toBe(sent ?? path.split('?')[0]);
}
