// The numbers of two real sidecars after calls that went well, were denied, and failed: by who called whom, by cluster, and under Istio's names when asked for.
import { expect, test } from 'vitest';
import { allow, call, idOf, serviceEntry, startApp, startPair, type TestProxy } from '../helpers/mesh.ts';
import { eventually } from '../helpers/until.ts';

const linesOf = ({ metrics }: TestProxy, name: string): string[] =>
  metrics
    .render()
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`));

const startCharges = async () =>
  startPair({
    app: await startApp((request, response) =>
      request.url === '/broken' ? response.writeHead(500).end() : response.end('charged'),
    ),
    rules: [allow('web', 'payments', { methods: ['GET'] })],
  });

test('both sides count the same call, each from its own place', async () => {
  const { web, payments } = await startCharges();
  await call(web, { path: '/charges' });
  await call(web, { path: '/broken' });
  await call(web, { method: 'POST' });
  await call(web, { host: 'made-up' });
  await Promise.all([web.recorded(4), payments.recorded(2)]);
  const route = 'virtual_service="payments",route="0",cluster="payments"';
  const place = 'reporter="source",source="web",destination="payments"';
  const end = 'grpc_status="",protocol="http"';
  expect(linesOf(web, 'postern_http_requests_total')).toEqual([
    `postern_http_requests_total{${place},${route},status="200",${end},security="mtls"} 1`,
    `postern_http_requests_total{${place},${route},status="500",${end},security="mtls"} 1`,
    `postern_http_requests_total{${place},virtual_service="",route="",cluster="",status="403",${end},security=""} 1`,
    `postern_http_requests_total{reporter="source",source="web",destination="unknown",virtual_service="",route="",cluster="",status="403",${end},security=""} 1`,
  ]);
  const there = 'reporter="destination",source="web",destination="payments",virtual_service="",route="",cluster=""';
  expect(linesOf(payments, 'postern_http_requests_total')).toEqual([
    `postern_http_requests_total{${there},status="200",${end},security="mtls"} 1`,
    `postern_http_requests_total{${there},status="500",${end},security="mtls"} 1`,
  ]);
  expect(linesOf(web, 'postern_http_request_duration_seconds_count')[0]).toContain('} 3');
});

test('endpoints of a cluster by state, what its breaker refused, what was ejected and sent again', async () => {
  const { web, payments } = await startCharges();
  const services = [serviceEntry('payments', payments.addresses.inbound.port, 1)];
  const outlierDetection = {
    consecutive5xx: 1,
    consecutiveGatewayErrors: 0,
    maxEjected: '100%',
    baseEjection: '60s',
  };
  const entry = { name: 'payments', id: idOf('payments'), endpoints: 'enrolled', outlierDetection } as never;
  web.apply({ services, clusters: [entry] });
  expect(linesOf(web, 'postern_cluster_endpoints')).toEqual([
    'postern_cluster_endpoints{cluster="payments",state="healthy"} 2',
    'postern_cluster_endpoints{cluster="payments",state="unhealthy"} 0',
    'postern_cluster_endpoints{cluster="payments",state="ejected"} 0',
  ]);
  expect(linesOf(web, 'postern_cluster_panic')).toEqual(['postern_cluster_panic{cluster="payments"} 0']);
  await eventually(
    async () => {
      await call(web, { path: '/broken' });
      return linesOf(web, 'postern_cluster_ejections_total').join();
    },
    // The other endpoint, where nobody listens, may be found out the same way.
    (lines) => /server-errors"\} [12]/.test(lines),
  );
  expect(linesOf(web, 'postern_cluster_endpoints').join()).toContain('state="ejected"');
  expect(linesOf(web, 'postern_cluster_requests_active')).toEqual([
    'postern_cluster_requests_active{cluster="payments"} 0',
  ]);
});

test("Istio's names come and go with the mesh's settings, while it runs", async () => {
  const { web } = await startCharges();
  await call(web, {});
  await web.recorded(1);
  expect(web.metrics.render()).not.toContain('istio_');
  web.apply({ mesh: { metrics: { istioNames: true } } });
  await call(web, {});
  await web.recorded(2);
  expect(linesOf(web, 'istio_requests_total')).toHaveLength(1);
  expect(linesOf(web, 'istio_requests_total')[0]).toMatch(/source_workload="web".*destination_service_name="payments"/);
  web.apply({ mesh: {} });
  await call(web, {});
  await web.recorded(3);
  expect(linesOf(web, 'istio_requests_total')[0]).toMatch(/\} 1$/);
});
