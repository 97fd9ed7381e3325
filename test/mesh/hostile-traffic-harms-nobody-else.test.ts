// A few seconds of everything hostile at once; `npm run test:peers` does the same for longer, to processes whose memory it watches.
import { expect, test } from 'vitest';
import { soak } from '../helpers/hostile-traffic.ts';
import { openTls, startApp, startPair } from '../helpers/mesh.ts';

/** So that what is only cut at a time limit is gone soon after. */
const shortly = { writeMs: 2_000, bodyMs: 2_000, idleMs: 2_000, headMs: 2_000, streamMs: 5_000 };

test('honest requests beside hostile traffic all succeed, and nothing is left of it', { timeout: 60_000 }, async () => {
  const app = await startApp((request, response) => {
    if (request.url === '/big') return void response.end(Buffer.alloc(2_000_000));
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('error', () => undefined);
    request.on('end', () => {
      const body = request.method === 'GET' ? Buffer.from('honest') : Buffer.concat(pieces);
      response.setHeader('content-length', body.length).end(body);
    });
  });
  const { pki, web, payments } = await startPair({ app, webLimits: shortly, paymentsLimits: shortly });
  const target = {
    outbound: web.addresses.outbound.port,
    inbound: payments.addresses.inbound.port,
    host: 'payments',
    open: async (protocol: 'h2' | 'http/1.1') =>
      (await openTls({ pki, proxy: payments, identity: web.identity, ALPNProtocols: [protocol] })).socket,
  };
  const { honest, failures, attacks } = await soak(target, { seed: 1, ms: 3_000 });
  expect(failures.slice(0, 3)).toEqual([]);
  expect(honest).toBeGreaterThan(2);
  expect(Object.values(attacks).every((count) => count > 2)).toBe(true);
  // Whatever was cut has let go of its places; links stay.
  await expect.poll(() => web.plane.counts.outbound, { timeout: 10_000 }).toBe(0);
});
