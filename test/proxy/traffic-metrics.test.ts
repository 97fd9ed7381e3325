// Numbers by who called whom: names that configuration or a verified identity gave, never more label sets than there is room for, nothing lost in the sum.
import { expect, test } from 'vitest';
import { createMetrics } from '#base/metrics';
import type { RecordDraft } from '../../proxy/exchange-record.ts';
import { createTrafficMetrics } from '../../proxy/traffic-metrics.ts';
import type { KnownNames } from '../../proxy/traffic-way.ts';
import { recordOf } from '../helpers/record.ts';

const clusters: Readonly<Record<string, string>> = {
  payments: 'spiffe://example.org/payments',
  'shop/stock': 'spiffe://example.org/shop/stock',
};

function create(istioNames = false) {
  const metrics = createMetrics();
  const names: KnownNames = {
    ...{ trustDomain: 'example.org', istioNames },
    serviceOf: (cluster) => clusters[cluster],
    hasService: (id) => Object.values(clusters).includes(id),
  };
  const note = createTrafficMetrics(metrics, () => names);
  /** The lines of a family, labels by name. */
  const read = (name: string): { labels: Record<string, string>; value: number }[] =>
    [...metrics.render().matchAll(new RegExp(`^${name}\\{(.*)\\} (\\S+)$`, 'gm'))].map(([, labels, value]) => ({
      labels: Object.fromEntries([...labels!.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text]) => [key, text])),
      value: Number(value),
    }));
  return { note, read, metrics };
}

const outbound: Partial<RecordDraft> = {
  ...{ hop: 'outbound', peer: 'spiffe://example.org/web', to: 'spiffe://example.org/payments' },
  ...{ virtualService: 'payments', route: 'beta', cluster: 'payments/v2', security: 'mtls' },
};

test('one exchange: by reporter, source, destination, route, cluster, status, protocol and security', () => {
  const { note, read } = create();
  note(recordOf({ ...outbound, bytesIn: 150, bytesOut: 5_000, ms: 3 }));
  note(recordOf({ ...outbound, status: 503 }));
  note(recordOf({ hop: 'inbound', security: 'mtls', protocol: 'grpc', grpcStatus: 14 }));
  expect(read('postern_http_requests_total')).toEqual([
    {
      labels: {
        ...{ reporter: 'source', source: 'web', destination: 'payments', virtual_service: 'payments', route: 'beta' },
        ...{ cluster: 'payments/v2', status: '200', grpc_status: '', protocol: 'http', security: 'mtls' },
      },
      value: 1,
    },
    expect.objectContaining({ labels: expect.objectContaining({ status: '503' }) }),
    {
      labels: {
        ...{ reporter: 'destination', source: 'checkout', destination: 'payments', virtual_service: '', route: '' },
        ...{ cluster: '', status: '200', grpc_status: '14', protocol: 'grpc', security: 'mtls' },
      },
      value: 1,
    },
  ]);
  const [sum] = read('postern_http_request_duration_seconds_sum');
  expect(sum!.labels).toEqual({ reporter: 'source', source: 'web', destination: 'payments' });
  expect(read('postern_http_request_bytes_bucket').find(({ labels }) => labels.le === '1000')!.value).toBe(2);
});

test('the destination is the service of the cluster that a route led to, whatever was called; slashes are told apart from subsets', () => {
  const { note, read } = create();
  note(recordOf({ ...outbound, cluster: 'shop/stock' }));
  note(recordOf({ ...outbound, cluster: 'shop/stock/v2' }));
  const lines = read('postern_http_requests_total').map(({ labels }) => [labels.destination, labels.cluster]);
  expect(lines).toEqual([
    ['shop/stock', 'shop/stock'],
    ['shop/stock', 'shop/stock/v2'],
  ]);
});

test('what a peer made up is no label: unknown services, statuses that nobody registered', () => {
  const { note, read } = create();
  const made = { hop: 'outbound', decision: 'deny', reason: 'default-deny', status: 403 } as const;
  for (let n = 0; n < 5_000; n++) note(recordOf({ ...made, to: `spiffe://example.org/made-up-${n}` }));
  for (let n = 0; n < 1_000; n++) note(recordOf({ ...outbound, to: '', cluster: `made-up-${n}` }));
  for (let status = 600; status < 1_000; status++) note(recordOf({ ...outbound, status }));
  const lines = read('postern_http_requests_total');
  expect(lines.map(({ labels }) => labels.destination)).toEqual(['unknown', 'unknown', ...Array(4).fill('payments')]);
  expect(lines.map(({ labels }) => labels.status)).toEqual(['403', '200', '6xx', '7xx', '8xx', '9xx']);
  expect(lines[0]!.value).toBe(5_000);
});

