import type { RequestListener } from 'node:http';
import { describe, expect, test } from 'vitest';
import { ask, portOf, townOfFile } from '../helpers/gateway.ts';
import { startApp } from '../helpers/mesh.ts';
import { eventually } from '../helpers/until.ts';

const town = townOfFile();

const at = '127.0.0.1:0';
const rules = `
kind: Policy
name: payments
to: payments
rules: [{ id: shop, effect: allow, from: [shop, reports], paths: [/charges/**], ports: [PORT] }]
---
kind: Policy
name: ledger
to: ledger
rules: [{ id: payments, effect: allow, from: [payments] }]
`;

describe('a gateway in front of instances without sidecars', () => {
  test('holds their policies, says who calls, and passes on to those that answer', async () => {
    const seen: string[] = [];
    const one = await startApp((request, response) => {
      seen.push(`${request.url} ${request.headers['x-postern-peer']}`);
      response.end('one');
    });
    const gone = await startApp((_, response) => response.end());
    const { port: gonePort } = gone;
    gone.server.close();
    await town.apply(rules.replace(', ports: [PORT]', ''));
    const gateway = await town.gateway(
      `
admin: ${at}
metrics: ${at}
services:
  - service: payments
    inbound: ${at}
    app:
      static: [127.0.0.1:${one.port}, 127.0.0.1:${gonePort}]
`,
      ['payments'],
    );
    const shop = await town.sidecar('shop', 1);
    const out = portOf(shop.ready.outbound);
    await eventually(
      () => ask(out, ['GET /charges/a HTTP/1.1', 'host: payments']),
      ({ status }) => status === 200,
    );
    const answers = [];
    for (let nth = 0; nth < 20; nth++)
      answers.push(
        await ask(out, [`GET /charges/${nth} HTTP/1.1`, 'host: payments', 'x-postern-peer: spiffe://evil/x']),
      );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(seen).toContain('/charges/19 spiffe://example.org/shop');
    expect((await ask(out, ['GET /other HTTP/1.1', 'host: payments'])).status).toBe(403);
    const direct = await town.postern('status', '-o', 'json');
    expect(direct.stdout).toContain(gateway.ready.services[0]!.inbound);
  });

  test('asks each instance whether it is well, and leaves out the one that is not', async () => {
    let isWell = true;
    const serve =
      (name: string): RequestListener =>
      (request, response) => {
        if (request.url === '/healthz' && name === 'two') response.statusCode = isWell ? 200 : 503;
        response.end(name);
      };
    const [one, two] = [await startApp(serve('one')), await startApp(serve('two'))];
    await town.apply(rules.replace(', ports: [PORT]', ''));
    const gateway = await town.gateway(
      `
admin: ${at}
metrics: ${at}
services:
  - service: payments
    inbound: ${at}
    app:
      static: [127.0.0.1:${one.port}, 127.0.0.1:${two.port}]
      loadBalancing: { policy: round-robin, panicThreshold: 0% }
      healthCheck: { http: { path: /healthz }, interval: 100ms, unhealthyThreshold: 1, healthyThreshold: 1 }
`,
      ['payments'],
    );
    const shop = await town.sidecar('shop', 1);
    const out = portOf(shop.ready.outbound);
    const names = async () => {
      const bodies = new Set<string>();
      for (let nth = 0; nth < 6; nth++)
        bodies.add((await ask(out, ['GET /charges/a HTTP/1.1', 'host: payments'])).body);
      return [...bodies].sort().join();
    };
    await eventually(names, (seen) => seen === 'one,two');
    isWell = false;
    await eventually(names, (seen) => seen === 'one');
    isWell = true;
    await eventually(names, (seen) => seen === 'one,two');
    expect((await gateway.stop()).code).toBe(0);
  });

  test('speaks for each service by the identity that its own token granted, and their own calls carry it', async () => {
    const [pay, audit] = [
      await startApp((request, response) => response.end(String(request.headers['x-postern-peer']))),
      await startApp((request, response) => response.end(String(request.headers['x-postern-peer']))),
    ];
    await town.apply(rules.replace(', ports: [PORT]', ''));
    const gateway = await town.gateway(
      `
admin: ${at}
metrics: ${at}
services:
  - service: payments
    inbound: ${at}
    app: 127.0.0.1:${pay.port}
    outbound: ${at}
  - service: ledger
    inbound: ${at}
    app: 127.0.0.1:${audit.port}
    outbound: { listen: ${at}, from: [127.0.0.1] }
`,
      ['payments', 'ledger'],
    );
    const [payments, ledger] = gateway.ready.services;
    expect([payments!.service, ledger!.service]).toEqual([
      'spiffe://example.org/payments',
      'spiffe://example.org/ledger',
    ]);
    const call = (from: typeof payments, host: string) =>
      ask(portOf(from!.outbound), ['GET /charges/a HTTP/1.1', `host: ${host}`]);
    await eventually(
      () => call(payments, 'ledger'),
      ({ status }) => status === 200,
    );
    expect((await call(payments, 'ledger')).body).toBe('spiffe://example.org/payments');
    // ledger may call nobody: that payments may does not help it, in the same process or not.
    expect((await call(ledger, 'ledger')).status).toBe(403);
    expect((await call(ledger, 'payments')).status).toBe(403);
  });

  test('lets nobody else on the network call with their identity', async () => {
    const app = await startApp((_, response) => response.end());
    const gateway = await town.gateway(
      `
admin: ${at}
metrics: ${at}
services:
  - service: payments
    inbound: ${at}
    app: 127.0.0.1:${app.port}
    outbound: { listen: ${at}, from: [10.9.8.0/24] }
`,
      ['payments'],
    );
    const answer = await ask(portOf(gateway.ready.services[0]!.outbound), ['GET / HTTP/1.1', 'host: ledger']);
    expect(answer.status).toBe(0);
  });

  test('takes no token of another service, and starts nothing then', async () => {
    const token = await town.token('ledger');
    const file = town.write('foreign.token', token);
    const yaml = `
admin: ${at}
metrics: ${at}
services:
  - { service: payments, tokenFile: ${file}, inbound: ${at}, app: 127.0.0.1:1 }
`;
    await expect(town.gateway(yaml, [])).rejects.toThrow(/GATEWAY_TOKEN_FOREIGN/);
    // It was not used up either.
    const used = await town.sidecar('ledger', 1);
    expect(used.ready.service).toBe('spiffe://example.org/ledger');
  });
});
