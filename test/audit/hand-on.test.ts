// Decisions for other systems: formats that their readers take, and shipping that loses nothing however long the receiver is away.
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  deliverToFile,
  deliverToOtlp,
  exportFormats,
  formatRecords,
  headOf,
  openRecordStore,
  type ShipOptions,
  shipRecords,
} from '#audit';
import type { DecisionRecord } from '#wire';
import { createClock } from '../helpers/clock.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { sentRecord } from '../helpers/record.ts';

const denied = sentRecord(2, {
  decision: 'deny',
  reason: 'default-deny',
  rule: undefined as never,
  status: 403,
  traceId: 'a'.repeat(32),
});

interface ResourceLogs {
  readonly scopeLogs: readonly [{ readonly logRecords: readonly { attributes?: unknown; traceId?: string }[] }];
}

describe('formats', () => {
  test.each(exportFormats)('%s: a line for each record or batch, nothing for none', (format) => {
    expect(formatRecords(format, [])).toBe('');
    const lines = formatRecords(format, [sentRecord(1), denied])
      .trimEnd()
      .split('\n');
    expect(lines).toHaveLength(format === 'otlp-json' ? 1 : 2);
    if (format !== 'csv') for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();
  });

  test('OCSF: HTTP Activity whose type follows from class and activity, and a denial that says so', () => {
    const [allowed, refused] = formatRecords('ocsf', [sentRecord(1), denied])
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, number>);
    expect(allowed).toMatchObject({
      class_uid: 4002,
      activity_id: 6,
      type_uid: 400_206,
      action_id: 1,
      disposition_id: 1,
    });
    expect(refused).toMatchObject({ action_id: 2, disposition_id: 2, status_id: 2, http_response: { code: 403 } });
  });

  test('ECS: allowed or denied, addresses apart from ports', () => {
    const [allowed, refused] = formatRecords('ecs', [sentRecord(1), denied])
      .trimEnd()
      .split('\n');
    expect(JSON.parse(allowed!)).toMatchObject({
      'event.type': ['allowed'],
      'source.ip': '127.0.0.1',
      'source.port': 51_234,
    });
    expect(JSON.parse(refused!)).toMatchObject({ 'event.type': ['denied'], 'event.outcome': 'failure' });
  });

  test('OTLP: one resource for each instance, integers as text, a trace id only when it is one', () => {
    const records = [sentRecord(1), denied, sentRecord(3, { instance: 'i-2', traceId: 'short' })];
    const { resourceLogs } = JSON.parse(formatRecords('otlp-json', records)) as { resourceLogs: ResourceLogs[] };
    expect(resourceLogs.map(({ scopeLogs }) => scopeLogs[0].logRecords.length)).toEqual([2, 1]);
    const [first, second] = resourceLogs[0]!.scopeLogs[0].logRecords;
    expect(first).toMatchObject({ timeUnixNano: '1767225600000000000', severityText: 'INFO' });
    expect(first!.attributes).toContainEqual({ key: 'postern.status', value: { intValue: '200' } });
    expect(second!.traceId).toBe('a'.repeat(32));
    expect(resourceLogs[1]!.scopeLogs[0].logRecords[0]).not.toHaveProperty('traceId');
  });

  const routed = sentRecord(4, {
    ...{ hop: 'outbound', virtualService: 'payments', route: 'beta', cluster: 'payments/v2', tries: 3, fault: 'delay' },
    ...{ protocol: 'grpc', security: 'mtls', grpcStatus: 14, mirrored: true },
    ...{ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), parentSpanId: 'c'.repeat(16), sampled: true },
  });

  test('where the route led is in every format, and the span with its trace', () => {
    const [ecs] = formatRecords('ecs', [routed]).split('\n');
    expect(JSON.parse(ecs!)).toMatchObject({
      'span.id': 'b'.repeat(16),
      labels: { virtual_service: 'payments', route: 'beta', cluster: 'payments/v2', tries: '3', grpc_status: '14' },
    });
    const [ocsf] = formatRecords('ocsf', [routed]).split('\n');
    expect(JSON.parse(ocsf!)).toMatchObject({ unmapped: { route: 'beta', cluster: 'payments/v2', tries: 3 } });
    expect(formatRecords('csv', [routed])).toContain('payments,beta,payments/v2,3,grpc,mtls,14,delay,true');
    const { resourceLogs } = JSON.parse(formatRecords('otlp-json', [routed])) as { resourceLogs: ResourceLogs[] };
    expect(resourceLogs[0]!.scopeLogs[0].logRecords[0]).toMatchObject({ spanId: 'b'.repeat(16), flags: 1 });
  });

  test('L6: CSV quotes what must be, and no cell is a formula', () => {
    const [line] = formatRecords('csv', [sentRecord(1, { path: '/a"b,c', host: '=HYPERLINK("x")' })]).split('\n');
    expect(line).toContain('"/a""b,c"');
    expect(line).toContain(`"'=HYPERLINK(""x"")"`);
    expect(headOf('csv').split(',').length).toBe(formatRecords('csv', [denied]).split(',').length);
  });
});

function storeOf(count: number) {
  const store = openRecordStore({ path: ':memory:', clock: createClock() });
  onTestFinished(() => store.close());
  store.add(
    'i-1',
    Array.from({ length: count }, (_, at) => sentRecord(at + 1)),
  );
  return store;
}

