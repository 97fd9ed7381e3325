// gRPC of callers without an identity: through the edge of a gateway, over TLS or in the clear, to a server behind a sidecar; what the edge itself refuses is
// said in gRPC's words, and what routes say holds for calls as for requests.
import { once } from 'node:events';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type GatewayReady, portOf, startTown, type Town } from '../helpers/gateway.ts';
import { bytes, Client, chunk, duplex, type Seen, sent, service, startGrpc, unary } from '../helpers/grpc.ts';
import { createTestIssuer } from '../helpers/jwt-issuer.ts';
import { createOutsideCa } from '../helpers/outside-server.ts';
import type { Process } from '../helpers/processes.ts';
import { eventually } from '../helpers/until.ts';

const ca = createOutsideCa();
const issuer = createTestIssuer('api');
const host = 'api.example.com';
let town: Town & { end(): Promise<void> };
let gateway: Process<GatewayReady>;
let app: Awaited<ReturnType<typeof startGrpc>>;
let seen: Seen;

const resources = `
kind: Policy
name: echo
to: echo
rules:
  - { id: callers, effect: allow, from: [edge], methods: [POST], paths: [/test.Echo/Unary, /test.Echo/Collect, /test.Echo/Expand, /test.Echo/Talk, /test.Echo/Silent, /test.Echo/Flaky] }
  - { id: clerks, effect: allow, from: [edge], methods: [POST], paths: [/test.Echo/Fail], when: [{ key: "jwt:claims.role", in: [clerk] }] }
---
kind: Policy
name: group
to: group
rules:
  - { id: callers, effect: allow, from: [edge], methods: [POST], paths: [/test.Echo/Unary, /test.Echo/Talk] }
---
kind: VirtualService
name: group-api
service: group
hosts: [group.example.com]
http: [{ route: [{ cluster: group }] }]
---
${issuer.resource}
---
kind: VirtualService
name: api
service: echo
hosts: [${host}, nowhere.example.com]
http:
  - name: flaky
    match: [{ path: { exact: /test.Echo/Flaky } }]
    retries: { attempts: 1, on: [grpc-unavailable] }
    route: [{ cluster: echo }]
  - name: silent
    match: [{ path: { exact: /test.Echo/Silent } }]
    timeout: 200ms
    route: [{ cluster: echo }]
  - name: calls
    match: [{ path: { prefix: /test.Echo }, headers: { x-drill: { present: false } } }]
    route: [{ cluster: echo }]
  - name: drill
    match: [{ path: { prefix: /test.Echo } }]
    fault: { abort: { grpcStatus: 8 } }
    route: [{ cluster: echo }]
`;

beforeAll(async () => {
  town = await startTown();
  app = await startGrpc();
  ({ seen } = app);
  const { cert, key } = ca.issue([host]);
  town.write('api.crt', cert, 0o644);
  town.write('api.key', key);
  await town.sidecar('echo', app.port, '--app', `h2c://127.0.0.1:${app.port}`);
  await town.apply(resources);
  gateway = await town.gateway(
    `
admin: 127.0.0.1:0
metrics: 127.0.0.1:0
services:
  - service: edge
    listeners:
      - { listen: 127.0.0.1:0, hosts: [${host}], tls: { certFile: api.crt, keyFile: api.key } }
      - { listen: 127.0.0.1:0, hosts: [${host}, group.example.com] }
  - service: group
    inbound: 127.0.0.1:0
    app: { static: ["127.0.0.1:${app.port}"], protocol: h2c }
`,
    ['edge', 'group'],
  );
  const client = clientOf(0);
  await eventually(
    () => unary(client, 'unary', 'warm'),
    ({ value }) => value === 'WARM',
  );
  client.close();
}, 90_000);
afterAll(async () => {
  await town.end();
  app.stop();
});

/** Of the listener with TLS, or of the plain one. */
function clientOf(listener: 0 | 1, authority = host): grpc.Client {
  const address = gateway.ready.services.find(({ service: name }) => name.endsWith('/edge'))!.listeners![listener];
  const credentials =
    listener === 0 ? grpc.credentials.createSsl(Buffer.from(ca.pem)) : grpc.credentials.createInsecure();
  return new Client(`127.0.0.1:${portOf(address)}`, credentials, {
    'grpc.enable_http_proxy': 0,
    'grpc.enable_retries': 0,
    'grpc.max_receive_message_length': -1,
    'grpc.default_authority': authority,
    'grpc.ssl_target_name_override': host,
  });
}

function open(listener: 0 | 1 = 0, authority = host): grpc.Client {
  const client = clientOf(listener, authority);
  onTestFinished(() => client.close());
  return client;
}

