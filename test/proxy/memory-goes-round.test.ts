// What waits, what is unread and what is written share memory that goes round: whatever the sizes and the order, bytes come out as they went in, nobody
// sees anybody else's, and no piece of memory is in use twice.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Connection, createTurn, idle } from '../../proxy/connection.ts';
import { KeptBytes } from '../../proxy/kept-bytes.ts';
import { Output, type Piece } from '../../proxy/output.ts';
import { mostSlab, takeSlab } from '../../proxy/slabs.ts';
import { Unread } from '../../proxy/unread.ts';

let mark = 0;

/** Bytes that differ from those before. */
function some(size: number): Buffer {
  mark += 1;
  return Buffer.from(Array.from({ length: size }, (_, at) => (at * 7 + mark * 31) & 0xff));
}

/** As the connection lends it: written over when the call is over. */
function lent(bytes: Buffer, use: (lent: Buffer) => void): void {
  const memory = Buffer.from(bytes);
  use(memory);
  memory.fill(0xdb);
}

const sizes = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.integer({ min: 1_000, max: 20_000 }),
  fc.integer({ min: 60_000, max: 140_000 }),
);

test('a slab that was given back is written over here, so that a use of it afterwards shows', () => {
  const slab = takeSlab(20_000);
  const { bytes } = slab;
  bytes.fill(1);
  slab.giveBack();
  expect(bytes.every((byte) => byte === 0xdb)).toBe(true);
  expect(() => slab.bytes).toThrow('given back');
});

test('whoever gives a slab back again, or writes to it afterwards, is found out here and takes it from nobody', () => {
  const slab = takeSlab(mostSlab);
  const { bytes } = slab;
  slab.giveBack();
  const next = takeSlab(mostSlab);
  expect(next.bytes).toBe(bytes);
  expect(() => slab.giveBack()).toThrow('given back before');
  const other = takeSlab(mostSlab);
  expect(other.bytes).not.toBe(bytes);
  next.giveBack();
  bytes[mostSlab - 1] = 0;
  expect(() => takeSlab(mostSlab)).toThrow('wrote to memory');
  other.giveBack();
});

test('bytes that wait come out in order, shown, shifted or dropped', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(sizes, fc.constantFrom('add', 'drop', 'shift', 'each')), { maxLength: 30 }),
      (steps) => {
        const [one, other] = [new KeptBytes(), new KeptBytes()];
        let expected = Buffer.alloc(0);
        let others = Buffer.alloc(0);
        for (const [size, what] of steps) {
          if (what === 'add') {
            for (const kept of [one, other]) {
              const bytes = some(size);
              lent(bytes, (memory) => kept.add(memory));
              if (kept === one) expected = Buffer.concat([expected, bytes]);
              else others = Buffer.concat([others, bytes]);
            }
          } else if (what === 'drop' && one.length > 0) {
            const shown = one.first(size + 1);
            expect(shown.equals(expected.subarray(0, shown.length))).toBe(true);
            expected = expected.subarray(shown.length);
            one.drop(shown.length);
          } else if (what === 'shift' && one.length > 0) {
            one.shift((shown) => {
              // What is shown stays while somebody writes it elsewhere.
              const elsewhere = new KeptBytes();
              elsewhere.add(some(100_000));
              expect(shown.equals(expected.subarray(0, shown.length))).toBe(true);
              expected = expected.subarray(shown.length);
              elsewhere.clear();
            });
          } else if (what === 'each') {
            const seen: Buffer[] = [];
            other.each((shown) => seen.push(Buffer.from(shown)));
            expect(Buffer.concat(seen).equals(others)).toBe(true);
          }
          expect(one.length).toBe(expected.length);
        }
        one.clear();
        other.clear();
      },
    ),
    { numRuns: 30 },
  );
});

test('what is shown of them stays until whoever looks is done, also when they are dropped meanwhile', () => {
  const kept = new KeptBytes();
  const bytes = some(100_000);
  kept.add(bytes);
  let shown = 0;
  kept.each((part) => {
    kept.clear();
    expect(part.equals(bytes.subarray(0, part.length))).toBe(true);
    shown++;
  });
  expect([shown, kept.length]).toEqual([1, 0]);
  kept.add(bytes);
  const all: Buffer[] = [];
  kept.each((part) => void all.push(Buffer.from(part)));
  expect(Buffer.concat(all).equals(bytes)).toBe(true);
  kept.clear();
});

