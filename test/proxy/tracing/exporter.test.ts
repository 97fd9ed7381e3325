// Spans reach a collector by OTLP/HTTP; whatever it does, nothing waits for it, little is kept for it, and what it never gets is counted.
import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { createSpanExporter, type ExporterOptions } from '../../../proxy/tracing/exporter.ts';
import { startCollector } from '../../helpers/collector.ts';
import { type NewRecord, recordOf } from '../../helpers/record.ts';
import { eventually } from '../../helpers/until.ts';

const resource = { service: 'payments', trustDomain: 'example.org', instance: 'i-1', version: '1.2.3' };

/** A clock whose waits are short: what is tested is what happens, not when. */
const hasty = { ...systemClock, after: (ms: number, run: () => void) => systemClock.after(ms / 100, run) };

function create(more: Partial<ExporterOptions> = {}) {
  const metrics = createMetrics();
  const shared = { resource, clock: hasty, random: () => 0.5, log: silentLog, metrics };
  const exporter = createSpanExporter({ ...shared, ...more });
  onTestFinished(() => {
    exporter.sendTo(undefined);
    return exporter.close();
  });
  const count = (line: string): number => Number(new RegExp(`^${line} (\\d+)$`, 'm').exec(metrics.render())?.[1] ?? 0);
  return { exporter, count };
}

let made = 0;
const sampledRecord = (more: Partial<NewRecord> = {}): NewRecord =>
  recordOf({
    ...{ traceId: 'a'.repeat(32), spanId: (++made).toString(16).padStart(16, '0'), sampled: true, ms: 1.25 },
    ...more,
  });

test('a span says what the record says, in the words of the semantic conventions', async () => {
  const collector = await startCollector();
  const { exporter, count } = create();
  exporter.sendTo(collector.url);
  exporter.note(sampledRecord({ parentSpanId: 'c'.repeat(16), host: 'payments:8080', endpoint: '127.0.0.1:8080' }));
  await eventually(
    () => collector.spans,
    ({ length }) => length === 1,
  );
  expect(collector.problems).toEqual([]);
  const [span] = collector.spans;
  expect(span).toMatchObject({ traceId: 'a'.repeat(32), parentSpanId: 'c'.repeat(16), name: 'POST payments', kind: 2 });
  expect(span!.startTimeUnixNano).toBe('1767225600000000000');
  expect(span!.endTimeUnixNano).toBe('1767225600001250000');
  expect(span!.status).toEqual({});
  expect(span!.attributes).toMatchObject({
    'service.name': 'payments',
    'service.namespace': 'example.org',
    'service.instance.id': 'i-1',
    'http.request.method': 'POST',
    'http.response.status_code': 200,
    'http.request.body.size': 12,
    'url.path': '/charges',
    'server.address': 'payments',
    'server.port': 8080,
    'network.peer.address': '127.0.0.1',
    'network.peer.port': 51_234,
    'postern.decision': 'allow',
    'postern.rule': 'payments-access/checkout-charges',
    'postern.source': 'spiffe://example.org/checkout',
    'postern.endpoint': '127.0.0.1:8080',
  });
  await eventually(
    () => count('postern_spans_exported_total'),
    (exported) => exported === 1,
  );
});

test.each([
  [
    'a method that nobody knows',
    { method: 'BREW' },
    'HTTP payments',
    { 'http.request.method': '_OTHER', 'http.request.method_original': 'BREW' },
    {},
  ],
  ['a fault of the called side', { status: 503 }, 'POST payments', { 'error.type': '503' }, { code: 2 }],
  ['a fault of the caller, at the called side', { status: 404 }, 'POST payments', {}, {}],
  [
    'a fault of the caller, at its own side',
    { status: 404, hop: 'outbound' },
    'POST payments',
    { 'error.type': '404' },
    { code: 2 },
  ],
  [
    'a fault of a proxy',
    { decision: 'error', reason: 'APP_CLOSED', status: 502 },
    'POST payments',
    { 'error.type': 'APP_CLOSED' },
    { code: 2, message: 'APP_CLOSED' },
  ],
  [
    'a call of gRPC',
    { protocol: 'grpc', path: '/pay.v1.Charges/Charge', grpcStatus: 0 },
    'pay.v1.Charges/Charge',
    { 'rpc.system': 'grpc', 'rpc.service': 'pay.v1.Charges', 'rpc.method': 'Charge', 'rpc.grpc.status_code': 0 },
    {},
  ],
  [
    'a failed call of gRPC',
    { protocol: 'grpc', path: '/pay.v1.Charges/Charge', grpcStatus: 13 },
    'pay.v1.Charges/Charge',
    { 'error.type': '13' },
    { code: 2 },
  ],
  [
    'a call of a method that does not exist',
    { protocol: 'grpc', path: '/x/made-up', grpcStatus: 12 },
    'POST payments',
    { 'rpc.method': 'made-up' },
    { code: 2 },
  ],
  [
    'a denied call of gRPC',
    { protocol: 'grpc', path: '/x/made-up', decision: 'deny', status: 403 },
    'POST payments',
    { 'postern.decision': 'deny' },
    {},
  ],
  ['a TCP connection', { protocol: 'tcp', method: 'CONNECT' }, 'tcp payments', { 'network.transport': 'tcp' }, {}],
] as const)('%s', async (_, change, name, attributes, status) => {
  const collector = await startCollector();
  const { exporter } = create();
  exporter.sendTo(collector.url);
  exporter.note(sampledRecord(change));
  await eventually(
    () => collector.spans,
    ({ length }) => length === 1,
  );
  expect(collector.problems).toEqual([]);
  expect(collector.spans[0]).toMatchObject({ name, attributes, status });
  expect(collector.spans[0]!.status).toEqual(status);
});

