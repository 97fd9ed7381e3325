// One HTTP/2 connection (RFC 9113), what both ends have in common: frames out, windows, pings, time limits, the end. It knows streams by number
// and nothing of requests. Whatever comes, it throws nothing out: what breaks the protocol ends the connection with GOAWAY.
import type { PosternError } from '#base/error';
import type { Connection, ConnectionHandler, HeldFor } from '../connection.ts';
import type { Limits } from '../limits.ts';
import { ClosedStreams, ending } from './closed-streams.ts';
import { failLink } from './errors.ts';
import { preface } from './frames.ts';
import type { HeaderBlock } from './incoming.ts';
import { Incoming } from './incoming.ts';
import type { LinkLimits } from './limits.ts';
import { errorCode, LinkError } from './link-error.ts';
import { Outgoing } from './outgoing.ts';
import type { PeerSettings } from './settings.ts';
import { defaultWindow, initialSettings, largestWindow, settingsFrame } from './settings.ts';
import type { LinkStream } from './stream.ts';
import { StreamTable } from './stream-table.ts';

export interface LinkOptions {
  readonly connection: Connection;
  readonly bounds: Limits;
  readonly limits: LinkLimits;
  readonly monotonic: () => number;
  readonly isServer: boolean;
  /** Whether CONNECT with `:protocol` may come. */
  readonly takesConnect: boolean;
  /** Names, values and 32 bytes for each field of one header block. */
  readonly listBytes: number;
  readonly fields: number;
  readonly idleMs: number;
  readonly role: LinkRole;
}

/** What an end of the connection adds. */
export interface LinkRole {
  /** A stream is opened by the other side. Only servers are asked. */
  open(id: number, block: HeaderBlock): void;
  /** A stream is over: there may be room for another one. */
  onRoom(): void;
  /** What waited to be written has left, or some of it. May throw `LinkError`. */
  onClear(): void;
  /** A bound has bitten that ends no more than a stream. */
  onLimit(limit: string): void;
  /** No further stream can be opened here; those that run go on. Called once. */
  onLeaving(): void;
  /** The other side broke the protocol or a bound; `limit` is the name of that bound. */
  onFault(fault: PosternError, limit: string | undefined): void;
  onClosed(): void;
}

/** So long do we wait for the other side's end after ours. */
const lingerMs = 2_000;
/** GOAWAY that names no last stream yet: so long may streams still be on their way (RFC 9113 section 6.8). */
const drainPingMs = 1_000;
/** Heads queued for a peer that does not read them: more than this beyond the buffer's bound and its streams are refused. */
const clogBytes = 1_048_576;
const alivePing = Buffer.from('postern?', 'latin1');
const drainPing = Buffer.from('postern.', 'latin1');

export class Link implements ConnectionHandler {
  readonly connection: Connection;
  readonly bounds: Limits;
  readonly limits: LinkLimits;
  readonly isServer: boolean;
  readonly role: LinkRole;
  readonly peer: PeerSettings = initialSettings();
  readonly outgoing: Outgoing;
  readonly streams = new StreamTable();
  readonly closedStreams = new ClosedStreams();
  /** Streams that were told to wait before they send more. */
  readonly waiting = new Set<LinkStream>();
  /** Those in which bytes of bodies wait, either way; also when the stream itself is over. */
  readonly holding = new Set<LinkStream>();
  /** Monotonic milliseconds when something last happened here; read once for everything that comes at once. */
  time: number;
  /** Bytes that the other side may still send on all streams together. */
  receiveWindow: number;
  /** The highest stream of the other side that was looked at. */
  lastPeerId = 0;
  /** The highest stream that we opened. */
  lastOwnId = 0;
  /** Streams of the other side above this one are not looked at any more. */
  finalId = largestWindow;
  /** Nothing more is read or written. */
  isOver = false;
  /** No new streams. */
  isLeaving = false;
  /** Frames have gone both ways and a stream has ended in good order. */
  hasServed = false;