test.each([50, 1_000, 15_000, 17_000, 40_000])(
  'bytes that wait in pieces of %i cost at most two and a half times what they are',
  (size) => {
    const pieces = Math.ceil(100_000 / size);
    const bytes = some(size);
    const before = process.memoryUsage().arrayBuffers;
    const all = Array.from({ length: 100 }, () => new KeptBytes());
    for (const kept of all) for (let at = 0; at < pieces; at++) kept.add(bytes);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * pieces * size * 2.5 + 1_000_000);
    for (const kept of all) kept.clear();
  },
);

test('what is unread stays in one piece over many calls, however it was read', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(sizes, fc.integer({ min: 0, max: 100 })), { maxLength: 20 }), (steps) => {
      const unread = new Unread();
      let expected = Buffer.alloc(0);
      for (const [size, percent] of steps) {
        const bytes = some(size);
        expected = Buffer.concat([expected, bytes]);
        lent(bytes, (memory) => {
          unread.lend(memory);
          expect(unread.bytes.equals(expected)).toBe(true);
          const count = Math.floor((expected.length * percent) / 100);
          const shown = unread.bytes.subarray(0, count);
          unread.drop(count);
          // Handed on before it is settled.
          const elsewhere = new KeptBytes();
          elsewhere.add(some(100_000));
          expect(shown.equals(expected.subarray(0, count))).toBe(true);
          elsewhere.clear();
          expected = expected.subarray(count);
          unread.settle();
        });
        expect(unread.bytes.equals(expected)).toBe(true);
      }
      unread.clear();
    }),
    { numRuns: 30 },
  );
});

test('an output hands over what was written, in order, each slab with one piece only', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(sizes, fc.constantFrom('add', 'text', 'room', 'give', 'take')), { maxLength: 30 }),
      (steps) => {
        const out = new Output();
        const inner = new Output();
        let expected = Buffer.alloc(0);
        const write = (bytes: Buffer): void => {
          expected = Buffer.concat([expected, bytes]);
        };
        for (const [size, what] of steps) {
          const bytes = some(size);
          if (what === 'add') lent(bytes, (memory) => out.add(memory));
          else if (what === 'text') out.add(bytes.toString('latin1'));
          else if (what === 'room') {
            out.room(size);
            out.at += bytes.copy(out.bytes, out.at);
          } else if (what === 'give') {
            inner.add(bytes);
            inner.take((piece) => {
              out.give(piece);
              return true;
            });
          } else {
            const pieces: Piece[] = [];
            out.take((piece) => pieces.push(piece) > 0);
            expect(Buffer.concat(pieces.map((piece) => piece.bytes)).equals(expected)).toBe(true);
            const slabs = pieces.flatMap(({ slab }) => slab ?? []);
            expect(new Set(slabs).size).toBe(slabs.length);
            for (const slab of slabs) slab.giveBack();
            expected = Buffer.alloc(0);
            continue;
          }
          write(bytes);
          expect(out.queued).toBe(expected.length);
        }
      },
    ),
    { numRuns: 30 },
  );
});

test('64 MB are written out of a few pieces of memory, and arrive as they were lent', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [reader] = (await accepted) as [Socket];
  const memories = new Set<ArrayBufferLike>();
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  socket.write = ((bytes: Buffer, ...more: unknown[]) => {
    memories.add(bytes.buffer);
    return write(bytes, ...more);
  }) as typeof socket.write;
  const connection = new Connection({ id: 'c', socket, turn: createTurn(), bufferBytes: 131_072 });
  const [sent, got] = [createHash('sha256'), createHash('sha256')];
  let left = 1_024;
  const pour = (): void => {
    for (let more = true; more && left > 0; left--) {
      const bytes = randomBytes(65_536);
      sent.update(bytes);
      lent(bytes, (memory) => {
        more = connection.write(memory);
      });
    }
    if (left === 0) connection.halfClose();
  };
  connection.handler = { ...idle, drained: pour };
  pour();
  for await (const bytes of reader) got.update(bytes as Buffer);
  expect(got.digest('hex')).toBe(sent.digest('hex'));
  expect(memories.size).toBeLessThan(50);
  connection.drop();
  server.close();
});
