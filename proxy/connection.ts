// One open socket and what is known about it. Writes of one event-loop turn leave in one system call; time limits are plain numbers that one
// sweep looks at. Whatever the other side does, nothing is thrown from here: a broken socket ends in `closed`.
import type { Socket } from 'node:net';
import type { Exchange } from './exchange.ts';
import { Output, type Piece } from './output.ts';
import { readInto } from './read-buffer.ts';

/** What a codec does with a connection. */
export interface ConnectionHandler {
  /** The bytes are lent for the time of the call. */
  read(bytes: Buffer): void;
  /** The other side will send no more. */
  ended(): void;
  /** The socket is gone; called once. */
  closed(): void;
  /** What was written has left, after a `write` that said false. */
  drained(): void;
  /** `deadline` has passed. */
  expired(): void;
  /** Finish what runs, take nothing new, then close (drain, expiry near, trust changed). */
  retire(): void;
  /** The turn ends: what is written now leaves with the rest. Called after `schedule` or a `write`. */
  flushing?(): void;
  /** Bytes that have come or wait to go and are kept by the handler. */
  readonly held?: number;
  /** Those of them that are kept for exchanges of others, which share this connection: to end one lets go of its bytes. */
  heldFor?(): Iterable<HeldFor>;
}

export interface HeldFor {
  readonly bytes: number;
  readonly exchange: Exchange;
}

export interface ConnectionOptions {
  readonly id: string;
  readonly socket: Socket;
  readonly turn: Turn;
  /** Bytes queued for writing above which `write` says false. */
  readonly bufferBytes: number;
}

/** A turn with more bytes than this is written by way of an `Output`. */
const mostSmall = 4_096;

export class Connection {
  readonly id: string;
  readonly socket: Socket;
  readonly remote: string;
  /** The address of it alone. */
  readonly remoteHost: string;
  handler: ConnectionHandler = idle;
  /** Monotonic milliseconds at which `handler.expired` is called; 0 is never. */
  deadline = 0;
  /** Wall milliseconds: when to retire, and when to cut at the latest (the sooner of both identities' expiry). */
  retireAt = Number.POSITIVE_INFINITY;
  cutAt = Number.POSITIVE_INFINITY;
  /** Verified identity at the other end, for bans; `undefined` on plain connections. */
  peer: { readonly id: string; readonly serial: string } | undefined;
  isRetired = false;
  isClosed = false;
  /** Why it broke, when it did: a code such as ECONNRESET. */
  fault: NodeJS.ErrnoException | undefined;

  readonly #turn: Turn;
  readonly #bufferBytes: number;
  /** What is to be written: a few small things, or all of it in `#output`, which a connection has from its first larger turn on. */
  #pieces: (string | Buffer)[] = [];
  #output: Output | undefined;
  #queued = 0;
  #isScheduled = false;
  #isBlocked = false;
  #isFinishing = false;

