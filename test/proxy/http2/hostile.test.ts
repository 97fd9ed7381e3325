// Raw frames of a hostile peer against both sides of our link: rows P1 to P18 of the hostile inputs, and the rules of RFC 9113 behind them.
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { App, Bounds, Call, Ours, Raw } from '../../helpers/http2.ts';
import {
  ask,
  block,
  callOurs,
  codeOf,
  counting,
  frame,
  get,
  hello,
  magic,
  post,
  pouring,
  rawOn,
  rawTo,
  request,
  serveOurs,
  setting,
  silent,
  types,
  u32,
} from '../../helpers/http2.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

const codes = {
  none: 0,
  protocol: 1,
  internal: 2,
  flow: 3,
  settingsTime: 4,
  closed: 5,
  size: 6,
  refused: 7,
  cancel: 8,
  compression: 9,
  calm: 11,
};

async function attack(app: App, bounds: Bounds & { takesConnect?: boolean } = {}): Promise<[Raw, Ours]> {
  const ours = await serveOurs(app, bounds);
  open.push(ours);
  const raw = await rawTo(ours.port);
  return [raw, ours];
}

const goaway = async (raw: Raw): Promise<number> => codeOf(await raw.frame(({ type }) => type === types.goaway));
const reset = async (raw: Raw, id: number): Promise<number> =>
  codeOf(await raw.frame((each) => each.type === types.reset && each.id === id));
const count = (raw: Raw, type: number): number => raw.frames.filter((each) => each.type === type).length;
const rss = (): number => process.memoryUsage.rss();
const repeat = (times: number, make: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: times }, (_, index) => make(index)));
const odd = (index: number): number => index * 2 + 1;
/** A server still answers on a fresh connection. */
const stillServes = async (ours: Ours): Promise<void> => {
  const raw = await rawTo(ours.port);
  const before = ours.requests.length;
  raw.send(request(1));
  await expect.poll(() => ours.requests.length).toBe(before + 1);
  raw.socket.destroy();
};

