// The frames that come over a connection: which may come when (RFC 9113 sections 5 and 6), header blocks put together, floods counted. What
// breaks a rule is thrown as LinkError and ends the connection; only what an application can cause ends no more than its stream.
import type { Budget } from './budget.ts';
import { createBudget } from './budget.ts';
import { ending } from './closed-streams.ts';
import type { FrameSink } from './frames.ts';
import { FrameReader, flag, frameType, preface, read32 } from './frames.ts';
import { HpackDecoder } from './hpack-decode.ts';
import type { Link } from './link.ts';
import { errorCode, LinkError } from './link-error.ts';
import { largestWindow, readSettings } from './settings.ts';
import type { LinkStream } from './stream.ts';

/** A header block just decoded; `kinds` and `fault` are valid until the next one. */
export interface HeaderBlock {
  /** Name, value, name, value; the receiver may change it. */
  readonly fields: string[];
  /** `fieldKind` of each field. */
  readonly kinds: Uint8Array;
  /** `fieldFault` bits of all fields. */
  readonly fault: number;
  readonly isTooLarge: boolean;
  /** It ends the stream. */
  readonly isLast: boolean;
}

/** A block whose end has not come. */
interface OpenBlock {
  readonly id: number;
  readonly isLast: boolean;
  readonly isSelfish: boolean;
  readonly since: number;
  readonly parts: Buffer[];
  bytes: number;
}

export class Incoming implements FrameSink {
  readonly #link: Link;
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  /** Bytes of the preface still to come. */
  #prefaceLeft: number;
  #hasSettings = false;
  #block: OpenBlock | undefined;
  /** Since when a frame has waited for its rest, or the first one to come; 0 when none does. */
  #waitsSince: number;
  #goawayId = largestWindow;
  /** The stream of the DATA frame that is being read; `undefined` when its bytes are dropped. */
  #data: LinkStream | undefined;
  #dataFlags = 0;
  #dataBytes = 0;

  readonly #resets: Budget;
  readonly #refusals: Budget;
  readonly #pings: Budget;
  readonly #settings: Budget;
  readonly #empties: Budget;
  readonly #windowUpdates: Budget;
  readonly #ignored: Budget;

