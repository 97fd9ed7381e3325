import { expect, test } from 'vitest';
import { outageUnderLoad } from '../../bench/endurance.ts';

test('K1: the control plane is away for a third of a certificate life under load and sidecars restart meanwhile: not one request fails', async () => {
  const { load, restarts } = await outageUnderLoad({ svidTtlSeconds: 18 });
  expect(load.failures).toEqual([]);
  expect(load.ok).toBe(load.sent);
  expect(load.sent).toBeGreaterThan(500);
  expect(restarts).toBe(2);
}, 120_000);
