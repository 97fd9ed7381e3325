import { createServer, type Socket } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { longestHello, readClientHello } from '../../proxy/client-hello.ts';

/** The first message of OpenSSL's own client. */
async function helloOf(options: ConnectionOptions): Promise<Buffer> {
  const got = Promise.withResolvers<Buffer>();
  const server = createServer((socket: Socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (bytes: Buffer) => {
      got.resolve(bytes);
      socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const client = connect({ host: '127.0.0.1', port, ...options });
  client.on('error', () => undefined);
  const bytes = await got.promise;
  client.destroy();
  server.close();
  return bytes;
}

/** The same handshake message over records of at most so many bytes. */
function spread(hello: Buffer, most: number): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += most) {
    const part = message.subarray(at, at + most);
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(records);
}

const real = await helloOf({ servername: 'Shop.Example.com' });

describe("the host in a TLS client's first message", () => {
  test('is read from what OpenSSL sends, of either version', async () => {
    expect(readClientHello(real)).toEqual({ kind: 'read', serverName: 'shop.example.com' });
    const older = await helloOf({ servername: 'a.example', maxVersion: 'TLSv1.2' });
    expect(readClientHello(older)).toEqual({ kind: 'read', serverName: 'a.example' });
    const unnamed = await helloOf({});
    expect(readClientHello(unnamed)).toEqual({ kind: 'read', serverName: undefined });
  });

  test('is awaited byte by byte, and over records of any length', () => {
    for (let length = 0; length < real.length; length++)
      expect(readClientHello(real.subarray(0, length)), `${length}`).toEqual({ kind: 'more' });
    expect(readClientHello(spread(real, 1))).toMatchObject({ kind: 'refused' });
    for (const most of [60, 100, 1_000])
      expect(readClientHello(spread(real, most))).toEqual({ kind: 'read', serverName: 'shop.example.com' });
  });

  test('is not looked for in anything else', () => {
    for (const text of ['GET / HTTP/1.1\r\n\r\n', 'SSH-2.0-x', '\x16\x02\x00\x00\x01\x00', '\x16\x03\x01\x00\x00'])
      expect(readClientHello(Buffer.from(text, 'latin1'))).toMatchObject({ kind: 'refused' });
    const other = Buffer.from(real);
    other[5] = 2;
    expect(readClientHello(other)).toMatchObject({ kind: 'refused' });
    const huge = Buffer.from([22, 3, 1, 0, 4, 1, 255, 255, 255]);
    expect(readClientHello(huge)).toMatchObject({ kind: 'refused' });
  });

  test('is one host name, or refused', () => {
    const renamed = (name: string): Buffer => {
      const at = real.indexOf('Shop.Example.com');
      const bytes = Buffer.from(real);
      bytes.write(name.padEnd(16, 'x').slice(0, 16), at, 'latin1');
      return bytes;
    };
    expect(readClientHello(renamed('b.example'))).toMatchObject({ kind: 'read', serverName: 'b.examplexxxxxxx' });
    for (const name of [
      'a b',
      'a\0.example.comx',
      '-a',
      'a..b',
      '../../etc/passwd',
      '*.example.com',
      'ä.example',
      '.a',
    ])
      expect(readClientHello(renamed(name)), name).toMatchObject({ kind: 'refused' });
  });

  test('whatever bytes come, nothing is thrown and nothing past the end is believed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        expect(['more', 'read', 'refused']).toContain(readClientHello(Buffer.from(bytes)).kind);
      }),
      { numRuns: 5_000 },
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: real.length - 1 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 6 }),
        fc.nat({ max: real.length }),
        (changes, cut) => {
          const bytes = Buffer.from(real);
          for (const [at, value] of changes) bytes[at] = value;
          for (const some of [bytes, bytes.subarray(0, cut)])
            expect(['more', 'read', 'refused']).toContain(readClientHello(some).kind);
        },
      ),
      { numRuns: 20_000 },
    );
  });

  test('more than it may take is never asked for', () => {
    const size = longestHello + 1;
    const hello = Buffer.concat([Buffer.from([1, size >> 16, (size >> 8) & 255, size & 255]), Buffer.alloc(100)]);
    const record = Buffer.concat([Buffer.from([22, 3, 1, 0, hello.length]), hello]);
    expect(readClientHello(record)).toMatchObject({ kind: 'refused' });
  });
});
