// The messages of grpc.health.v1.Health/Check, which are a few bytes of protobuf each, inside the frames of gRPC over HTTP/2.

export const healthMethod = '/grpc.health.v1.Health/Check';
const serving = 1;

/** HealthCheckRequest { string service = 1; } in one uncompressed frame. */
export function healthRequest(service: string): Buffer {
  const name = Buffer.from(service, 'utf8');
  const message = name.length === 0 ? name : Buffer.concat([Buffer.of(0x0a), varint(name.length), name]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Whether a HealthCheckResponse { ServingStatus status = 1; } says SERVING; anything that is not exactly one such message does not. */
export function isServing(frames: Buffer): boolean {
  if (frames.length < 5 || frames[0] !== 0 || frames.readUInt32BE(1) !== frames.length - 5) return false;
  const message = frames.subarray(5);
  let status = 0;
  let at = 0;
  while (at < message.length) {
    const tag = readVarint(message, at);
    if (!tag) return false;
    at = tag.next;
    const field = Math.floor(tag.value / 8);
    switch (tag.value % 8) {
      case 0: {
        const value = readVarint(message, at);
        if (!value) return false;
        if (field === 1) status = value.value;
        at = value.next;
        break;
      }
      case 1:
        at += 8;
        break;
      case 2: {
        const length = readVarint(message, at);
        if (!length) return false;
        at = length.next + length.value;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        return false;
    }
  }
  return at === message.length && status === serving;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  for (; left > 127; left >>>= 7) bytes.push((left & 127) | 128);
  bytes.push(left);
  return Buffer.from(bytes);
}

function readVarint(bytes: Buffer, at: number): { readonly value: number; readonly next: number } | undefined {
  let value = 0;
  for (let count = 0; count < 10; count++) {
    const byte = bytes[at + count];
    if (byte === undefined) return undefined;
    value += (byte & 127) * 2 ** (7 * count);
    if (byte < 128) return { value, next: at + count + 1 };
  }
  return undefined;
}