test('what is not sampled, or has nowhere to go, costs nothing', async () => {
  const collector = await startCollector();
  const { exporter, count } = create();
  exporter.note(sampledRecord());
  exporter.sendTo(collector.url);
  exporter.note(recordOf({ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) }));
  exporter.note(sampledRecord({ id: 'the-one' }));
  await eventually(
    () => collector.spans,
    ({ length }) => length > 0,
  );
  expect(collector.spans.map(({ attributes }) => attributes['postern.decision.id'])).toEqual(['the-one']);
  expect(count('postern_spans_waiting')).toBe(0);
});

test('many come in batches, all of them once', async () => {
  const collector = await startCollector();
  const { exporter, count } = create();
  exporter.sendTo(`${collector.url}/v1/traces`);
  for (let n = 0; n < 2_000; n++) exporter.note(sampledRecord());
  await eventually(
    () => count('postern_spans_exported_total'),
    (exported) => exported === 2_000,
  );
  expect(collector.problems).toEqual([]);
  expect(new Set(collector.spans.map(({ spanId }) => spanId)).size).toBe(2_000);
  expect(collector.batches).toBeLessThanOrEqual(8);
});

test('while the collector is down at most so many wait, the rest is counted, and what waited arrives when it is back', async () => {
  const collector = await startCollector();
  collector.answer = (_, response) => response.writeHead(503).end();
  const { exporter, count } = create({ mostWaiting: 100 });
  exporter.sendTo(collector.url);
  for (let n = 0; n < 1_000; n++) exporter.note(sampledRecord());
  expect(count('postern_spans_waiting')).toBe(100);
  expect(count('postern_spans_dropped_total\\{reason="queue-full"\\}')).toBe(900);
  let asked = 0;
  collector.answer = (_, response) => {
    if (++asked >= 2) collector.answer = undefined;
    response.writeHead(503, { 'retry-after': '1' }).end();
  };
  await eventually(
    () => count('postern_spans_exported_total'),
    (exported) => exported === 100,
  );
  expect(asked).toBe(2);
  expect(count('postern_spans_waiting')).toBe(0);
});

test('a collector that nobody reaches costs a batch its last attempt, and is counted', async () => {
  const nobody = createServer();
  await new Promise<void>((resolve) => nobody.listen(0, '127.0.0.1', resolve));
  const { port } = nobody.address() as { port: number };
  await new Promise((resolve) => nobody.close(resolve));
  const { exporter, count } = create();
  exporter.sendTo(`http://127.0.0.1:${port}`);
  exporter.note(sampledRecord());
  await eventually(
    () => count('postern_spans_dropped_total\\{reason="unreachable"\\}'),
    (dropped) => dropped === 1,
  );
});

test.each([
  ['refuses', 400, '{"code":3}', 3],
  ['refuses some', 200, '{"partialSuccess":{"rejectedSpans":"2","errorMessage":"no"}}', 2],
  ['claims to have refused more than there were', 200, '{"partialSuccess":{"rejectedSpans":"1e9"}}', 3],
  ['answers nonsense', 200, '<html>', 0],
])('a collector that %s is not asked again', async (_, status, answer, refused) => {
  const collector = await startCollector();
  let asked = 0;
  collector.answer = (__, response) => {
    asked++;
    response.writeHead(status).end(answer);
  };
  const { exporter, count } = create();
  exporter.sendTo(collector.url);
  for (let n = 0; n < 3; n++) exporter.note(sampledRecord());
  const done = () => count('postern_spans_dropped_total\\{reason="refused"\\}') + count('postern_spans_exported_total');
  await eventually(done, (sum) => sum === 3);
  expect(count('postern_spans_dropped_total\\{reason="refused"\\}')).toBe(refused);
  expect(asked).toBe(1);
});

test('an answer without end is cut', async () => {
  const collector = await startCollector();
  let isCut = false;
  const endless = 'x'.repeat(65_536);
  collector.answer = (_, response) => {
    collector.answer = undefined;
    response.writeHead(200).on('close', () => {
      isCut = true;
    });
    response.on('drain', () => void response.write(endless));
    for (let isReady = true; isReady; ) isReady = response.write(endless);
  };
  const { exporter } = create();
  exporter.sendTo(collector.url);
  exporter.note(sampledRecord());
  await eventually(
    () => [isCut, collector.spans.length],
    ([cut, spans]) => cut === true && spans === 1,
  );
});

test('what waits at the end is sent once more', async () => {
  const collector = await startCollector();
  const { exporter } = create({ clock: { ...systemClock, after: () => () => undefined } });
  exporter.sendTo(collector.url);
  for (let n = 0; n < 600; n++) exporter.note(sampledRecord());
  await exporter.close();
  expect(collector.spans).toHaveLength(600);
});
