import { createHash, generateKeyPairSync } from 'node:crypto';
import { connect as connectHttp2 } from 'node:http2';
import { get } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundlePem } from '#spiffe';
import { readHomeBundle } from '../../cli/home.ts';
import { type GatewayReady, portOf, startTown, type Town } from '../helpers/gateway.ts';
import { createTestIssuer } from '../helpers/jwt-issuer.ts';
import { rawOn } from '../helpers/mesh.ts';
import { createOutsideCa } from '../helpers/outside-server.ts';
import type { Process } from '../helpers/processes.ts';
import { eventually } from '../helpers/until.ts';

const ca = createOutsideCa();
const issuer = createTestIssuer('shop');
let town: Town & { end(): Promise<void> };
let app: Server;
let gateway: Process<GatewayReady>;
let port: number;
let strictPort: number;
let closedPort: number;

const resources = `
kind: Policy
name: web
to: web
rules:
  - { id: edge, effect: allow, from: [edge], paths: [/open/**, /socket] }
  - { id: clerks, effect: allow, from: [edge], paths: [/desk/**], when: [{ key: "jwt:claims.role", in: [clerk] }] }
---
${issuer.resource}
---
kind: Cluster
name: web
endpoints: enrolled
loadBalancing: { policy: maglev, hashOn: { cookie: shop-session, ttl: 0s } }
---
kind: VirtualService
name: shop
service: web
hosts: [shop.example.com, "*.shop.example.com", other.example.org]
http: [{ route: [{ cluster: web }] }]
`;

beforeAll(async () => {
  town = await startTown();
  app = createServer((socket) => {
    socket.on('error', () => undefined);
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = text.slice(0, end);
      text = text.slice(end + 4);
      const [, asked] = /^sec-websocket-key: *(\S+)/im.exec(head) ?? [];
      if (asked !== undefined) {
        const accept = createHash('sha1').update(`${asked}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
        const lines = ['HTTP/1.1 101 Switching Protocols', 'upgrade: websocket', 'connection: upgrade'];
        return void socket.write([...lines, `sec-websocket-accept: ${accept}`, '', 'hello'].join('\r\n'));
      }
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${head.length}\r\n\r\n${head}`);
    });
  });
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  await town.sidecar('web', (app.address() as AddressInfo).port);
  await town.apply(resources);
  const [shop, other] = [ca.issue(['shop.example.com', '*.shop.example.com']), ca.issue(['other.example.org'])];
  for (const [name, { cert, key }] of Object.entries({ shop, other })) {
    town.write(`${name}.crt`, cert, 0o644);
    town.write(`${name}.key`, key);
  }
  gateway = await town.gateway(
    `
admin: 127.0.0.1:0
metrics: 127.0.0.1:0
services:
  - service: edge
    listeners:
      - listen: 127.0.0.1:0
        hosts: [shop.example.com, "*.shop.example.com", other.example.org]
        trustedProxies: [127.0.0.2]
        tls:
          certificates:
            - { certFile: shop.crt, keyFile: shop.key }
            - { certFile: other.crt, keyFile: other.key }
      - { listen: 127.0.0.1:0, hosts: [shop.example.com], tls: { certFile: shop.crt, keyFile: shop.key, minVersion: "1.3" } }
      - { listen: 127.0.0.1:0, hosts: [shop.example.com], from: [127.0.0.9], tls: { certFile: shop.crt, keyFile: shop.key } }
`,
    ['edge'],
  );
  [port, strictPort, closedPort] = gateway.ready.services[0]!.listeners!.map(portOf) as [number, number, number];
  await eventually(
    () =>
      new Promise<number | undefined>((resolve, reject) => {
        const options = { host: '127.0.0.1', port, path: '/open/a', servername: 'shop.example.com', ca: ca.pem };
        get({ ...options, headers: { host: 'shop.example.com' } }, (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        }).on('error', reject);
      }),
    (status) => status === 200,
  );
}, 90_000);
afterAll(async () => {
  await town.end();
  app.close();
});