test('more callers than there is room for are counted under other, and that is counted too', () => {
  const { note, read } = create();
  for (let n = 0; n < 6_000; n++) note(recordOf({ peer: `spiffe://example.org/caller-${n}` }));
  const lines = read('postern_http_requests_total');
  expect(lines.length).toBeLessThanOrEqual(4_001);
  expect(lines.reduce((sum, { value }) => sum + value, 0)).toBe(6_000);
  expect(lines.at(-1)).toMatchObject({ labels: { source: 'other' }, value: 2_000 });
  const overflows = read('postern_metrics_overflow_total');
  expect(overflows.find(({ labels }) => labels.metric === 'postern_http_requests_total')!.value).toBe(2_000);
});

test('a mirrored copy is counted by its far end only', () => {
  const { note, read } = create();
  note(recordOf({ ...outbound, mirrored: true }));
  expect(read('postern_http_requests_total')).toEqual([]);
});

test('TCP has connections and bytes rather than requests', () => {
  const { note, read } = create();
  note(recordOf({ ...outbound, protocol: 'tcp', method: 'CONNECT', bytesIn: 10, bytesOut: 20 }));
  expect(read('postern_http_requests_total')).toEqual([]);
  expect(read('postern_tcp_connections_total')[0]).toMatchObject({ labels: { cluster: 'payments/v2' }, value: 1 });
  expect(read('postern_tcp_received_bytes_total')[0]!.value).toBe(10);
  expect(read('postern_tcp_sent_bytes_total')[0]!.value).toBe(20);
});

test("Istio's names are there when they are asked for, with every standard label", () => {
  const quiet = create();
  quiet.note(recordOf(outbound));
  expect(quiet.metrics.render()).not.toContain('istio_');
  const { note, read } = create(true);
  note(recordOf({ ...outbound, to: 'spiffe://example.org/shop/stock', cluster: 'shop/stock/v2' }));
  expect(read('istio_requests_total')).toEqual([
    {
      labels: {
        reporter: 'source',
        ...{
          source_workload: 'web',
          source_workload_namespace: 'default',
          source_app: 'web',
          source_version: 'unknown',
        },
        ...{ source_canonical_service: 'web', source_canonical_revision: 'latest', source_cluster: 'example.org' },
        source_principal: 'spiffe://example.org/web',
        ...{ destination_workload: 'stock', destination_workload_namespace: 'shop', destination_app: 'stock' },
        ...{ destination_version: 'v2', destination_canonical_service: 'stock', destination_canonical_revision: 'v2' },
        ...{ destination_principal: 'spiffe://example.org/shop/stock', destination_cluster: 'example.org' },
        ...{
          destination_service: 'stock.shop',
          destination_service_name: 'stock',
          destination_service_namespace: 'shop',
        },
        ...{ request_protocol: 'http', response_flags: '-', connection_security_policy: 'unknown' },
        ...{ response_code: '200', grpc_response_status: '' },
      },
      value: 1,
    },
  ]);
});

test.each([
  [{ decision: 'error', reason: 'SERVICE_WITHOUT_ENDPOINTS' }, 'UH'],
  [{ decision: 'error', reason: 'UPSTREAM_TIMEOUT' }, 'UT'],
  [{ decision: 'error', reason: 'ROUTE_UNMATCHED' }, 'NR'],
  [{ decision: 'error', reason: 'RATE_LIMITED' }, 'RL'],
  [{ decision: 'error', reason: 'PROXY_FAULT' }, '-'],
  [{ decision: 'deny', reason: 'default-deny' }, '-'],
  [{ fault: 'delay-abort' }, 'DI,FI'],
] as const)('%o has the flags %s of Envoy', (change, flags) => {
  const { note, read } = create(true);
  note(recordOf({ ...outbound, ...change }));
  expect(read('istio_requests_total')[0]!.labels.response_flags).toBe(flags);
});

test('Istio: the called side says that the connection was mutual TLS; gRPC and TCP are told apart', () => {
  const { note, read } = create(true);
  note(recordOf({ security: 'mtls', protocol: 'grpc', grpcStatus: 0 }));
  note(recordOf({ security: 'mtls', protocol: 'tcp', bytesIn: 7 }));
  expect(read('istio_requests_total')[0]!.labels).toMatchObject({
    ...{ reporter: 'destination', connection_security_policy: 'mutual_tls' },
    ...{ request_protocol: 'grpc', grpc_response_status: '0' },
  });
  expect(read('istio_tcp_received_bytes_total')[0]).toMatchObject({ labels: { request_protocol: 'tcp' }, value: 7 });
  expect(read('istio_tcp_connections_closed_total')[0]!.value).toBe(1);
});
