// gRPC through two sidecars, with the client and the server of @grpc/grpc-js: every kind of call, deadlines, cancellation, trailers, errors, and
// streams of 50 MB, in the manner of the gRPC interoperability tests.
import { once } from 'node:events';
import * as grpc from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { allow, call, type Pair, startPair, type TestApp } from '../helpers/mesh.ts';

const bytes = (value: Buffer): Buffer => value;
const kinds = {
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
};
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  ...kinds,
});
const service = {
  unary: method('Unary', false, false),
  collect: method('Collect', true, false),
  expand: method('Expand', false, true),
  talk: method('Talk', true, true),
  silent: method('Silent', false, false),
  fail: method('Fail', false, false),
} satisfies grpc.ServiceDefinition;
const Client = grpc.makeGenericClientConstructor(service, 'Echo');

const chunk = Buffer.alloc(500_000, 'abcdefghij');

interface Seen {
  readonly cancelled: PromiseWithResolvers<void>;
  metadata: grpc.Metadata[];
}

async function startGrpc(): Promise<{ app: TestApp; seen: Seen }> {
  const seen: Seen = { cancelled: Promise.withResolvers(), metadata: [] };
  const server = new grpc.Server({ 'grpc.max_receive_message_length': -1 });
  server.addService(service, {
    unary(call: grpc.ServerUnaryCall<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) {
      seen.metadata.push(call.metadata);
      const initial = new grpc.Metadata();
      initial.set('x-initial', 'first');
      call.sendMetadata(initial);
      const trailing = new grpc.Metadata();
      trailing.set('x-trailing-bin', Buffer.from([0, 1, 255]));
      reply(null, Buffer.from(call.request.toString().toUpperCase()), trailing);
    },
    collect(call: grpc.ServerReadableStream<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) {
      let size = 0;
      call.on('data', (part: Buffer) => {
        size += part.length;
      });
      call.on('end', () => reply(null, Buffer.from(String(size))));
    },
    async expand(call: grpc.ServerWritableStream<Buffer, Buffer>) {
      for (let left = Number(call.request.toString()); left > 0; left--)
        if (!call.write(chunk)) await once(call, 'drain');
      call.end();
    },
    talk(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
      call.on('data', (part: Buffer) => call.write(Buffer.from(`heard ${part}`)));
      call.on('end', () => call.end());
      call.on('cancelled', () => seen.cancelled.resolve());
    },
    silent(call: grpc.ServerUnaryCall<Buffer, Buffer>) {
      call.on('cancelled', () => seen.cancelled.resolve());
    },
    fail(_: grpc.ServerUnaryCall<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) {
      const metadata = new grpc.Metadata();
      metadata.set('x-why', 'because');
      reply({ code: grpc.status.FAILED_PRECONDITION, details: 'not näw', metadata });
    },
  } as grpc.UntypedServiceImplementation);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (fault, bound) =>
      fault ? reject(fault) : resolve(bound),
    ),
  );
  onTestFinished(() => server.forceShutdown());
  return { app: { host: '127.0.0.1', port } as TestApp, seen };
}

const startGrpcPair = async (more: Partial<Parameters<typeof startPair>[0]> = {}) => {
  const { app, seen } = await startGrpc();
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

interface Outcome {
  readonly fault: grpc.ServiceError | null;
  readonly value: string | undefined;
  readonly metadata: grpc.Metadata | undefined;
  readonly status: grpc.StatusObject;
}

function unary(
  client: grpc.Client,
  name: keyof typeof service,
  text: string,
  options: grpc.CallOptions = {},
): Promise<Outcome> {
  const { path } = service[name];
  return new Promise((resolve) => {
    let metadata: grpc.Metadata | undefined;
    let done: Omit<Outcome, 'status' | 'metadata'>;
    const call = client.makeUnaryRequest(path, bytes, bytes, Buffer.from(text), sent(), options, (fault, value) => {
      done = { fault, value: value?.toString() };
    });
    call.on('metadata', (head) => {
      metadata = head;
    });
    call.on('status', (status) => setImmediate(() => resolve({ ...done, metadata, status })));
  });
}

function sent(): grpc.Metadata {
  const metadata = new grpc.Metadata();
  metadata.set('x-sent', 'by the client');
  return metadata;
}

const duplex = (client: grpc.Client, options: grpc.CallOptions = {}) =>
  client.makeBidiStreamRequest<Buffer, Buffer>(service.talk.path, bytes, bytes, sent(), options);

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
