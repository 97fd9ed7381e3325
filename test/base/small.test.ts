// The small words of base/: durations, suggestions, back-off, errors, the operations log, the clock.
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { createBackoff } from '#base/backoff';
import { systemClock } from '#base/clock';
import { formatDuration, parseDuration } from '#base/duration';
import { defineErrors, isPosternError, messageOf } from '#base/error';
import { createLog, silentLog } from '#base/log';
import { suggest } from '#base/suggest';

describe('durations', () => {
  test.each<[string, number | undefined]>([
    ['250ms', 250],
    ['30s', 30_000],
    ['1h30m', 5_400_000],
    ['7d', 604_800_000],
    ['0s', 0],
    ['', undefined],
    ['5', undefined],
    ['-5s', undefined],
    ['1.5h', undefined],
    ['5 m', undefined],
    ['5m\n', undefined],
    ['1w', undefined],
    [`${'9'.repeat(30)}d`, undefined],
  ])('%j is %j ms', (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });

  test.each([
    [-1, '0s'],
    [0, '0s'],
    [250, '250ms'],
    [45_000, '45s'],
    [185_000, '3m5s'],
    [1_200_000, '20m'],
    [12_000_000, '3h20m'],
    [86_400_000 * 6, '6d'],
  ])('%d ms reads as %s', (ms, expected) => {
    expect(formatDuration(ms)).toBe(expected);
  });

  test('what is formatted can be parsed again', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 12 }), (ms) => parseDuration(formatDuration(ms)) !== undefined),
    );
  });
});

describe('did you mean', () => {
  test.each<[string, string | undefined]>([
    ['alow', 'allow'],
    ['ALLOW', 'allow'],
    ['dney', 'deny'],
    ['polcy', 'policy'],
    ['zzz', undefined],
    ['', undefined],
  ])('%j means %j', (word, expected) => {
    expect(suggest(word, ['allow', 'deny', 'policy'])).toBe(expected);
  });
});

describe('back-off', () => {
  test('grows from the first wait to the longest and starts over after a success', () => {
    const backoff = createBackoff({ firstMs: 100, longestMs: 1_000, random: () => 0.999_999 });
    const waits = Array.from({ length: 40 }, () => Math.round(backoff.next()));
    expect(waits.slice(0, 6)).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect(Math.max(...waits)).toBe(1_000);
    backoff.reset();
    expect(Math.round(backoff.next())).toBe(100);
  });

  test('never waits less than a tenth of the first wait', () => {
    expect(createBackoff({ firstMs: 100, longestMs: 1_000, random: () => 0 }).next()).toBe(10);
  });
});

describe('errors', () => {
  const fail = defineErrors({
    THING_BROKEN: { message: '{thing} is broken', hint: 'mend {thing}', status: 500, retryable: true },
    THING_SECRET: { message: 'x', status: 403, retryable: false, exposed: 'no' },
  });

  test('say what, and what to do, from the details', () => {
    const cause = new Error('why');
    const error = fail('THING_BROKEN', { thing: 'the lamp' }, { cause });
    expect(error).toMatchObject({
      code: 'THING_BROKEN',
      message: 'the lamp is broken',
      hint: 'mend the lamp',
      status: 500,
    });
    expect(error.cause).toBe(cause);
  });

  test('tell a stranger nothing but what is exposed', () => {
    expect(fail('THING_BROKEN', { thing: 'secret' }).exposed).toBe('the request was refused');
    expect(fail('THING_SECRET').exposed).toBe('no');
  });

  test('details are not a template themselves', () => {
    expect(fail('THING_BROKEN', { thing: '{thing}$&' }).message).toBe('{thing}$& is broken');
  });

  test('are recognised, with their code', () => {
    expect(isPosternError(fail('THING_BROKEN'), 'THING_BROKEN')).toBe(true);
    expect(isPosternError(fail('THING_BROKEN'), 'OTHER')).toBe(false);
    expect(isPosternError(new Error('x'))).toBe(false);
  });

  test('the words of anything thrown', () => {
    expect([new Error('a'), 'b', undefined, { c: 1 }].map(messageOf)).toEqual([
      'a',
      'b',
      'undefined',
      '[object Object]',
    ]);
  });
});

describe('the operations log', () => {
  const lines: string[] = [];
  const log = createLog({ level: 'info', write: (line) => lines.push(line), now: () => 0 });

  test('is one JSON object a line, with bound fields, without what is below its level', () => {
    lines.length = 0;
    log.debug('hidden');
    log.with({ part: 'x' }).warn('line\nfeed', { error: new Error('why'), big: 2n ** 64n });
    expect(lines).toHaveLength(1);
    expect(lines[0]!.indexOf('\n')).toBe(lines[0]!.length - 1);
    expect(JSON.parse(lines[0]!)).toEqual({
      time: '1970-01-01T00:00:00.000Z',
      level: 'warn',
      message: 'line\nfeed',
      part: 'x',
      error: { message: 'why' },
      big: '18446744073709551616',
    });
  });

  test('has no stack of an error in it', () => {
    lines.length = 0;
    log.error('x', { error: new Error('why') });
    expect(lines[0]).not.toContain('.test.ts');
  });

  test('the silent one says nothing and can be bound', () => {
    expect(() => silentLog.with({ a: 1 }).error('x')).not.toThrow();
  });
});

describe('the system clock', () => {
  test('runs what is due, and not what was cancelled', () => {
    vi.useFakeTimers();
    try {
      const ran: string[] = [];
      systemClock.after(10, () => ran.push('a'));
      systemClock.after(10, () => ran.push('b'))();
      vi.advanceTimersByTime(10);
      expect(ran).toEqual(['a']);
    } finally {
      vi.useRealTimers();
    }
  });

  test('a wait longer than a timer can hold does not run at once', () => {
    vi.useFakeTimers();
    try {
      let ran = false;
      systemClock.after(2 ** 31 + 5_000, () => {
        ran = true;
      });
      vi.advanceTimersByTime(2 ** 31);
      expect(ran).toBe(false);
      vi.advanceTimersByTime(5_000);
      expect(ran).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  test('monotonic time never goes back', () => {
    const first = systemClock.monotonic();
    expect(systemClock.monotonic()).toBeGreaterThanOrEqual(first);
  });
});
