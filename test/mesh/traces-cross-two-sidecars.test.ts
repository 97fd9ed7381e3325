// One trace through two sidecars: the caller's span is the parent of the outbound one, that of the inbound one, and that is what the application is told.
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import type { MeshEntry } from '#wire';
import type { RecordDraft } from '../../proxy/exchange-record.ts';
import { createSpanExporter } from '../../proxy/tracing/exporter.ts';
import { startCollector } from '../helpers/collector.ts';
import { call, idOf, openTls, startApp, startPair } from '../helpers/mesh.ts';
import { eventually } from '../helpers/until.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const callerSpan = 'b7ad6b7169203331';

async function startTraced(tracing: MeshEntry['tracing'] | undefined) {
  const seen: Record<string, unknown>[] = [];
  const app = await startApp((request, response) => {
    seen.push(request.headers);
    response.end('charged');
  });
  const pair = await startPair({ app });
  if (tracing) for (const proxy of [pair.web, pair.payments]) proxy.apply({ mesh: { tracing } });
  const recorded = async (count: number): Promise<[web: RecordDraft, payments: RecordDraft]> => {
    const [web, payments] = await Promise.all([pair.web.recorded(count), pair.payments.recorded(count)]);
    return [web[count - 1]!, payments[count - 1]!];
  };
  return { ...pair, seen, recorded };
}

const traced = (flags: string, more: readonly string[] = []) => ({
  headers: [`traceparent: 00-${traceId}-${callerSpan}-${flags}`, ...more],
});

test('client, outbound, inbound, application: a tree with the right parents, in a collector', async () => {
  const collector = await startCollector();
  const { web, payments, seen, recorded } = await startTraced({ otlp: collector.url });
  expect((await call(web, { path: '/charges/7?secret=1', ...traced('01', ['tracestate: foo=1']) })).status).toBe(200);
  for (const record of await recorded(1)) {
    const resource = { service: record.instance, trustDomain: 'example.org', instance: record.instance, version: '1' };
    const shared = { clock: systemClock, random: Math.random, log: silentLog, metrics: createMetrics() };
    const exporter = createSpanExporter({ ...shared, resource });
    onTestFinished(() => exporter.close());
    exporter.sendTo(collector.url);
    exporter.note(record);
  }
  const spans = await eventually(
    () => collector.spans,
    ({ length }) => length === 2,
  );
  expect(collector.problems).toEqual([]);
  const outbound = spans.find(({ kind }) => kind === 3)!;
  const inbound = spans.find(({ kind }) => kind === 2)!;
  expect(spans.map((span) => span.traceId)).toEqual([traceId, traceId]);
  expect(outbound.parentSpanId).toBe(callerSpan);
  expect(inbound.parentSpanId).toBe(outbound.spanId);
  expect(seen[0]).toMatchObject({ traceparent: `00-${traceId}-${inbound.spanId}-01`, tracestate: 'foo=1' });
  expect(inbound.attributes).toMatchObject({ 'postern.decision': 'allow', 'postern.rule': 'test/web-payments' });
  expect(outbound.attributes['network.peer.port']).toBe(payments.addresses.inbound.port);
  expect(JSON.stringify(spans)).not.toContain('secret');
});

test('a trace that begins here has the outbound span as its root, once for both hops', async () => {
  const { web, seen, recorded } = await startTraced({ otlp: 'http://127.0.0.1:9', sampling: 100 });
  await call(web, {});
  const [outbound, inbound] = await recorded(1);
  expect(outbound).toMatchObject({ sampled: true, traceId: expect.stringMatching(/^[0-9a-f]{32}$/) });
  expect(outbound).not.toHaveProperty('parentSpanId');
  expect(inbound).toMatchObject({ sampled: true, traceId: outbound.traceId, parentSpanId: outbound.spanId });
  expect(seen[0]!.traceparent).toBe(`00-${outbound.traceId}-${inbound.spanId}-01`);
});

