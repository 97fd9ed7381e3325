// Reads without garbage. Node makes a 64 KB buffer for each read of a socket; at a few thousand reads a second that has the collector run all the time
// (measured: half of the CPU at one connection). What the `onread` option of `net.connect` does is done here for sockets that were accepted or speak TLS:
// every read of this thread lands in the same memory, which is lent for the time of one call. Where a version of Node has no such inside, reading stays
// as it is.
import type { Socket } from 'node:net';

const memory = Buffer.allocUnsafeSlow(65_536);

interface Inside {
  readonly _handle?: { useUserBuffer?(memory: Uint8Array): void } | null;
  [symbol: symbol]: unknown;
}

let spoil = false;

/** For tests: what was lent is written over afterwards, so that a use of it shows. */
export function spoilReads(): void {
  spoil = true;
}

/**
 * Calls `onBytes` for whatever comes from now on, in place of `data` events; `pause` and `resume` hold as always. The next read writes over the bytes:
 * whoever wants them for longer than the call makes a copy.
 */
export function readInto(socket: Socket, onBytes: (bytes: Buffer) => void): void {
  const inside = socket as unknown as Inside;
  const [buffer, callback] = ['kBuffer', 'kBufferCb'].map((name) => symbolOf(socket, name));
  const handle = inside._handle;
  if (!buffer || !callback || !handle?.useUserBuffer || socket.readableLength > 0) {
    socket.on('data', onBytes);
    return;
  }
  handle.useUserBuffer(memory);
  inside[buffer] = memory;
  const handOn = (size: number): boolean => {
    onBytes(memory.subarray(0, size));
    if (spoil) memory.fill(0xdb, 0, size);
    return true;
  };
  inside[callback] = handOn;
  socket.resume();
}

const symbols = new Map<string, symbol | undefined>();

function symbolOf(socket: Socket, name: string): symbol | undefined {
  if (!symbols.has(name))
    symbols.set(
      name,
      Object.getOwnPropertySymbols(socket).find(({ description }) => description === name),
    );
  return symbols.get(name);
}