function shipping(store: ReturnType<typeof storeOf>, more: Partial<ShipOptions>): ShipOptions {
  return {
    fetch: async (after, limit) => store.query({ after, limit }),
    deliver: async () => undefined,
    cursorPath: join(temporaryFolder(), 'cursor'),
    signal: new AbortController().signal,
    wait: async () => undefined,
    random: () => 0.5,
    onTrouble: () => undefined,
    onShipped: () => undefined,
    once: true,
    ...more,
  };
}

describe('shipping', () => {
  test('goes on where it left off, in order, and waits for more unless told otherwise', async () => {
    const store = storeOf(1_234);
    const got: number[] = [];
    const options = shipping(store, { deliver: async (records) => void got.push(...records.map(({ seq }) => seq)) });
    await shipRecords(options);
    expect(got).toEqual(Array.from({ length: 1_234 }, (_, at) => at + 1));
    store.add('i-1', [sentRecord(1_235)]);
    await shipRecords(options);
    expect(got.slice(1_234)).toEqual([1_235]);
  });

  test('a receiver that is down for an hour gets everything afterwards, once, and is not hammered', async () => {
    const store = storeOf(700);
    const got: DecisionRecord[] = [];
    const waits: number[] = [];
    const troubles: string[] = [];
    let now = 0;
    await shipRecords(
      shipping(store, {
        deliver: async (records) => {
          if (now < 3_600_000) throw new Error('connection refused');
          got.push(...records);
        },
        wait: async (ms) => {
          waits.push(ms);
          now += ms;
          if (waits.length === 3) store.add('i-1', [sentRecord(701)]);
        },
        onTrouble: (message) => troubles.push(message),
      }),
    );
    expect(got.map(({ seq }) => seq)).toEqual(Array.from({ length: 701 }, (_, at) => at + 1));
    expect(waits.length).toBeLessThan(150);
    expect(troubles).toEqual([expect.stringContaining('connection refused'), 'delivering again']);
  });

  test('to an OTLP endpoint: what is answered with an error is sent again', async () => {
    const bodies: { resourceLogs: unknown[] }[] = [];
    const answers = [503, 429, 200];
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      request.on('end', () => {
        bodies.push(JSON.parse(body) as { resourceLogs: unknown[] });
        response.writeHead(answers.shift() ?? 200).end();
      });
      expect([request.method, request.url, request.headers['x-key']]).toEqual(['POST', '/v1/logs', 'k']);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    await shipRecords(shipping(storeOf(3), { deliver: deliverToOtlp(`http://127.0.0.1:${port}`, { 'x-key': 'k' }) }));
    expect(bodies).toHaveLength(3);
    expect(bodies[2]).toEqual(bodies[0]);
  });

  test('to a file that cannot be written: nothing moves on, and nothing is missing once it can', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'out.jsonl');
    let tries = 0;
    const options = shipping(storeOf(3), {
      deliver: async (records, signal) => {
        const to = tries++ === 0 ? join(folder, 'none', 'out.jsonl') : path;
        await deliverToFile(to, 'jsonl')(records, signal);
      },
    });
    await shipRecords(options);
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as DecisionRecord).seq)).toEqual([1, 2, 3]);
    expect(existsSync(options.cursorPath)).toBe(true);
  });
});

describe('counts by the hour', () => {
  test('say who was denied most, what decided most, and when; heartbeats count for nothing', () => {
    const store = storeOf(0);
    const at = (hour: number) => `2026-01-01T0${hour}:59:59.000Z`;
    store.add('i-1', [
      ...[1, 2, 3].map((seq) =>
        sentRecord(seq, { time: at(1), decision: 'deny', reason: 'default-deny', rule: undefined as never }),
      ),
      sentRecord(4, { time: at(2), decision: 'deny', peer: 'spiffe://example.org/web' }),
      sentRecord(5, { time: at(2) }),
      sentRecord(6, { time: at(3), kind: 'heartbeat', reason: 'heartbeat' }),
    ]);
    store.add('i-1', [sentRecord(5, { time: at(2) })]);
    expect(store.tally({ by: 'denied-pairs' })).toMatchObject([
      { peer: 'spiffe://example.org/checkout', service: 'spiffe://example.org/payments', decision: 'deny', count: 3 },
      { peer: 'spiffe://example.org/web', count: 1 },
    ]);
    expect(store.tally({ by: 'rules', limit: 1 })).toMatchObject([{ rule: 'default-deny', count: 3 }]);
    expect(store.tally({ by: 'hours' })).toMatchObject([
      { hour: '2026-01-01T02:00:00.000Z', decision: 'allow', count: 1 },
      { hour: '2026-01-01T02:00:00.000Z', decision: 'deny', count: 1 },
      { hour: '2026-01-01T01:00:00.000Z', decision: 'deny', count: 3 },
    ]);
    expect(store.tally({ by: 'hours', since: Date.parse(at(2)) })).toHaveLength(2);
    expect(store.query({}).records.map(({ seq }) => seq)).not.toContain(6);
    expect(store.query({ reason: 'heartbeat' }).records.map(({ seq }) => seq)).toEqual([6]);
  });
});
