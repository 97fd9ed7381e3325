import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ClusterSettings, type Hashable, hashOf } from '#routing';
import { fnv1a, mix } from '../../routing/balance/hash.ts';
import { isDistributedAs } from '../helpers/chi-square.ts';
import { endpointNamed, nothingTried, type Trial, trial } from '../helpers/live-cluster.ts';

describe('the hash', () => {
  test.each([
    // draft-eastlake-fnv, appendix C: FNV-1a of 32 bits without the trailing NUL.
    ['', 0x811c9dc5],
    ['a', 0xe40c292c],
    ['b', 0xe70c2de5],
    ['fo', 0x6222e842],
    ['foo', 0xa9f37ed7],
    ['foobar', 0xbf9cf968],
    ['chongo was here!\n', 0xd49930d5],
  ])('of %j is the published one', (text, hash) => expect(fnv1a(text)).toBe(hash));

  test('is of the UTF-8 of a text', () => {
    for (const text of ['ü', 'grün', '日本', 'a\u{1f600}b', 'x\ud800']) {
      const bytes = Buffer.from(text).toString('latin1');
      let hash = 0x811c9dc5;
      for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
      expect(fnv1a(text)).toBe(hash);
      expect(bytes.length).toBeGreaterThan(text.length);
    }
  });

  test('ends as MurmurHash3 ends', () => {
    // fmix32 of MurmurHash3_x86_32 of the empty text: with seed 1 and 0xffffffff, from its published vectors.
    expect(mix(0)).toBe(0);
    expect(mix(1)).toBe(0x514e28b7);
    expect(mix(0xffffffff)).toBe(0x81f16f39);
  });
});

describe('what is hashed', () => {
  const asked: Hashable = {
    fields: ['host', 'backend', 'x-user', 'ann', 'x-user', 'bob', 'cookie', 'a=1; session=s1', 'cookie', 'late=2; b='],
    query: '?q=one&user=ann&empty=&flag',
    identity: 'spiffe://mesh/web',
    address: '10.0.0.7',
  };
  const same = (text: string): number => mix(fnv1a(text));

  test.each([
    [{ header: 'x-user' }, same('ann')],
    [{ header: 'x-other' }, undefined],
    [{ cookie: 'session' }, same('s1')],
    [{ cookie: 'a' }, same('1')],
    [{ cookie: 'late' }, same('2')],
    [{ cookie: 'b' }, same('')],
    [{ cookie: 'sess' }, undefined],
    [{ query: 'q' }, same('one')],
    [{ query: 'user' }, same('ann')],
    [{ query: 'empty' }, same('')],
    [{ query: 'flag' }, undefined],
    [{ query: 'use' }, undefined],
    [{ source: 'identity' as const }, same('spiffe://mesh/web')],
    [{ source: 'address' as const }, same('10.0.0.7')],
  ])('%j', (hashOn, hash) => expect(hashOf(hashOn, asked)).toBe(hash));

  test('no request makes it throw or run on', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.string(), fc.string(), (values, query, name) => {
        const fields = values.flatMap((value) => ['cookie', value]);
        for (const hashOn of [{ cookie: name }, { query: name }, { header: name }]) {
          const hash = hashOf(hashOn, { ...asked, fields, query });
          expect(hash === undefined || (Number.isInteger(hash) && hash >= 0 && hash < 2 ** 32)).toBe(true);
        }
      }),
    );
  });
});

