// Taps at the proxy: which exchanges are shown, that nothing is held up or kept without a bound, and that every tap ends.
import { describe, expect, test } from 'vitest';
import { PosternError } from '#base/error';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import type { TapBatch, TapFilter } from '#wire';
import { withinBytes } from '../../../proxy/agent/dump.ts';
import { createTaps, matcherOf } from '../../../proxy/agent/taps.ts';
import { createClock } from '../../helpers/clock.ts';
import { recordOf } from '../../helpers/record.ts';

type Answer = 'more' | 'over' | 'refused' | 'broken';

function setUp(answers: readonly Answer[] = []) {
  const clock = createClock();
  const sent: TapBatch[] = [];
  const left = [...answers];
  const call = async ({ body }: { body?: unknown }) => {
    const answer = left.shift() ?? 'more';
    if (answer === 'refused')
      throw new PosternError('CALLER_REFUSED', { message: 'no', status: 403, retryable: false }, {});
    if (answer === 'broken')
      throw new PosternError('CONTROL_UNREACHABLE', { message: 'no', status: 503, retryable: true }, {});
    sent.push(body as TapBatch);
    return { more: answer === 'more' };
  };
  const taps = createTaps({ channel: { call: call as never }, clock, log: silentLog, metrics: createMetrics() });
  /** What waits is sent, and its answer taken. */
  const settle = async (): Promise<void> => {
    clock.advance(100);
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  };
  const begin = (id = 'a', more: { filter?: TapFilter; limit?: number; forMs?: number } = {}): void =>
    taps.begin({ type: 'tap', id, filter: {}, limit: 100, forMs: 60_000, ...more });
  return { clock, taps, sent, settle, begin };
}

test('off until somebody looks; then what matches is sent together, numbered by itself', async () => {
  const { taps, sent, settle, begin } = setUp();
  expect(taps.isOn).toBe(false);
  begin('a', { filter: { methods: ['GET'] } });
  expect(taps.isOn).toBe(true);
  for (const method of ['GET', 'POST', 'GET']) taps.see(recordOf({ method }));
  await settle();
  expect(sent).toMatchObject([{ id: 'a', dropped: 0, records: [{ v: 1, seq: 1 }, { seq: 2 }] }]);
});

test('a tap ends at its count, when its time has passed, when it is told so, and when the control plane does not want more', async () => {
  const count = setUp();
  count.begin('a', { limit: 2 });
  for (let index = 0; index < 5; index++) count.taps.see(recordOf());
  await count.settle();
  expect([count.sent[0]!.records.length, count.taps.isOn]).toEqual([2, false]);

  const time = setUp();
  time.begin('a', { forMs: 1_000 });
  time.clock.advance(1_000);
  expect(time.taps.isOn).toBe(false);

  const told = setUp();
  told.begin('a');
  told.begin('b');
  told.taps.end('a');
  told.taps.end('nobody');
  expect(told.taps.isOn).toBe(true);
  told.taps.close();
  expect(told.taps.isOn).toBe(false);

  for (const answer of ['over', 'refused'] as const) {
    const unwanted = setUp([answer]);
    unwanted.begin();
    unwanted.taps.see(recordOf());
    await unwanted.settle();
    expect(unwanted.taps.isOn, answer).toBe(false);
  }
});

