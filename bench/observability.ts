// What it costs to note an exchange in the numbers by source, destination and route, and to give it its place in a trace: on the path of every request.
import { createMetrics } from '#base/metrics';
import type { RecordDraft } from '../proxy/exchange-record.ts';
import { fieldsForPeer } from '../proxy/headers.ts';
import { createTracer } from '../proxy/tracing/context.ts';
import { createTrafficMetrics } from '../proxy/traffic-metrics.ts';
import type { KnownNames } from '../proxy/traffic-way.ts';
import { type Bench, type Figure, quantile } from './bench.ts';

const callers = 200;
const routes = 5;
const perBatch = 1_000;
const batches = 2_000;

export async function run(): Promise<Bench> {
  const records = Array.from({ length: callers * routes }, (_, index) => recordOf(index));
  const fields = Array.from({ length: 10 }, (_, n) => [`x-header-${n}`, `value ${n}`]).flat();
  const traced = [...fields, 'traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'];
  const tracer = createTracer();
  const tracing = { share: 0.01, trustsEdge: false };
  const options = { tracing, isFromOutside: false, at: 0.5 };
  const onward = (list: readonly string[]): number => fieldsForPeer(list, tracer.begin(list, options)).length;
  const plain = measure(() => fieldsForPeer(fields).length);
  const figures: Figure[] = [
    figure('numbers by source, destination and route', noting(records, false), 0.5),
    figure("the same with Istio's names beside them", noting(records, true), 1),
    figure('a trace that begins here', measure(() => onward(fields)) - plain, 1),
    figure('a trace that goes on', measure(() => onward(traced)) - plain, 1),
  ];
  return {
    title: 'Observability',
    how: `${callers} callers with ${routes} routes each, in turn; p50 over ${batches} batches of ${perBatch}. Of traces: reading and replacing the fields of a request with ten others, beyond what is done without tracing.`,
    figures,
  };
}

function noting(records: readonly RecordDraft[], istioNames: boolean): number {
  const names: KnownNames = {
    trustDomain: 'example.org',
    istioNames,
    serviceOf: () => 'spiffe://example.org/shop/payments',
    hasService: () => true,
  };
  const note = createTrafficMetrics(createMetrics(), () => names);
  let at = 0;
  return measure(() => {
    note(records[at]!);
    at = at + 1 < records.length ? at + 1 : 0;
    return at;
  });
}

/** Microseconds, p50. */
function measure(run: () => number): number {
  const samples: number[] = [];
  let sum = 0;
  for (let batch = -500; batch < batches; batch++) {
    const begun = performance.now();
    for (let round = 0; round < perBatch; round++) sum += run();
    if (batch >= 0) samples.push(((performance.now() - begun) * 1_000) / perBatch);
  }
  if (!Number.isFinite(sum)) throw new Error('nothing was done');
  return quantile(samples, 0.5);
}

function figure(what: string, us: number, most: number): Figure {
  return { what, measured: `${us.toFixed(2)} us`, bar: `at most ${most} us`, holds: us <= most };
}

function recordOf(index: number): RecordDraft {
  return {
    id: `d-${index}`,
    time: '2026-01-01T00:00:00.000Z',
    instance: 'i-1',
    service: 'spiffe://example.org/shop/payments',
    hop: 'outbound',
    kind: 'exchange',
    connection: 'c-1',
    peer: `spiffe://example.org/shop/caller-${Math.floor(index / routes)}`,
    to: 'spiffe://example.org/shop/payments',
    virtualService: 'payments',
    route: `route-${index % routes}`,
    cluster: index % 2 === 0 ? 'payments' : 'payments/v2',
    security: 'mtls',
    decision: 'allow',
    reason: 'allowed',
    status: index % 10 === 0 ? 404 : 200,
    bytesIn: 120,
    bytesOut: 4_000,
    ms: 2.5,
  };
}
