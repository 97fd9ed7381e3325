import { connect as connectTls, createSecureContext } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { parseSpiffeId, tlsClientPolicy, tlsContext } from '#spiffe';
import { readSidecarIdentity } from '../../cli/sidecar-home.ts';
import { ask, type GatewayReady, portOf, townOfFile } from '../helpers/gateway.ts';
import { rawOn, startApp, startRawApp, type TestApp } from '../helpers/mesh.ts';
import type { Process } from '../helpers/processes.ts';
import { eventually } from '../helpers/until.ts';

const town = townOfFile();

const at = '127.0.0.1:0';
const file = `
admin: ${at}
metrics: ${at}
services:
  - service: egress
    inbound: ${at}
    egress: true
`;

function resources(api: TestApp, more = ''): string {
  return `
kind: Cluster
name: stripe
endpoints: { static: [127.0.0.1:${api.port}] }
hosts: [api.stripe.example]
plaintext: true
via: egress
---
kind: Policy
name: stripe
to: stripe
rules: [{ id: shop, effect: allow, from: [shop], paths: [/v1/**] }]
---
kind: VirtualService
name: pay
service: stripe
hosts: [pay.example]
http: [{ route: [{ cluster: stripe }] }]
${more}`;
}

/** As a program that has the identity of a proxy and speaks to the gateway by itself. */
async function askGateway(home: string, gateway: Process<GatewayReady>, lines: readonly string[]): Promise<string> {
  const { identity, bundle } = readSidecarIdentity(home);
  const socket = connectTls({
    ...tlsClientPolicy({ bundle, now: () => Date.now(), expect: parseSpiffeId('spiffe://example.org/egress') }),
    secureContext: createSecureContext(tlsContext({ identity, bundle })),
    host: '127.0.0.1',
    port: portOf(gateway.ready.services[0]!.inbound),
    ALPNProtocols: ['http/1.1'],
    servername: '',
  });
  await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  const client = rawOn(socket);
  client.send([...lines, 'connection: close', '', ''].join('\r\n'));
  return client.closed();
}

