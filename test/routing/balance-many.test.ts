// Thousands of endpoints: lists are made again only once in a while, and none that has failed is picked for that.
import { describe, expect, test } from 'vitest';
import { endpointNamed, nothingTried, type Trial, trial } from '../helpers/live-cluster.ts';

const many = Array.from({ length: 2_000 }, (_, at) => endpointNamed(`e${at}`));
const policies = ['least-request', 'round-robin', 'random', 'ewma', 'ring-hash', 'maglev'] as const;
const started = (policy: (typeof policies)[number]) =>
  trial({ endpoints: many, settings: { loadBalancing: { policy } } });
const pick = ({ cluster }: Trial, at = 0) =>
  cluster.pick({ subset: undefined, hash: (at * 2_654_435_761) >>> 0, tried: nothingTried })!;

describe.each(policies)('%s', (policy) => {
  test('one that has failed to connect is not picked again, however many fail after it, until its time is over', () => {
    const run = started(policy);
    const failed = new Set<string>();
    for (let at = 0; at < 1_900; at++) {
      const picked = pick(run, at);
      expect(failed).not.toContain(picked.address);
      failed.add(picked.address);
      run.cluster.begin(picked)({ kind: 'connect-failed' });
      run.clock.advance(0.1);
    }
    run.clock.advance(250);
    const again = Array.from({ length: 400 }, (_, at) => pick(run, at).address);
    expect(again.some((address) => failed.has(address))).toBe(true);
  });

  test('when all have failed all are tried, and one that answers is used at once', () => {
    const run = started(policy);
    for (const endpoint of many) run.cluster.begin(endpoint)({ kind: 'connect-failed' });
    run.clock.advance(20);
    const picked = pick(run, 1);
    run.cluster.begin(picked)({ kind: 'answered', status: 200, grpcStatus: undefined });
    run.clock.advance(20);
    for (let at = 0; at < 50; at++) expect(pick(run, at)).toBe(picked);
  });

  test('a change of health holds at once for an endpoint that must not be used', () => {
    const run = started(policy);
    const picked = pick(run, 7);
    run.cluster.checked(picked.address, false);
    for (let at = 0; at < 2_000; at++) expect(pick(run, at)).not.toBe(picked);
  });
});
