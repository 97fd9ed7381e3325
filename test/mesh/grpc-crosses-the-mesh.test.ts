// gRPC through two sidecars, with the client and the server of @grpc/grpc-js: every kind of call, deadlines, cancellation, trailers, errors, and
// streams of 50 MB, in the manner of the gRPC interoperability tests.
import { once } from 'node:events';
import * as grpc from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { bytes, Client, chunk, duplex, sent, service, startGrpc, unary } from '../helpers/grpc.ts';
import { allow, call, type Pair, startPair, type TestApp } from '../helpers/mesh.ts';

const startGrpcPair = async (more: Partial<Parameters<typeof startPair>[0]> = {}) => {
  const { port, seen, stop } = await startGrpc();
  onTestFinished(stop);
  const app = { host: '127.0.0.1', port } as TestApp;
  const pair = await startPair({ app, appProtocol: 'h2c', upstreams: ['payments'], ...more });
  return { pair, seen, client: clientOf(pair) };
};

function clientOf({ web }: Pair): grpc.Client & Record<string, (...args: unknown[]) => never> {
  const { port } = web.addresses.upstreams[0]!.address;
  const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    'grpc.enable_http_proxy': 0,
    'grpc.max_receive_message_length': -1,
  });
  onTestFinished(() => client.close());
  return client as never;
}

describe('calls', () => {
  test('unary: message, metadata both ways, binary trailers; each hop has its record', async () => {
    const { pair, seen, client } = await startGrpcPair();
    const { value, metadata, status } = await unary(client, 'unary', 'hello');
    expect(value).toBe('HELLO');
    expect(metadata!.get('x-initial')).toEqual(['first']);
    expect(status.metadata.get('x-trailing-bin')).toEqual([Buffer.from([0, 1, 255])]);
    expect(seen.metadata[0]!.get('x-sent')).toEqual(['by the client']);
    expect(seen.metadata[0]!.get('x-postern-peer')).toEqual(['spiffe://example.org/web']);
    const [record] = await pair.payments.recorded(1);
    expect(record).toMatchObject({ method: 'POST', path: '/test.Echo/Unary', decision: 'allow', status: 200 });
  });

  test('an empty message', async () => {
    const { client } = await startGrpcPair();
    expect((await unary(client, 'unary', '')).value).toBe('');
  });

  test('many at a time share the connections there are', async () => {
    const { client } = await startGrpcPair();
    const all = await Promise.all(Array.from({ length: 300 }, (_, index) => unary(client, 'unary', `call ${index}`)));
    expect(all.map(({ value }) => value)).toEqual(Array.from({ length: 300 }, (_, index) => `CALL ${index}`));
  });

  test('a client stream of 50 MB', async () => {
    const { client } = await startGrpcPair();
    const answer = Promise.withResolvers<string>();
    const call = client.makeClientStreamRequest(service.collect.path, bytes, bytes, sent(), (fault, value) =>
      fault ? answer.reject(fault) : answer.resolve(String(value)),
    );
    for (let round = 0; round < 100; round++) if (!call.write(chunk)) await once(call, 'drain');
    call.end();
    expect(await answer.promise).toBe('50000000');
  });

  test('a server stream of 50 MB', async () => {
    const { client } = await startGrpcPair();
    const call = client.makeServerStreamRequest<Buffer, Buffer>(
      service.expand.path,
      bytes,
      bytes,
      Buffer.from('100'),
      sent(),
    );
    let size = 0;
    for await (const part of call) size += (part as Buffer).length;
    expect(size).toBe(50_000_000);
  });

  test('a conversation: each message is answered before the next is sent', async () => {
    const { client } = await startGrpcPair();
    const call = duplex(client);
    for (let round = 0; round < 20; round++) {
      call.write(Buffer.from(`word ${round}`));
      const [part] = await once(call, 'data');
      expect(String(part)).toBe(`heard word ${round}`);
    }
    const ended = once(call, 'status');
    call.end();
    expect((await ended)[0]).toMatchObject({ code: grpc.status.OK });
  });
});

