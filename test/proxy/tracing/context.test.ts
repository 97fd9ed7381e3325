// The W3C trace context, by the kinds of cases that its own test suite sends: what is valid is carried on, everything else is as if it had not come.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fieldsForApp, fieldsForPeer } from '../../../proxy/headers.ts';
import {
  addTrace,
  createTracer,
  readTraceParent,
  readTraceState,
  type Tracing,
  tracingOf,
} from '../../../proxy/tracing/context.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const spanId = 'b7ad6b7169203331';
const valid = `00-${traceId}-${spanId}-01`;
const all: Tracing = { share: 1, trustsEdge: false };

describe('traceparent', () => {
  test.each([
    ['as it is', valid, { traceId, spanId, flags: 1 }],
    ['not sampled', `00-${traceId}-${spanId}-00`, { traceId, spanId, flags: 0 }],
    ['with a random trace id', `00-${traceId}-${spanId}-03`, { traceId, spanId, flags: 3 }],
    [
      'with flags of a later version, which are not passed on',
      `00-${traceId}-${spanId}-ff`,
      { traceId, spanId, flags: 3 },
    ],
    ['of a later version', `cc-${traceId}-${spanId}-01`, { traceId, spanId, flags: 1 }],
    ['of a later version with more in it', `cc-${traceId}-${spanId}-01-what-the-future`, { traceId, spanId, flags: 1 }],
  ])('%s is taken', (_, value, expected) => {
    expect(readTraceParent(['traceparent', value])).toEqual(expected);
  });

  test.each([
    ['empty', ''],
    ['version ff', `ff-${traceId}-${spanId}-01`],
    ['an upper-case version', `CC-${traceId}-${spanId}-01`],
    ['a version too short', `0-${traceId}-${spanId}-01`],
    ['a version too long', `000-${traceId}-${spanId}-01`],
    ['a version of other characters', `.0-${traceId}-${spanId}-01`],
    ['version 00 with more in it', `${valid}-`],
    ['version 00 with more in it, no dash', `${valid}.`],
    ['a later version with more and no dash', `cc-${traceId}-${spanId}-01.what`],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-${spanId}-01`],
    ['a trace id in upper case', `00-${traceId.toUpperCase()}-${spanId}-01`],
    ['a trace id with another character', `00-.${traceId.slice(1)}-${spanId}-01`],
    ['a trace id too long', `00-${traceId}0-${spanId}-01`],
    ['a trace id too short', `00-${traceId.slice(1)}-${spanId}-01`],
    ['a parent id of zeros', `00-${traceId}-${'0'.repeat(16)}-01`],
    ['a parent id in upper case', `00-${traceId}-${spanId.toUpperCase()}-01`],
    ['a parent id too long', `00-${traceId}-${spanId}0-01`],
    ['a parent id too short', `00-${traceId}-${spanId.slice(1)}-01`],
    ['flags of other characters', `00-${traceId}-${spanId}-.0`],
    ['flags too long', `00-${traceId}-${spanId}-001`],
    ['flags too short', `00-${traceId}-${spanId}-1`],
    ['two in one', `${valid},${valid}`],
  ])('with %s is none', (_, value) => {
    expect(readTraceParent(['traceparent', value])).toBeUndefined();
  });

  test('twice is none, were both the same', () => {
    expect(readTraceParent(['traceparent', valid, 'x-more', '1', 'traceparent', valid])).toBeUndefined();
  });
});

describe('tracestate', () => {
  test.each([
    ['one', ['foo=1'], 'foo=1'],
    ['several fields, in their order', ['foo=1', 'bar=2,baz=3'], 'foo=1,bar=2,baz=3'],
    ['blanks around members', ['foo=1 \t , \t bar=2'], 'foo=1,bar=2'],
    ['empty members', ['foo=1,', '', ',bar=2'], 'foo=1,bar=2'],
    ['keys of tenants', ['t-0@vendor=1', '0@a=b'], 't-0@vendor=1,0@a=b'],
    [
      'every character that a value may have',
      ['foo=!"#$%&\'()*+-./:;<>?@[]^_`{|}~'],
      'foo=!"#$%&\'()*+-./:;<>?@[]^_`{|}~',
    ],
    [
      'thirty-two members',
      [Array.from({ length: 32 }, (_, n) => `b${n}=1`).join()],
      Array.from({ length: 32 }, (_, n) => `b${n}=1`).join(),
    ],
  ])('%s is kept', (_, values, expected) => {
    expect(readTraceState(values.flatMap((value) => ['tracestate', value]))).toBe(expected);
  });

  test.each([
    ['a key in upper case', 'Foo=1'],
    ['a key with other characters', 'foo.bar=1'],
    ['a key too long', `${'z'.repeat(257)}=1`],
    ['two at signs', 'foo@a@b=1'],
    ['a tenant alone', '@v=1'],
    ['no value', 'foo='],
    ['no equals sign', 'foo'],
    ['two equals signs', 'foo=bar=baz'],
    ['a value too long', `foo=${'z'.repeat(257)}`],
    ['a value beyond ASCII', 'foo=\u00e4'],
    ['thirty-three members', Array.from({ length: 33 }, (_, n) => `b${n}=1`).join()],
  ])('with %s is none', (_, value) => {
    expect(readTraceState(['tracestate', value])).toBe('');
  });

  test('above 512 characters the long members go first, then the last ones', () => {
    const long = `long=${'x'.repeat(200)}`;
    const short = Array.from({ length: 12 }, (_, n) => `m${n}=${'y'.repeat(40)}`);
    const kept = readTraceState(['tracestate', [long, ...short].join(',')]);
    expect(kept).toBe(short.slice(0, 11).join(','));
    expect(kept.length).toBeLessThanOrEqual(512);
  });
});