  readonly #o: LinkOptions;
  readonly #incoming: Incoming;
  #taken = 0;
  #isPumping = false;
  #blockedAt = 0;
  #idleSince: number;
  #readAt: number;
  #settingsSentAt: number;
  #alivePingAt = 0;
  #drainPingAt = 0;
  #isFinished = false;

  constructor(options: LinkOptions) {
    this.#o = options;
    this.connection = options.connection;
    this.bounds = options.bounds;
    this.limits = options.limits;
    this.isServer = options.isServer;
    this.role = options.role;
    this.time = this.#idleSince = this.#readAt = this.#settingsSentAt = options.monotonic();
    this.receiveWindow = options.limits.connectionWindow;
    this.#incoming = new Incoming(this, options);
    this.outgoing = new Outgoing(this.peer, () => this.connection.schedule());
    this.connection.handler = this;
    if (!options.isServer) this.outgoing.out.add(preface);
    this.outgoing.out.add(settingsFrame({ ...options, limits: options.limits }));
    this.outgoing.writeWindowUpdate(0, options.limits.connectionWindow - defaultWindow);
    this.connection.deadline = this.time + this.limits.tickMs;
  }

  /** More than a little waits to be written. */
  get isCongested(): boolean {
    return this.connection.isBlocked || this.outgoing.out.queued >= this.bounds.bufferBytes;
  }

  /** So much waits that the other side cannot be reading. */
  get isClogged(): boolean {
    return this.outgoing.out.queued + this.connection.socket.writableLength > this.bounds.bufferBytes + clogBytes;
  }

  /** Most of what may come has come and is not read, or nothing more may go: whatever is added here would wait. */
  get isFull(): boolean {
    const { connectionWindow } = this.limits;
    if (this.#unread * 2 > connectionWindow) return true;
    return this.outgoing.sendWindow <= 0 && this.waiting.size > 0;
  }

  /** Bytes that have come and were not handed on. */
  get #unread(): number {
    return this.limits.connectionWindow - this.receiveWindow - this.#taken;
  }

  get held(): number {
    let held = this.#unread + this.outgoing.out.queued;
    for (const { pending } of this.holding) held += pending;
    return held;
  }

  *heldFor(): Generator<HeldFor> {
    for (const { heldFor: exchange, held: bytes } of this.holding) if (exchange) yield { bytes, exchange };
  }

  // What the connection says.

  read(bytes: Buffer): void {
    if (this.isOver) return;
    this.time = this.#readAt = this.#o.monotonic();
    this.#alivePingAt = 0;
    try {
      this.#incoming.read(bytes);
    } catch (thrown) {
      this.fail(thrown);
    }
  }

  /** Nobody half-closes an HTTP/2 connection to go on reading: without windows and pings from there it could not go on for long. */
  ended(): void {
    if (this.isOver) return;
    this.leave();
    // Over before its streams hear of it: they ask.
    this.#finish();
    this.#loseAll();
  }

  closed(): void {
    this.isOver = this.outgoing.isStopped = true;
    this.#incoming.stop();
    this.leave();
    this.#loseAll();
    this.role.onClosed();
  }

  drained(): void {
    this.#blockedAt = 0;
    this.pump();
    this.#clear();
  }

  flushing(): void {
    // What waits goes as far as the connection takes it.
    while (this.outgoing.out.queued > 0) {
      if (!this.outgoing.out.take((piece) => this.connection.give(piece))) {
        this.#blockedAt ||= this.time;
        return;
      }
      if (this.waiting.size > 0) this.pump();
      this.#clear();
    }
  }