describe('floods', () => {
  test('P1: rapid reset is cut before the two hundredth request', async () => {
    const seen = { started: 0, aborted: 0 };
    const [raw, ours] = await attack(silent(seen));
    raw.send(repeat(4_000, (index) => Buffer.concat([request(odd(index)), frame(types.reset, 0, odd(index), u32(8))])));
    expect(await goaway(raw)).toBe(codes.calm);
    await raw.closed();
    expect(seen.started).toBeLessThan(200);
    expect(seen.aborted).toBe(seen.started);
    expect(ours.limits).toContain('http2-resets');
    expect(ours.faults[0]).toMatchObject({ code: 'HTTP2_FLOOD' });
    await stillServes(ours);
  });

  test('P1: resets by a peer that also lets requests finish are its right', async () => {
    const [raw] = await attack((exchange, head) => (head.path === '/' ? hello : silent())(exchange, head));
    for (let round = 0; round < 50; round++) {
      const base = round * 40;
      raw.send(
        repeat(10, (index) => request(odd(base / 2 + index))),
        repeat(10, (index) => {
          const id = odd(base / 2 + 10 + index);
          return Buffer.concat([request(id, { ...get, ':path': '/never' }), frame(types.reset, 0, id, u32(8))]);
        }),
      );
      const last = odd(base / 2 + 9);
      await raw.frame(({ type, id }) => type === types.data && id === last);
    }
    expect(count(raw, types.goaway)).toBe(0);
  });

  test.each([
    ['WINDOW_UPDATE of nothing', (id: number) => frame(types.window, 0, id, u32(0)), codes.protocol],
    ['DATA after the end', (id: number) => frame(types.data, 0, id, 'x'), codes.closed],
    ['HEADERS after the end', (id: number) => request(id), codes.closed],
    ['PRIORITY of a wrong size', (id: number) => frame(types.priority, 0, id, 'four'), codes.size],
    [
      'PRIORITY on itself',
      (id: number) => frame(types.priority, 0, id, Buffer.concat([u32(id), Buffer.from([1])])),
      codes.protocol,
    ],
    ['RST_STREAM of a wrong size', (id: number) => frame(types.reset, 0, id, 'x'), codes.size],
  ])('P2: %s, to make us reset, ends the connection and the work', async (_, provoke, code) => {
    const seen = { started: 0, aborted: 0 };
    const [raw] = await attack(silent(seen));
    raw.send(request(1), provoke(1));
    expect(await goaway(raw)).toBe(code);
    await raw.closed();
    expect(seen).toEqual({ started: 1, aborted: 1 });
  });

  test('P2: windows opened too far, to make us reset, are rationed, and the work is cancelled', async () => {
    const seen = { started: 0, aborted: 0 };
    const [raw] = await attack(silent(seen));
    raw.send(request(1), frame(types.window, 0, 1, u32(0x7fffffff)));
    expect(await reset(raw, 1)).toBe(codes.flow);
    expect(seen).toEqual({ started: 1, aborted: 1 });
    raw.send(
      repeat(1_000, (index) =>
        Buffer.concat([request(odd(index + 1)), frame(types.window, 0, odd(index + 1), u32(0x7fffffff))]),
      ),
    );
    expect(await goaway(raw)).toBe(codes.calm);
    expect(seen.started).toBeLessThan(200);
    expect(seen.aborted).toBe(seen.started);
  });

  test('P2: bodies that are malformed, to make us reset, are rationed', async () => {
    const seen = { started: 0, aborted: 0 };
    const [raw, ours] = await attack(silent(seen));
    const lie = (id: number): Buffer =>
      Buffer.concat([request(id, { ...post, 'content-length': '1' }, false), frame(types.data, 1, id, 'four')]);
    raw.send(repeat(1_000, (index) => lie(odd(index))));
    expect(await goaway(raw)).toBe(codes.calm);
    expect(seen.started).toBeLessThan(200);
    expect(ours.limits).toContain('http2-resets');
  });

  test.each([
    ['of 16 KB', () => frame(types.continuation, 0, 1, Buffer.alloc(16_384, 0))],
    ['of nothing', () => frame(types.continuation, 0, 1)],
    ['of one byte', () => frame(types.continuation, 0, 1, [0])],
  ])('P3: a flood of CONTINUATION %s ends the connection, memory flat', async (_, part) => {
    const [raw] = await attack(hello);
    const before = rss();
    raw.send(frame(types.headers, 0, 1, block(get)));
    for (let index = 0; index < 300 && !raw.isClosed; index++) raw.send(part());
    expect(await goaway(raw)).toBe(codes.calm);
    await raw.closed();
    expect(rss() - before).toBeLessThan(80_000_000);
  });

  test('P3: a block in a few parts is one request', async () => {
    const [raw, ours] = await attack(hello);
    const all = block(get);
    raw.send(
      frame(types.headers, 1, 1, all.subarray(0, 3)),
      frame(types.continuation, 0, 1, all.subarray(3, 20)),
      frame(types.continuation, 4, 1, all.subarray(20)),
    );
    await raw.frame(({ type, id }) => type === types.headers && id === 1);
    expect(ours.requests).toHaveLength(1);
  });

  test('P4: a header block that decodes to far more than it weighs is answered 431, memory flat', async () => {
    const [raw, ours] = await attack(hello);
    const before = rss();
    const bomb = Buffer.concat([
      block(get),
      Buffer.from('400161 7f8118'.replace(' ', ''), 'hex'),
      Buffer.alloc(3_200, 'x'),
    ]);
    for (let index = 0; index < 20; index++) {
      const refs = Buffer.alloc(14_000, 0xbe);
      const parts = index === 0 ? Buffer.concat([bomb, refs.subarray(0, 12_000)]) : Buffer.concat([block(get), refs]);
      raw.send(frame(types.headers, 5, odd(index), parts));
    }
    await raw.frame(({ type, id }) => type === types.headers && id === odd(19));
    expect(ours.invalid.every(({ code }) => code === 'HTTP_HEAD_TOO_LARGE')).toBe(true);
    expect(ours.requests).toEqual([]);
    expect(rss() - before).toBeLessThan(50_000_000);
  });

  test.each([
    ['PING', () => frame(types.ping, 0, 0, 'ping1234'), 'http2-pings'],
    ['SETTINGS', () => frame(types.settings, 0, 0, setting(4, 70_000)), 'http2-settings'],
    ['empty DATA', () => frame(types.data, 0, 1), 'http2-empty'],
    ['padding-only DATA', () => frame(types.data, 8, 1, [3, 0, 0, 0]), 'http2-empty'],
    ['PRIORITY', () => frame(types.priority, 0, 3, Buffer.alloc(5)), 'http2-ignored'],
    ['unknown frames', () => frame(0x42, 0, 0, 'whatever'), 'http2-ignored'],
    ['WINDOW_UPDATE', () => frame(types.window, 0, 1, u32(1)), 'http2-windows'],
    ['RST_STREAM for a stream that is over', () => frame(types.reset, 0, 1, u32(8)), 'http2-'],
  ])('P5: a flood of %s ends the connection', async (_, make, limit) => {
    const [raw, ours] = await attack(silent());
    raw.send(request(1, post, false), repeat(20_000, make));
    expect(await goaway(raw)).toBe(codes.calm);
    await raw.closed();
    expect(ours.limits.at(-1)).toContain(limit);
  });

  test('windows opened for answers that have just ended are no flood', async () => {
    const [raw, ours] = await attack(hello);
    for (let round = 0; round < 30; round++) {
      const ids = Array.from({ length: 100 }, (_, index) => odd(round * 100 + index));
      raw.send(Buffer.concat(ids.map((id) => Buffer.concat([request(id), frame(types.window, 0, id, u32(65_536))]))));
      await raw.frame(({ type, id }) => type === types.data && id === ids.at(-1));
    }
    expect(ours.limits).toEqual([]);
    expect(raw.isClosed).toBe(false);
  });

  test('P5: SETTINGS with hundreds of values end the connection', async () => {
    const [raw] = await attack(hello);
    raw.send(
      frame(
        types.settings,
        0,
        0,
        repeat(1_000, () => setting(4, 70_000)),
      ),
    );
    expect(await goaway(raw)).toBe(codes.calm);
  });

  test('P6: five thousand open streams: a hundred are looked at, the others refused, and then the connection ends', async () => {
    const seen = { started: 0, aborted: 0 };
    const [raw, ours] = await attack(silent(seen));
    raw.send(repeat(5_000, (index) => request(odd(index))));
    expect(await reset(raw, odd(100))).toBe(codes.refused);
    expect(await goaway(raw)).toBe(codes.calm);
    expect(seen.started).toBe(100);
    expect(ours.limits).toContain('http2-streams');
    await raw.closed();
    expect(seen.aborted).toBe(100);
  });

  test('P6: answers that nobody reads do not pile up', async () => {
    const [raw, ours] = await attack((exchange) => {
      exchange.responseHead({ status: 200, reason: '', fields: ['x-large', 'y'.repeat(16_000)], length: 0 });
      exchange.responseEnd([]);
      return inert;
    });
    raw.socket.pause();
    let most = 0;
    for (let round = 0; round < 200 && !raw.isClosed; round++) {
      raw.send(repeat(100, (index) => request(odd(round * 100 + index))));
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, ours.links[0]?.link.connection.socket.writableLength ?? 0);
    }
    await expect.poll(() => ours.links[0]!.link.isOver, { timeout: 10_000 }).toBe(true);
    expect(ours.limits).toContain('http2-streams');
    expect(most).toBeLessThan(4_000_000);
    raw.socket.destroy();
  });
});

