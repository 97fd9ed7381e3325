// A request that waits for nothing but its answer goes through both hops at once, up to the bytes that are written: each function on its way that waits
// for what is there already makes promises and turns of the microtask queue, ten of which were a tenth of the CPU.
import { createHook } from 'node:async_hooks';
import { expect, onTestFinished, test } from 'vitest';
import { createCaller, helloAnswer } from '../helpers/caller.ts';
import { startPair, startRawApp } from '../helpers/mesh.ts';

const warmUp = 50;
const calls = 200;
/** Of both hops and of the test, which makes 2. It was 32. */
const mostPromises = 16;

test('a request across two sidecars makes few promises', async () => {
  const app = await startRawApp((socket) => socket.on('data', () => socket.write(helloAnswer)));
  const { web } = await startPair({ app });
  const call = await createCaller(web.addresses.outbound.port);
  for (let at = 0; at < warmUp; at++) await call();
  let promises = 0;
  const hook = createHook({
    init(_, type) {
      if (type === 'PROMISE') promises++;
    },
  }).enable();
  onTestFinished(() => void hook.disable());
  for (let at = 0; at < calls; at++) await call();
  hook.disable();
  expect(promises / calls).toBeLessThan(mostPromises);
});
