import { expect, test } from 'vitest';
import { rotateUnderLoad } from '../../bench/endurance.ts';

// `node bench/endurance.ts 300` is the same for five minutes.
test('C16: roots and issuing CAs rotate every few seconds under load, whole root rotations included: not one request fails', async () => {
  const { load, issuingRotations, rootRotations, rootsRemoved, refused } = await rotateUnderLoad({ seconds: 20 });
  expect(load.failures).toEqual([]);
  expect(load.ok).toBe(load.sent);
  expect(load.sent).toBeGreaterThan(500);
  expect(refused).toEqual([]);
  expect(issuingRotations).toBeGreaterThanOrEqual(2);
  expect(rootRotations).toBeGreaterThanOrEqual(2);
  expect(rootsRemoved).toBeGreaterThanOrEqual(1);
}, 180_000);
