// The same numbers under the names and labels of Istio's standard metrics, for dashboards made for those (https://istio.io/docs/reference/config/metrics/).
// A service is a workload of the same name; what stands before its last slash is the namespace.
import type { Counter, Histogram, Metrics } from '#base/metrics';
import type { proxyErrors } from './errors.ts';
import type { RecordDraft } from './exchange-record.ts';
import { statusLabel } from './status-label.ts';
import type { Way } from './traffic-way.ts';

export interface IstioNumbers {
  readonly requests: Counter;
  readonly duration: Histogram;
  readonly bytesIn: Histogram;
  readonly bytesOut: Histogram;
}

export interface IstioMetrics {
  /** `known` holds the numbers of one outcome of one way, by flags. */
  http(known: Map<string, IstioNumbers>, o: { readonly way: Way; readonly record: RecordDraft }): void;
  tcp(way: Way, record: RecordDraft): void;
}

const places = ['source', 'destination'].flatMap((side) => [
  `${side}_workload`,
  `${side}_workload_namespace`,
  `${side}_canonical_service`,
  `${side}_canonical_revision`,
  `${side}_principal`,
  `${side}_app`,
  `${side}_version`,
  `${side}_cluster`,
]);
const services = ['destination_service', 'destination_service_name', 'destination_service_namespace'];
const common = ['reporter', ...places, ...services, 'request_protocol', 'response_flags', 'connection_security_policy'];
const ofHttp = [...common, 'response_code', 'grpc_response_status'];
/** Envoy's, in milliseconds and in bytes alike. */
const buckets = [
  ...[0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000],
  ...[300_000, 600_000, 1_800_000, 3_600_000],
];
const mostSeries = 4_000;

/** Families are declared when the first number is noted: a mesh that does not ask for them does not see them. */
export function createIstioMetrics(metrics: Metrics): IstioMetrics {
  let families: ReturnType<typeof declare> | undefined;
  const declared = (): ReturnType<typeof declare> => {
    families ??= declare(metrics);
    return families;
  };
  return {
    http(known, { way, record }) {
      const flags = flagsOf(record);
      let numbers = known.get(flags);
      if (!numbers) {
        const { requests, duration, bytesIn, bytesOut } = declared();
        const code = record.status === undefined ? '0' : statusLabel(record.status);
        const grpc = record.grpcStatus === undefined ? '' : String(record.grpcStatus);
        const labels = [...labelsOf(way, record, flags), code, grpc];
        numbers = {
          requests: requests(...labels),
          duration: duration(...labels),
          bytesIn: bytesIn(...labels),
          bytesOut: bytesOut(...labels),
        };
        known.set(flags, numbers);
      }
      numbers.requests.value++;
      numbers.duration.observe(record.ms);
      numbers.bytesIn.observe(record.bytesIn);
      numbers.bytesOut.observe(record.bytesOut);
    },
    tcp(way, record) {
      const { opened, closed, received, sent } = declared();
      const labels = labelsOf(way, record, flagsOf(record));
      opened(...labels).value++;
      closed(...labels).value++;
      received(...labels).value += record.bytesIn;
      sent(...labels).value += record.bytesOut;
    },
  };
}

function declare(metrics: Metrics) {
  const http = { labels: ofHttp, most: mostSeries };
  const tcp = { labels: common, most: mostSeries };
  return {
    requests: metrics.counter({ name: 'istio_requests_total', help: 'Requests.', ...http }),
    duration: metrics.histogram({
      name: 'istio_request_duration_milliseconds',
      help: 'How long they took.',
      ...http,
      buckets,
    }),
    bytesIn: metrics.histogram({ name: 'istio_request_bytes', help: 'Bytes of request bodies.', ...http, buckets }),
    bytesOut: metrics.histogram({ name: 'istio_response_bytes', help: 'Bytes of response bodies.', ...http, buckets }),
    opened: metrics.counter({
      name: 'istio_tcp_connections_opened_total',
      help: 'TCP connections, counted when they end.',
      ...tcp,
    }),
    closed: metrics.counter({
      name: 'istio_tcp_connections_closed_total',
      help: 'TCP connections that ended.',
      ...tcp,
    }),
    received: metrics.counter({ name: 'istio_tcp_received_bytes_total', help: 'Bytes from callers.', ...tcp }),
    sent: metrics.counter({ name: 'istio_tcp_sent_bytes_total', help: 'Bytes to callers.', ...tcp }),
  };
}

/** The values of `common`. */
function labelsOf(way: Way, record: RecordDraft, flags: string): string[] {
  const called = nameOf(way.destination);
  return [
    way.reporter,
    ...placeOf(way.from, way.source, undefined),
    ...placeOf(record.security === 'mtls' ? way.to : undefined, way.destination, way.subset),
    // The service's name as a host: its parts backwards.
    way.destination.split('/').reverse().join('.'),
    called.name,
    called.namespace,
    record.protocol === undefined || record.protocol === 'websocket' ? 'http' : record.protocol,
    flags,
    // Only the called side knows: Istio says so of all that callers report.
    way.reporter === 'source' ? 'unknown' : record.security === 'mtls' ? 'mutual_tls' : 'none',
  ];
}

/** Workload, namespace, canonical service and revision, principal, app, version, cluster. */
function placeOf(id: string | undefined, label: string, version: string | undefined): string[] {
  const { name, namespace } = nameOf(label);
  const trustDomain = /^spiffe:\/\/([^/]+)/.exec(id ?? '')?.[1] ?? 'unknown';
  return [name, namespace, name, version ?? 'latest', id ?? 'unknown', name, version ?? 'unknown', trustDomain];
}

function nameOf(label: string): { name: string; namespace: string } {
  if (label === 'unknown') return { name: label, namespace: label };
  const path = label.replace(/^spiffe:\/\/[^/]+\//, '');
  const at = path.lastIndexOf('/');
  return at < 0 ? { name: path, namespace: 'default' } : { name: path.slice(at + 1), namespace: path.slice(0, at) };
}

/** Envoy's response flags (config/access_log in its documentation) of what went wrong; `-` for nothing that has one. */
function flagsOf({ reason, fault, decision }: RecordDraft): string {
  const injected = fault === undefined ? undefined : { delay: 'DI', abort: 'FI', 'delay-abort': 'DI,FI' }[fault];
  return injected ?? (decision === 'error' ? (flags[reason] ?? '-') : '-');
}
const flags: { readonly [reason: string]: string } = {
  APP_CLOSED: 'UC',
  APP_CONNECT_FAILED: 'UF',
  APP_OVERLOADED: 'UO',
  APP_REPLY_INVALID: 'UPE',
  APP_TIMEOUT: 'UT',
  DOWNSTREAM_CLOSED: 'DC',
  EDGE_HOST_UNKNOWN: 'NR',
  HTTP_TIMEOUT: 'SI',
  LIMIT_EXCHANGES: 'OM',
  RATE_LIMITED: 'RL',
  ROUTE_UNMATCHED: 'NR',
  SERVICE_WITHOUT_ENDPOINTS: 'UH',
  UPSTREAM_CLOSED: 'UC',
  UPSTREAM_CONNECT_FAILED: 'UF',
  UPSTREAM_IDENTITY_WRONG: 'UF',
  UPSTREAM_OVERLOADED: 'UO',
  UPSTREAM_REPLY_INVALID: 'UPE',
  UPSTREAM_TIMEOUT: 'UT',
} satisfies Partial<Record<keyof typeof proxyErrors, string>>;