interface Wish {
  readonly alpn?: readonly string[];
  readonly localAddress?: string;
  readonly maxVersion?: 'TLSv1.2' | 'TLSv1.1';
  readonly to?: number;
}

async function shake(name: string | undefined, o: Wish = {}): Promise<TLSSocket> {
  const socket = connectTls({
    host: '127.0.0.1',
    port: o.to ?? port,
    ...(name === undefined ? {} : { servername: name }),
    ca: ca.pem,
    ALPNProtocols: [...(o.alpn ?? ['http/1.1'])],
    ...(o.localAddress && { localAddress: o.localAddress }),
    ...(o.maxVersion && { maxVersion: o.maxVersion, minVersion: 'TLSv1' as const }),
    ...(name === undefined && { checkServerIdentity: () => undefined }),
  });
  await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  return socket;
}

async function ask(name: string | undefined, lines: readonly string[], o: Wish = {}): Promise<string> {
  const client = rawOn(await shake(name, o));
  client.send([...lines, 'connection: close', '', ''].join('\r\n'));
  return client.closed();
}

describe('TLS ends at the edge', () => {
  test('with the certificate of the name that a caller asks for, verified by its own client', async () => {
    const names = async (name: string): Promise<string> =>
      (await shake(name)).getPeerX509Certificate()!.subjectAltName!;
    expect(await names('shop.example.com')).toContain('DNS:shop.example.com');
    expect(await names('a.shop.example.com')).toContain('DNS:shop.example.com');
    expect(await names('other.example.org')).toBe('DNS:other.example.org');
  });

  test('and not for names that it has none for', async () => {
    await expect(shake('evil.example')).rejects.toThrow();
    expect((await shake(undefined)).getPeerX509Certificate()!.subjectAltName).toContain('shop.example.com');
  });

  test('from version 1.2 on, and with HTTP/1.1 for those that do not say what they speak', async () => {
    expect((await shake('shop.example.com', { maxVersion: 'TLSv1.2' })).getProtocol()).toBe('TLSv1.2');
    await expect(shake('shop.example.com', { maxVersion: 'TLSv1.1' })).rejects.toThrow();
    const plain = await ask('shop.example.com', ['GET /open/a HTTP/1.1', 'host: shop.example.com'], { alpn: [] });
    expect(plain).toMatch(/^HTTP\/1.1 200/);
    expect(plain).toContain('x-forwarded-proto: https');
    expect(plain).toMatch(/set-cookie: shop-session=[0-9a-f]{16}; Path=\/; HttpOnly; SameSite=Lax; Secure\r\n/);
  });

  test('from a newer version on where the listener says so', async () => {
    const lines = ['GET /open/a HTTP/1.1', 'host: shop.example.com'];
    expect(await ask('shop.example.com', lines, { to: strictPort })).toMatch(/^HTTP\/1.1 200 /);
    await expect(shake('shop.example.com', { to: strictPort, maxVersion: 'TLSv1.2' })).rejects.toThrow();
  });

  test('for those networks alone that the listener names', async () => {
    const lines = ['GET /open/a HTTP/1.1', 'host: shop.example.com'];
    const from = (localAddress: string) => ask('shop.example.com', lines, { to: closedPort, localAddress });
    expect(await from('127.0.0.9')).toMatch(/^HTTP\/1.1 200 /);
    await expect(from('127.0.0.8')).rejects.toThrow();
  });

  test('and a connection made for one certificate serves no host of another: 421', async () => {
    const at = (host: string) => ask('shop.example.com', ['GET /open/a HTTP/1.1', `host: ${host}`]);
    expect(await at('other.example.org')).toMatch(/^HTTP\/1.1 421 /);
    expect(await at('b.shop.example.com')).toMatch(/^HTTP\/1.1 200 /);
    expect(await at('unknown.example.org')).toMatch(/^HTTP\/1.1 404 /);
  });

  test('for HTTP/2', async () => {
    const session = connectHttp2(`https://shop.example.com:${port}`, {
      createConnection: () =>
        connectTls({ host: '127.0.0.1', port, servername: 'shop.example.com', ca: ca.pem, ALPNProtocols: ['h2'] }),
    });
    const stream = session.request({ ':path': '/open/two', ':method': 'GET' });
    const [status, body] = await new Promise<[number, string]>((resolve, reject) => {
      let text = '';
      let answered = 0;
      stream.on('response', (headers) => {
        answered = Number(headers[':status']);
      });
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      stream.on('end', () => resolve([answered, text])).on('error', reject);
      stream.end();
    });
    session.close();
    expect(status).toBe(200);
    expect(body).toMatch(/^GET \/open\/two HTTP\/1.1\r\n/);
  });

  test('for WebSockets', async () => {
    const client = rawOn(await shake('shop.example.com'));
    client.send(
      'GET /socket HTTP/1.1\r\nhost: shop.example.com\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    expect(await client.until(/hello$/)).toMatch(/^HTTP\/1.1 101 /);
    client.socket.destroy();
  });
});

describe('users at the edge', () => {
  const { token } = issuer;
  const desk = (authorization?: string) =>
    ask('shop.example.com', [
      'GET /desk/a HTTP/1.1',
      'host: shop.example.com',
      ...(authorization === undefined ? [] : [`authorization: ${authorization}`]),
    ]);

  test('get where their token lets them, and are asked for one where none came', async () => {
    expect(await desk(`Bearer ${await token({ role: 'clerk' })}`)).toMatch(/^HTTP\/1.1 200 /);
    const asked = await desk();
    expect(asked).toMatch(/^HTTP\/1.1 401 Unauthorized\r\n/);
    expect(asked).toContain('www-authenticate: Bearer');
    expect(asked).not.toMatch(/spiffe|web|policy/);
  });

  test('are refused with a token of another role, another audience, or of nobody', async () => {
    expect(await desk(`Bearer ${await token({ role: 'guest' })}`)).toMatch(/^HTTP\/1.1 403 /);
    expect(await desk(`Bearer ${await token({ role: 'clerk', aud: 'bank' })}`)).toMatch(/^HTTP\/1.1 401 /);
    const forged = await token({ role: 'clerk' }, generateKeyPairSync('ed25519').privateKey);
    expect(await desk(`Bearer ${forged}`)).toMatch(/^HTTP\/1.1 401 /);
  });
});

test('the word of listed proxies on where a request comes from is taken, up to the first address that is none of theirs', async () => {
  const lines = ['GET /open/a HTTP/1.1', 'host: shop.example.com', 'x-forwarded-for: 6.6.6.6, 203.0.113.9, 127.0.0.2'];
  const trusted = await ask('shop.example.com', [...lines, 'x-forwarded-proto: http'], { localAddress: '127.0.0.2' });
  expect(trusted).toContain('x-forwarded-for: 6.6.6.6, 203.0.113.9, 127.0.0.2, 127.0.0.2');
  expect(trusted).toContain('x-forwarded-proto: http\r\n');
  const stranger = await ask('shop.example.com', lines, { localAddress: '127.0.0.3' });
  expect(stranger).toContain('x-forwarded-for: 127.0.0.3\r\n');
  expect(stranger).not.toContain('6.6.6.6');
});

test('a listener may show the SVID of its service instead of a certificate from files', async () => {
  const own = await town.gateway(
    `
admin: 127.0.0.1:0
metrics: 127.0.0.1:0
services:
  - service: edge
    listeners: [{ listen: 127.0.0.1:0, hosts: [shop.example.com], tls: { issued: true } }]
`,
    ['edge'],
  );
  const socket = connectTls({
    host: '127.0.0.1',
    port: portOf(own.ready.services[0]!.listeners![0]),
    servername: 'shop.example.com',
    ca: bundlePem(readHomeBundle(town.home)),
    checkServerIdentity: () => undefined,
  });
  await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  expect(socket.getPeerX509Certificate()!.subjectAltName).toBe('URI:spiffe://example.org/edge');
  socket.destroy();
});