describe('windows', () => {
  const quick: Bounds = {
    limits: { writeMs: 150, bodyMs: 150, streamMs: 250, headMs: 150 },
    linkLimits: { tickMs: 20 },
  };

  test('P7: a window that never opens ends the stream', async () => {
    const sent = { bytes: 0 };
    const [raw, ours] = await attack(pouring(1_000_000, sent), quick);
    raw.send(frame(types.settings, 0, 0, setting(4, 0)), request(1));
    expect(await reset(raw, 1)).toBe(codes.cancel);
    expect(ours.limits).toContain('write');
    expect(sent.bytes).toBeLessThan(200_000);
    raw.send(request(3));
    await raw.frame(({ type, id }) => type === types.headers && id === 3);
  });

  test('P7: a window that opens by one byte at a time ends the stream', async () => {
    const [raw] = await attack(pouring(1_000_000), quick);
    raw.send(frame(types.settings, 0, 0, setting(4, 0)), request(1));
    const drip = setInterval(() => raw.send(frame(types.window, 0, 1, u32(1))), 10);
    expect(await reset(raw, 1)).toBe(codes.cancel);
    clearInterval(drip);
  });

  test('P7: a peer that reads nothing at all loses the connection', async () => {
    const [raw, ours] = await attack(pouring(100_000_000), quick);
    raw.send(
      frame(types.settings, 0, 0, setting(4, 0x7fffffff)),
      frame(types.window, 0, 0, u32(0x7fff0000)),
      request(1),
    );
    raw.socket.pause();
    await expect
      .poll(() => ours.links[0]!.link.isOver || ours.links[0]!.link.streams.size === 0, { timeout: 5_000 })
      .toBe(true);
  });

  test('P7: requests of a caller that takes no answers wait, and go on in order when it does', async () => {
    const seen: string[] = [];
    const pour = pouring(1_000_000_000);
    const [raw, ours] = await attack((exchange, request) => {
      seen.push(request.path);
      return request.path === '/' ? pour(exchange, request) : hello(exchange, request);
    });
    const settings = [frame(types.settings, 0, 0, setting(4, 0x7fffffff)), frame(types.window, 0, 0, u32(0x7fff0000))];
    raw.send(...settings, request(1));
    raw.socket.pause();
    const { link } = ours.links[0]!;
    await expect.poll(() => link.isCongested && link.connection.socket.writableNeedDrain).toBe(true);
    const [longer, not] = [
      { ...post, 'content-length': '9' },
      { ...get, 'no-value ': '' },
    ];
    raw.send(
      request(3, { ...get, ':path': '/3' }),
      request(5, { ...longer, ':path': '/5' }, false),
      frame(types.data, 1, 5, 'nine byte'),
      request(7, not),
      request(9, { ...longer, ':path': '/9' }, false),
      frame(types.data, 0, 9, 'more than nine'),
      request(11, { ...get, ':path': '/11' }),
      frame(types.reset, 0, 11, u32(8)),
      request(13, { ...get, ':path': '/13' }),
    );
    await expect.poll(() => link.lastPeerId).toBe(13);
    expect([seen, ours.invalid.length, link.isCongested]).toEqual([['/'], 0, true]);
    // Only what is on its way already is still to be taken.
    raw.send(frame(types.reset, 0, 1, u32(8)));
    await expect.poll(() => link.streams.get(1)).toBeUndefined();
    raw.socket.resume();
    await raw.frame(({ type, id }) => type === types.headers && id === 13);
    expect([seen, ours.invalid.length]).toEqual([['/', '/3', '/5', '/13'], 1]);
    expect([await reset(raw, 7), await reset(raw, 9)]).toEqual([codes.protocol, codes.protocol]);
    expect(link.isOver).toBe(false);
  });

  test('P7: a declared body that trickles is answered 408', async () => {
    const seen = { bytes: 0, aborted: false };
    const [raw] = await attack(counting(seen), quick);
    raw.send(request(1, { ...post, 'content-length': '1000' }, false));
    const drip = setInterval(() => raw.send(frame(types.data, 0, 1, 'x')), 20);
    const answer = await raw.frame(({ type, id }) => type === types.headers && id === 1);
    expect(answer.payload.includes('408')).toBe(true);
    expect(await reset(raw, 1)).toBe(codes.cancel);
    clearInterval(drip);
    expect(seen.aborted).toBe(true);
  });

  test('P7: a stream on which nothing moves ends', async () => {
    const seen = { bytes: 0, aborted: false };
    const [raw, ours] = await attack(counting(seen), quick);
    raw.send(request(1, post, false));
    expect(await reset(raw, 1)).toBe(codes.cancel);
    expect(ours.limits).toContain('stream');
    expect(seen.aborted).toBe(true);
  });

  test.each([
    ['half a frame', Buffer.from([0, 0, 8, 6])],
    ['half a header block', frame(types.headers, 0, 1, block(get))],
  ])('P7: %s and then silence ends the connection', async (_, part) => {
    const [raw] = await attack(hello, quick);
    raw.send(part);
    expect(await goaway(raw)).toBe(codes.calm);
    await raw.closed();
  });

  test('P7: a preface that never comes ends the connection', async () => {
    const ours = await serveOurs(hello, quick);
    open.push(ours);
    const raw = await rawTo(ours.port, { greet: false });
    raw.send(magic.subarray(0, 10));
    await raw.closed();
  });

  test('P8: a connection window past the largest ends the connection', async () => {
    const [raw] = await attack(hello);
    raw.send(frame(types.window, 0, 0, u32(0x7fffffff)));
    expect(await goaway(raw)).toBe(codes.flow);
    await raw.closed();
  });

  test('P8: an initial window that pushes an open stream past the largest ends the connection', async () => {
    const [raw] = await attack(silent());
    raw.send(
      request(1),
      frame(types.window, 0, 1, u32(0x7fff0000)),
      frame(types.settings, 0, 0, setting(4, 0x7fffffff)),
    );
    expect(await goaway(raw)).toBe(codes.flow);
  });

  test('P8: more DATA than a window allows ends the connection', async () => {
    const [raw] = await attack(() => ({ ...inert, data: () => false }), { linkLimits: { streamWindow: 100_000 } });
    raw.send(
      request(1, post, false),
      repeat(20, () => frame(types.data, 0, 1, Buffer.alloc(16_384))),
    );
    expect(await goaway(raw)).toBe(codes.flow);
  });

  test('P8: more DATA than the connection allows ends it', async () => {
    const [raw] = await attack(() => ({ ...inert, data: () => false }), {
      linkLimits: { connectionWindow: 70_000, streamWindow: 1_000_000 },
    });
    raw.send(
      request(1, post, false),
      repeat(5, () => frame(types.data, 0, 1, Buffer.alloc(16_384))),
    );
    expect(await goaway(raw)).toBe(codes.flow);
  });

  test('the window of the connection is honoured by all of its streams together', async () => {
    const [raw] = await attack((exchange, head) => pouring(50_000)(exchange, head));
    const got = (): number =>
      raw.frames.filter(({ type }) => type === types.data).reduce((sum, { payload }) => sum + payload.length, 0);
    raw.send(frame(types.settings, 0, 0, setting(4, 1_000_000)), request(1), request(3), request(5));
    await expect.poll(got).toBe(65_535);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(got()).toBe(65_535);
    raw.send(frame(types.window, 0, 0, u32(1_000_000)));
    await expect.poll(got).toBe(150_000);
  });

  test('a window below zero is honoured', async () => {
    const [raw] = await attack(pouring(100_000));
    raw.send(request(1));
    await expect
      .poll(() =>
        raw.frames.filter(({ type }) => type === types.data).reduce((sum, { payload }) => sum + payload.length, 0),
      )
      .toBe(65_535);
    raw.send(frame(types.settings, 0, 0, setting(4, 0)), frame(types.window, 0, 0, u32(1_000_000)));
    raw.send(frame(types.window, 0, 1, u32(65_535)));
    await raw.frame(({ type, flags }) => type === types.settings && flags === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(
      raw.frames.filter(({ type }) => type === types.data).reduce((sum, { payload }) => sum + payload.length, 0),
    ).toBe(65_535);
    raw.send(frame(types.window, 0, 1, u32(65_535)));
    await raw.frame(({ type, flags }) => type === types.data && flags === 1);
  });

  test('DATA for a stream that we have reset is dropped and its window given back', async () => {
    const [raw, ours] = await attack(
      (exchange, head) => {
        if (head.method === 'GET') return hello(exchange, head);
        exchange.responseHead({ status: 403, reason: '', fields: [], length: 0 });
        exchange.responseEnd([]);
        return inert;
      },
      { linkLimits: { connectionWindow: 200_000 } },
    );
    raw.send(request(1, post, false));
    expect(await reset(raw, 1)).toBe(codes.none);
    for (let index = 0; index < 100; index++) {
      raw.send(frame(types.data, 0, 1, Buffer.alloc(16_000)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    raw.send(request(3));
    await raw.frame(({ type, id }) => type === types.headers && id === 3);
    expect(ours.faults).toEqual([]);
  });
});

const inert = {
  data: () => true,
  end: () => undefined,
  abort: () => undefined,
  pauseResponse: () => undefined,
  resumeResponse: () => undefined,
};

describe('breakage', () => {
  test('P9: a connection that breaks inside a header block leaves nothing behind', async () => {
    const [raw, ours] = await attack(hello);
    raw.send(frame(types.headers, 0, 1, block(get)));
    await expect.poll(() => ours.links.length).toBe(1);
    raw.socket.resetAndDestroy();
    await expect.poll(() => ours.links[0]!.link.isOver).toBe(true);
    expect(ours.links[0]!.link.streams.size).toBe(0);
  });

  test('P10: header blocks that cannot be decoded end the connection and nothing else', async () => {
    const [raw, ours] = await attack(hello);
    raw.send(frame(types.headers, 5, 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    expect(await goaway(raw)).toBe(codes.compression);
    await raw.closed();
    expect(ours.requests).toEqual([]);
    await stillServes(ours);
  });

  test('P11: frames after our GOAWAY are dropped', async () => {
    const [raw, ours] = await attack(hello);
    raw.send(
      frame(types.ping, 0, 1, 'ping1234'),
      request(1),
      frame(types.settings, 0, 0, 'x'),
      frame(types.data, 0, 0),
    );
    expect(await goaway(raw)).toBe(codes.protocol);
    raw.send(request(3));
    await raw.closed();
    expect(ours.requests).toEqual([]);
    expect(count(raw, types.goaway)).toBe(1);
  });

  test('P11: a frame larger than announced ends the connection before it is read', async () => {
    const [raw] = await attack(hello);
    raw.send(Buffer.from([0xff, 0xff, 0xff, 0x42, 0, 0, 0, 0, 0]));
    expect(await goaway(raw)).toBe(codes.size);
  });

  test('P12: what the last head held is not kept once its stream is over', async () => {
    const [raw, ours] = await attack(hello);
    const before = rss();
    const large = { ...get, 'x-large': 'z'.repeat(15_000) };
    for (let index = 0; index < 400; index++) {
      raw.send(request(odd(index), large));
      await raw.frame(({ type, id }) => type === types.data && id === odd(index));
      ours.requests.length = 0;
    }
    expect(ours.links[0]!.link.streams.size).toBe(0);
    expect(rss() - before).toBeLessThan(80_000_000);
  });
});

describe('heads', () => {
  const refused: readonly (readonly [string, readonly (readonly [string, string])[]])[] = [
    ['P13: CR LF in :path', [...Object.entries({ ...get, ':path': '/a\r\nx: y' })]],
    ['P13: NUL in :path', [...Object.entries({ ...get, ':path': '/a\0' })]],
    ['P13: a space in :path', [...Object.entries({ ...get, ':path': '/a b' })]],
    ['P13: a space in the query', [...Object.entries({ ...get, ':path': '/a?b c HTTP/1.1' })]],
    ['P13: an upper-case name', [...Object.entries(get), ['X-A', 'b']]],
    ['P13: an empty name', [...Object.entries(get), ['', 'b']]],
    ['P13: Connection', [...Object.entries(get), ['connection', 'x-a']]],
    ['P13: Transfer-Encoding', [...Object.entries(post), ['transfer-encoding', 'chunked']]],
    ['P13: Keep-Alive', [...Object.entries(get), ['keep-alive', 'timeout=5']]],
    ['P13: Proxy-Connection', [...Object.entries(get), ['proxy-connection', 'close']]],
    ['P13: Upgrade', [...Object.entries(get), ['upgrade', 'h2c']]],
    ['P13: TE other than trailers', [...Object.entries(get), ['te', 'gzip']]],
    ['P13: two :authority', [...Object.entries(get), [':authority', 'b']]],
    ['P13: two :authority in front', [[':authority', 'b'], ...Object.entries(get)]],
    ['P13: two :path', [[':path', '/b'], ...Object.entries(get)]],
    ['P13: two :method', [[':method', 'POST'], ...Object.entries(get)]],
    ['P13: two :scheme', [[':scheme', 'https'], ...Object.entries(get)]],
    ['P13: a pseudo-header field after others', [['x-a', 'b'], ...Object.entries(get)]],
    ['P13: an unknown pseudo-header field', [[':x', 'b'], ...Object.entries(get)]],
    ['P13: :status in a request', [[':status', '200'], ...Object.entries(get)]],
    ['P13: no :method', Object.entries(get).filter(([name]) => name !== ':method')],
    ['P13: no :scheme', Object.entries(get).filter(([name]) => name !== ':scheme')],
    ['P13: no :path', Object.entries(get).filter(([name]) => name !== ':path')],
    ['P13: an empty :path', [...Object.entries({ ...get, ':path': '' })]],
    ['P13: no host at all', Object.entries(get).filter(([name]) => name !== ':authority')],
    ['P13: an empty :authority', [...Object.entries({ ...get, ':authority': '' })]],
    ['P13: an unknown scheme', [...Object.entries({ ...get, ':scheme': 'HTTPS' })]],
    ['P13: :protocol without CONNECT', [[':protocol', 'websocket'], ...Object.entries(get)]],
    ['P13: a control character in a value', [...Object.entries(get), ['x-a', 'b\x01c']]],
    ['P13: a value that begins with a space', [...Object.entries(get), ['x-a', ' b']]],
    ['P14: :authority and host that differ', [...Object.entries(get), ['host', 'other.example']]],
    ['P14: :authority and host that differ in the port', [...Object.entries(get), ['host', 'example.org:81']]],
    ['P14: two hosts', [...Object.entries(get), ['host', 'example.org'], ['host', 'example.org']]],
    ['P15: a body that is declared and does not come', [...Object.entries(post), ['content-length', '5']]],
    ['P15: two content-lengths', [...Object.entries(post), ['content-length', '0'], ['content-length', '0']]],
    ['P15: a content-length with a sign', [...Object.entries(post), ['content-length', '+0']]],
    ['P15: a content-length list', [...Object.entries(post), ['content-length', '0, 0']]],
    ['P15: an empty content-length', [...Object.entries(post), ['content-length', '']]],
    ['P15: a content-length that overflows', [...Object.entries(post), ['content-length', '99999999999999999999']]],
    ['P18: a method with a space', [...Object.entries({ ...get, ':method': 'GET /x HTTP/1.1' })]],
    ['P18: a method with CR LF', [...Object.entries({ ...get, ':method': 'GET\r\n' })]],
    ['P18: a header value with CR LF', [...Object.entries(get), ['x-a', 'b\r\nx-c: d']]],
    ['P18: a header value with LF', [...Object.entries(get), ['x-a', 'b\nx-c: d']]],
    ['P18: a header name with a colon', [...Object.entries(get), ['x-a:b', 'c']]],
    ['P18: a header name with a space', [...Object.entries(get), ['x-a b', 'c']]],
    ['P18: a byte above 0x7F', [...Object.entries(get), ['x-a', 'b\xff']]],
    ['P18: two authorizations', [...Object.entries(get), ['authorization', 'a'], ['authorization', 'b']]],
  ];

  test.each(refused)('%s is reset and never reaches anybody; the connection goes on', async (_, fields) => {
    const [raw, ours] = await attack(hello);
    raw.send(request(1, fields));
    expect(await reset(raw, 1)).toBe(codes.protocol);
    expect(ours.requests).toEqual([]);
    expect(ours.invalid).toMatchObject([{ code: expect.stringMatching(/^HTTP_(REQUEST_INVALID)$/) }]);
    raw.send(request(3));
    await raw.frame(({ type, id }) => type === types.headers && id === 3);
  });

  test.each([
    ['an absolute form in :path', { ...get, ':path': 'http://example.org/' }, 400, true],
    ['a path without its slash', { ...get, ':path': 'svc/M' }, 400, true],
    ['* without OPTIONS', { ...get, ':path': '*' }, 400, true],
    ['an encoded slash', { ...get, ':path': '/a%2fb' }, 400, false],
    ['a fragment', { ...get, ':path': '/a#b' }, 400, false],
    ['userinfo in the authority', { ...get, ':authority': 'a@example.org' }, 400, false],
    ['an unknown method', { ...get, ':method': 'BREW' }, 501, false],
    ['TRACE', { ...get, ':method': 'TRACE' }, 405, false],
    ['a URI that is too long', { ...get, ':path': `/${'a'.repeat(9_000)}` }, 414, false],
    ['an expectation nobody meets', { ...post, expect: 'magic' }, 417, false],
    [
      'too many headers',
      { ...get, ...Object.fromEntries(Array.from({ length: 129 }, (_, n) => [`x-${n}`, ''])) },
      431,
      false,
    ],
    ['a head that is too large', { ...get, 'x-large': 'x'.repeat(21_000) }, 431, false],
    ['an alias of an identity header', { ...get, x_postern_peer: 'a' }, 400, false],
  ])('%s is answered', async (_, fields, status, isMalformed) => {
    const [raw, ours] = await attack(hello);
    raw.send(request(1, fields));
    const answer = await raw.frame(({ type, id }) => type === types.headers && id === 1);
    expect(ours.invalid[0]!.status).toBe(status);
    expect(answer.payload.length).toBeGreaterThan(0);
    expect(ours.requests).toEqual([]);
    if (isMalformed) expect(await reset(raw, 1)).toBe(codes.protocol);
    raw.send(request(3));
    await raw.frame(({ type, id }) => type === types.headers && id === 3);
  });

  test('host in place of :authority, and the same in other letters, are one authority', async () => {
    const [raw, ours] = await attack(hello);
    const { ':authority': _, ...rest } = get;
    raw.send(request(1, { ...rest, host: 'a.example' }), request(3, { ...get, host: 'EXAMPLE.org' }));
    await raw.frame(({ type, id }) => type === types.headers && id === 3);
    expect(ours.requests).toMatchObject([
      { host: 'a.example', fields: [] },
      { host: 'example.org', fields: [] },
    ]);
  });

  test.each([
    ['longer', 'abcdef', 1],
    ['longer, in a frame that does not end it', 'abcdef', 0],
    ['shorter', 'ab', 1],
  ])('P15: a body %s than its content-length is reset, and the called side let go', async (_, body, flags) => {
    const seen = { bytes: 0, aborted: false };
    const [raw] = await attack(counting(seen));
    raw.send(request(1, { ...post, 'content-length': '4' }, false), frame(types.data, flags, 1, body));
    expect(await reset(raw, 1)).toBe(codes.protocol);
    expect(seen.aborted).toBe(true);
    expect(count(raw, types.goaway)).toBe(0);
  });

  test.each([
    ['that are not the last', frame(types.headers, 4, 1, block({ 'x-a': 'b' }))],
    ['with a pseudo-header field', frame(types.headers, 5, 1, block({ ':path': '/' }))],
    ['with content-length', frame(types.headers, 5, 1, block({ 'content-length': '4' }))],
    ['with a connection header', frame(types.headers, 5, 1, block({ connection: 'close' }))],
    ['with an upper-case name', frame(types.headers, 5, 1, block({ 'X-A': 'b' }))],
  ])('P13: trailers %s are reset', async (_, trailers) => {
    const seen = { bytes: 0, aborted: false };
    const [raw] = await attack(counting(seen));
    raw.send(request(1, post, false), trailers);
    expect(await reset(raw, 1)).toBe(codes.protocol);
    expect(seen.aborted).toBe(true);
  });

  test('H11: trailers that nobody decided on are dropped', async () => {
    const seen: { bytes: number; trailers?: readonly string[] } = { bytes: 0 };
    const [raw] = await attack(counting(seen));
    const trailers = { host: 'evil', authorization: 'x', 'x-sum': '1', 'x-postern-peer': 'y', te: 'trailers' };
    raw.send(request(1, post, false), frame(types.headers, 5, 1, block(trailers)));
    await raw.frame(({ type, flags }) => type === types.data && flags === 1);
    expect(seen.trailers).toEqual(['x-sum', '1']);
  });
});

describe('P16: streams out of order', () => {
  test.each([
    ['an even number', [request(2)], codes.protocol],
    ['a number below the last', [request(5), request(3)], codes.protocol],
    ['number zero', [request(0)], codes.protocol],
    ['DATA on an idle stream', [frame(types.data, 0, 1, 'x')], codes.protocol],
    ['RST_STREAM on an idle stream', [frame(types.reset, 0, 1, u32(0))], codes.protocol],
    ['WINDOW_UPDATE on an idle stream', [frame(types.window, 0, 1, u32(1))], codes.protocol],
    ['DATA on stream zero', [frame(types.data, 0, 0, 'x')], codes.protocol],
    ['PRIORITY on stream zero', [frame(types.priority, 0, 0, Buffer.alloc(5))], codes.protocol],
    ['RST_STREAM on stream zero', [frame(types.reset, 0, 0, u32(0))], codes.protocol],
    ['SETTINGS on a stream', [frame(types.settings, 0, 1)], codes.protocol],
    ['PING on a stream', [frame(types.ping, 0, 1, 'ping1234')], codes.protocol],
    ['GOAWAY on a stream', [frame(types.goaway, 0, 1, Buffer.alloc(8))], codes.protocol],
    ['a push from a client', [frame(types.push, 4, 1, Buffer.concat([u32(2), block(get)]))], codes.protocol],
    ['CONTINUATION after nothing', [frame(types.continuation, 4, 1, block(get))], codes.protocol],
    [
      'CONTINUATION of another stream',
      [frame(types.headers, 0, 1), frame(types.continuation, 4, 3, block(get))],
      codes.protocol,
    ],
    [
      'a frame inside a header block',
      [frame(types.headers, 0, 1), frame(types.ping, 0, 0, 'ping1234')],
      codes.protocol,
    ],
    ['SETTINGS of a wrong size', [frame(types.settings, 0, 0, 'four')], codes.size],
    ['a SETTINGS acknowledgement with a value', [frame(types.settings, 1, 0, setting(4, 1))], codes.size],
    ['PING of a wrong size', [frame(types.ping, 0, 0, 'ping')], codes.size],
    ['GOAWAY of a wrong size', [frame(types.goaway, 0, 0, 'four')], codes.size],
    ['WINDOW_UPDATE of a wrong size', [frame(types.window, 0, 0, 'x')], codes.size],
    ['WINDOW_UPDATE of nothing', [frame(types.window, 0, 0, u32(0))], codes.protocol],
    [
      'padding longer than HEADERS',
      [frame(types.headers, 0xd, 1, Buffer.concat([Buffer.from([200]), block(get)]))],
      codes.protocol,
    ],
    ['padding longer than DATA', [request(1, post, false), frame(types.data, 8, 1, [9, 0, 0])], codes.protocol],
    ['padded DATA of nothing', [request(1, post, false), frame(types.data, 8, 1)], codes.size],
    ['HEADERS too short for their priority', [frame(types.headers, 0x25, 1, [0, 0])], codes.size],
    ['ENABLE_PUSH of 2', [frame(types.settings, 0, 0, setting(2, 2))], codes.protocol],
    ['INITIAL_WINDOW_SIZE out of range', [frame(types.settings, 0, 0, setting(4, 0x80000000))], codes.flow],
    ['MAX_FRAME_SIZE too small', [frame(types.settings, 0, 0, setting(5, 16_383))], codes.protocol],
    ['MAX_FRAME_SIZE too large', [frame(types.settings, 0, 0, setting(5, 16_777_216))], codes.protocol],
    ['a second acknowledgement', [frame(types.settings, 1, 0), frame(types.settings, 1, 0)], codes.protocol],
    ['GOAWAY that takes back a larger number', [goawayFrame(0), goawayFrame(2)], codes.none],
  ])('%s ends the connection', async (_, frames, code) => {
    const [raw, ours] = await attack(silent());
    await raw.frame(({ type }) => type === types.settings);
    raw.send(...frames);
    expect(await goaway(raw)).toBe(code);
    await raw.closed();
    await stillServes(ours);
    expect(ours.faults.length).toBe(code === codes.none ? 0 : 1);
  });

  test('a stream that depends on itself is reset', async () => {
    const [raw] = await attack(hello);
    raw.send(frame(types.headers, 0x25, 1, Buffer.concat([u32(1), Buffer.from([0]), block(get)])));
    expect(await reset(raw, 1)).toBe(codes.protocol);
  });

  test('priorities, padding and unknown frames, settings and flags change nothing', async () => {
    const [raw, ours] = await attack(counting());
    raw.send(
      frame(types.settings, 0, 0, Buffer.concat([setting(0x99, 7), setting(0x1a2b, 0xffffffff)])),
      frame(0x77, 0xff, 0, 'unknown'),
      frame(types.priority, 0, 9, Buffer.concat([u32(0x80000003), Buffer.from([7])])),
      frame(
        types.headers,
        0x2c | 0xd2,
        1,
        Buffer.concat([Buffer.from([4]), u32(0x80000000), Buffer.from([1]), block(post), Buffer.alloc(4)]),
      ),
      frame(types.data, 0x08 | 0xf2, 1, Buffer.concat([Buffer.from([3]), Buffer.from('abc'), Buffer.alloc(3)])),
      frame(types.data, 0x09, 1, Buffer.concat([Buffer.from([0]), Buffer.from('de')])),
    );
    await raw.frame(({ type, payload }) => type === types.data && payload.toString() === '5');
    expect(ours.faults).toEqual([]);
  });

  test.each([
    ['something else than HTTP/2', Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n')],
    ['random bytes', Buffer.from('0123456789abcdef0123456789abcdef', 'hex')],
    ['a preface that is almost right', Buffer.concat([magic.subarray(0, 23), Buffer.from('X')])],
    ['a preface without SETTINGS', Buffer.concat([magic, request(1)])],
    ['an acknowledgement before SETTINGS', Buffer.concat([magic, frame(types.settings, 1, 0)])],
  ])('T29: %s ends the connection', async (_, bytes) => {
    const ours = await serveOurs(hello);
    open.push(ours);
    const raw = await rawTo(ours.port, { greet: false });
    raw.send(bytes);
    expect(await goaway(raw)).toBe(codes.protocol);
    await raw.closed();
    expect(ours.requests).toEqual([]);
  });
});

function goawayFrame(last: number): Buffer {
  return frame(types.goaway, 0, 0, Buffer.concat([u32(last), u32(0)]));
}

describe('P17: hostile servers', () => {
  /** Our client, and the server side of its connection in our hands. */
  async function serve(bounds: Parameters<typeof callOurs>[1] = {}): Promise<[Call, Raw]> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const accepted = once(server, 'connection');
    const call = await callOurs((server.address() as AddressInfo).port, bounds);
    const [socket] = await accepted;
    const raw = rawOn(socket, magic.length);
    open.push(call, server, { close: () => socket.destroy() });
    raw.send(frame(types.settings, 0, 0));
    return [call, raw];
  }
  const respond = (id: number, fields: Parameters<typeof block>[0] = { ':status': '200' }, flags = 5): Buffer =>
    frame(types.headers, flags, id, block(fields));

  test.each([
    ['a push', [frame(types.push, 4, 1, Buffer.concat([u32(2), block(get)]))], codes.protocol],
    ['a response on a stream of its own', [respond(2)], codes.protocol],
    ['a response nobody asked for', [respond(9)], codes.protocol],
    ['DATA before the head', [frame(types.data, 1, 1, 'x')], codes.closed],
    ['ENABLE_PUSH', [frame(types.settings, 0, 0, setting(2, 1))], codes.protocol],
    [
      'CONNECT taken back',
      [frame(types.settings, 0, 0, Buffer.concat([setting(8, 1), setting(8, 0)]))],
      codes.protocol,
    ],
    ['GOAWAY naming a stream of the server', [goawayFrame(2)], codes.protocol],
    [
      'a thousand settings',
      [
        frame(
          types.settings,
          0,
          0,
          repeat(1_000, () => setting(1, 0)),
        ),
      ],
      codes.calm,
    ],
    ['a flood of ALTSVC', [repeat(5_000, () => frame(0x0a, 0, 0, Buffer.from([0, 0, 1])))], codes.calm],
    ['a flood of ORIGIN', [repeat(5_000, () => frame(0x0c, 0, 0))], codes.calm],
    ['a flood of PING', [repeat(5_000, () => frame(types.ping, 0, 0, 'ping1234'))], codes.calm],
    [
      'a flood of CONTINUATION',
      [frame(types.headers, 0, 1), repeat(100, () => frame(types.continuation, 0, 1))],
      codes.calm,
    ],
    ['a header block nobody can read', [frame(types.headers, 5, 1, [0x80])], codes.compression],
    [
      'more DATA than allowed',
      [respond(1, { ':status': '200' }, 4), repeat(60, () => frame(types.data, 0, 1, Buffer.alloc(16_384)))],
      codes.flow,
    ],
  ])('%s ends the connection; the call fails', async (_, frames, code) => {
    const [call, raw] = await serve({ linkLimits: { mostStreamWindow: 262_144 } });
    const running = ask(call.upstream);
    running.catch(() => undefined);
    await raw.frame(({ type }) => type === types.headers);
    // Nobody reads the answer, so that a window can fill up.
    for (const stream of call.upstream.link.streams.all())
      (stream as unknown as { pauseResponse(): void }).pauseResponse();
    raw.send(...frames);
    expect(await goaway(raw)).toBe(code);
    await expect(running).rejects.toThrow();
    expect(call.isGone).toBe(true);
  });

  test.each([
    ['no status', { 'x-a': 'b' }],
    ['a status that is no number', { ':status': 'ok' }],
    ['a status of four digits', { ':status': '2000' }],
    [
      'a status after another field',
      [
        ['x-a', 'b'],
        [':status', '200'],
      ],
    ],
    ['a request field', { ':status': '200', ':path': '/' }],
    [
      'two statuses',
      [
        [':status', '200'],
        [':status', '200'],
      ],
    ],
    ['101', { ':status': '101' }],
    ['an interim response that is the last', { ':status': '103' }],
    ['Connection', { ':status': '200', connection: 'close' }],
    ['Transfer-Encoding', { ':status': '200', 'transfer-encoding': 'chunked' }],
    ['CR LF in a value', { ':status': '200', 'x-a': 'b\r\nc: d' }],
    ['an upper-case name', { ':status': '200', 'X-A': 'b' }],
    [
      'two content-lengths',
      [
        [':status', '200'],
        ['content-length', '1'],
        ['content-length', '1'],
      ],
    ],
    ['a body that is declared and does not come', { ':status': '200', 'content-length': '5' }],
    ['204 with a body declared', { ':status': '204', 'content-length': '5' }],
  ])('H32: a response with %s fails the call and resets the stream; the connection goes on', async (_, fields) => {
    const [call, raw] = await serve();
    const running = ask(call.upstream);
    await raw.frame(({ type }) => type === types.headers);
    raw.send(respond(1, fields as Parameters<typeof block>[0]));
    await expect(running).rejects.toMatchObject({ code: 'APP_REPLY_INVALID' });
    expect(await reset(raw, 1)).toBe(codes.protocol);
    const next = ask(call.upstream);
    await raw.frame(({ type, id }) => type === types.headers && id === 3);
    raw.send(respond(3));
    expect((await next).status).toBe(200);
  });

  test.each([
    [
      'longer than declared',
      [respond(1, { ':status': '200', 'content-length': '2' }, 4), frame(types.data, 1, 1, 'four')],
    ],
    [
      'shorter than declared',
      [respond(1, { ':status': '200', 'content-length': '6' }, 4), frame(types.data, 1, 1, 'four')],
    ],
    ['to HEAD', [respond(1, { ':status': '200', 'content-length': '4' }, 4), frame(types.data, 1, 1, 'four')], 'HEAD'],
    ['to 304', [respond(1, { ':status': '304' }, 4), frame(types.data, 1, 1, 'four')]],
    ['followed by a second head', [respond(1, { ':status': '200' }, 4), respond(1, { ':status': '200' })]],
    ['after too many interim responses', [repeat(17, () => respond(1, { ':status': '103' }, 4))]],
  ])('H32: a body %s fails the call', async (_, frames, method = 'GET') => {
    const [call, raw] = await serve();
    const running = ask(call.upstream, { method });
    await raw.frame(({ type }) => type === types.headers);
    raw.send(...frames);
    await expect(running).rejects.toThrow();
    expect(await reset(raw, 1)).toBe(codes.protocol);
  });

  test('a server that says nothing at all is given up', async () => {
    const server = createServer(() => undefined);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const call = await callOurs((server.address() as AddressInfo).port, {
      limits: { headMs: 100 },
      linkLimits: { tickMs: 20 },
    });
    open.push(call, server);
    await expect(ask(call.upstream)).rejects.toThrow();
    expect(call.isGone).toBe(true);
  });
});
