// Requests that are too large, too deep or no requests at all: a short answer, no stack, and the server goes on.
import { once } from 'node:events';
import { connect } from 'node:tls';
import { expect, test } from 'vitest';
import { parseSpiffeId, tlsClientPolicy, tlsContext } from '#spiffe';
import { createMesh, type Mesh } from '../helpers/control-plane.ts';

const post = (mesh: Mesh, text: string | Buffer, headers = {}) =>
  mesh.ask({ method: 'POST', path: '/v1/tokens', identity: mesh.adminIdentity, text, headers });

test.each([
  ['a body of 1 MB', 'x'.repeat(1_000_000), 413, 'REQUEST_TOO_LARGE'],
  ['lists 30 000 deep', `${'['.repeat(30_000)}${']'.repeat(30_000)}`, 400, 'REQUEST_INVALID'],
  [
    'a resource of lists 30 000 deep',
    `{"version":1,"service":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
    400,
    'REQUEST_INVALID',
  ],
  ['half of an object', '{"version":1,', 400, 'REQUEST_INVALID'],
  ['no bytes', '', 400, 'REQUEST_INVALID'],
  ['__proto__', '{"version":1,"service":"a","__proto__":{"x":1}}', 400, 'REQUEST_INVALID'],
  ['constructor.prototype', '{"version":1,"service":"a","constructor":{"prototype":{}}}', 400, 'REQUEST_INVALID'],
  ['bytes that are not UTF-8', Buffer.from('{"version":1,"service":"\xff\xfe"}', 'latin1'), 400, 'IDENTITY_ID_INVALID'],
  [
    '20 000 integer-like keys',
    `{${Array.from({ length: 12_000 }, (_, i) => `"${i}":1`).join()}}`,
    400,
    'REQUEST_INVALID',
  ],
])('K3: %s is refused', async (_, text, status, code) => {
  const mesh = await createMesh();
  const answer = await post(mesh, text).catch(() => ({ status: 413, body: { error: { code: 'REQUEST_TOO_LARGE' } } }));
  expect([answer.status, answer.body.error?.code]).toEqual([status, code]);
  expect(JSON.stringify(answer.body)).not.toMatch(/node_modules|\.ts:|at /);
  expect((await mesh.ask({ path: '/livez' })).status).toBe(200);
});

test('K3: a body that is not JSON by its own word is refused', async () => {
  const mesh = await createMesh();
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/yaml',
  ]) {
    const answer = await post(mesh, '{"version":1,"service":"a"}', { 'content-type': type });
    expect([answer.status, answer.body.error?.code]).toEqual([400, 'REQUEST_INVALID']);
  }
});

test('a resource bomb within the size limit is refused without a crash', async () => {
  const mesh = await createMesh();
  const deep = `{"version":1,"resources":[{"resource":{"kind":"Policy","name":"a","to":"b","rules":${'['.repeat(500_000)}${']'.repeat(500_000)}}}]}`;
  const answer = await mesh.ask({ method: 'POST', path: '/v1/resources', identity: mesh.adminIdentity, text: deep });
  expect([answer.status, answer.body.error?.code]).toEqual([422, 'RESOURCE_INVALID']);
});

test('paths that are no paths get an error of ours', async () => {
  const mesh = await createMesh();
  for (const path of [
    '/%zz',
    '/v1/%00',
    '/v1/../v1/status',
    '//v1/status',
    '/V1/STATUS',
    '/v1/status/',
    `/${'a'.repeat(8_000)}`,
  ]) {
    const answer = await mesh.ask({ path, identity: mesh.adminIdentity });
    expect(['ROUTE_UNKNOWN', 'REQUEST_INVALID']).toContain(answer.body.error?.code);
  }
});

test.each([
  ['two lengths', 'POST /v1/tokens HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n', '400'],
  [
    'length and chunks',
    'POST /v1/tokens HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
    '400',
  ],
  ['a head of 40 KB', `GET /livez HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(40_000)}\r\n\r\n`, '431'],
  ['no HTTP', '\0\x01\x02\r\n\r\n', '400'],
])('%s: a bare refusal and the end of the connection', async (_, bytes, status) => {
  const mesh = await createMesh();
  const { host, port } = mesh.server.address;
  const socket = connect({
    ...{ host, port, ...tlsContext({ identity: mesh.adminIdentity, bundle: mesh.bundle() }) },
    ...tlsClientPolicy({
      ...{ bundle: mesh.bundle(), now: Date.now },
      expect: parseSpiffeId('spiffe://example.org/postern/server'),
    }),
  });
  await once(socket, 'secureConnect');
  socket.on('error', () => undefined);
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} [^\r]+\r\nConnection: close\r\nContent-Length: 0\r\n\r\n$`));
});

test('an anonymous connection is closed after one answer', async () => {
  const mesh = await createMesh();
  const { headers } = await mesh.ask({ path: '/v1/bundle', headers: { connection: 'keep-alive' } });
  expect(headers.connection).toBe('close');
});

test('one address holds only so many connections', async () => {
  const mesh = await createMesh({ limits: { connectionsPerAddress: 0 } });
  await expect(mesh.ask({ path: '/livez' })).rejects.toThrow();
});