describe.each(['ring-hash', 'maglev'] as const)('%s', (policy) => {
  const settings: ClusterSettings = { loadBalancing: { policy } };
  const named = (count: number) => Array.from({ length: count }, (_, at) => endpointNamed(`10.0.0.${at}`));
  const keys = 20_000;
  const key = (at: number): number => mix(fnv1a(`user ${at}`));
  const places = ({ cluster }: Trial): string[] =>
    Array.from(
      { length: keys },
      (_, at) => cluster.pick({ subset: undefined, hash: key(at), tried: nothingTried })!.address,
    );
  const moved = (before: readonly string[], after: readonly string[]): number =>
    before.filter((address, at) => after[at] !== address).length / keys;

  test('sends a key to one place, in every proxy, in whatever order endpoints came', () => {
    const endpoints = named(20);
    const before = places(trial({ endpoints, settings, seed: 1 }));
    expect(places(trial({ endpoints: [...endpoints].reverse(), settings, seed: 2 }))).toEqual(before);
  });

  test('spreads keys by weight', () => {
    const endpoints = named(10).map((endpoint, at) => ({ ...endpoint, weight: at < 5 ? 2 : 5 }));
    const { counts } = trial({ endpoints, settings });
    const found = counts(keys, { hash: key });
    for (const { address, weight } of endpoints) {
      const share = (found[address] ?? 0) / keys / (weight / 35);
      // Points on a ring lie at random, rows of Maglev do not.
      expect(share).toBeGreaterThan(policy === 'maglev' ? 0.88 : 0.75);
      expect(share).toBeLessThan(policy === 'maglev' ? 1.12 : 1.3);
    }
    if (policy === 'maglev')
      expect(
        isDistributedAs({
          counts: found,
          shares: Object.fromEntries(endpoints.map(({ address, weight }) => [address, weight])),
        }),
      ).toBe(true);
  });

  test('moves only the keys of an endpoint that is left out, to several others, and they come back', () => {
    const endpoints = named(10);
    const run = trial({ endpoints, settings });
    const before = places(run);
    const gone = endpoints[3]!.address;
    run.cluster.checked(gone, false);
    const without = places(run);
    const affected = before.flatMap((address, at) => (address === gone ? [without[at]!] : []));
    expect(moved(before, without)).toBeCloseTo(affected.length / keys, 10);
    expect(without).not.toContain(gone);
    expect(new Set(affected).size).toBe(9);
    run.cluster.checked(gone, true);
    expect(places(run)).toEqual(before);
  });

  test('an endpoint that goes moves its share of the keys and hardly any other, and one that comes takes its share', () => {
    const endpoints = named(10);
    const run = trial({ endpoints, settings });
    const before = places(run);
    run.update(endpoints.slice(1));
    const without = places(run);
    const own = before.filter((address) => address === endpoints[0]!.address).length / keys;
    expect(moved(before, without)).toBeGreaterThanOrEqual(own);
    expect(moved(before, without) - own).toBeLessThan(policy === 'maglev' ? 0.05 : 1e-9);
    run.update(endpoints);
    expect(places(run)).toEqual(before);
    run.update([...endpoints, endpointNamed('10.0.0.99')]);
    const more = places(run);
    expect(moved(before, more)).toBeLessThan((1 / 11) * 1.3 + (policy === 'maglev' ? 0.05 : 0));
    expect(more.filter((address) => address === '10.0.0.99:1').length / keys).toBeGreaterThan(0.065);
  });

  test('when hardly any are left, keys are spread over those and stay where they are', () => {
    const endpoints = named(100);
    const run = trial({ endpoints, settings: { loadBalancing: { policy, panicThreshold: '0%' } } });
    for (const { address } of endpoints.slice(3)) run.cluster.checked(address, false);
    const before = places(run);
    expect(new Set(before)).toEqual(new Set(endpoints.slice(0, 3).map(({ address }) => address)));
    for (const { address } of endpoints.slice(0, 3))
      expect(before.filter((each) => each === address).length / keys).toBeGreaterThan(0.2);
    expect(places(run)).toEqual(before);
  });

  test('a retry of a key goes to another endpoint, and always to the same', () => {
    const { cluster } = trial({ endpoints: named(10), settings });
    for (let at = 0; at < 100; at++) {
      const first = cluster.pick({ subset: undefined, hash: key(at), tried: nothingTried })!.address;
      const retry = () => cluster.pick({ subset: undefined, hash: key(at), tried: new Set([first]) })!.address;
      expect(retry()).not.toBe(first);
      expect(retry()).toBe(retry());
    }
  });

  test('a request with nothing to hash goes anywhere', () => {
    const { counts } = trial({ endpoints: named(5), settings });
    expect(Object.keys(counts(200))).toHaveLength(5);
  });
});
