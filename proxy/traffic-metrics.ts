// Who called whom, by which route and with what outcome, as numbers. Names come from configuration and verified identities, never from what a peer sends, and
// statuses are those that are registered. The numbers of a way (caller, called, route) are found by the words that its records hold, without making a text.
import type { Counter, Histogram, Metrics } from '#base/metrics';
import type { RecordDraft } from './exchange-record.ts';
import { createIstioMetrics, type IstioNumbers } from './istio-metrics.ts';
import { statusLabel } from './status-label.ts';
import { type KnownNames, type Way, wayOf } from './traffic-way.ts';

/** The numbers of one way. */
interface Numbers {
  readonly way: Way;
  readonly duration: Histogram;
  readonly bytesIn: Histogram;
  readonly bytesOut: Histogram;
  /** By `outcomeKey`. */
  readonly outcomes: Map<number, Outcome>;
}

interface Outcome {
  readonly requests: Counter;
  /** By flags of the response. */
  readonly istio: Map<string, IstioNumbers>;
}

/** By caller, called, cluster, virtual service and route. */
type Numbered = Map<string, Map<string, Map<string, Map<string, Map<string, Numbers>>>>>;

/** Ways whose numbers are remembered; those above are looked up for each exchange. */
const mostWays = 4_000;
const mostSeries = 4_000;

const seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const bytes = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/** Gives what notes one finished exchange. */
export function createTrafficMetrics(
  metrics: Metrics,
  names: () => KnownNames | undefined,
): (record: RecordDraft) => void {
  const requests = metrics.counter({
    name: 'postern_http_requests_total',
    help: 'HTTP exchanges that ended, by who called whom and how they were routed (status none: no answer was sent).',
    labels: [
      'reporter',
      'source',
      'destination',
      'virtual_service',
      'route',
      'cluster',
      'status',
      'grpc_status',
      'protocol',
      'security',
    ],
    most: mostSeries,
  });
  const durations = metrics.histogram({
    name: 'postern_http_request_duration_seconds',
    help: 'From the request head to the end of the exchange, by who called whom.',
    labels: ['reporter', 'source', 'destination'],
    buckets: seconds,
  });
  const bytesIn = metrics.histogram({
    name: 'postern_http_request_bytes',
    help: 'Bytes of request bodies, by who called whom.',
    labels: ['reporter', 'source', 'destination'],
    buckets: bytes,
  });
  const bytesOut = metrics.histogram({
    name: 'postern_http_response_bytes',
    help: 'Bytes of response bodies, by who called whom.',
    labels: ['reporter', 'source', 'destination'],
    buckets: bytes,
  });
  const connections = metrics.counter({
    name: 'postern_tcp_connections_total',
    help: 'TCP connections that ended, by who called whom and how they were routed.',
    labels: ['reporter', 'source', 'destination', 'virtual_service', 'route', 'cluster', 'security'],
  });
  const received = metrics.counter({
    name: 'postern_tcp_received_bytes_total',
    help: 'Bytes from callers over TCP connections that ended.',
    labels: ['reporter', 'source', 'destination'],
  });
  const sent = metrics.counter({
    name: 'postern_tcp_sent_bytes_total',
    help: 'Bytes to callers over TCP connections that ended.',
    labels: ['reporter', 'source', 'destination'],
  });
  const istio = createIstioMetrics(metrics);

  const numbersOf = (way: Way): Numbers => {
    const labels = [way.reporter, way.source, way.destination];
    return {
      way,
      duration: durations(...labels),
      bytesIn: bytesIn(...labels),
      bytesOut: bytesOut(...labels),
      outcomes: new Map(),
    };
  };
  const find = createFinder(numbersOf, names);

  const outcomeOf = ({ way, outcomes }: Numbers, record: RecordDraft): Outcome => {
    const key = outcomeKey(record);
    let outcome = outcomes.get(key);
    if (!outcome) {
      const { reporter, source, destination, virtualService, route, cluster } = way;
      const grpc = record.grpcStatus === undefined ? '' : String(record.grpcStatus);
      const end = [statusLabel(record.status), grpc, record.protocol ?? 'http', record.security ?? ''];
      const counter = requests(reporter, source, destination, virtualService, route, cluster, ...end);
      outcome = { requests: counter, istio: new Map() };
      outcomes.set(key, outcome);
    }
    return outcome;
  };

  const noteTcp = (record: RecordDraft): void => {
    const way = wayOf(record, names());
    const labels = [way.reporter, way.source, way.destination];
    connections(...labels, way.virtualService, way.route, way.cluster, record.security ?? '').value++;
    received(...labels).value += record.bytesIn;
    sent(...labels).value += record.bytesOut;
    if (names()?.istioNames) istio.tcp(way, record);
  };

  return (record) => {
    // A copy is counted by its far end, like any other request.
    if (record.mirrored) return;
    if (record.protocol === 'tcp') return noteTcp(record);
    const numbers = find(record);
    numbers.duration.observe(record.ms / 1_000);
    numbers.bytesIn.observe(record.bytesIn);
    numbers.bytesOut.observe(record.bytesOut);
    const outcome = outcomeOf(numbers, record);
    outcome.requests.value++;
    if (names()?.istioNames) istio.http(outcome.istio, { way: numbers.way, record });
  };
}

const protocols = ['grpc', 'websocket', 'tcp'];
const securities = ['mtls', 'tls', 'none'];

/** Status, status of gRPC, protocol and security in one number. */
function outcomeKey({ status = 0, grpcStatus = -1, protocol, security }: RecordDraft): number {
  const spoken = protocol === undefined ? 0 : protocols.indexOf(protocol) + 1;
  const secured = security === undefined ? 0 : securities.indexOf(security) + 1;
  return ((status * 32 + grpcStatus + 1) * 4 + spoken) * 4 + secured;
}

/** The numbers of a record's way, remembered when every name in it is one that configuration has. */
function createFinder(
  make: (way: Way) => Numbers,
  names: () => KnownNames | undefined,
): (record: RecordDraft) => Numbers {
  const inbound: Numbered = new Map();
  const outbound: Numbered = new Map();
  let count = 0;

  const learn = (record: RecordDraft): Numbers => {
    const way = wayOf(record, names());
    const numbers = make(way);
    if (!way.isKnown || count >= mostWays) return numbers;
    count++;
    const { hop, peer = '', to = '', cluster = '', virtualService = '', route = '' } = record;
    const bySource: Numbered = hop === 'inbound' ? inbound : outbound;
    const routes = within(within(within(within(bySource, peer), to), cluster), virtualService);
    routes.set(route, numbers);
    return numbers;
  };

  return (record) =>
    (record.hop === 'inbound' ? inbound : outbound)
      .get(record.peer ?? '')
      ?.get(record.to ?? '')
      ?.get(record.cluster ?? '')
      ?.get(record.virtualService ?? '')
      ?.get(record.route ?? '') ?? learn(record);
}

function within<V>(map: Map<string, Map<string, V>>, key: string): Map<string, V> {
  let inner = map.get(key);
  if (!inner) {
    inner = new Map();
    map.set(key, inner);
  }
  return inner;
}
