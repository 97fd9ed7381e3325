import { expect, test } from 'vitest';
import { type ClusterView, sumOfClusters } from '../../proxy/cluster-sum.ts';

const endpoint = (address: string, more: object = {}) => ({
  ...{ address, instance: address, zone: undefined, weight: 1, active: 1, health: 'healthy' as const },
  ...{ ejectedForMs: undefined, ejectedWhy: undefined, ...more },
});
const cluster = (name: string, more: Partial<ClusterView> = {}): ClusterView => ({
  ...{ name, id: `spiffe://example.org/${name}`, requests: 1, retries: 0, refused: {}, panic: false, panicPicks: 0 },
  ...{ endpoints: [endpoint('10.0.0.1:1')], ...more },
});

test('what several threads see of a cluster is added up, the longest ejection and the worst health shown', () => {
  const one = cluster('pay', { refused: { maxRequests: 2 } });
  const other = cluster('pay', {
    ...{ requests: 3, refused: { maxRequests: 1, maxPending: 4 }, panic: true },
    endpoints: [
      endpoint('10.0.0.1:1', { active: 2, health: 'unhealthy', ejectedForMs: 5_000, ejectedWhy: '5xx' }),
      endpoint('10.0.0.2:1'),
    ],
  });
  const [sum, only] = sumOfClusters([[one], [other, cluster('mail')]]);
  expect(sum).toMatchObject({ requests: 4, refused: { maxRequests: 3, maxPending: 4 }, panic: true });
  expect(sum!.endpoints).toMatchObject([
    { active: 3, health: 'unhealthy', ejectedForMs: 5_000, ejectedWhy: '5xx' },
    { address: '10.0.0.2:1' },
  ]);
  expect(only).toMatchObject({ name: 'mail', requests: 1 });
});