test('one that is not sampled where it begins is not sampled further on either', async () => {
  const { web, seen, recorded } = await startTraced({ otlp: 'http://127.0.0.1:9', sampling: 0 });
  await call(web, {});
  const [outbound, inbound] = await recorded(1);
  expect(inbound.traceId).toBe(outbound.traceId);
  for (const record of [outbound, inbound]) expect(record).not.toHaveProperty('sampled');
  expect(seen[0]!.traceparent).toBe(`00-${outbound.traceId}-${inbound.spanId}-00`);
});

test('a malformed traceparent begins a new trace and takes its state with it', async () => {
  const { web, seen, recorded } = await startTraced({ otlp: 'http://127.0.0.1:9', sampling: 100 });
  await call(web, { headers: [`traceparent: 00-${traceId}-${callerSpan}-1`, 'tracestate: foo=1'] });
  await call(web, {
    headers: [`traceparent: 00-${traceId}-${callerSpan}-01`, `traceparent: 00-${traceId}-${callerSpan}-01`],
  });
  for (const count of [1, 2]) {
    const [outbound] = await recorded(count);
    expect(outbound.traceId).not.toBe(traceId);
    expect(outbound).not.toHaveProperty('parentSpanId');
    expect(seen[count - 1]).not.toHaveProperty('tracestate');
    expect(String(seen[count - 1]!.traceparent)).toMatch(new RegExp(`^00-${outbound.traceId}-`));
  }
});

test('without tracing what came goes on as it is and the trace is recorded all the same', async () => {
  const { web, seen, recorded } = await startTraced(undefined);
  const headers = [`traceparent: 00-${traceId}-${callerSpan}-01`, 'tracestate: foo=1'];
  await call(web, { headers });
  for (const record of await recorded(1)) {
    expect(record.traceId).toBe(traceId);
    expect(record).not.toHaveProperty('spanId');
    expect(record).not.toHaveProperty('sampled');
  }
  expect(seen[0]).toMatchObject({ traceparent: `00-${traceId}-${callerSpan}-01`, tracestate: 'foo=1' });
});

test('a denied call has a span too: the trace shows where it ended', async () => {
  const { web, payments, pki, setRules } = await startTraced({ otlp: 'http://127.0.0.1:9', sampling: 100 });
  setRules();
  expect((await call(web, traced('01'))).status).toBe(403);
  expect((await web.recorded(1))[0]).toMatchObject({
    decision: 'deny',
    traceId,
    parentSpanId: callerSpan,
    sampled: true,
  });
  const stranger = await openTls({ pki, proxy: payments, identity: web.identity });
  stranger.send(`GET / HTTP/1.1\r\nhost: payments\r\ntraceparent: 00-${traceId}-${callerSpan}-01\r\n\r\n`);
  await stranger.until(/403/);
  expect((await payments.recorded(1))[0]).toMatchObject({ decision: 'deny', traceId, parentSpanId: callerSpan });
});

test('a copy is a span of its own under the one of the original', async () => {
  const { web, payments, seen, recorded } = await startTraced({ otlp: 'http://127.0.0.1:9', sampling: 100 });
  const route = { name: 'copied', route: [{ cluster: 'payments' }], mirror: [{ cluster: 'payments' }] };
  web.apply({ virtualServices: [{ name: 'payments', id: idOf('payments'), hosts: ['payments'], http: [route] }] });
  await call(web, {});
  await recorded(2);
  const original = web.records.find(({ mirrored }) => !mirrored)!;
  const copy = web.records.find(({ mirrored }) => mirrored)!;
  expect(copy).toMatchObject({ traceId: original.traceId, parentSpanId: original.spanId, sampled: true });
  expect(payments.records.map(({ parentSpanId }) => parentSpanId).toSorted()).toEqual(
    [original.spanId, copy.spanId].toSorted(),
  );
  expect(seen.map(({ traceparent }) => String(traceparent).slice(3, 35))).toEqual([original.traceId, original.traceId]);
});
