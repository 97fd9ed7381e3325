import { createHash } from 'node:crypto';
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ClusterEntry } from '#wire';
import {
  allow,
  call,
  idOf,
  openRaw,
  type ProxyOptions,
  startApp,
  startProxy,
  startRawApp,
  type TestApp,
} from '../helpers/mesh.ts';
import { startNameServer } from '../helpers/name-server.ts';
import { createOutsideCa, startHttps } from '../helpers/outside-server.ts';
import { createTestPki } from '../helpers/pki.ts';

const stripe = (more: Partial<ClusterEntry>): ClusterEntry => ({
  name: 'stripe',
  id: idOf('stripe'),
  endpoints: { static: ['127.0.0.1:1'] },
  hosts: ['api.stripe.example', '*.eu.stripe.example'],
  ...more,
});

async function start(entry: ClusterEntry, o: Pick<ProxyOptions, 'upstreamProtocol' | 'nameServers'> = {}) {
  const web = await startProxy({ pki: createTestPki(), service: 'web', upstreams: ['stripe'], ...o });
  const rules = [allow('web', 'stripe', { methods: ['GET', 'CONNECT'] })];
  web.apply({ clusters: [entry], policy: { revision: 2, rules, groups: {} } });
  return web;
}
const at = ({ port }: TestApp): ClusterEntry['endpoints'] => ({ static: [`127.0.0.1:${port}`] });

describe('a cluster outside the mesh', () => {
  test('is called by its host, as the service that policies know it by', async () => {
    const app = await startApp((request, response) => response.end(request.headers.host));
    const web = await start(stripe({ endpoints: at(app) }));
    expect(await call(web, { host: 'api.stripe.example' })).toMatchObject({ status: 200, body: 'api.stripe.example' });
    expect(await call(web, { host: 'x.eu.stripe.example' })).toMatchObject({ body: 'x.eu.stripe.example' });
    expect(await call(web, { host: 'api.stripe.example', method: 'POST' })).toMatchObject({ status: 403 });
    expect(app.accepts()).toBe(1);
    const [allowed, , denied] = await web.recorded(3);
    expect(allowed).toMatchObject({ to: idOf('stripe'), decision: 'allow', cluster: 'stripe', security: 'none' });
    expect(denied).toMatchObject({ to: idOf('stripe'), decision: 'deny' });
  });

  test('gets TLS from here, so that the application speaks plain HTTP to its own proxy', async () => {
    const ca = createOutsideCa();
    const server = await startHttps(ca.issue(['api.stripe.example']));
    const web = await start(stripe({ endpoints: { static: [server.address] }, tls: { ca: ca.pem } }));
    const answer = await call(web, { host: 'api.stripe.example', path: '/v1/charges' });
    expect(JSON.parse(answer.body)).toMatchObject({ tls: 'TLSv1.3', host: 'api.stripe.example', protocol: 'HTTP/1.1' });
    expect((await web.recorded(1))[0]).toMatchObject({ security: 'tls', endpoint: server.address });
  });

  test('that shows a wrong certificate is answered 502 with the reason, in the record too', async () => {
    const ca = createOutsideCa();
    const server = await startHttps(ca.issue(['api.other.example']));
    const web = await start(stripe({ endpoints: { static: [server.address] }, tls: { ca: ca.pem } }));
    const answer = await call(web, { host: 'api.stripe.example' });
    expect(answer.status).toBe(502);
    expect(answer.json().error).toMatchObject({
      code: 'UPSTREAM_IDENTITY_WRONG',
      message: expect.stringMatching(/not for api\.stripe\.example/),
    });
    expect((await web.recorded(1))[0]).toMatchObject({ decision: 'error', reason: 'UPSTREAM_IDENTITY_WRONG' });
  });

  test('called by a port of its own gets its first host as the Host', async () => {
    const app = await startApp((request, response) => response.end(request.headers.host));
    const web = await start(stripe({ endpoints: at(app) }));
    const { port } = web.addresses.upstreams[0]!.address;
    expect(await call(web, { host: `127.0.0.1:${port}`, port })).toMatchObject({ body: 'api.stripe.example' });
  });

  test('of TCP is called by a port of its own, as it is', async () => {
    const app = await startRawApp((socket) => socket.on('data', (bytes) => socket.end(`echo ${bytes}`)));
    const web = await start(stripe({ endpoints: at(app), protocol: 'tcp' }), { upstreamProtocol: 'tcp' });
    const client = await openRaw(web.addresses.upstreams[0]!.address.port);
    client.send('hello');
    expect(await client.until(/echo hello/)).toBe('echo hello');
  });

  test('answers cannot carry what proxies say', async () => {
    const app = await startApp((_, response) => {
      response.setHeader('x-postern-unprocessed', '1');
      response.setHeader('x-postern-decision', 'forged');
      response.writeHead(503).end();
    });
    const web = await start(stripe({ endpoints: at(app) }));
    const { head, status } = await call(web, { host: 'api.stripe.example' });
    expect(status).toBe(503);
    expect(head).not.toMatch(/x-postern/);
  });

  test('that configuration takes away is refused at once, and what runs ends well', async () => {
    let finish: (() => void) | undefined;
    const app = await startApp((_, response) => {
      response.write('one ');
      finish = () => response.end('two');
    });
    const web = await start(stripe({ endpoints: at(app) }));
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET / HTTP/1.1\r\nhost: api.stripe.example\r\nconnection: close\r\n\r\n');
    await client.until(/one /);
    web.apply({ clusters: [stripe({ endpoints: { static: ['127.0.0.1:1'] } })] });
    finish!();
    expect(await client.closed()).toMatch(/two/);
    web.apply({ clusters: [] });
    expect(await call(web, { host: 'api.stripe.example' })).toMatchObject({ status: 403 });
  });
});

