// Taps and dumps at the control plane: who may hand in what, what a slow reader is told, and that everything ends.
import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import { expect, onTestFinished, test } from 'vitest';
import { isPosternError } from '#base/error';
import { parseSpiffeId, tlsClientPolicy, tlsContext } from '#spiffe';
import type { DecisionRecord, DumpReply, LookEvent, StatusReply, TapLine, TapReceipt } from '#wire';
import { createMesh, type Mesh, type MeshProxy, watch } from '../helpers/control-plane.ts';
import { sentRecord } from '../helpers/record.ts';
import { eventually } from '../helpers/until.ts';

const recordOf = (proxy: MeshProxy, seq: number, more: Partial<DecisionRecord> = {}): DecisionRecord =>
  sentRecord(seq, { instance: proxy.instance, service: proxy.service, ...more });

/** A proxy that holds its stream open; its next event that is about looking. */
async function connect(proxy: MeshProxy) {
  const stream = watch(proxy);
  await stream.snapshot();
  return {
    ...stream,
    async look(): Promise<LookEvent> {
      for (;;) {
        const event = (await stream.next()) as LookEvent | { type: 'snapshot' | 'change' } | undefined;
        if (event === undefined) throw new Error('the stream has ended');
        if (event.type === 'tap' || event.type === 'untap' || event.type === 'dump') return event;
      }
    },
  };
}

/** A tap as the command line opens it; its lines one by one. */
function tap(mesh: Mesh, body: object = {}) {
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const lines = mesh.admin
    .stream({
      ...{ method: 'POST', path: '/v1/tap', signal: stop.signal },
      body: { version: 1, filter: {}, limit: 100, forMs: 60_000, ...body },
    })
    [Symbol.asyncIterator]() as AsyncIterator<TapLine>;
  return { stop: () => stop.abort(), next: async () => (await lines.next()).value as TapLine | undefined };
}

const handIn = (proxy: MeshProxy, id: string, records: readonly DecisionRecord[], dropped = 0) =>
  proxy.channel.call<TapReceipt>({ method: 'POST', path: '/v1/proxy/tap', body: { version: 1, id, records, dropped } });

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'none',
    (thrown) => (isPosternError(thrown) ? thrown.code : String(thrown)),
  );

test('a proxy hands in its own exchanges for a tap that asks it, and nothing else', async () => {
  const mesh = await createMesh();
  const [payments, checkout] = [await mesh.enrol('payments'), await mesh.enrol('checkout')];
  const [at, other] = [await connect(payments), await connect(checkout)];
  const seen = tap(mesh, { proxies: 'payments', filter: { path: '/charges/{id}' } });
  expect(await seen.next()).toEqual({ type: 'begin', proxies: 1 });
  const order = await at.look();
  expect(order).toMatchObject({ type: 'tap', filter: { path: '/charges/{id}' }, limit: 100, forMs: 60_000 });
  if (order.type !== 'tap') return;

  expect(await handIn(payments, order.id, [recordOf(payments, 1)])).toEqual({ more: true });
  expect(await seen.next()).toMatchObject({ type: 'exchange', record: { instance: payments.instance, seq: 1 } });
  expect(await codeOf(handIn(payments, order.id, [recordOf(checkout, 1)]))).toBe('RECORD_FOREIGN');
  expect(await handIn(checkout, order.id, [recordOf(checkout, 1)])).toEqual({ more: false });
  expect(await handIn(payments, 'no-such-tap', [recordOf(payments, 2)])).toEqual({ more: false });
  expect(await codeOf(handIn(payments, order.id, [{ ...recordOf(payments, 2), body: 'x' } as never]))).toBe(
    'REQUEST_INVALID',
  );
  expect(await handIn(payments, order.id, [recordOf(payments, 3)], 7)).toEqual({ more: true });
  expect(await seen.next()).toMatchObject({ type: 'exchange', record: { seq: 3 } });
  expect(await seen.next()).toEqual({ type: 'dropped', instance: payments.instance, count: 7 });

  // What the other one hears next is not of this tap.
  const everywhere = tap(mesh, { limit: 1 });
  expect(await everywhere.next()).toEqual({ type: 'begin', proxies: 2 });
  const heard = await other.look();
  expect(heard).toMatchObject({ type: 'tap', limit: 1 });
  expect(heard).not.toMatchObject({ id: order.id });
});

test('a tap ends at its count, and everybody that was asked is told to stop', async () => {
  const mesh = await createMesh();
  const [one, two] = [await mesh.enrol('payments'), await mesh.enrol('payments')];
  const [first, second] = [await connect(one), await connect(two)];
  const seen = tap(mesh, { limit: 2 });
  await seen.next();
  const order = await first.look();
  if (order.type !== 'tap') throw new Error('no tap');
  await second.look();
  const records = [1, 2, 3].map((seq) => recordOf(one, seq));
  expect(await handIn(one, order.id, records)).toEqual({ more: false });
  expect([await seen.next(), await seen.next(), await seen.next(), await seen.next()]).toMatchObject([
    { type: 'exchange', record: { seq: 1 } },
    { type: 'exchange', record: { seq: 2 } },
    { type: 'end', why: 'limit', shown: 2 },
    undefined,
  ]);
  expect(await second.look()).toEqual({ type: 'untap', id: order.id });
  expect(await handIn(two, order.id, [])).toEqual({ more: false });
});

test('a tap ends when its time has passed by the clock of the server', async () => {
  const mesh = await createMesh();
  const proxy = await connect(await mesh.enrol('payments'));
  const seen = tap(mesh, { forMs: 30_000 });
  await seen.next();
  await proxy.look();
  mesh.clock.advance(30_001);
  expect(await seen.next()).toMatchObject({ type: 'end', why: 'time', shown: 0 });
  expect(await proxy.look()).toMatchObject({ type: 'untap' });
});