test('what does not fit is left out and counted; a control plane that is away ends the tap after some tries', async () => {
  const { taps, sent, settle, begin } = setUp();
  begin('a', { limit: 10_000 });
  for (let index = 0; index < 1_500; index++) taps.see(recordOf());
  await settle();
  expect(sent[0]).toMatchObject({ dropped: 500 });
  for (let turn = 0; turn < 10; turn++) await settle();
  expect(sent.reduce((sum, { records }) => sum + records.length, 0)).toBe(1_000);
  expect(Math.max(...sent.map(({ records }) => records.length))).toBeLessThanOrEqual(500);

  const large = setUp();
  large.begin('a', { limit: 10_000 });
  for (let index = 0; index < 300; index++) large.taps.see(recordOf({ path: `/${'x'.repeat(8_000)}` }));
  await large.settle();
  expect(large.sent[0]!.dropped).toBeGreaterThan(100);
  expect(JSON.stringify(large.sent[0]).length).toBeLessThan(1.2 * 2 ** 20);

  const away = setUp(['broken', 'broken', 'broken']);
  away.begin();
  for (let turn = 0; turn < 3; turn++) {
    expect(away.taps.isOn).toBe(true);
    away.taps.see(recordOf());
    await away.settle();
  }
  expect(away.taps.isOn).toBe(false);
});

test('what was lost on the way is told with the next batch that arrives', async () => {
  const { taps, sent, settle, begin } = setUp(['broken']);
  begin();
  taps.see(recordOf());
  taps.see(recordOf());
  await settle();
  taps.see(recordOf());
  await settle();
  expect(sent).toMatchObject([{ dropped: 2, records: [{ seq: 3 }] }]);
});

test('no more than eight taps run in one proxy, and the same one twice is one', () => {
  const { taps, begin, clock } = setUp();
  for (let index = 0; index < 20; index++) begin(String(index % 10), { forMs: 1_000 * (index + 1) });
  for (let index = 0; index < 8; index++) taps.end(String(index));
  expect(taps.isOn).toBe(false);
  clock.advance(60_000);
});

describe('a filter', () => {
  const exchange = recordOf({ path: '/charges/7', method: 'POST', status: 503, decision: 'allow', hop: 'inbound' });
  test.each<[TapFilter, boolean]>([
    [{}, true],
    [{ from: 'spiffe://example.org/checkout' }, true],
    [{ from: 'spiffe://example.org/check' }, false],
    [{ from: 'spiffe://example.org/**' }, true],
    [{ to: 'spiffe://other.org/**' }, false],
    [{ status: '5xx' }, true],
    [{ status: '503' }, true],
    [{ status: '500' }, false],
    [{ decision: 'deny' }, false],
    [{ hop: 'outbound' }, false],
    [{ methods: ['GET', 'POST'] }, true],
    [{ methods: ['GET'] }, false],
    [{ path: '/charges/{id}' }, true],
    [{ path: '/charges/*' }, true],
    [{ path: '/charges/**' }, true],
    [{ path: '/**' }, true],
    [{ path: '/charges/7/**' }, true],
    [{ path: '/charges' }, false],
    [{ path: '/charges/{id}/lines' }, false],
    [{ path: '/charges/.' }, false],
    [{ from: 'spiffe://example.org/checkout', status: '2xx' }, false],
  ])('%j', (filter, expected) => {
    expect(matcherOf(filter)(exchange)).toBe(expected);
  });
  test('never matches what is not there', () => {
    const bare = recordOf();
    for (const field of ['peer', 'to', 'path', 'status', 'method'] as const)
      delete (bare as Record<string, unknown>)[field];
    for (const filter of [
      { from: 'spiffe://a/**' },
      { to: 'spiffe://a/b' },
      { path: '/a' },
      { status: '5xx' },
      { methods: ['GET'] },
    ])
      expect(matcherOf(filter)(bare)).toBe(false);
  });
});

test('a dump leaves out its largest parts until it fits, and says how large they were', () => {
  const parts = { small: { a: 1 }, large: 'x'.repeat(5_000), larger: ['y'.repeat(9_000)], none: undefined };
  const cut = withinBytes(parts, 6_000);
  expect(cut).toMatchObject({
    small: { a: 1 },
    large: parts.large,
    larger: { leftOut: expect.stringContaining('9004 bytes') },
  });
  expect(JSON.stringify(withinBytes(parts, 1_000)).length).toBeLessThan(1_000);
  expect(withinBytes(parts, 100_000)).toEqual(parts);
});
