// Frames as bytes (RFC 9113 section 4): their kinds, how one is written, and a reader that takes bytes as they come. The reader hands DATA on in
// pieces without copying or waiting, every other frame whole. It never holds more than one frame.
import { errorCode, LinkError } from './link-error.ts';

export const frameType = {
  data: 0x0,
  headers: 0x1,
  priority: 0x2,
  reset: 0x3,
  settings: 0x4,
  pushPromise: 0x5,
  ping: 0x6,
  goaway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;

export const flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** Every frame begins with so many bytes. */
export const frameHead = 9;

/** What a client sends before its first frame (section 3.4). */
export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export function writeFrameHead(
  bytes: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  id: number,
): void {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  bytes[at + 5] = id >>> 24;
  bytes[at + 6] = id >>> 16;
  bytes[at + 7] = id >>> 8;
  bytes[at + 8] = id;
}

export function read32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export interface FrameSink {
  /** The head of a frame has come: throws when such a frame may not come here and now. May be called again for the same frame. */
  admit(type: number, length: number, flags: number, id: number): void;
  /** A whole frame other than DATA; its payload is `bytes[from, to)`, valid during the call only. */
  frame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): void;
  /** A DATA frame begins; `length` counts its padding too, as flow control does. */
  dataBegin(flags: number, id: number, length: number): void;
  /** The bytes are lent for the time of the call. */
  dataPiece(bytes: Buffer): void;
  /** `padding`: bytes of it, the length of the padding included. */
  dataEnd(padding: number): void;
}

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #limit: number;
  /** Bytes of a frame that is not here in full. */
  #rest: Buffer | undefined;
  /** Inside a DATA frame: bytes of the body and of the padding still to come. */
  #isInData = false;
  #dataLeft = 0;
  #padLeft = 0;
  #padding = 0;
  #isStopped = false;

  constructor(sink: FrameSink, limit: number) {
    this.#sink = sink;
    this.#limit = limit;
  }

  /** Whether a frame other than DATA has come in part. */
  get isWaiting(): boolean {
    return this.#rest !== undefined;
  }

  /** Drops what is here and whatever comes. */
  stop(): void {
    this.#isStopped = true;
    this.#rest = undefined;
  }

  /** Throws `LinkError`, and whatever the sink throws. Returns how many frames ended. */
  read(bytes: Buffer): number {
    let frames = 0;
    let at = 0;
    const all = this.#rest ? Buffer.concat([this.#rest, bytes]) : bytes;
    this.#rest = undefined;
    while (!this.#isStopped) {
      if (this.#isInData) {
        at = this.#readData(all, at);
        if (this.#isInData) return frames;
        frames++;
        continue;
      }
      if (all.length - at < frameHead) break;
      const length = (all[at]! << 16) | (all[at + 1]! << 8) | all[at + 2]!;
      const type = all[at + 3]!;
      const flags = all[at + 4]!;
      const id = read32(all, at + 5) & 0x7fff_ffff;
      if (length > this.#limit) throw new LinkError(errorCode.frameSize, 'a frame is larger than announced');
      this.#sink.admit(type, length, flags, id);
      const isPadded = type === frameType.data && (flags & flag.padded) !== 0;
      const whole = type === frameType.data ? frameHead + (isPadded && length > 0 ? 1 : 0) : frameHead + length;
      if (all.length - at < whole) break;
      if (type === frameType.data) {
        this.#beginData(flags, id, length, isPadded ? all[at + frameHead] : undefined);
        at += whole;
        continue;
      }
      this.#sink.frame(type, flags, id, all, at + frameHead, at + whole);
      at += whole;
      frames++;
    }
    if (at < all.length && !this.#isStopped) this.#rest = Buffer.from(all.subarray(at));
    return frames;
  }

  #beginData(flags: number, id: number, length: number, pad: number | undefined): void {
    if (flags & flag.padded && length === 0) throw new LinkError(errorCode.frameSize, 'a padded DATA frame is empty');
    this.#isInData = true;
    this.#padLeft = pad ?? 0;
    this.#padding = pad === undefined ? 0 : pad + 1;
    this.#dataLeft = length - this.#padding;
    if (this.#dataLeft < 0)
      throw new LinkError(errorCode.protocol, 'the padding of a DATA frame is longer than the frame');
    this.#sink.dataBegin(flags, id, length);
  }

  #readData(bytes: Buffer, at: number): number {
    if (this.#dataLeft > 0) {
      const size = Math.min(this.#dataLeft, bytes.length - at);
      if (size === 0) return at;
      this.#dataLeft -= size;
      this.#sink.dataPiece(size === bytes.length ? bytes : bytes.subarray(at, at + size));
      at += size;
      if (this.#dataLeft > 0) return at;
    }
    const skipped = Math.min(this.#padLeft, bytes.length - at);
    this.#padLeft -= skipped;
    if (this.#padLeft === 0) {
      this.#isInData = false;
      this.#sink.dataEnd(this.#padding);
    }
    return at + skipped;
  }
}
