// The frames that go over a connection, put together in its output. Writes nothing that the windows of the other side do not allow, and nothing at
// all once stopped.
import { Output } from '../output.ts';
import type { FieldList } from '../request-head.ts';
import { flag, frameHead, frameType, writeFrameHead } from './frames.ts';
import { fieldOverhead, HpackEncoder } from './hpack-encode.ts';
import type { PeerSettings } from './settings.ts';
import { defaultWindow } from './settings.ts';
import type { LinkStream } from './stream.ts';

export class Outgoing {
  readonly out = new Output();
  readonly encoder = new HpackEncoder();
  /** Bytes that the other side takes on all streams together. */
  sendWindow = defaultWindow;
  /** Nothing more is written. */
  isStopped = false;
  readonly #peer: PeerSettings;
  readonly #schedule: () => void;

  /** `schedule`: asks for the output to be taken at the end of this turn. */
  constructor(peer: PeerSettings, schedule: () => void) {
    this.#peer = peer;
    this.#schedule = schedule;
  }

  /** Makes room for a header block of the given fields and more; returns where the frame begins. */
  beginHeaders(fields: FieldList, more: number): number {
    let size = frameHead + more + 2 * fieldOverhead;
    for (let at = 0; at < fields.length; at += 2) size += fields[at]!.length + fields[at + 1]!.length + fieldOverhead;
    this.out.room(size);
    const start = this.out.at;
    this.out.at += frameHead;
    this.encoder.begin(this.out);
    return start;
  }

  /** Ends the block begun at `start`; in several frames when the other side takes no larger ones. */
  endHeaders(stream: LinkStream, start: number, flags: number): void {
    const { out } = this;
    const size = out.at - start - frameHead;
    const most = this.#peer.frameSize;
    if (size <= most) writeFrameHead(out.bytes, start, size, frameType.headers, flags | flag.endHeaders, stream.id);
    else {
      const block = Buffer.from(out.bytes.subarray(start + frameHead, out.at));
      out.at = start;
      out.room(size + frameHead * Math.ceil(size / most));
      for (let at = 0; at < size; at += most) {
        const part = block.subarray(at, at + most);
        const type = at === 0 ? frameType.headers : frameType.continuation;
        const last = at + most >= size ? flag.endHeaders : 0;
        writeFrameHead(out.bytes, out.at, part.length, type, last | (at === 0 ? flags : 0), stream.id);
        part.copy(out.bytes, out.at + frameHead);
        if (at === 0) start = out.at;
        out.at += frameHead + part.length;
      }
    }
    this.#noteFrame(stream, start);
    this.#schedule();
  }

  /** Writes a copy of as many of the bytes as the windows allow and returns how many that were. */
  writeData(stream: LinkStream, bytes: Buffer): number {
    if (this.isStopped) return 0;
    const { out } = this;
    let sent = 0;
    while (sent < bytes.length) {
      const size = Math.min(bytes.length - sent, stream.sendWindow, this.sendWindow, this.#peer.frameSize);
      if (size <= 0) break;
      out.room(frameHead);
      writeFrameHead(out.bytes, out.at, size, frameType.data, 0, stream.id);
      this.#noteFrame(stream, out.at);
      out.at += frameHead;
      out.add(size === bytes.length ? bytes : bytes.subarray(sent, sent + size));
      sent += size;
      stream.sendWindow -= size;
      this.sendWindow -= size;
    }
    if (sent > 0) this.#schedule();
    return sent;
  }

  /** Ends our side of the stream: on the frame sent last while that has not left, else with a frame of its own. */
  writeEnd(stream: LinkStream, trailers: FieldList): void {
    if (this.isStopped) return;
    const { out } = this;
    if (trailers.length > 0) {
      const start = this.beginHeaders(trailers, 0);
      this.encoder.fields(out, trailers);
      return this.endHeaders(stream, start, flag.endStream);
    }
    if (stream.lastFrame && stream.lastFrameTurn === out.generation) {
      const at = stream.lastFrameAt + 4;
      stream.lastFrame[at] = stream.lastFrame[at]! | flag.endStream;
      stream.lastFrame = undefined;
      return;
    }
    this.#write(frameType.data, flag.endStream, stream.id, 0);
  }

  writeReset(id: number, code: number): void {
    if (this.isStopped) return;
    const at = this.#write(frameType.reset, 0, id, 4);
    this.out.bytes.writeUInt32BE(code, at);
  }

  writeWindowUpdate(id: number, more: number): void {
    if (this.isStopped || more <= 0) return;
    const at = this.#write(frameType.windowUpdate, 0, id, 4);
    this.out.bytes.writeUInt32BE(more, at);
  }

  writeSettingsAck(): void {
    this.#write(frameType.settings, flag.ack, 0, 0);
  }

  writePong(bytes: Buffer, from: number): void {
    this.writePing(flag.ack, bytes, from);
  }

  #noteFrame(stream: LinkStream, at: number): void {
    stream.lastFrame = this.out.bytes;
    stream.lastFrameAt = at;
    stream.lastFrameTurn = this.out.generation;
  }

  writePing(flags: number, bytes: Buffer, from: number): void {
    const at = this.#write(frameType.ping, flags, 0, 8);
    bytes.copy(this.out.bytes, at, from, from + 8);
  }

  writeGoaway(lastId: number, code: number): void {
    const at = this.#write(frameType.goaway, 0, 0, 8);
    this.out.bytes.writeUInt32BE(lastId, at);
    this.out.bytes.writeUInt32BE(code, at + 4);
  }

  /** Writes the head of a frame and leaves room for its payload; returns where that begins. */
  #write(type: number, flags: number, id: number, length: number): number {
    const { out } = this;
    out.room(frameHead + length);
    writeFrameHead(out.bytes, out.at, length, type, flags, id);
    const payload = out.at + frameHead;
    out.at = payload + length;
    this.#schedule();
    return payload;
  }
}