  constructor(link: Link, o: { listBytes: number; fields: number }) {
    const { limits } = link;
    this.#link = link;
    this.#reader = new FrameReader(this, limits.frameBytes);
    this.#decoder = new HpackDecoder(o);
    this.#prefaceLeft = link.isServer ? preface.length : 0;
    this.#waitsSince = link.time || 1;
    this.#resets = createBudget({ allowance: limits.resets, what: 'reset streams', limit: 'http2-resets' });
    this.#refusals = createBudget({ allowance: limits.refusals, what: 'streams at a time', limit: 'http2-streams' });
    this.#pings = createBudget({ allowance: limits.pings, what: 'PING frames', limit: 'http2-pings' });
    this.#settings = createBudget({ allowance: limits.settings, what: 'SETTINGS frames', limit: 'http2-settings' });
    this.#empties = createBudget({ allowance: limits.empties, what: 'empty DATA frames', limit: 'http2-empty' });
    this.#windowUpdates = createBudget({
      allowance: limits.windowUpdates,
      what: 'WINDOW_UPDATE frames',
      limit: 'http2-windows',
    });
    this.#ignored = createBudget({ allowance: limits.ignored, what: 'frames of no use', limit: 'http2-ignored' });
  }

  /** A frame or a block has come in part. */
  get isWaiting(): boolean {
    return this.#waitsSince > 0 || this.#block !== undefined;
  }

  isOverdue(now: number, ms: number): boolean {
    return (
      (this.#waitsSince > 0 && now - this.#waitsSince > ms) ||
      (this.#block !== undefined && now - this.#block.since > ms)
    );
  }

  stop(): void {
    this.#reader.stop();
    this.#block = undefined;
  }

  /** Throws `LinkError`. */
  read(bytes: Buffer): void {
    if (this.#prefaceLeft > 0) {
      const size = Math.min(bytes.length, this.#prefaceLeft);
      const from = preface.length - this.#prefaceLeft;
      if (preface.compare(bytes, 0, size, from, from + size) !== 0) refuse('it does not begin with the HTTP/2 preface');
      this.#prefaceLeft -= size;
      if (size === bytes.length) return;
      bytes = bytes.subarray(size);
    }
    const frames = this.#reader.read(bytes);
    if (!this.#hasSettings) return;
    if (!this.#reader.isWaiting) this.#waitsSince = 0;
    else if (frames > 0 || this.#waitsSince === 0) this.#waitsSince = this.#link.time || 1;
  }

  /** A stream that we had to reset because of the other side, or that it reset. */
  countReset(): void {
    this.#resets.spend(this.#link.time);
  }

  earnReset(): void {
    this.#resets.earn();
  }

  // Frames, as the reader finds them.

  admit(type: number, length: number, flags: number, id: number): void {
    if (!this.#hasSettings && (type !== frameType.settings || flags & flag.ack))
      refuse('its first frame is not SETTINGS');
    if (this.#block && (type !== frameType.continuation || id !== this.#block.id))
      refuse('a header block is interrupted');
    switch (type) {
      case frameType.data:
      case frameType.headers:
        if (id === 0) refuse('a frame of a stream names none');
        if (type === frameType.headers && length > this.#link.limits.blockBytes) tooLarge();
        break;
      case frameType.priority:
        if (id === 0) refuse('PRIORITY names no stream');
        if (length !== 5) sizeRefused('PRIORITY');
        break;
      case frameType.reset:
        if (id === 0) refuse('RST_STREAM names no stream');
        if (length !== 4) sizeRefused('RST_STREAM');
        break;
      case frameType.settings:
        if (id !== 0) refuse('SETTINGS names a stream');
        if (flags & flag.ack && length > 0) sizeRefused('SETTINGS');
        break;
      case frameType.pushPromise:
        refuse('PUSH_PROMISE was not asked for');
        break;
      case frameType.ping:
        if (id !== 0) refuse('PING names a stream');
        if (length !== 8) sizeRefused('PING');
        break;
      case frameType.goaway:
        if (id !== 0) refuse('GOAWAY names a stream');
        if (length < 8) sizeRefused('GOAWAY');
        break;
      case frameType.windowUpdate:
        if (length !== 4) sizeRefused('WINDOW_UPDATE');
        break;
      case frameType.continuation:
        if (!this.#block) refuse('CONTINUATION continues nothing');
        else if (this.#block.bytes + length > this.#link.limits.blockBytes) tooLarge();
        break;
    }
  }

  frame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    const link = this.#link;
    switch (type) {
      case frameType.headers:
        return this.#headers(flags, id, bytes, from, to);
      case frameType.continuation:
        return this.#continuation(flags, bytes, from, to);
      case frameType.windowUpdate:
        return this.#windowUpdate(id, read32(bytes, from) & largestWindow);
      case frameType.reset:
        return this.#reset(id, read32(bytes, from));
      case frameType.settings:
        return flags & flag.ack ? link.onSettingsAck() : this.#settingsChanged(bytes, from, to);
      case frameType.ping:
        this.#pings.spend(link.time);
        if (flags & flag.ack) return link.onPingAck(bytes, from);
        return link.outgoing.writePong(bytes, from);
      case frameType.goaway:
        return this.#goaway(read32(bytes, from) & largestWindow, read32(bytes, from + 4));
      case frameType.priority:
        if ((read32(bytes, from) & largestWindow) === id) refuse('a stream depends on itself');
    }
    this.#ignored.spend(link.time);
  }

  dataBegin(flags: number, id: number, length: number): void {
    const link = this.#link;
    link.receiveWindow -= length;
    if (link.receiveWindow < 0) overflow('more bytes came than the connection allows');
    this.#dataFlags = flags;
    this.#dataBytes = 0;
    const stream = link.streams.get(id);
    this.#data = stream;
    if (!stream) return this.#late(id, { mayEnded: false, costs: length === 0 });
    if (stream.isReceived || !stream.takesBody)
      throw new LinkError(errorCode.streamClosed, 'DATA came where none may come');
    if (!stream.admit(length)) overflow('more bytes came than the stream allows');
  }

  dataPiece(bytes: Buffer): void {
    this.#dataBytes += bytes.length;
    if (this.#data && !this.#data.isClosed) this.#data.receive(bytes);
    else this.#link.credit(bytes.length);
  }

  dataEnd(padding: number): void {
    const stream = this.#data;
    this.#data = undefined;
    const isEnd = (this.#dataFlags & flag.endStream) !== 0;
    if (this.#dataBytes === 0 && !isEnd) this.#empties.spend(this.#link.time);
    if (!stream || stream.isClosed) return this.#link.credit(padding);
    if (padding > 0) stream.credit(padding);
    if (isEnd) stream.receiveEnd([]);
  }

  // Header blocks.

  #headers(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    let isSelfish = false;
    if (flags & flag.padded) {
      if (from === to) sizeRefused('HEADERS');
      to -= bytes[from++]!;
      if (to < from) refuse('the padding of HEADERS is longer than the frame');
    }
    if (flags & flag.priority) {
      if (to - from < 5) sizeRefused('HEADERS');
      isSelfish = (read32(bytes, from) & largestWindow) === id;
      from += 5;
    }
    const isLast = (flags & flag.endStream) !== 0;
    if (flags & flag.endHeaders) return this.#complete({ id, isLast, isSelfish }, bytes, from, to);
    const parts = [Buffer.from(bytes.subarray(from, to))];
    this.#block = { id, isLast, isSelfish, since: this.#link.time, parts, bytes: to - from };
  }

  #continuation(flags: number, bytes: Buffer, from: number, to: number): void {
    const block = this.#block!;
    block.parts.push(Buffer.from(bytes.subarray(from, to)));
    block.bytes += to - from;
    if (block.parts.length > this.#link.limits.continuations + 1)
      throw new LinkError(errorCode.enhanceYourCalm, 'a header block has too many parts', 'http2-continuations');
    if ((flags & flag.endHeaders) === 0) return;
    this.#block = undefined;
    this.#complete(block, Buffer.concat(block.parts), 0, block.bytes);
  }

  #complete(o: Pick<OpenBlock, 'id' | 'isLast' | 'isSelfish'>, bytes: Buffer, from: number, to: number): void {
    const link = this.#link;
    const decoder = this.#decoder;
    const fields = decoder.decode(bytes, from, to);
    const { id } = o;
    const block = {
      fields,
      kinds: decoder.kinds,
      fault: decoder.fault,
      isTooLarge: decoder.isTooLarge,
      isLast: o.isLast,
    };
    const stream = link.streams.get(id);
    if (stream) {
      if (stream.isReceived) throw new LinkError(errorCode.streamClosed, 'HEADERS came after the end of the stream');
      if (o.isSelfish) return stream.onMalformed('it depends on itself');
      return stream.onBlock(block);
    }
    if (!link.isServer || (id & 1) === 0 || id <= link.lastPeerId)
      return this.#late(id, { mayEnded: false, costs: true });
    if (id > link.finalId) return this.#ignored.spend(link.time);
    link.lastPeerId = id;
    if (link.streams.size >= link.limits.streams || link.isClogged) {
      this.#refusals.spend(link.time);
      link.refuseStream(id, errorCode.refusedStream);
      link.role.onLimit('http2-streams');
    } else if (o.isSelfish) {
      this.countReset();
      link.refuseStream(id, errorCode.protocol);
    } else link.role.open(id, block);
  }

  // The other frames.

  #settingsChanged(bytes: Buffer, from: number, to: number): void {
    const link = this.#link;
    this.#settings.spend(link.time);
    this.#hasSettings = true;
    const { window } = link.peer;
    readSettings(link.peer, { bytes, from, to, isServer: link.isServer });
    link.outgoing.encoder.setLimit(link.peer.tableSize);
    link.outgoing.writeSettingsAck();
    const by = link.peer.window - window;
    if (by !== 0)
      for (const stream of link.streams.all()) {
        stream.sendWindow += by;
        if (stream.sendWindow > largestWindow) overflow('a window is too large');
      }
    if (by > 0) link.pump();
    if (!link.isLeaving) link.role.onRoom();
  }

  #windowUpdate(id: number, more: number): void {
    const link = this.#link;
    this.#windowUpdates.spend(link.time);
    if (more === 0) refuse('a window grows by nothing');
    if (id === 0) {
      link.outgoing.sendWindow += more;
      if (link.outgoing.sendWindow > largestWindow) overflow('the window of the connection is too large');
    } else {
      const stream = link.streams.get(id);
      // Whoever reads a body opens the window for more of it while its end is on the way: that is counted above and nothing to blame.
      if (!stream) return this.#late(id, { mayEnded: true, costs: false });
      stream.sendWindow += more;
      if (stream.sendWindow > largestWindow) return stream.onOverflow();
    }
    if (link.waiting.size > 0) link.pump();
  }

  #reset(id: number, code: number): void {
    const link = this.#link;
    const stream = link.streams.get(id);
    if (!stream) return this.#late(id, { mayEnded: true, costs: true });
    if (link.isServer) this.countReset();
    link.forget(stream, ending.resetByPeer);
    stream.onReset(code);
  }

  #goaway(lastId: number, code: number): void {
    // Streams that the other side opens are none of its business here; ours are odd for a client.
    if (lastId > this.#goawayId) refuse('GOAWAY takes back what it said');
    if (lastId > 0 && (lastId & 1) === (this.#link.isServer ? 1 : 0)) refuse('GOAWAY names a stream of its own');
    this.#goawayId = lastId;
    this.#link.onGoaway(lastId, code);
  }

  /** A frame for a stream that is not open: forgiven when it can have been on its way, an error when not. */
  #late(id: number, o: { mayEnded: boolean; costs: boolean }): void {
    const link = this.#link;
    const isTheirs = (id & 1) === (link.isServer ? 1 : 0);
    if (isTheirs && id > link.finalId) return this.#ignored.spend(link.time);
    if (id > (isTheirs ? link.lastPeerId : link.lastOwnId)) refuse('a frame came for a stream that is not open yet');
    const how = link.closedStreams.of(id);
    if (how === ending.never) refuse('a stream was opened out of order');
    if (!o.mayEnded && (how === ending.both || how === ending.resetByPeer))
      throw new LinkError(errorCode.streamClosed, 'a frame came for a stream that was closed');
    if (o.costs) this.#ignored.spend(link.time);
  }
}

function refuse(reason: string): never {
  throw new LinkError(errorCode.protocol, reason);
}

function overflow(reason: string): never {
  throw new LinkError(errorCode.flowControl, reason);
}

function sizeRefused(name: string): never {
  throw new LinkError(errorCode.frameSize, `${name} has the wrong length`);
}

function tooLarge(): never {
  throw new LinkError(errorCode.enhanceYourCalm, 'a header block is too large', 'http2-header-block');
}
