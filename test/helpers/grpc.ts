// A gRPC service with every kind of call, and a client that tells how a call has ended, both of @grpc/grpc-js.
import { once } from 'node:events';
import * as grpc from '@grpc/grpc-js';

export const bytes = (value: Buffer): Buffer => value;
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
export const service = {
  unary: method('Unary', false, false),
  collect: method('Collect', true, false),
  expand: method('Expand', false, true),
  talk: method('Talk', true, true),
  silent: method('Silent', false, false),
  fail: method('Fail', false, false),
  flaky: method('Flaky', false, false),
} satisfies grpc.ServiceDefinition;
export const Client = grpc.makeGenericClientConstructor(service, 'Echo');

export const chunk = Buffer.alloc(500_000, 'abcdefghij');

export interface Seen {
  readonly cancelled: PromiseWithResolvers<void>;
  metadata: grpc.Metadata[];
  /** Calls of Flaky, of which the first is UNAVAILABLE. */
  flaky: number;
}

export async function startGrpc(): Promise<{ port: number; seen: Seen; stop(): void }> {
  const seen: Seen = { cancelled: Promise.withResolvers(), metadata: [], flaky: 0 };
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
    flaky(_: grpc.ServerUnaryCall<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) {
      if (++seen.flaky === 1) reply({ code: grpc.status.UNAVAILABLE, details: 'not yet' });
      else reply(null, Buffer.from('at last'));
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
  return { port, seen, stop: () => server.forceShutdown() };
}

export interface Outcome {
  readonly fault: grpc.ServiceError | null;
  readonly value: string | undefined;
  readonly metadata: grpc.Metadata | undefined;
  readonly status: grpc.StatusObject;
}

export function unary(
  client: grpc.Client,
  name: keyof typeof service,
  text: string,
  { metadata: head = sent(), ...options }: grpc.CallOptions & { readonly metadata?: grpc.Metadata } = {},
): Promise<Outcome> {
  const { path } = service[name];
  return new Promise((resolve) => {
    let metadata: grpc.Metadata | undefined;
    let done: Omit<Outcome, 'status' | 'metadata'>;
    const call = client.makeUnaryRequest(path, bytes, bytes, Buffer.from(text), head, options, (fault, value) => {
      done = { fault, value: value?.toString() };
    });
    call.on('metadata', (initial) => {
      metadata = initial;
    });
    call.on('status', (status) => setImmediate(() => resolve({ ...done, metadata, status })));
  });
}

export function sent(): grpc.Metadata {
  const metadata = new grpc.Metadata();
  metadata.set('x-sent', 'by the client');
  return metadata;
}

export const duplex = (client: grpc.Client, options: grpc.CallOptions = {}) =>
  client.makeBidiStreamRequest<Buffer, Buffer>(service.talk.path, bytes, bytes, sent(), options);
