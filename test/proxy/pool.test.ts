// Connections that several callers share: none of them, and no number of them together, keeps the next one out.
import { describe, expect, test } from 'vitest';
import { PosternError } from '#base/error';
import type { Http1Upstream } from '../../proxy/http1/upstream.ts';
import { createPool } from '../../proxy/pool.ts';
import { createClock } from '../helpers/clock.ts';

const overloaded = () => new PosternError('FULL', { message: 'full', status: 503, retryable: true }, {});
const start = (connections: number, pending = 100) => {
  const limits: string[] = [];
  const clock = createClock();
  const pool = createPool({
    ...{ clock, connections, pending, pendingMs: 1_000, idleMs: 10_000, overloaded },
    dial: async () => ({ isIdle: true, connection: {}, retire: () => undefined }) as unknown as Http1Upstream,
    onLimit: (limit) => limits.push(limit),
  });
  /** Asks for one and says what it got so far. */
  const ask = (caller?: string) => {
    const asked: { caller: string | undefined; got?: Http1Upstream; refused?: boolean } = { caller };
    void Promise.resolve(pool.take({ caller })).then(
      (got) => Object.assign(asked, { got }),
      () => Object.assign(asked, { refused: true }),
    );
    return asked;
  };
  const askMany = (count: number, caller?: string) => Array.from({ length: count }, () => ask(caller));
  return { pool, clock, limits, ask, askMany };
};
const settled = () => new Promise((resolve) => setImmediate(resolve));
const served = (asked: readonly { got?: Http1Upstream }[]) => asked.filter(({ got }) => got).length;
const refused = (asked: readonly { refused?: boolean }[]) => asked.filter((one) => one.refused).length;

describe('one caller that gives nothing back', () => {
  test('gets half of the connections, and another one is served at once', async () => {
    const { ask, askMany } = start(16);
    const greedy = askMany(50, 'greedy');
    const other = ask('other');
    await settled();
    expect([served(greedy), other.got !== undefined]).toEqual([8, true]);
  });

  test('gets half of the places to wait, and another one may wait', async () => {
    const { ask, askMany, limits } = start(1, 16);
    const greedy = askMany(51, 'greedy');
    const other = ask('other');
    await settled();
    expect([served(greedy), refused(greedy), other.refused]).toEqual([1, 42, undefined]);
    expect(new Set(limits)).toEqual(new Set(['pool-share']));
  });

  test('gets everything when there is nobody to share with', async () => {
    const { askMany } = start(16);
    const own = askMany(20);
    await settled();
    expect(served(own)).toBe(16);
  });
});

test('several that act together leave places for the next one too', async () => {
  const { askMany } = start(256);
  for (let index = 0; index < 3; index++) askMany(300, `greedy-${index}`);
  const other = askMany(40, 'other');
  await settled();
  expect(served(other)).toBe(16);
});

describe('who waits', () => {
  test('is served by how little it holds, however long others wait', async () => {
    const { pool, askMany } = start(8);
    const greedy = askMany(24, 'greedy');
    const other = askMany(3, 'other');
    await settled();
    expect([served(greedy), served(other)]).toEqual([4, 2]);
    pool.idle(greedy[0]!.got!);
    await settled();
    expect([served(greedy), served(other)]).toEqual([4, 3]);
  });

  test('takes turns with others that hold as much', async () => {
    const { pool, askMany } = start(1);
    const [running] = askMany(1, 'a');
    const waiting = [...askMany(3, 'b'), ...askMany(3, 'c')];
    const order: string[] = [];
    await settled();
    for (let one = running!; waiting.length > 0; ) {
      pool.idle(one.got!);
      await settled();
      [one] = waiting.splice(
        waiting.findIndex(({ got }) => got),
        1,
      ) as [typeof one];
      order.push(one.caller!);
    }
    expect(order).toEqual(['b', 'c', 'b', 'c', 'b', 'c']);
  });

  test('goes on when a place is there for it again, with idle connections as with new ones', async () => {
    const { pool, askMany } = start(8);
    const [a, b] = [askMany(4, 'a'), askMany(1, 'b')];
    await settled();
    const more = askMany(2, 'a');
    await settled();
    expect(served(more)).toBe(0);
    pool.idle(b[0]!.got!);
    pool.idle(a[0]!.got!);
    pool.idle(a[1]!.got!);
    await settled();
    expect([served(more), pool.size]).toEqual([2, 5]);
  });

  test('waits so long and no longer', async () => {
    const { clock, limits, askMany } = start(1);
    const asked = askMany(2, 'a');
    clock.advance(1_001);
    await settled();
    expect([served(asked), refused(asked), limits]).toEqual([1, 1, ['pool-pending-time']]);
  });
});
