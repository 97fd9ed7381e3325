// HTTP/2 by prior knowledge, at either end or both: the applications are Node's own, the link between the sidecars does not care.
import { once } from 'node:events';
import { request } from 'node:http';
import { type ClientHttp2Session, connect, createServer, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openRaw, startApp, startPair, type TestApp } from '../helpers/mesh.ts';

async function startHttp2App(): Promise<TestApp> {
  const server = createServer(async (incoming, response) => {
    const body = await text(incoming);
    response.setHeader('x-path', incoming.url);
    response.setHeader('x-peer', incoming.headers['x-postern-peer'] ?? 'nobody');
    response.end(`${incoming.httpVersion} ${incoming.method} ${body}`);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port } as TestApp;
}

const startHttp1App = (): Promise<TestApp> =>
  startApp(async (incoming, response) => {
    const body = await text(incoming);
    response.setHeader('x-path', incoming.url!);
    response.end(`${incoming.httpVersion} ${incoming.method} ${body}`);
  });

async function callHttp2(port: number, body: string): Promise<{ headers: IncomingHttpHeaders; body: string }> {
  const session: ClientHttp2Session = connect(`http://127.0.0.1:${port}`);
  session.on('error', () => undefined);
  onTestFinished(() => session.destroy());
  const stream = session.request({ ':method': 'POST', ':path': '/a/../b?c=1', ':authority': 'payments' });
  stream.end(body);
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
  return { headers, body: await text(stream) };
}

function callHttp1(port: number, body: string): Promise<{ headers: IncomingHttpHeaders; body: string }> {
  return new Promise((resolve, reject) => {
    const asking = request(
      { host: '127.0.0.1', port, method: 'POST', path: '/a/../b?c=1', headers: { host: 'payments' } },
      async (response) => resolve({ headers: response.headers, body: await text(response) }),
    );
    asking.on('error', reject);
    asking.end(body);
  });
}

describe.each([['h2'], ['http/1.1']] as const)('over a link that speaks %s', (protocol) => {
  test.each([
    ['HTTP/2 caller, HTTP/2 application', callHttp2, startHttp2App, 'h2c', '2.0 POST hello'],
    ['HTTP/1.1 caller, HTTP/2 application', callHttp1, startHttp2App, 'h2c', '2.0 POST hello'],
    ['HTTP/2 caller, HTTP/1.1 application', callHttp2, startHttp1App, 'http', '1.1 POST hello'],
  ] as const)('%s', async (_, call, startIt, appProtocol, answer) => {
    const pair = await startPair({ app: await startIt(), appProtocol, linkProtocols: [protocol] });
    const { headers, body } = await call(pair.web.addresses.outbound.port, 'hello');
    expect(body).toBe(answer);
    expect(headers['x-path']).toBe('/b?c=1');
    expect((await pair.payments.recorded(1))[0]).toMatchObject({ path: '/b', decision: 'allow', status: 200 });
  });
});

test('HTTP/1.1 and HTTP/2 callers share a port; a first byte that could be either waits for the second', async () => {
  const pair = await startPair({ app: await startHttp1App() });
  const { port } = pair.web.addresses.outbound;
  expect((await callHttp2(port, 'x')).body).toBe('1.1 POST x');
  const client = await openRaw(port);
  client.send('P');
  expect((await callHttp1(port, 'y')).body).toBe('1.1 POST y');
  client.send('OST / HTTP/1.1\r\nHost: payments\r\nContent-Length: 1\r\n\r\nz');
  await client.until(/1\.1 POST z/);
});

test('what denies an HTTP/2 caller says so, and its connection goes on', async () => {
  const pair = await startPair({ app: await startHttp2App(), appProtocol: 'h2c', rules: [] });
  const { headers, body } = await callHttp2(pair.web.addresses.outbound.port, 'x');
  expect(headers[':status']).toBe(403);
  expect(JSON.parse(body)).toMatchObject({ error: { code: 'ACCESS_DENIED' } });
});

test('server-sent events arrive one by one, as they are sent', async () => {
  let say: ((line: string) => void) | undefined;
  const app = await startApp((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    say = (line) => void response.write(`data: ${line}\n\n`);
  });
  const pair = await startPair({ app });
  const asking = request({ host: '127.0.0.1', port: pair.web.addresses.outbound.port, headers: { host: 'payments' } });
  asking.end();
  const [response] = await once(asking, 'response');
  expect(response.headers['content-type']).toBe('text/event-stream');
  for (const line of ['one', 'two', 'three']) {
    const arrives = once(response, 'data');
    say!(line);
    expect(String((await arrives)[0])).toBe(`data: ${line}\n\n`);
  }
  asking.destroy();
  expect((await pair.web.recorded(1))[0]).toMatchObject({ status: 200, reason: 'DOWNSTREAM_CLOSED' });
});
