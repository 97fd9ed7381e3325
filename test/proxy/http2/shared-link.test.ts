// Many callers share a link: what one of them does costs no other its call.
import { afterEach, expect, test } from 'vitest';
import { Exchange } from '../../../proxy/exchange.ts';
import {
  ask,
  callOurs,
  echo,
  frame,
  hello,
  post,
  pouring,
  rawTo,
  request,
  requestHead,
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

const nobody = {
  inform: () => undefined,
  head: () => undefined,
  data: () => true,
  end: () => undefined,
  abort: () => undefined,
  pauseRequest: () => undefined,
  resumeRequest: () => undefined,
};

test('calls that are given up in numbers are told to the other side no faster than it takes, and the link stays', async () => {
  const seen = { aborted: 0, started: 0 };
  const bounds = { linkLimits: { resets: { burst: 40, perSecond: 100 }, tickMs: 20, streams: 500 } };
  const ours = await serveOurs(
    (exchange, head) => (head.path === '/never' ? silent(seen) : hello)(exchange, head),
    bounds,
  );
  const call = await callOurs(ours.port, bounds);
  open.push(ours, call);
  await ask(call.upstream);
  for (let count = 0; count < 120; count++) {
    const exchange = new Exchange({
      head: requestHead({ path: '/never' }),
      downstream: nobody,
      responseFields: (fields) => fields,
      clock: { monotonic: () => 0 },
    });
    call.upstream.start(exchange, []).abort();
  }
  expect((await ask(call.upstream)).status).toBe(200);
  // Each is told at last, and each place given back.
  await expect.poll(() => seen.aborted, { timeout: 10_000 }).toBe(120);
  expect(call.upstream.active).toBe(0);
  expect(ours.faults).toEqual([]);
  expect((await ask(call.upstream)).status).toBe(200);
});

test('a body that came while its request waited for its turn is handed on in full', async () => {
  const pour = pouring(1_000_000_000);
  const ours = await serveOurs((exchange, head) => (head.path === '/' ? pour : echo)(exchange, head));
  const raw = await rawTo(ours.port);
  open.push(ours, { close: () => raw.socket.destroy() });
  raw.send(frame(types.settings, 0, 0, setting(4, 0x7fffffff)), frame(types.window, 0, 0, u32(0x7fff0000)), request(1));
  raw.socket.pause();
  const { link } = ours.links[0]!;
  await expect.poll(() => link.isCongested && link.connection.socket.writableNeedDrain).toBe(true);
  raw.send(
    request(3, { ...post, ':path': '/3', 'content-length': '9' }, false),
    frame(types.data, 0, 3, 'nine '),
    frame(types.data, 1, 3, 'byte'),
  );
  await expect.poll(() => link.lastPeerId).toBe(3);
  raw.send(frame(types.reset, 0, 1, u32(8)));
  raw.socket.resume();
  const { payload } = await raw.frame(
    ({ type, id, payload: { length } }) => type === types.data && id === 3 && length > 0,
  );
  expect(payload.toString()).toBe('nine byte'.slice(0, payload.length));
  await raw.frame(({ type, id, flags }) => type === types.data && id === 3 && (flags & 1) === 1);
});
