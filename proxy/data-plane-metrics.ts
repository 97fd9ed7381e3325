// The numbers of the data plane. Labels come from closed sets (hops, decisions, status classes, error codes), never from what a peer sends.
import type { Counter, Histogram, Metrics } from '#base/metrics';
import { type ClusterMetrics, createClusterMetrics } from './cluster-metrics.ts';
import type { Clusters } from './clusters.ts';
import type { RecordDraft } from './exchange-record.ts';
import { createTrafficMetrics } from './traffic-metrics.ts';
import type { KnownNames } from './traffic-way.ts';

export type Hop = 'inbound' | 'outbound';

export interface DataPlaneMetrics {
  /** One finished exchange. */
  exchange(record: RecordDraft): void;
  denial(hop: Hop, reason: string): void;
  connection(listener: Hop): void;
  refused(reason: string): void;
  limit(limit: string): void;
  record(): void;
  recordSuppressed(): void;
  connectFailed(code: string): void;
  /** The other end of an HTTP/2 connection broke the protocol or a bound. */
  linkFault(side: 'inbound' | 'outbound' | 'upstream', code: string): void;
  /** A request to a host that nothing declares was passed on. */
  outsidePolicy(): void;
  /** `cluster`: by the rules of a route. */
  retried(hop: Hop, cluster?: string): void;
  /** An endpoint is left out from now on, or for another reason, or no more. */
  ejected: ClusterMetrics['ejected'];
  cut(reason: string): void;
  /** One decision was asked of casbin too. */
  selfCheck(outcome: 'same' | 'different'): void;
}

const seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export function createDataPlaneMetrics(
  metrics: Metrics,
  open: { readonly inbound: () => number; readonly outbound: () => number; readonly upstream: () => number },
  shown: { readonly names: () => KnownNames | undefined; readonly clusters: () => Clusters },
): DataPlaneMetrics {
  const requests = metrics.counter({
    name: 'postern_requests_total',
    help: 'Exchanges that ended, by hop, decision and status class (none: no answer was sent).',
    labels: ['hop', 'decision', 'status'],
  });
  const durations = metrics.histogram({
    name: 'postern_request_duration_seconds',
    help: 'From the request head to the end of the exchange.',
    labels: ['hop'],
    buckets: seconds,
  });
  const denials = metrics.counter({
    name: 'postern_denials_total',
    help: 'Requests refused by policy, by reason.',
    labels: ['hop', 'reason'],
  });
  const connections = metrics.counter({
    name: 'postern_connections_total',
    help: 'Downstream connections accepted (inbound: after the handshake).',
    labels: ['listener'],
  });
  const refused = metrics.counter({
    name: 'postern_connections_refused_total',
    help: 'Connections and handshakes refused on the inbound listener, by reason code.',
    labels: ['reason'],
  });
  const limits = metrics.counter({
    name: 'postern_limits_total',
    help: 'How often a bound of the data plane has bitten.',
    labels: ['limit'],
  });
  const selfChecks = metrics.counter({
    name: 'postern_policy_self_checks_total',
    help: 'Decisions that casbin was asked too, by whether it answered the same. Any different one is an alarm.',
    labels: ['outcome'],
  });
  const records = metrics.counter({ name: 'postern_decision_records_total', help: 'Decision records written.' })();
  const suppressed = metrics.counter({
    name: 'postern_decision_records_suppressed_total',
    help: 'Records of refused connections left out because there were too many in one second.',
  })();
  const connectFailures = metrics.counter({
    name: 'postern_upstream_connect_failures_total',
    help: 'Connections to an endpoint or the application that could not be made, by error code.',
    labels: ['code'],
  });
  const linkFaults = metrics.counter({
    name: 'postern_link_faults_total',
    help: 'HTTP/2 connections on which the other proxy broke the protocol or a bound, or was silent, by side and error code.',
    labels: ['side', 'code'],
  });
  const retries = metrics.counter({
    name: 'postern_retries_total',
    help: 'Requests sent a second time because a connection had died unanswered, or the other end had not taken them.',
    labels: ['hop'],
  });
  const outside = metrics.counter({
    name: 'postern_outside_policy_total',
    help: 'Requests passed on to hosts that nothing declares (outboundPolicy allow-any).',
  })();
  const cuts = metrics.counter({
    name: 'postern_connections_cut_total',
    help: 'Connections and exchanges ended by us: expired, banned, policy-changed, drain.',
    labels: ['reason'],
  });
  for (const [name, read] of Object.entries(open)) {
    metrics.gauge({ name: `postern_connections_open_${name}`, help: `Open ${name} connections.`, read });
  }
  const traffic = createTrafficMetrics(metrics, shown.names);
  const ofClusters = createClusterMetrics(metrics, shown.clusters);
  /** Found without making a text for each exchange. */
  const ended: Readonly<Record<Hop, Readonly<Record<RecordDraft['decision'], (Counter | undefined)[]>>>> = {
    inbound: { allow: [], deny: [], error: [] },
    outbound: { allow: [], deny: [], error: [] },
  };
  const durationOf: Readonly<Record<Hop, Histogram>> = {
    inbound: durations('inbound'),
    outbound: durations('outbound'),
  };
  return {
    exchange(record) {
      const { hop, decision, status, ms } = record;
      const byClass = ended[hop][decision];
      const at = classOf(status);
      byClass[at] ??= requests(hop, decision, classes[at]!);
      byClass[at].value++;
      durationOf[hop].observe(ms / 1_000);
      traffic(record);
    },
    denial: (hop, reason) => void denials(hop, reason).value++,
    connection: (listener) => void connections(listener).value++,
    refused: (reason) => void refused(reason).value++,
    limit: (limit) => void limits(limit).value++,
    record: () => void records.value++,
    recordSuppressed: () => void suppressed.value++,
    linkFault: (side, code) => void linkFaults(side, code).value++,
    connectFailed: (code) => void connectFailures(code).value++,
    outsidePolicy: () => void outside.value++,
    retried(hop, cluster) {
      retries(hop).value++;
      if (cluster !== undefined) ofClusters.retried(cluster);
    },
    ejected: ofClusters.ejected,
    cut: (reason) => void cuts(reason).value++,
    selfCheck: (outcome) => void selfChecks(outcome).value++,
  };
}

/** Of a status, its place in `classes`. */
function classOf(status = 0): number {
  const at = Math.floor(status / 100);
  return at < classes.length ? at : 0;
}
const classes: readonly string[] = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'];
