import { describe, expect, test } from 'vitest';
import { createBalancer } from '../../proxy/balance.ts';
import type { Endpoint } from '../../proxy/route.ts';
import { createClock } from '../helpers/clock.ts';

const endpoint = (name: string): Endpoint => ({ host: name, port: 1, address: `${name}:1`, instance: name });
const [a, b, c] = [endpoint('a'), endpoint('b'), endpoint('c')];
const none = new Set<string>();

function balancer() {
  const clock = createClock();
  let state = 1;
  const random = (): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  return { clock, balancer: createBalancer({ monotonic: () => clock.monotonic(), random }) };
}

describe('the less busy of two', () => {
  test('an endpoint with more running requests is picked less', () => {
    const { balancer: balance } = balancer();
    for (let count = 0; count < 5; count++) balance.begin(a);
    const picked = Array.from({ length: 300 }, () => balance.pick([a, b, c], none)!.address);
    // It wins only draws in which it is alone, and there are none.
    expect(picked.filter((address) => address === a.address)).toEqual([]);
    expect(new Set(picked)).toEqual(new Set([b.address, c.address]));
  });

  test('an endpoint that failed to connect is left out, longer each time, and comes back', () => {
    const { balancer: balance, clock } = balancer();
    balance.failed(a);
    const all = () => new Set(Array.from({ length: 50 }, () => balance.pick([a, b], none)!.address));
    expect(all()).toEqual(new Set([b.address]));
    clock.advance(250);
    expect(all()).toEqual(new Set([a.address, b.address]));
    balance.failed(a);
    clock.advance(250);
    expect(all()).toEqual(new Set([b.address]));
    balance.connected(a);
    expect(all()).toEqual(new Set([a.address, b.address]));
  });

  test('K7: when all have failed, all are tried again', () => {
    const { balancer: balance } = balancer();
    for (const one of [a, b]) balance.failed(one);
    expect(balance.pick([a, b], none)).toBeDefined();
    expect(balance.pick([a, b], new Set([a.address]))).toBe(b);
    expect(balance.pick([a, b], new Set([a.address, b.address]))).toBeUndefined();
    expect(balance.pick([], none)).toBeUndefined();
  });
});