describe('the next hop', () => {
  const tracer = createTracer();
  const ask = (fields: readonly string[], more: { tracing?: Tracing; isFromOutside?: boolean; at?: number } = {}) =>
    tracer.begin(fields, { tracing: all, isFromOutside: false, at: 0, ...more });

  test('gets the same trace with a span of ours, and the state', () => {
    const fields = ['accept', '*/*', 'traceparent', valid, 'tracestate', 'foo=1', 'tracestate', 'bar=2'];
    const trace = ask(fields);
    expect(trace).toMatchObject({ traceId, parentSpanId: spanId, flags: 1, state: 'foo=1,bar=2' });
    expect(trace.spanId).toMatch(/^[0-9a-f]{16}$/);
    expect(trace.spanId).not.toBe(spanId);
    const onward = ['accept', '*/*', 'traceparent', `00-${traceId}-${trace.spanId}-01`, 'tracestate', 'foo=1,bar=2'];
    expect(fieldsForPeer(fields, trace)).toEqual(onward);
    const app = fieldsForApp(fields, { own: 'o', peer: 'p', decision: 'd', trace });
    expect(app.slice(0, onward.length)).toEqual(onward);
  });

  test('gets a new trace, and no state, when what came is malformed', () => {
    const trace = ask(['traceparent', `00-${traceId}-${spanId}-1`, 'tracestate', 'foo=1']);
    expect(trace.traceId).not.toBe(traceId);
    expect(trace).toMatchObject({ parentSpanId: undefined, flags: 1, state: '' });
    expect(fieldsForPeer(['traceparent', 'x', 'tracestate', 'foo=1'], trace)).toEqual([
      ...['traceparent', `00-${trace.traceId}-${trace.spanId}-01`],
    ]);
  });

  test('a trace that begins here is sampled by share; one that came keeps its mark', () => {
    const tracing = { share: 0.25, trustsEdge: false };
    expect(ask([], { tracing, at: 0.2499 }).flags).toBe(1);
    expect(ask([], { tracing, at: 0.25 }).flags).toBe(0);
    expect(ask(['traceparent', valid], { tracing, at: 0.9 }).flags).toBe(1);
    expect(ask(['traceparent', `00-${traceId}-${spanId}-00`], { tracing, at: 0 }).flags).toBe(0);
  });

  test('a caller outside the mesh names no trace, unless that is configured', () => {
    const outside = { isFromOutside: true };
    expect(ask(['traceparent', valid, 'tracestate', 'a=1'], outside)).toMatchObject({
      parentSpanId: undefined,
      state: '',
    });
    const tracing = { share: 0, trustsEdge: true };
    expect(ask(['traceparent', valid], { ...outside, tracing })).toMatchObject({ traceId, flags: 1 });
  });

  test('without tracing in the mesh what came goes on as it is', () => {
    const fields = ['traceparent', 'anything', 'tracestate', 'foo', 'tracestate', 'bar'];
    expect(fieldsForPeer(fields)).toEqual(fields);
    expect(tracingOf(undefined)).toBeUndefined();
    expect(tracingOf({})).toBeUndefined();
  });

  test('ids are never the same and never malformed, however many', () => {
    const ids = new Set<string>();
    for (let n = 0; n < 20_000; n++) {
      const { traceId: one, spanId: other } = ask([]);
      ids.add(one).add(other);
      expect(one.length + other.length).toBe(48);
    }
    expect(ids.size).toBe(40_000);
  });

  test('whatever comes, what is sent on is valid', () => {
    const text = fc.string({ maxLength: 80 });
    const near = fc
      .tuple(fc.constantFrom(valid, 'foo=1,bar=2'), fc.nat(60), text)
      .map(([base, at, more]) => base.slice(0, at) + more + base.slice(at));
    const name = fc.constantFrom('traceparent', 'tracestate', 'x');
    fc.assert(
      fc.property(fc.array(fc.tuple(name, fc.oneof(text, near, fc.constant(valid)))), (pairs) => {
        const trace = ask(pairs.flat());
        const sent: string[] = [];
        addTrace(sent, trace);
        expect(readTraceParent(sent)).toMatchObject({ traceId: trace.traceId, spanId: trace.spanId });
        expect(readTraceState(sent)).toBe(trace.state);
      }),
      { numRuns: 500 },
    );
  });
});
