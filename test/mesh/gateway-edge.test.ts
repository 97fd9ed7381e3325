import { connect as connectHttp2 } from 'node:http2';
import { describe, expect, test } from 'vitest';
import { ask, portOf, townOfFile } from '../helpers/gateway.ts';
import { openRaw, startApp } from '../helpers/mesh.ts';
import { eventually } from '../helpers/until.ts';

const town = townOfFile();

const at = '127.0.0.1:0';
const edgeFile = (listeners: string): string => `
admin: ${at}
metrics: ${at}
services:
  - service: edge
    listeners:
${listeners}`;

async function startShop() {
  const app = await startApp((request, response) => response.end(JSON.stringify(request.headers)));
  await town.sidecar('web', app.port);
  await town.apply(`
kind: Policy
name: web
to: web
rules:
  - { id: edge, effect: allow, from: [edge], paths: [/open/**] }
---
kind: VirtualService
name: shop
service: web
hosts: [shop.example.com]
http:
  - route: [{ cluster: web }]
`);
  return app;
}

describe('the edge leads callers without an identity into the mesh', () => {
  test('as the service edge, which policy allows, and with what was seen of them instead of what they claim', async () => {
    await startShop();
    const gateway = await town.gateway(edgeFile(`      - { listen: ${at}, hosts: [shop.example.com] }`), ['edge']);
    const port = portOf(gateway.ready.services[0]!.listeners![0]);
    const claims = [
      'x-forwarded-for: 1.2.3.4',
      'x-forwarded-proto: https',
      'x-real-ip: 1.2.3.4',
      'forwarded: for=1.2.3.4',
    ];
    const identity = [
      'x-postern-peer: spiffe://example.org/admin',
      'x-forwarded-client-cert: URI=spiffe://example.org/admin',
    ];
    const answer = await ask(port, ['GET /open/a HTTP/1.1', 'host: shop.example.com', ...claims, ...identity]);
    expect(answer.status).toBe(200);
    const seen = JSON.parse(answer.body) as Record<string, string>;
    expect(seen).toMatchObject({
      host: 'shop.example.com',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'shop.example.com',
      'x-forwarded-port': String(port),
      'x-postern-peer': 'spiffe://example.org/edge',
      'x-forwarded-client-cert': 'By=spiffe://example.org/web;URI=spiffe://example.org/edge',
    });
    expect(Object.keys(seen)).not.toContain('x-real-ip');
    expect(answer.body).not.toContain('1.2.3.4');
  });

  test('nor under a name that an application reads as one of those', async () => {
    await startShop();
    const gateway = await town.gateway(edgeFile(`      - { listen: ${at}, hosts: [shop.example.com] }`), ['edge']);
    const port = portOf(gateway.ready.services[0]!.listeners![0]);
    const claims = ['x_real_ip: 1.2.3.4', 'True.Client_IP: 1.2.3.4', 'client-ip: 1.2.3.4', 'x-forwarded: for=1.2.3.4'];
    const asked = ['GET /open/a HTTP/1.1', 'host: shop.example.com', 'x-realm: a'];
    const answer = await eventually(
      () => ask(port, [...asked, ...claims, 'x-http-method-override: DELETE', 'x_original_url: /closed']),
      ({ status }) => status === 200,
    );
    expect(answer.body).not.toMatch(/1\.2\.3\.4|DELETE|closed/);
    expect(JSON.parse(answer.body)).toMatchObject({ 'x-realm': 'a' });
    expect((await ask(port, [...asked, 'x_forwarded_for: 1.2.3.4'])).status).toBe(400);
  });

  test('and by the scheme and the address that they came by, also where a proxy in front has ended their TLS', async () => {
    await town.apply(`
kind: VirtualService
name: shop
service: web
hosts: [shop.example.com]
http:
  - { match: [{ path: { exact: /open/moved } }], redirect: { path: /open/here } }
  - match: [{ path: { exact: /open/once } }]
    rateLimit: { requests: 1, per: 1h, each: peer }
    directResponse: { status: 200 }
  - route: [{ cluster: web }]
---
kind: Policy
name: web
to: web
rules:
  - { id: edge, effect: allow, from: [edge], paths: [/open/**] }
`);
    const listeners = `
      - { listen: ${at}, hosts: [shop.example.com], trustedProxies: [127.0.0.1] }
      - { listen: ${at}, hosts: [shop.example.com] }`;
    const gateway = await town.gateway(edgeFile(listeners), ['edge']);
    const [behind, open] = gateway.ready.services[0]!.listeners!.map(portOf);
    const asked = ['GET /open/moved HTTP/1.1', 'host: shop.example.com'];
    const led = (port: number, ...more: string[]) =>
      eventually(
        async () => /location: (\S+)/.exec((await ask(port, [...asked, ...more])).head)?.[1],
        (location) => location !== undefined,
      );
    expect(await led(behind!, 'x-forwarded-proto: https')).toBe('https://shop.example.com/open/here');
    expect(await led(behind!)).toBe('http://shop.example.com/open/here');
    expect(await led(open!, 'x-forwarded-proto: https')).toBe('http://shop.example.com/open/here');

    // A caller by IPv6 has a whole network of addresses, and one part of a limit.
    const once = async (from: string) =>
      (await ask(behind!, ['GET /open/once HTTP/1.1', 'host: shop.example.com', `x-forwarded-for: ${from}`])).status;
    expect([await once('2001:db8::1'), await once('2001:db8::2'), await once('2001:db8:0:1::1')]).toEqual([
      200, 429, 200,
    ]);
    expect([await once('192.0.2.1'), await once('192.0.2.2'), await once('192.0.2.2')]).toEqual([200, 200, 429]);
  });

  test('and tells them nothing of it when policy denies', async () => {
    const app = await startShop();
    const gateway = await town.gateway(edgeFile(`      - { listen: ${at}, hosts: [shop.example.com] }`), ['edge']);
    const port = portOf(gateway.ready.services[0]!.listeners![0]);
    const answer = await ask(port, ['GET /closed HTTP/1.1', 'host: shop.example.com']);
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toEqual({ error: { message: 'access is denied', decision: expect.any(String) } });
    expect(answer.head).not.toMatch(/x-postern-hop|spiffe|web/);
    expect(app.accepts()).toBe(0);
  });

  test('but not to hosts that are not listed, though the edge may call them', async () => {
    await startShop();
    const gateway = await town.gateway(edgeFile(`      - { listen: ${at}, hosts: [shop.example.com] }`), ['edge']);
    const port = portOf(gateway.ready.services[0]!.listeners![0]);
    expect((await ask(port, ['GET /open/a HTTP/1.1', 'host: web'])).status).toBe(404);
    expect((await ask(port, ['GET http://web/open/a HTTP/1.1', 'host: web'])).status).toBe(404);
    const through = await ask(port, ['CONNECT web:80 HTTP/1.1', 'host: web:80']);
    expect(through.status).toBe(405);
  });

  test('and from HTTP to HTTPS where the listener says so, without asking anybody', async () => {
    const gateway = await town.gateway(
      edgeFile(`
      - { listen: ${at}, redirectToHttps: true }
      - { listen: ${at}, redirectToHttps: { port: 8443, status: 302 }, hosts: [shop.example.com] }`),
      ['edge'],
    );
    const [usual, other] = gateway.ready.services[0]!.listeners!.map(portOf);
    const led = await ask(usual!, ['GET /a?b=c HTTP/1.1', 'host: shop.example.com:8080']);
    expect([led.status, led.head]).toEqual([308, expect.stringContaining('location: https://shop.example.com/a?b=c')]);
    const elsewhere = await ask(other!, ['GET / HTTP/1.1', 'host: shop.example.com']);
    expect([elsewhere.status, elsewhere.head]).toEqual([
      302,
      expect.stringContaining('location: https://shop.example.com:8443/'),
    ]);
    expect(await ask(other!, ['GET / HTTP/1.1', 'host: evil.example'])).toMatchObject({ status: 404 });
  });
});