async function as(role: string): Promise<grpc.Metadata> {
  const token = await issuer.token({ role });
  const metadata = sent();
  metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

describe.each([
  ['with TLS', 0],
  ['in the clear', 1],
] as const)('calls %s', (_, listener) => {
  test('unary: message, metadata both ways, binary trailers; the server is told who let it in and where it came from', async () => {
    const { value, metadata, status } = await unary(open(listener), 'unary', 'hello');
    expect(value).toBe('HELLO');
    expect(metadata!.get('x-initial')).toEqual(['first']);
    expect(status.metadata.get('x-trailing-bin')).toEqual([Buffer.from([0, 1, 255])]);
    const told = seen.metadata.at(-1)!;
    const fields = ['x-sent', 'x-postern-peer', 'x-forwarded-for', 'x-forwarded-proto'];
    expect(fields.map((name) => told.get(name)[0])).toEqual([
      'by the client',
      'spiffe://example.org/edge',
      '127.0.0.1',
      listener === 0 ? 'https' : 'http',
    ]);
  });

  test('streams of 10 MB, each way', async () => {
    const client = open(listener);
    const answer = Promise.withResolvers<string>();
    const up = client.makeClientStreamRequest(service.collect.path, bytes, bytes, sent(), (fault, value) =>
      fault ? answer.reject(fault) : answer.resolve(String(value)),
    );
    for (let round = 0; round < 20; round++) if (!up.write(chunk)) await once(up, 'drain');
    up.end();
    expect(await answer.promise).toBe('10000000');
    const down = client.makeServerStreamRequest(service.expand.path, bytes, bytes, Buffer.from('20'), sent());
    let size = 0;
    for await (const part of down) size += (part as Buffer).length;
    expect(size).toBe(10_000_000);
  });

  test('a conversation: each message is answered before the next is sent', async () => {
    const call = duplex(open(listener));
    for (const text of ['one', 'two', 'three']) {
      call.write(Buffer.from(text));
      expect(String((await once(call, 'data'))[0])).toBe(`heard ${text}`);
    }
    const ended = once(call, 'end');
    call.end();
    await ended;
  });
});

test('a group without sidecars is called the same way, by what its gateway verified', async () => {
  const client = open(1, 'group.example.com');
  const { value } = await eventually(
    () => unary(client, 'unary', 'hello'),
    (outcome) => outcome.value !== undefined,
  );
  expect(value).toBe('HELLO');
  expect(seen.metadata.at(-1)!.get('x-postern-peer')).toEqual(['spiffe://example.org/edge']);
  const call = duplex(client);
  call.write(Buffer.from('one'));
  expect(String((await once(call, 'data'))[0])).toBe('heard one');
  call.cancel();
  await once(call, 'error');
  expect((await unary(client, 'silent', '')).fault).toMatchObject({
    code: grpc.status.PERMISSION_DENIED,
  });
});

describe('ends', () => {
  test('an error of the server keeps its code and its words', async () => {
    const { fault } = await unary(open(), 'fail', '', { metadata: await as('clerk') });
    expect(fault).toMatchObject({ code: grpc.status.FAILED_PRECONDITION, details: 'not näw' });
  });

  test('what policy denies is PERMISSION_DENIED, and nothing of the mesh is told', async () => {
    const { fault } = await unary(open(), 'fail', '', { metadata: await as('guest') });
    expect(fault).toMatchObject({ code: grpc.status.PERMISSION_DENIED });
    expect(`${fault!.details} ${JSON.stringify(fault!.metadata.getMap())}`).not.toMatch(/spiffe|echo|policy|rule/);
  });

  test('no token where rules ask for one, and a token of nobody, are UNAUTHENTICATED', async () => {
    expect((await unary(open(), 'fail', '')).fault).toMatchObject({ code: grpc.status.UNAUTHENTICATED });
    const metadata = sent();
    metadata.set('authorization', 'Bearer a.b.c');
    expect((await unary(open(), 'fail', 'a', { metadata })).fault).toMatchObject({
      code: grpc.status.UNAUTHENTICATED,
    });
  });

  test('a host that is not there for callers from outside is refused', async () => {
    const { fault } = await unary(open(1, 'nowhere.example.com'), 'unary', 'a');
    expect(fault).toMatchObject({ code: grpc.status.UNIMPLEMENTED });
  });
});

describe('what routes say', () => {
  test('a call that its server could not take is sent again', async () => {
    seen.flaky = 0;
    expect((await unary(open(), 'flaky', '')).value).toBe('at last');
    expect(seen.flaky).toBe(2);
  });

  test('a call without an answer in the time of its route is DEADLINE_EXCEEDED', async () => {
    expect((await unary(open(), 'silent', '')).fault).toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED });
  });

  test('an injected fault has the status of gRPC that it names', async () => {
    const metadata = sent();
    metadata.set('x-drill', '1');
    expect((await unary(open(), 'unary', 'a', { metadata })).fault).toMatchObject({
      code: grpc.status.RESOURCE_EXHAUSTED,
    });
  });
});
