// Many bodies at once, each of which says whose it is, over memory that goes round: callers and applications that are slow, leave in the middle or are
// asked twice. Nobody gets a byte of anybody else's, and what ends in good order is all there.
import { expect, test } from 'vitest';
import { open, startTraffic } from '../helpers/traffic.ts';
import { whoseApps } from '../helpers/whose-apps.ts';
import { WhoseBytes } from '../helpers/whose-bytes.ts';
import { callAll, callKinds } from '../helpers/whose-callers.ts';

const routes = `${open}kind: VirtualService
name: payments
hosts: [payments]
http:
  - mirror: [{ cluster: shadow }]
    retries: { attempts: 3, on: ["503", reset] }
    route: [{ cluster: payments }]
---
kind: VirtualService
name: ledger
hosts: [ledger]
http:
  - retries: { attempts: 3, on: ["503", reset] }
    route: [{ cluster: ledger }]
`;
const calls = 400;

test.each([
  ['h2', 131_072],
  ['http/1.1', 16_384],
] as const)('over links that speak %s, with buffers of %i', async (protocol, bufferBytes) => {
  const whose = new WhoseBytes();
  const received = new Set<string>();
  const apps = whoseApps(whose, (where) => received.add(where));
  const limits = { bufferBytes };
  const { web, instances } = await startTraffic(
    routes,
    { payments: [{}, {}], ledger: [{}], shadow: [{}], stream: [{}] },
    {
      apps: { payments: () => apps.http('app'), shadow: () => apps.http('copy'), ledger: apps.h2c, stream: apps.tcp },
      linkProtocols: [protocol],
      limits,
      instanceLimits: limits,
    },
  );
  const done = await callAll({
    whose,
    port: web.addresses.outbound.port,
    seed: 1,
    calls,
    atOnce: 24,
    onCall(index) {
      // Decided again while they run.
      if (index % 50 === 0) web.apply();
      if (index === calls >> 1) void instances.payments![1]!.proxy.plane.drain();
    },
  });
  expect(whose.problems.slice(0, 3)).toEqual([]);
  expect(callKinds.filter((kind) => done[kind] === 0)).toEqual([]);
  expect([...received].sort()).toEqual(['app', 'copy', 'h2c', 'tcp', 'websocket']);
});
