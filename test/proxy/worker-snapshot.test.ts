// What a thread hears of a snapshot is the snapshot, and what it had already are the same objects.
import { expect, test } from 'vitest';
import type { Snapshot } from '#wire';
import { rulesFrom, textOf } from '../../proxy/rules-text.ts';
import { hearSnapshot, tellSnapshot } from '../../proxy/worker-snapshot.ts';

const service = (name: string) => ({ id: `spiffe://example.org/${name}`, hosts: [name], ports: [], endpoints: [] });
const first: Snapshot = {
  ...{ version: 1, revision: 1, service: 'spiffe://example.org/web', bundle: 'roots', bans: { ids: [], serials: [] } },
  policy: { revision: 4, rules: [], groups: {}, digest: 'same' },
  services: [service('a'), service('b'), service('c')],
  clusters: [{ name: 'a', id: 'spiffe://example.org/a', endpoints: 'enrolled' }],
  virtualServices: [],
};

test('only what has changed is told, and nothing else is another object afterwards', () => {
  const next: Snapshot = {
    ...first,
    ...{ revision: 2, mesh: { outboundPolicy: 'allow-any' } },
    policy: structuredClone(first.policy),
    services: [service('0'), first.services[0]!, { ...first.services[1]!, ports: [80] }],
  };
  const told = tellSnapshot(next, first);
  expect(told.policy).toBeUndefined();
  expect(told.lists).toEqual({
    services: [service('0'), 0, { ...service('b'), ports: [80] }],
    clusters: [0],
    virtualServices: [],
  });
  const there = structuredClone(first);
  const heard = hearSnapshot(structuredClone(told), there);
  expect(heard).toEqual(next);
  expect(heard.policy).toBe(there.policy);
  expect(heard.services[1]).toBe(there.services[0]);
});

test('a thread that has none hears all of it, and another policy as a whole', () => {
  expect(hearSnapshot(structuredClone(tellSnapshot(first, undefined)), undefined)).toEqual(first);
  const next = { ...first, policy: { ...first.policy, digest: 'another' } };
  expect(tellSnapshot(next, first).policy).toEqual(next.policy);
});

test('rules that are text are shared with a thread, never copied', () => {
  const rule = { policy: 'p', id: 'r', effect: 'allow' as const, to: ['*'], from: ['*'] };
  const bytes = Buffer.from(JSON.stringify(rule));
  const text = new SharedArrayBuffer(bytes.length);
  Buffer.from(text).set(bytes);
  const places = new Int32Array(new SharedArrayBuffer(8));
  places[1] = bytes.length + 1;
  const snapshot = { ...first, policy: { ...first.policy, rules: rulesFrom({ text, places }) } };
  const told = structuredClone(tellSnapshot(snapshot, undefined));
  const heard = hearSnapshot(told, undefined);
  expect([...heard.policy.rules]).toEqual([rule]);
  Buffer.from(text).write('s', bytes.indexOf('"r"') + 1);
  expect(heard.policy.rules[0]?.id).toBe('s');
  expect(textOf(heard.policy.rules)?.text.byteLength).toBe(bytes.length);
});