test('a reader that goes ends its tap, and makes room for another', async () => {
  const mesh = await createMesh({ limits: { taps: 1 } });
  const proxy = await connect(await mesh.enrol('payments'));
  const seen = tap(mesh);
  await seen.next();
  const order = await proxy.look();
  expect(await codeOf(tap(mesh).next())).toBe('TAP_FULL');
  seen.stop();
  expect(await proxy.look()).toMatchObject({ type: 'untap', id: order.id });
  expect(await tap(mesh).next()).toEqual({ type: 'begin', proxies: 1 });
});

test('a proxy that connects later is asked for the time that is left', async () => {
  const mesh = await createMesh();
  const payments = await mesh.enrol('payments');
  const seen = tap(mesh, { forMs: 60_000 });
  expect(await seen.next()).toEqual({ type: 'begin', proxies: 0 });
  mesh.clock.advance(20_000);
  const order = await (await connect(payments)).look();
  expect(order).toMatchObject({ type: 'tap' });
  if (order.type === 'tap') expect(order.forMs).toBeLessThanOrEqual(40_000);
});

test('a reader that takes nothing holds up nobody, and is told what it has missed', async () => {
  const mesh = await createMesh();
  const payments = await mesh.enrol('payments');
  const at = await connect(payments);
  const { hostname, port } = new URL(mesh.server.url);
  const body = JSON.stringify({ version: 1, filter: {}, limit: 10_000, forMs: 60_000 });
  const request = httpsRequest({
    ...{ hostname, port, path: '/v1/tap', method: 'POST', agent: false },
    ...tlsContext({ identity: mesh.adminIdentity, bundle: mesh.bundle() }),
    ...tlsClientPolicy({
      bundle: mesh.bundle(),
      now: Date.now,
      expect: parseSpiffeId('spiffe://example.org/postern/server'),
    }),
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
  });
  onTestFinished(() => void request.destroy());
  request.end(body);
  const [response] = await once(request, 'response');
  response.pause();
  const order = await at.look();
  if (order.type !== 'tap') throw new Error('no tap');
  let seq = 0;
  let sent = 0;
  // Far more than sockets hold; every batch is taken at once all the same.
  for (let batch = 0; batch < 40; batch++) {
    const records = Array.from({ length: 50 }, () => recordOf(payments, ++seq, { path: `/${'x'.repeat(8_000)}` }));
    expect(await handIn(payments, order.id, records)).toEqual({ more: true });
    sent += records.length;
  }
  let text = '';
  response.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  response.resume();
  const lines = () =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as TapLine);
  const count = (): number =>
    lines().reduce((sum, line) => sum + (line.type === 'exchange' ? 1 : line.type === 'dropped' ? line.count : 0), 0);
  await eventually(count, (all) => all === sent);
  expect(lines().some(({ type }) => type === 'dropped')).toBe(true);
});

test('a dump is asked of the proxy itself; what another one answers, or one too late, is nothing', async () => {
  const mesh = await createMesh({ limits: { dumps: 1 } });
  const [payments, checkout] = [await mesh.enrol('payments'), await mesh.enrol('checkout')];
  const [at] = [await connect(payments), await connect(checkout)];
  const dump = (name: string) => mesh.admin.call<DumpReply>({ method: 'GET', path: `/v1/dump?proxies=${name}` });
  const answer = (proxy: MeshProxy, id: string, said: unknown) =>
    proxy.channel.call({ method: 'POST', path: '/v1/proxy/dump', body: { version: 1, id, dump: said } });

  const asked = dump('payments');
  const { id } = await at.look();
  await answer(checkout, id, { who: 'checkout' });
  expect((await dump(checkout.instance)).proxies).toMatchObject([
    { problem: expect.stringContaining('as many proxies are asked') },
  ]);
  await answer(payments, id, { who: 'payments' });
  expect(await asked).toEqual({
    proxies: [{ instance: payments.instance, service: payments.service, dump: { who: 'payments' } }],
    more: 0,
  });

  const late = dump(payments.instance);
  await at.look();
  mesh.clock.advance(5_001);
  expect((await late).proxies).toMatchObject([{ problem: expect.stringContaining('did not answer within 5 s') }]);
  at.stop();
  const status = () => mesh.admin.call<StatusReply>({ method: 'GET', path: '/v1/status' });
  const isGone = ({ proxies }: StatusReply) =>
    proxies.some((one) => one.instance === payments.instance && !one.connected);
  await eventually(status, isGone);
  expect((await dump('payments')).proxies).toMatchObject([{ problem: expect.stringContaining('is not connected') }]);
  expect(await codeOf(dump('paymnts'))).toBe('PROXY_UNKNOWN');
  expect(await codeOf(mesh.admin.call({ method: 'GET', path: '/v1/dump' }))).toBe('REQUEST_INVALID');
});

test.each([
  ['a path that no request has', { filter: { path: '/a//b' } }],
  ['a status that is none', { filter: { status: '5x' } }],
  ['a key that is not known', { filter: { header: 'x' } }],
  ['more than may be shown', { limit: 10_001 }],
  ['longer than may be', { forMs: 600_001 }],
])('a tap is refused for %s', async (_, body) => {
  const mesh = await createMesh();
  expect(await codeOf(tap(mesh, body).next())).toBe('REQUEST_INVALID');
  expect((await mesh.events('tap')).map(({ outcome }) => outcome)).toEqual(['refused']);
});
