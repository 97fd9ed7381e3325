// One HTTP/2 stream as its connection sees it: what may still be sent and received, and the body bytes that wait on either side. Holds at most
// one window of bytes that came, and one piece of what goes; whoever gives it more was told to wait.
import type { Exchange } from '../exchange.ts';
import { KeptBytes } from '../kept-bytes.ts';
import type { FieldList } from '../request-head.ts';
import { unknownLength } from '../request-head.ts';
import { ending } from './closed-streams.ts';
import type { HeaderBlock } from './incoming.ts';
import type { Link } from './link.ts';
import { errorCode } from './link-error.ts';

/** Most bytes sent for one stream before the next one has its turn. */
const quantum = 65_536;

export abstract class LinkStream {
  readonly id: number;
  readonly link: Link;
  /** Bytes that the other side will take on this stream. Below 0 after it has shrunk its window. */
  sendWindow: number;
  /** Bytes that it may still send. */
  receiveWindow: number;
  /** We have sent the end, or will send nothing more. */
  isSent = false;
  /** The other side has sent the end. */
  isReceived = false;
  /** No frame of ours or theirs belongs to it any more. */
  isClosed = false;
  /** DATA may come now. */
  takesBody = true;
  /** What came is malformed: nothing more of it is handed on. */
  protected isBroken = false;
  /** Declared bytes of the body that are still to come, or `unknownLength`. */
  expected = unknownLength;
  /** Monotonic milliseconds at which bytes last moved, in either direction. */
  movedAt: number;
  /** The last frame we sent, while its flags can still be changed. */
  lastFrame: Buffer | undefined;
  lastFrameAt = 0;
  lastFrameTurn = 0;

  /** Nothing of the body that came is handed on. */
  protected isHeld = true;
  /** The longest that no byte may move either way. */
  protected idleMs: number;

  #leftBytes = 0;
  #stalledAt = 0;
  #window: number;
  #taken = 0;
  #wasHeld = false;
  readonly #held = new KeptBytes();
  #heldEnd: FieldList | undefined;
  #isHandingOn = false;
  readonly #pending = new KeptBytes();
  #pendingEnd: FieldList | undefined;

  constructor(link: Link, id: number) {
    this.link = link;
    this.id = id;
    this.sendWindow = link.peer.window;
    this.receiveWindow = this.#window = link.limits.streamWindow;
    this.movedAt = link.time;
    this.idleMs = link.bounds.streamMs;
  }

  /** A piece of the body. */
  protected abstract onBody(bytes: Buffer): void;
  protected abstract onBodyEnd(trailers: FieldList): void;
  /** What `send` held back has left: more may come. */
  protected abstract onWritable(): void;
  /** The whole body has left, or the side of ours is closed. */
  protected onSent(): void {}
  /** The other side ended the stream by RST_STREAM. */
  abstract onReset(code: number): void;
  /** The connection is gone (when the other side broke the protocol, `invalid` says how), or never took the stream (`isUntouched`). */
  abstract onLost(invalid: string | undefined, isUntouched: boolean): void;
  /** A further header block has come. */
  abstract onBlock(block: HeaderBlock): void;
  /** What came breaks the rules of a message; only this stream is concerned. May throw `LinkError`. */
  abstract onMalformed(reason: string): void;
  /** Its window was opened too far. May throw `LinkError`. */
  abstract onOverflow(): void;
  /** A time limit has passed: bytes wait for a window that does not open, or no byte moves either way. */
  protected abstract onOverdue(what: 'stalled' | 'idle'): void;

  /** Bytes that wait here, either way. */
  get held(): number {
    return this.#held.length + this.#pending.length;
  }

  /** Of those, the ones that wait for a window or for the connection. */
  get pending(): number {
    return this.#pending.length;
  }

  /** The exchange of somebody else that the bytes wait for. */
  get heldFor(): Exchange | undefined {
    return undefined;
  }

  // What came.

  /** DATA of so many bytes, padding included, begins. False: the stream's window is too small for it. */
  admit(length: number): boolean {
    this.receiveWindow -= length;
    return this.receiveWindow >= 0;
  }

  receive(bytes: Buffer): void {
    this.movedAt = this.link.time;
    if (this.isBroken) return this.link.credit(bytes.length);
    if (this.expected !== unknownLength) {
      this.expected -= bytes.length;
      if (this.expected < 0) {
        this.link.credit(bytes.length);
        return this.onMalformed('its body is longer than its content-length');
      }
    }
    if (this.isHeld || this.#held.length > 0) {
      this.#held.add(bytes);
      this.#noteHeld();
    } else this.#handOn(bytes);
  }