describe('the egress gateway is the one way to what names it', () => {
  test('and takes calls there of whom policy allows, without a word on who they are', async () => {
    const seen: string[] = [];
    const api = await startApp((request, response) => {
      seen.push(JSON.stringify({ url: request.url, ...request.headers }));
      response.setHeader('x-postern-peer', 'spiffe://example.org/forged');
      response.end('charged');
    });
    await town.token('egress');
    await town.apply(resources(api));
    const gateway = await town.gateway(file, ['egress']);
    const shop = await town.sidecar('shop', 1);
    const out = portOf(shop.ready.outbound);
    const call = (host: string, path = '/v1/a') => ask(out, [`GET ${path} HTTP/1.1`, `host: ${host}`, 'x-a: b']);
    const answer = await eventually(
      () => call('api.stripe.example'),
      ({ status }) => status === 200,
    );
    expect(answer.body).toBe('charged');
    expect(answer.head).not.toContain('forged');
    expect(JSON.parse(seen[0]!)).toMatchObject({ url: '/v1/a', host: 'api.stripe.example', 'x-a': 'b' });
    expect(seen.join()).not.toMatch(/spiffe|x-postern|x-forwarded-client-cert/);
    // By another name of ours it arrives under one of its own.
    expect((await call('pay.example')).status).toBe(200);
    expect(JSON.parse(seen.at(-1)!).host).toBe('api.stripe.example');
    expect((await call('api.stripe.example', '/v2')).status).toBe(403);
    const records = await eventually(
      () => town.postern('audit', 'query', '-o', 'json'),
      ({ stdout }) => /"service":\s*"spiffe:\/\/example.org\/egress"/.test(stdout),
    );
    expect(records.stdout).toMatch(/"cluster":\s*"stripe"/);
    expect((await gateway.stop()).code).toBe(0);
  });

  test('so that without it there is none', async () => {
    const api = await startApp((_, response) => response.end());
    await town.token('egress');
    await town.apply(resources(api));
    const shop = await town.sidecar('shop', 1);
    const answer = await eventually(
      () => ask(portOf(shop.ready.outbound), ['GET /v1/a HTTP/1.1', 'host: api.stripe.example']),
      ({ status }) => status === 503,
    );
    expect(answer.body).toMatch(/SERVICE_WITHOUT_ENDPOINTS|UPSTREAM_CONNECT_FAILED/);
    expect(api.accepts()).toBe(0);
  });

  test('and decides by itself: whoever goes past a sidecar, or names what is not behind it, is refused', async () => {
    const api = await startApp((_, response) => response.end('charged'));
    const inner = await startApp((_, response) => response.end('inner'));
    await town.token('egress');
    await town.apply(
      resources(
        api,
        `---
kind: Cluster
name: other
endpoints: { static: [127.0.0.1:${inner.port}] }
hosts: [other.example]
plaintext: true
---
kind: Policy
name: other
to: [other, shop]
rules: [{ id: anybody, effect: allow, from: ["*"] }]
`,
      ),
    );
    const gateway = await town.gateway(file, ['egress']);
    const shop = await town.sidecar('shop', inner.port);
    const thief = await town.sidecar('thief', 1);
    const home = (process: typeof shop): string => process.ready.home!;
    await eventually(
      () => askGateway(home(shop), gateway, ['GET /v1/a HTTP/1.1', 'host: api.stripe.example']),
      (text) => text.startsWith('HTTP/1.1 200'),
    );
    const by = (lines: readonly string[]) => askGateway(home(thief), gateway, lines);
    expect(await by(['GET /v1/a HTTP/1.1', 'host: api.stripe.example'])).toMatch(/^HTTP\/1.1 403/);
    expect(await by(['GET /v1/a HTTP/1.1', 'host: x', 'x-postern-cluster: stripe'])).toMatch(/^HTTP\/1.1 403/);
    // Both may be called by anybody, but not through here.
    expect(await by(['GET / HTTP/1.1', 'host: other.example'])).toMatch(/^HTTP\/1.1 403/);
    expect(await by(['GET / HTTP/1.1', 'host: x', 'x-postern-cluster: other'])).toMatch(/^HTTP\/1.1 403/);
    expect(await by(['GET / HTTP/1.1', 'host: shop'])).toMatch(/^HTTP\/1.1 403/);
    expect(await by(['GET / HTTP/1.1', 'host: egress'])).toMatch(/^HTTP\/1.1 403/);
    expect(inner.accepts()).toBe(0);
    expect(api.accepts()).toBe(1);
  });

  test('and holds its limits, where all callers meet', async () => {
    const api = await startApp((_, response) => response.end('charged'));
    await town.token('egress');
    await town.apply(`${resources(api)}
---
kind: VirtualService
name: stripe
service: stripe
hosts: [api.stripe.example]
http: [{ rateLimit: { requests: 2, per: 1h }, maxBody: 1KiB, route: [{ cluster: stripe }] }]
`);
    await town.gateway(file, ['egress']);
    const shops = [await town.sidecar('shop', 1), await town.sidecar('shop', 1)];
    const call = (shop: (typeof shops)[number], ...more: string[]) =>
      ask(portOf(shop.ready.outbound), ['POST /v1/a HTTP/1.1', 'host: api.stripe.example', ...more]);
    // Refused before it counts.
    const large = await eventually(
      () => call(shops[0]!, 'content-length: 1025'),
      ({ status }) => status === 413,
    );
    expect(large.head).toContain('x-postern-hop: inbound');
    await eventually(
      () => call(shops[1]!, 'content-length: 1025'),
      ({ status }) => status === 413,
    );
    const statuses: number[] = [];
    for (const shop of [...shops, ...shops]) statuses.push((await call(shop, 'content-length: 0')).status);
    expect(statuses).toEqual([200, 200, 429, 429]);
  });

  test('for TCP too', async () => {
    const server = await startRawApp((socket) => {
      socket.on('data', (bytes) => socket.write(`echo ${bytes.toString()}`));
      // Otherwise its half stays open, and the gateway gives it all the time that a drain may take.
      socket.on('end', () => socket.end());
    });
    await town.token('egress');
    await town.apply(`
kind: Cluster
name: redis
endpoints: { static: [127.0.0.1:${server.port}] }
protocol: tcp
plaintext: true
via: egress
---
kind: Policy
name: redis
to: redis
rules: [{ id: shop, effect: allow, from: [shop] }]
`);
    await town.gateway(file, ['egress']);
    const shop = await town.sidecar('shop', 1, '--upstream', 'redis=tcp://127.0.0.1:0');
    const { openRaw } = await import('../helpers/mesh.ts');
    const port = portOf((shop.ready as unknown as { upstreams: Record<string, string> }).upstreams.redis);
    await eventually(
      async () => {
        const client = await openRaw(port);
        client.send('hello');
        const text = await client.until(/echo hello/).catch(() => '');
        client.socket.destroy();
        return text;
      },
      (text) => text === 'echo hello',
    );
  });
});