test('the plain edge speaks HTTP/2 to whoever begins with it', async () => {
  await startShop();
  const gateway = await town.gateway(edgeFile(`      - { listen: ${at}, hosts: [shop.example.com] }`), ['edge']);
  const port = portOf(gateway.ready.services[0]!.listeners![0]);
  await eventually(
    () => ask(port, ['GET /open/a HTTP/1.1', 'host: shop.example.com']),
    ({ status }) => status === 200,
  );
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  const stream = session.request({ ':path': '/open/a', ':authority': 'shop.example.com' });
  const status = await new Promise((resolve, reject) => {
    stream.on('response', (headers) => resolve(headers[':status'])).on('error', reject);
    stream.resume().end();
  });
  session.destroy();
  expect(status).toBe(200);
});

test('a caller from outside that dawdles over its head is sent away, and one address has its part of the connections only', async () => {
  const gateway = await town.gateway(
    `${edgeFile(`      - { listen: ${at}, hosts: [shop.example.com] }`)}\n    limits: { headMs: 300, peerConnections: 4 }`,
    ['edge'],
  );
  const port = portOf(gateway.ready.services[0]!.listeners![0]);
  const slow = await openRaw(port);
  slow.send('GET / HTTP/1.1\r\nhost: shop');
  expect(await slow.closed()).toMatch(/^HTTP\/1.1 408 /);
  const held = await Promise.all(Array.from({ length: 4 }, () => openRaw(port)));
  const fifth = await openRaw(port);
  expect(await fifth.closed()).toBe('');
  for (const one of held) one.socket.destroy();
});