  receiveEnd(trailers: FieldList): void {
    this.isReceived = true;
    if (this.isBroken) return this.settle();
    if (this.expected > 0) return this.onMalformed('its body is shorter than its content-length');
    if (this.isHeld || this.#held.length > 0) this.#heldEnd = trailers;
    else this.onBodyEnd(trailers);
    this.settle();
  }

  /** Bytes that nobody will read have come, or were padding. */
  credit(bytes: number): void {
    this.link.credit(bytes);
    if (this.isReceived || this.isClosed) return;
    this.#taken += bytes;
    if (this.#taken * 2 < this.#window) return;
    // What is still to come fits.
    if (this.expected !== unknownLength && this.expected <= this.receiveWindow) return;
    let more = this.#taken;
    // Whoever reads at once may have more on the way.
    if (!this.#wasHeld && this.#window < this.link.limits.mostStreamWindow) {
      more += this.#window;
      this.#window *= 2;
    }
    this.#wasHeld = false;
    this.#taken = 0;
    this.receiveWindow += more;
    this.link.outgoing.writeWindowUpdate(this.id, more);
  }

  protected hold(): void {
    this.isHeld = true;
    this.#wasHeld = true;
  }

  protected unhold(): void {
    this.isHeld = false;
    if (this.#isHandingOn) return;
    this.#isHandingOn = true;
    // What is handed on may ask to be held again.
    while (!this.isHeld && this.#held.length > 0) this.#held.shift((bytes) => this.#handOn(bytes));
    this.#isHandingOn = false;
    this.#noteHeld();
    if (!this.isHeld && this.#heldEnd) {
      const trailers = this.#heldEnd;
      this.#heldEnd = undefined;
      this.onBodyEnd(trailers);
    }
  }

  /** Nobody wants what came any more. */
  protected discard(): void {
    const bytes = this.#held.length;
    this.#held.clear();
    this.#heldEnd = undefined;
    this.#pending.clear();
    this.#pendingEnd = undefined;
    this.#noteHeld();
    if (bytes > 0) this.link.credit(bytes);
  }

  #noteHeld(): void {
    if (this.held > 0) this.link.holding.add(this);
    else this.link.holding.delete(this);
  }

  #handOn(bytes: Buffer): void {
    this.onBody(bytes);
    this.credit(bytes.length);
  }

  // What goes.

  /** Bytes of the body wait for a window or for the connection. */
  get isStalled(): boolean {
    return this.#pending.length > 0;
  }

  /** Sends body bytes. False: wait for `onWritable`. */
  protected send(bytes: Buffer): boolean {
    if (this.isClosed || this.isSent || bytes.length === 0) return true;
    const { link } = this;
    let sent = 0;
    if (this.#pending.length === 0 && !link.isCongested) {
      sent = link.outgoing.writeData(this, bytes);
      if (sent === bytes.length) {
        this.#noteSent(sent);
        if (!link.isCongested) return true;
        link.waiting.add(this);
        return false;
      }
    }
    this.#noteSent(sent);
    this.#pending.add(sent === 0 ? bytes : bytes.subarray(sent));
    this.#noteHeld();
    link.waiting.add(this);
    return false;
  }

  protected sendEnd(trailers: FieldList): void {
    if (this.isClosed || this.isSent) return;
    if (this.#pending.length > 0) {
      this.#pendingEnd = trailers;
      return;
    }
    this.link.outgoing.writeEnd(this, trailers);
    this.isSent = true;
    this.onSent();
    this.settle();
  }

  /** Sends some of what waits. True: all of it has left, and more was asked for. */
  advance(): boolean {
    const { link } = this;
    let left = quantum;
    while (this.#pending.length > 0 && left > 0) {
      if (link.isCongested) return false;
      const sent = link.outgoing.writeData(this, this.#pending.first(left));
      if (sent === 0) return false;
      this.#noteSent(sent);
      left -= sent;
      this.#pending.drop(sent);
    }
    if (this.#pending.length > 0) return false;
    this.#noteHeld();
    if (this.#pendingEnd) {
      const trailers = this.#pendingEnd;
      this.#pendingEnd = undefined;
      this.sendEnd(trailers);
    } else if (!this.isClosed) this.onWritable();
    return true;
  }

  #noteSent(bytes: number): void {
    if (bytes === 0) return;
    this.movedAt = this.link.time;
    this.#leftBytes += bytes;
  }

  /** Looks at the time limits; called every `tickMs` or so. */
  tick(now: number): void {
    const { writeMs, bodyBytes } = this.link.bounds;
    if (this.#pending.length === 0) {
      this.#stalledAt = 0;
      if (!this.isHeld && now - this.movedAt > this.idleMs) this.onOverdue('idle');
    } else if (this.#stalledAt === 0 || (now - this.#stalledAt >= writeMs && this.#leftBytes >= bodyBytes)) {
      this.#stalledAt = now;
      this.#leftBytes = 0;
    } else if (now - this.#stalledAt >= writeMs) this.onOverdue('stalled');
  }

  // Its end.

  /** Ends it at once by RST_STREAM. */
  protected reset(code: number = errorCode.cancel): void {
    this.discard();
    if (this.isClosed) return;
    this.link.outgoing.writeReset(this.id, code);
    this.link.forget(this, ending.resetByUs);
  }

  /** Closes it when both sides have sent their ends. */
  protected settle(): void {
    if (this.isSent && this.isReceived && !this.isClosed) this.link.forget(this, ending.both);
  }
}
