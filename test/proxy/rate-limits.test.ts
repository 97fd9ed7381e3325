import { describe, expect, test } from 'vitest';
import type { RateLimitPlan } from '#routing';
import { createRateLimits } from '../../proxy/rate-limits.ts';

const plan = (more: Partial<RateLimitPlan> = {}): RateLimitPlan => ({
  ...{ key: 'payments/0', requests: 10, perMs: 1_000, burst: 5, each: 'route' },
  ...more,
});

function limits(o: { threads?: number; most?: number } = {}) {
  let now = 0;
  const made = createRateLimits({ monotonic: () => now, ...o });
  const passes = (plans: readonly RateLimitPlan[], peer = 'web'): boolean => made.take(plans, peer) === undefined;
  const wait = (ms: number): void => {
    now += ms;
  };
  return { ...made, size: () => made.size, passes, wait };
}

describe('rate limits', () => {
  test('a burst at once, then as many as come back with time', () => {
    const { passes, wait } = limits();
    expect(Array.from({ length: 7 }, () => passes([plan()]))).toEqual([true, true, true, true, true, false, false]);
    wait(100);
    expect([passes([plan()]), passes([plan()])]).toEqual([true, false]);
    wait(60_000);
    expect(Array.from({ length: 6 }, () => passes([plan()])).filter(Boolean)).toHaveLength(5);
  });

  test('each peer has a bucket of its own where that is said, and all share one otherwise', () => {
    const { passes } = limits();
    const own = plan({ each: 'peer', burst: 1 });
    expect([passes([own], 'web'), passes([own], 'web'), passes([own], 'batch')]).toEqual([true, false, true]);
    const shared = plan({ key: 'other', burst: 1 });
    expect([passes([shared], 'web'), passes([shared], 'batch')]).toEqual([true, false]);
  });

  test('of several limits all must have room, and what one refuses costs the others nothing', () => {
    const { passes, wait } = limits();
    const [wide, narrow] = [plan({ key: 'wide', burst: 3 }), plan({ key: 'narrow', burst: 1, requests: 1 })];
    expect([passes([wide, narrow]), passes([wide, narrow]), passes([wide, narrow])]).toEqual([true, false, false]);
    expect([passes([wide]), passes([wide]), passes([wide])]).toEqual([true, true, false]);
    wait(1_000);
    expect(passes([wide, narrow])).toBe(true);
  });

  test('whoever is refused hears how many seconds to wait', () => {
    const made = limits();
    const slow = plan({ requests: 1, perMs: 10_000, burst: 1 });
    expect([made.take([slow], 'web'), made.take([slow], 'web')]).toEqual([undefined, 10]);
  });

  test('threads let their parts through, which add up to the whole', () => {
    const { passes, wait } = limits({ threads: 4 });
    const wide = plan({ burst: 20, requests: 40 });
    expect(Array.from({ length: 30 }, () => passes([wide])).filter(Boolean)).toHaveLength(5);
    wait(100);
    expect(Array.from({ length: 30 }, () => passes([wide])).filter(Boolean)).toHaveLength(1);
  });

  test('peers without number leave no more buckets than there may be, and a full one is forgotten first', () => {
    const { passes, size, wait } = limits({ most: 100 });
    for (let peer = 0; peer < 1_000; peer++) passes([plan({ each: 'peer' })], `peer-${peer}`);
    expect(size()).toBeLessThanOrEqual(100);
    const spent = plan({ key: 'spent', burst: 1, requests: 1, perMs: 3_600_000 });
    expect(passes([spent])).toBe(true);
    wait(10_000);
    for (let peer = 0; peer < 50; peer++) passes([plan({ each: 'peer' })], `later-${peer}`);
    expect(passes([spent])).toBe(false);
  });

  test('what all callers share is not forgotten for them, nor is who was asked for just now', () => {
    const { passes, size } = limits({ most: 100 });
    const slow = { burst: 1, requests: 1, perMs: 3_600_000 };
    const [shared, own] = [plan({ key: 'shared', ...slow }), plan({ key: 'own', each: 'peer', ...slow })];
    expect([passes([shared]), passes([own], 'busy')]).toEqual([true, true]);
    for (let peer = 0; peer < 1_000; peer++) {
      expect(passes([own], `peer-${peer}`)).toBe(true);
      if (peer % 50 === 0) expect([passes([shared]), passes([own], 'busy')]).toEqual([false, false]);
    }
    expect(size()).toBeLessThanOrEqual(101);
  });
});