  constructor({ id, socket, turn, bufferBytes }: ConnectionOptions) {
    this.id = id;
    this.socket = socket;
    this.remoteHost = socket.remoteAddress ?? 'unknown';
    this.remote = `${this.remoteHost}:${socket.remotePort ?? 0}`;
    this.#turn = turn;
    this.#bufferBytes = bufferBytes;
    socket.setNoDelay(true);
    readInto(socket, (bytes) => {
      if (!this.#isFinishing || this.handler !== idle) this.handler.read(bytes);
    });
    socket.on('end', () => this.handler.ended());
    socket.on('drain', () => this.#drained());
    socket.on('error', (error) => {
      this.fault ??= error;
    });
    socket.on('close', () => {
      this.isClosed = true;
      this.deadline = 0;
      this.#dropQueued();
      this.handler.closed();
    });
    if (socket.destroyed) this.isClosed = true;
  }

  /** Queues a copy of a piece for the end of this turn; strings are latin1. False: wait for `drained`. */
  write(piece: string | Buffer): boolean {
    if (this.isClosed || this.#isFinishing) return true;
    if (!this.#output?.queued && this.#queued + piece.length <= mostSmall)
      this.#pieces.push(typeof piece === 'string' ? piece : Buffer.from(piece));
    else this.#larger().add(piece);
    return this.#queue(piece.length);
  }

  /** The same for a part of an output, which is not copied. */
  give(piece: Piece): boolean {
    if (this.isClosed || this.#isFinishing) return true;
    this.#larger().give(piece);
    return this.#queue(piece.bytes.length);
  }

  /** Asks for a `flush` at the end of this turn. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#turn.add(this);
  }

  /** Bytes kept for it in this process, in either direction. */
  get held(): number {
    return this.isClosed ? 0 : this.#queued + this.socket.writableLength + (this.handler.held ?? 0);
  }

  /** Changes whenever the system takes a byte of what was written, also within one large write, of which `writableLength` says nothing. */
  get unsent(): number {
    const { _handle } = this.socket as Socket & { _handle?: { readonly writeQueueSize?: number } | null };
    return this.socket.writableLength + (_handle?.writeQueueSize ?? 0);
  }

  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** Hands everything queued to the socket. */
  flush(): void {
    this.handler.flushing?.();
    this.#isScheduled = false;
    if (this.#queued === 0 || this.isClosed) return;
    const size = this.#queued;
    this.#queued = 0;
    const { socket } = this;
    // A socket has a bound of its own, below which it never says that it has drained.
    const isUntold = this.#isBlocked && this.#bufferBytes < socket.writableHighWaterMark;
    const done = isUntold ? () => this.#drained() : undefined;
    if (this.#pieces.length > 0) this.#putSmall(size, done);
    else this.#putOutput(done);
    if (this.#isBlocked && !socket.writableNeedDrain) this.#drained();
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    if (!this.isClosed) this.socket.resume();
  }

  /** Sends what is queued and the end of our side. The caller keeps reading (and dropping) until the other side ends or a deadline. */
  finish(): void {
    if (this.#isFinishing || this.isClosed) return;
    this.halfClose();
    this.socket.resume();
  }

  /** Sends what is queued and the end of our side; the other side may go on. */
  halfClose(): void {
    if (this.#isFinishing || this.isClosed) return;
    this.flush();
    this.#isFinishing = true;
    this.socket.end();
  }

  /** Ends it now, unsent bytes included, so that the other side cannot take what it got for the whole. */
  cut(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#dropQueued();
    const { socket } = this;
    // All is written and the end is leaving just now: libuv resets no such socket, and Node would never close it.
    if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0) socket.destroy();
    else if ('encrypted' in socket) resetTls(socket);
    else socket.resetAndDestroy();
  }

  /** Closes it; what the kernel has taken is still delivered. */
  drop(): void {
    this.isClosed = true;
    this.socket.destroy();
  }

  /** Takes nothing new from now on. */
  retire(): void {
    if (this.isRetired) return;
    this.isRetired = true;
    this.handler.retire();
  }

  #queue(size: number): boolean {
    this.#queued += size;
    this.schedule();
    if (this.#queued + this.socket.writableLength < this.#bufferBytes) return true;
    this.#isBlocked = true;
    return false;
  }

  #dropQueued(): void {
    this.#pieces = [];
    this.#output = undefined;
  }

  /** The output, with all that was queued. */
  #larger(): Output {
    this.#output ??= new Output();
    if (this.#pieces.length > 0) {
      for (const piece of this.#pieces) this.#output.add(piece);
      this.#pieces = [];
    }
    return this.#output;
  }

  #putSmall(size: number, done: (() => void) | undefined): void {
    const pieces = this.#pieces;
    this.#pieces = [];
    if (pieces.length === 1 && typeof pieces[0] === 'string') this.socket.write(pieces[0], 'latin1', done);
    else this.socket.write(joined(pieces, size), done);
  }

  #putOutput(done: (() => void) | undefined): void {
    const output = this.#larger();
    this.socket.cork();
    output.take((piece) => {
      this.#put(piece, done);
      return true;
    });
    this.socket.uncork();
    output.release();
  }

  #put({ bytes, slab }: Piece, done: (() => void) | undefined): void {
    if (!slab) return void this.socket.write(bytes, done);
    this.socket.write(bytes, (error) => {
      // Without an error the system looks at it no longer, also when `destroy` has ended the write half way. Of a write that failed nobody says so:
      // the collector finds out.
      if (!error) slab.giveBack();
      done?.();
    });
  }

  #drained(): void {
    if (this.isClosed || !this.#isBlocked || this.#queued + this.socket.writableLength >= this.#bufferBytes) return;
    this.#isBlocked = false;
    this.handler.drained();
  }
}

interface Handle {
  close(done?: () => void): void;
  reset(done?: () => void): void;
  readonly _parent?: Handle;
}

/** `resetAndDestroy` is for TCP only; without it nobody could tell the end of a TLS connection from a cut, since Node does not say whether it was announced. */
function resetTls(socket: Socket): void {
  const tcp = (socket as Socket & { readonly _handle?: Handle | null })._handle?._parent;
  if (tcp) tcp.close = tcp.reset;
  socket.destroy();
}

function joined(pieces: readonly (string | Buffer)[], size: number): Buffer {
  const all = Buffer.allocUnsafe(size);
  let at = 0;
  for (const piece of pieces) at += typeof piece === 'string' ? all.write(piece, at, 'latin1') : piece.copy(all, at);
  return all;
}

/** Flushes every connection written to in this turn of the event loop, at its end. */
export interface Turn {
  add(connection: { flush(): void }): void;
}

export function createTurn(): Turn {
  let dirty: { flush(): void }[] = [];
  const flushAll = (): void => {
    const these = dirty;
    dirty = [];
    for (const connection of these) connection.flush();
  };
  return {
    add(connection) {
      if (dirty.push(connection) === 1) setImmediate(flushAll);
    },
  };
}

/** Does nothing, whatever happens; others take of it what they do not care about. */
export const idle: ConnectionHandler = {
  read: () => undefined,
  ended: () => undefined,
  closed: () => undefined,
  drained: () => undefined,
  expired: () => undefined,
  retire: () => undefined,
};