test('a request that comes while the name of its cluster is first asked for waits for the answer', async () => {
  const app = await startApp((_, response) => response.end('here'));
  const server = await startNameServer({ 'stripe.internal': ['127.0.0.1'] });
  server.delayMs = 300;
  const entry = stripe({ endpoints: { dns: `stripe.internal:${app.port}` } });
  const web = await start(entry, { nameServers: [server.address] });
  expect(await call(web, { host: 'api.stripe.example' })).toMatchObject({ status: 200, body: 'here' });
});

test('a WebSocket to a server that also speaks HTTP/2 goes over HTTP/1.1, in which every server takes it', async () => {
  const ca = createOutsideCa();
  const server = createSecureServer({ ...ca.issue(['api.stripe.example']), allowHTTP1: true });
  server.on('request', (request, response) => {
    response.setHeader('content-length', 3);
    response.end(request.httpVersion);
  });
  server.on('upgrade', (request, socket) => {
    const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash('sha1').update(key).digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
    );
    socket.on('data', (bytes: Buffer) => socket.write(`echo ${bytes}`));
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const web = await start(stripe({ endpoints: { static: [`127.0.0.1:${port}`] }, tls: { ca: ca.pem } }));
  expect(await call(web, { host: 'api.stripe.example' })).toMatchObject({ body: '2.0' });
  const client = await openRaw(web.addresses.outbound.port);
  client.send(
    'GET /live HTTP/1.1\r\nhost: api.stripe.example\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await client.until(/101 /);
  client.send('frame');
  await client.until(/echo frame/);
  client.socket.destroy();
});

test('trailers from outside cannot speak as a proxy either', async () => {
  const app = await startApp((_, response) => {
    response.writeHead(200, { trailer: 'x-postern-decision, x-own' });
    response.write('body');
    response.addTrailers({ 'x-postern-decision': 'forged', 'x-own': 'kept' });
    response.end();
  });
  const web = await start(stripe({ endpoints: at(app) }));
  const client = await openRaw(web.addresses.outbound.port);
  client.send('GET / HTTP/1.1\r\nhost: api.stripe.example\r\nte: trailers\r\nconnection: close\r\n\r\n');
  const text = await client.closed();
  expect(text).toMatch(/x-own: kept/);
  expect(text).not.toMatch(/forged/);
});