describe('ends', () => {
  test('an error keeps its code, its words and its metadata', async () => {
    const { client } = await startGrpcPair();
    const { fault, status } = await unary(client, 'fail', '');
    expect(fault).toMatchObject({ code: grpc.status.FAILED_PRECONDITION, details: 'not näw' });
    expect(status.metadata.get('x-why')).toEqual(['because']);
  });

  test('a method that is not there is UNIMPLEMENTED', async () => {
    const { client } = await startGrpcPair();
    const fault = await new Promise<grpc.ServiceError | null>((resolve) =>
      client.makeUnaryRequest('/test.Echo/Nothing', bytes, bytes, Buffer.alloc(0), (thrown) => resolve(thrown)),
    );
    expect(fault).toMatchObject({ code: grpc.status.UNIMPLEMENTED });
  });

  test('a deadline ends the call at the client, and cancels it at the server', async () => {
    const { pair, seen, client } = await startGrpcPair();
    const { fault } = await unary(client, 'silent', '', { deadline: Date.now() + 200 });
    expect(fault).toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED });
    await pair.payments.recorded(1);
    await seen.cancelled.promise;
  });

  test('cancelling a conversation reaches the server', async () => {
    const { pair, seen, client } = await startGrpcPair();
    const call = duplex(client);
    call.write(Buffer.from('x'));
    await once(call, 'data');
    const ended = once(call, 'status').catch((thrown: unknown) => [thrown]);
    call.on('error', () => undefined);
    call.cancel();
    expect((await ended)[0]).toMatchObject({ code: grpc.status.CANCELLED });
    await pair.payments.recorded(1);
    await seen.cancelled.promise;
  });

  test('what policy denies is PERMISSION_DENIED with the reason, an application that is away UNAVAILABLE', async () => {
    const { pair, client } = await startGrpcPair({
      rules: [allow('web', 'payments', { paths: ['/test.Echo/Unary'] })],
    });
    expect((await unary(client, 'unary', 'a')).value).toBe('A');
    const { fault } = await unary(client, 'fail', '');
    expect(fault).toMatchObject({ code: grpc.status.PERMISSION_DENIED });
    expect(fault!.details).toMatch(/^ACCESS_DENIED: /);
    expect(pair.web.records.at(-1)).toMatchObject({ decision: 'deny', path: '/test.Echo/Fail' });
    const gone = await startPair({
      app: { host: '127.0.0.1', port: 1 } as TestApp,
      appProtocol: 'h2c',
      upstreams: ['payments'],
    });
    expect((await unary(clientOf(gone), 'unary', 'a')).fault).toMatchObject({ code: grpc.status.UNAVAILABLE });
  });

  test.each([
    ['application/grpc', 200],
    ['application/grpc+proto', 200],
    ['application/grpc; charset=utf-8', 200],
    ['application/grpc-web', 403],
    ['application/grpc-web-text+proto', 403],
    ['application/grpcish', 403],
  ])('who asks in %s is refused by a %i', async (type, status) => {
    const { pair } = await startGrpcPair({ rules: [] });
    const answer = await call(pair.web, { method: 'POST', headers: [`content-type: ${type}`], body: '' });
    expect(answer.status).toBe(status);
    expect(/^grpc-status: 7$/m.test(answer.head)).toBe(status === 200);
  });

  test('Z10: a policy that denies it ends a conversation that is open', async () => {
    const { pair, client } = await startGrpcPair();
    const call = duplex(client);
    call.write(Buffer.from('x'));
    await once(call, 'data');
    call.on('error', () => undefined);
    const ended = new Promise<grpc.StatusObject>((resolve) => call.on('status', resolve));
    pair.setRules();
    expect((await ended).code).not.toBe(grpc.status.OK);
    expect((await pair.payments.recorded(1))[0]).toMatchObject({ decision: 'deny', reason: 'policy-changed' });
  });
});
