// However many connections there are, the bytes held for all of them together have a bound: whoever makes us hold the most pays for it.
import { connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { openRaw, startApp, startPair } from '../helpers/mesh.ts';

test('F2: callers that do not read lose their connections before the process holds too much; others notice nothing', async () => {
  // Larger than all that the kernel takes on the way.
  const block = Buffer.alloc(32_000_000, 'x');
  let answer = (): void => undefined;
  const app = await startApp((request, response) => {
    if (request.url === '/later') answer = () => void response.end('later');
    else response.end(request.url === '/large' ? block : 'small');
  });
  const pair = await startPair({ app, webLimits: { processBytes: 1_048_576, writeMs: 600_000 } });
  const { port } = pair.web.addresses.outbound;
  // Over the same link as the others.
  const patient = await openRaw(port);
  patient.send('GET /later HTTP/1.1\r\nHost: payments\r\n\r\n');
  const greedy = Array.from({ length: 24 }, () => {
    const socket = connect({ host: '127.0.0.1', port });
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => undefined);
    socket.pause();
    socket.write('GET /large HTTP/1.1\r\nHost: payments\r\n\r\n');
    return socket;
  });
  await expect
    .poll(() => pair.web.metrics.render().match(/postern_limits_total\{limit="process-bytes"\} (\d+)/)?.[1], {
      timeout: 20_000,
    })
    .toBeDefined();
  const honest = await openRaw(port);
  honest.send('GET / HTTP/1.1\r\nHost: payments\r\n\r\n');
  await honest.until(/small/);
  answer();
  await patient.until(/later/);
  const reasons = (): Set<string> => new Set(pair.web.records.map(({ reason }) => reason));
  await expect.poll(() => reasons().has('LIMIT_BYTES') || reasons().has('DOWNSTREAM_CLOSED')).toBe(true);
  expect([...reasons()].filter((reason) => reason.startsWith('UPSTREAM'))).toEqual([]);
  for (const socket of greedy) socket.destroy();
});