  expired(): void {
    this.time = this.#o.monotonic();
    if (this.#isFinished) return this.connection.cut();
    try {
      this.#tick(this.time);
    } catch (thrown) {
      this.fail(thrown);
    }
  }

  /** Takes nothing new, finishes what runs, then closes. */
  retire(): void {
    if (this.isOver || this.#drainPingAt > 0) return;
    this.leave();
    if (!this.isServer) return this.finishWhenIdle();
    // Two steps: first that this will end, then, after a round trip, which streams were the last.
    this.outgoing.writeGoaway(largestWindow, errorCode.none);
    this.#drainPingAt = this.time || 1;
    this.outgoing.writePing(0, drainPing, 0);
    this.#wake();
  }

  // What goes.

  /** Lets the streams that wait send, each a share, as long as there is room. */
  pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    let before = Number.NaN;
    while (this.outgoing.sendWindow !== before && !this.isCongested) {
      before = this.outgoing.sendWindow;
      for (const stream of [...this.waiting]) {
        if (this.isCongested) break;
        this.waiting.delete(stream);
        // Those that still wait go to the end of the line.
        if (!stream.advance() && !stream.isClosed) this.waiting.add(stream);
      }
    }
    this.#isPumping = false;
  }

  // What was taken in.

  /** Bytes that came are handed on or dropped: the other side may send as many again. */
  credit(bytes: number): void {
    this.#taken += bytes;
    if (this.isOver || this.#taken * 2 < this.limits.connectionWindow) return;
    this.receiveWindow += this.#taken;
    this.outgoing.writeWindowUpdate(0, this.#taken);
    this.#taken = 0;
  }

  onSettingsAck(): void {
    if (this.#settingsSentAt === 0)
      throw new LinkError(errorCode.protocol, 'SETTINGS were acknowledged that nobody sent');
    this.#settingsSentAt = 0;
  }

  onPingAck(bytes: Buffer, from: number): void {
    if (this.#drainPingAt > 0 && bytes.compare(drainPing, 0, 8, from, from + 8) === 0) this.#lastGoaway();
  }

  /** The other side will look at no stream of ours above `lastId`. */
  onGoaway(lastId: number, code: number): void {
    this.leave();
    if (code !== errorCode.none) this.role.onFault(failLink('HTTP2_GOAWAY', { number: code }), undefined);
    if (!this.isServer)
      for (const stream of this.streams.all()) if (stream.id > lastId) this.#lose(stream, undefined, true);
    this.finishWhenIdle();
  }

  // The life of streams and of the connection.

  add(stream: LinkStream): void {
    this.streams.add(stream);
    if (this.streams.size === 1) this.#wake();
  }

  forget(stream: LinkStream, how: number): void {
    stream.isClosed = true;
    this.streams.delete(stream.id);
    this.waiting.delete(stream);
    this.closedStreams.note(stream.id, how);
    if (how === ending.both) {
      this.hasServed = true;
      this.#incoming.earnReset();
    }
    if (this.streams.size === 0) this.#idleSince = this.time;
    if (this.isLeaving) this.finishWhenIdle();
    else this.role.onRoom();
  }

  /** A stream that the other side has just opened is not wanted. */
  refuseStream(id: number, code: number): void {
    this.outgoing.writeReset(id, code);
    this.closedStreams.note(id, ending.resetByUs);
  }

  /** The other side is to blame for a stream that must be reset; throws when it has done so too often. */
  countReset(): void {
    this.#incoming.countReset();
  }

  leave(): void {
    if (this.isLeaving) return;
    this.isLeaving = true;
    this.role.onLeaving();
  }

  /** Ends the connection because of what came, or of a fault of ours. */
  fail(thrown: unknown): void {
    if (this.isOver) return;
    const error =
      thrown instanceof LinkError ? thrown : new LinkError(errorCode.internal, `internal error: ${String(thrown)}`);
    const code = error.limit === undefined ? 'HTTP2_INVALID' : 'HTTP2_FLOOD';
    this.leave();
    this.outgoing.writeGoaway(this.lastPeerId, error.code);
    this.#finish();
    this.#loseAll(error.message);
    this.role.onFault(
      failLink(code, { reason: error.message }, { cause: error.code === errorCode.internal ? thrown : undefined }),
      error.limit,
    );
  }

  finishWhenIdle(): void {
    if (!this.isLeaving || this.streams.size > 0 || this.isOver) return;
    if (this.#drainPingAt > 0) return;
    this.outgoing.writeGoaway(this.lastPeerId, errorCode.none);
    this.#finish();
  }

  #clear(): void {
    try {
      if (!this.isOver) this.role.onClear();
    } catch (thrown) {
      this.fail(thrown);
    }
  }

  #finish(): void {
    this.connection.finish();
    this.isOver = this.#isFinished = this.outgoing.isStopped = true;
    this.#incoming.stop();
    this.connection.deadline = this.#o.monotonic() + lingerMs;
  }

  #loseAll(invalid?: string): void {
    for (const stream of this.streams.all()) this.#lose(stream, invalid, false);
  }

  #lose(stream: LinkStream, invalid: string | undefined, isUntouched: boolean): void {
    stream.isClosed = true;
    this.streams.delete(stream.id);
    this.waiting.delete(stream);
    stream.onLost(invalid, isUntouched);
  }

  #lastGoaway(): void {
    this.#drainPingAt = 0;
    this.finalId = this.lastPeerId;
    this.outgoing.writeGoaway(this.lastPeerId, errorCode.none);
    this.finishWhenIdle();
  }

  #tick(now: number): void {
    const { settingsMs, pingMs, pingAckMs, tickMs } = this.limits;
    const { headMs, writeMs } = this.bounds;
    this.connection.deadline = now + tickMs;
    if (this.#settingsSentAt > 0 && now - this.#settingsSentAt > settingsMs)
      throw new LinkError(errorCode.settingsTimeout, 'SETTINGS were not acknowledged in time', 'http2-settings-time');
    if (this.#incoming.isOverdue(now, headMs))
      throw new LinkError(errorCode.enhanceYourCalm, 'a frame came too slowly', 'head');
    if (this.#blockedAt > 0 && now - this.#blockedAt > writeMs) return this.#giveUp('it takes no bytes', 'write');
    if (this.#alivePingAt > 0 && now - this.#alivePingAt > pingAckMs)
      return this.#giveUp('it answers no ping', 'http2-ping');
    if (this.#drainPingAt > 0 && now - this.#drainPingAt > drainPingMs) this.#lastGoaway();
    for (const stream of this.streams.all()) stream.tick(now);
    if (this.isOver) return;
    if (this.streams.size > 0 || !this.isServer) {
      if (this.#alivePingAt === 0 && now - this.#readAt > pingMs) {
        this.#alivePingAt = now;
        this.outgoing.writePing(0, alivePing, 0);
      }
    }
    if (this.streams.size > 0 || this.isLeaving) return;
    this.outgoing.out.release();
    const idleAt = this.#idleSince + this.#o.idleMs;
    if (now >= idleAt) return this.connection.retire();
    // Nothing can come due before then.
    if (this.#settingsSentAt === 0 && this.#blockedAt === 0 && !this.#incoming.isWaiting) {
      const next = this.isServer
        ? idleAt
        : Math.min(idleAt, this.#readAt + Math.max(pingMs, this.#alivePingAt + pingAckMs - this.#readAt));
      this.connection.deadline = Math.max(now + tickMs, next);
    }
  }

  #giveUp(reason: string, limit: string): void {
    this.isOver = this.outgoing.isStopped = true;
    this.leave();
    this.#loseAll();
    this.role.onFault(failLink('HTTP2_TIMEOUT', { reason }), limit);
    this.connection.cut();
  }

  /** Streams are open or an end is near: look at the time limits soon. */
  #wake(): void {
    const soon = this.time + this.limits.tickMs;
    if (this.connection.deadline > soon) this.connection.deadline = soon;
  }
}
