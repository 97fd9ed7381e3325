// Nothing of an exchange outlives the young collections once it is over: whatever does is copied, promoted and collected with the whole heap, which
// was a sixth of the CPU and all of the slowest answers.
import { getHeapSpaceStatistics } from 'node:v8';
import { expect, test } from 'vitest';
import { createCaller, helloAnswer } from '../helpers/caller.ts';
import { startPair, startRawApp } from '../helpers/mesh.ts';

const warmUp = 3_000;
const round = 500;
const rounds = 16;
/** Of both hops together, and of all that this process does meanwhile. It was 3,000, and is 30. */
const mostPromoted = 300;

test('a request across two sidecars leaves next to nothing in old space', async () => {
  const app = await startRawApp((socket) => socket.on('data', () => socket.write(helloAnswer)));
  const { web, payments } = await startPair({ app });
  const call = await createCaller(web.addresses.outbound.port);
  const run = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++) {
      await call();
      // Tests keep records, proxies do not.
      web.records.length = payments.records.length = 0;
    }
  };
  await run(warmUp);
  const grown: number[] = [];
  for (let at = 0; at < rounds; at++) {
    const before = oldBytes();
    await run(round);
    grown.push(oldBytes() - before);
  }
  // A round in which all of the heap was collected says nothing.
  const counted = grown.filter((bytes) => bytes >= 0);
  expect(counted.length).toBeGreaterThan(rounds / 2);
  expect(counted.reduce((sum, bytes) => sum + bytes, 0) / counted.length / round).toBeLessThan(mostPromoted);
});

function oldBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'old_space')!.space_used_size;
}
