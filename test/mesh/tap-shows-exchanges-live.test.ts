import { expect, test } from 'vitest';
import type { DecisionRecord } from '#wire';
import {
  callThrough,
  type LiveMesh,
  policyFor,
  type RunningCommand,
  startApp,
  startLiveMesh,
} from '../helpers/live-mesh.ts';
import { eventually } from '../helpers/until.ts';

const linesOf = (command: RunningCommand): DecisionRecord[] =>
  command.stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as DecisionRecord);
const looking = (command: RunningCommand) =>
  eventually(
    () => command.stderr,
    (text) => text.includes('looking at'),
  );

async function build(workers = 1) {
  const live = await startLiveMesh();
  const app = await startApp((request, response) => {
    response.statusCode = request.url === '/broken' ? 500 : 200;
    response.end('ok\n');
  });
  const payments = await live.sidecar('payments', { app, workers });
  const checkout = await live.sidecar('checkout');
  await live.apply(policyFor('payments', ['checkout']));
  const call = (path: string, method = 'GET') => callThrough(checkout, { host: 'payments', path, method });
  await eventually(
    () => call('/warm'),
    (status) => status === 200,
  );
  return { live, payments, checkout, call };
}

const events = (live: LiveMesh) => live.mesh.events('tap');

test('a tap shows what both proxies did, ends at its count, and is on record as an act of the admin', async () => {
  const { live, call } = await build();
  const tap = live.start('tap', '--path', '/charges/{id}', '--max', '2', '-o', 'json');
  await looking(tap);
  await call('/elsewhere');
  await call('/charges/7');
  const { code, stderr } = await tap.done;
  const seen = linesOf(tap);
  expect(code).toBe(0);
  expect(seen.map(({ path }) => path)).toEqual(['/charges/7', '/charges/7']);
  expect(new Set(seen.map(({ hop }) => hop))).toEqual(new Set(['inbound', 'outbound']));
  expect(seen[0]).toMatchObject({ method: 'GET', status: 200, decision: 'allow', rule: 'payments-access/calls' });
  expect(JSON.stringify(seen)).not.toMatch(/x-forwarded|authorization|"ok/);
  expect(stderr).toContain('as many were shown as --max allows');
  expect(await events(live)).toMatchObject([
    {
      outcome: 'done',
      actor: 'spiffe://example.org/postern/admin/ada',
      subject: '*',
      details: { path: '/charges/{id}', limit: 2 },
    },
  ]);
});

test('filters choose the proxy, the status and the decision', async () => {
  const { live, call } = await build();
  const broken = live.start('tap', 'payments', '--status', '5xx', '--max', '1', '-o', 'json');
  const denied = live.start('tap', '--decision', 'deny', '--from', 'checkout', '--max', '1', '-o', 'json');
  await Promise.all([looking(broken), looking(denied)]);
  await call('/fine');
  await call('/broken');
  await call('/fine', 'DELETE');
  await Promise.all([broken.done, denied.done]);
  expect(linesOf(broken)).toMatchObject([{ hop: 'inbound', path: '/broken', status: 500 }]);
  expect(linesOf(denied)).toMatchObject([{ method: 'DELETE', status: 403, decision: 'deny' }]);
});

test('a tap ends when its time has passed, and when its reader goes; then proxies look no more', async () => {
  const { live, call, payments } = await build();
  const short = live.start('tap', '--for', '300ms');
  expect((await short.done).stderr).toContain('the time of --for has passed');
  const long = live.start('tap', 'payments', '-o', 'json');
  await looking(long);
  await call('/seen');
  await eventually(
    () => linesOf(long),
    (seen) => seen.length === 1,
  );
  long.stop();
  expect((await long.done).code).toBe(0);
  const tapped = async (): Promise<number> => {
    const text = await (await fetch(`http://${payments.addresses.metrics}/metrics`)).text();
    return Number(/^postern_tapped_exchanges_total\{outcome="sent"\} (\d+)$/m.exec(text)?.[1]);
  };
  const before = await tapped();
  expect(before).toBeGreaterThan(0);
  // Whatever was under way to the proxy is there once a tap that was asked for later is.
  const last = live.start('tap', 'payments', '--max', '1', '-o', 'json');
  await looking(last);
  await call('/after');
  await last.done;
  expect(await tapped()).toBe(before + 1);
});

test.runIf(process.platform === 'linux')('exchanges of every thread are seen', async () => {
  const { live, call } = await build(2);
  const tap = live.start('tap', 'payments', '--max', '20', '-o', 'json');
  await looking(tap);
  for (let index = 0; index < 20; index++) await call(`/n/${index}`);
  await tap.done;
  expect(linesOf(tap).map(({ seq }) => seq)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
});

test('a proxy that connects while a tap runs is seen by it', async () => {
  const { live, call } = await build();
  const tap = live.start('tap', '--to', 'payments', '--hop', 'outbound', '--max', '1', '-o', 'json');
  await looking(tap);
  const other = await live.sidecar('batch');
  await live.apply(policyFor('payments', ['checkout', 'batch']));
  await eventually(
    () => callThrough(other, { host: 'payments', path: '/late' }),
    (status) => status === 200,
  );
  await tap.done;
  expect(linesOf(tap)).toMatchObject([{ peer: 'spiffe://example.org/batch' }]);
  expect(await call('/x')).toBe(200);
});

test('no more taps run at a time than may, and a name that nobody has is told with the nearest', async () => {
  const { live } = await build();
  const taps = Array.from({ length: 4 }, () => live.start('tap'));
  await Promise.all(taps.map(looking));
  expect(await live.run('tap')).toMatchObject({ code: 1, stderr: expect.stringContaining('[TAP_FULL]') });
  for (const tap of taps) tap.stop();
  await Promise.all(taps.map(({ done }) => done));
  expect(await live.run('tap', 'paymets')).toMatchObject({
    code: 4,
    stderr: expect.stringContaining('did you mean payments?'),
  });
  expect(await live.run('tap', '--max', '0')).toMatchObject({ code: 2 });
  expect(await live.run('tap', '--for', '1h')).toMatchObject({ code: 2 });
  expect(await live.run('tap', '--path', 'charges')).toMatchObject({ code: 2 });
  expect((await events(live)).map(({ outcome }) => outcome)).toEqual([...Array(4).fill('done'), 'refused', 'refused']);
});
