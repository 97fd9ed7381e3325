// One end of a tunnel: a connection whose bytes mean nothing to us (CONNECT, WebSocket, a TCP service). What comes is handed on as it comes, what
// goes waits for the other side, and each direction ends by itself. A codec that has agreed on a tunnel hands its connection over to this.
import type { PosternError } from '#base/error';
import { type Connection, type ConnectionHandler, idle } from './connection.ts';
import { fail } from './errors.ts';
import type { Exchange, UpstreamFault } from './exchange.ts';
import type { Limits } from './limits.ts';

/** What an end tells whoever has made it. */
export interface TunnelEvents {
  onBytes(bytes: Buffer): void;
  /** The other side will send no more; what we send still reaches it. */
  onEnd(): void;
  /** What `send` held back has left. */
  onReady(): void;
  /** It is broken, or silent for too long: nothing of it can be used any more. Called once at most, and not after `cut`. */
  onGone(why: 'closed' | 'idle' | 'write'): void;
}

export interface TunnelEndOptions {
  readonly connection: Connection;
  readonly limits: Limits;
  readonly monotonic: () => number;
  /** Bytes that came already, behind the head of the tunnel. */
  readonly rest: Buffer;
  /** The other side has ended already. */
  readonly hasEnded: boolean;
  readonly events: TunnelEvents;
  /** Nothing more happens on the connection. Called once. */
  readonly onOver: () => void;
}

/** The connection's handler from now on. Hands nothing on before `unhold`. */
export class TunnelEnd implements ConnectionHandler {
  readonly #o: TunnelEndOptions;
  readonly #connection: Connection;
  #waiting: Buffer[] = [];
  #isHeld = true;
  #isPaused = false;
  #isHandingOn = false;
  /** The other side has ended; whether that was handed on is another matter. */
  #hasEnded: boolean;
  #isEndTold = false;
  #isFinished = false;
  #isOver = false;
  #leftToWrite = -1;

  constructor(options: TunnelEndOptions) {
    this.#o = options;
    this.#connection = options.connection;
    this.#hasEnded = options.hasEnded;
    if (options.rest.length > 0) this.#waiting.push(Buffer.from(options.rest));
    this.#connection.handler = this;
    this.#mark();
  }

  // What its owner says.

  /** False: wait for `onReady`. */
  send(bytes: Buffer): boolean {
    if (this.#isOver || bytes.length === 0) return true;
    const more = this.#connection.write(bytes);
    this.#mark(more ? this.#o.limits.tunnelIdleMs : this.#o.limits.writeMs);
    return more;
  }

  /** Sends the end of our side. */
  end(): void {
    if (this.#isFinished || this.#isOver) return;
    this.#isFinished = true;
    this.#connection.halfClose();
    this.#mark();
    this.#leaveWhenDone();
  }

  /** Ends both directions at once, so that the other side cannot take what it got for the whole. */
  cut(): void {
    this.#waiting = [];
    this.#connection.cut();
    this.#finish();
  }

  hold(): void {
    this.#isHeld = true;
  }

  unhold(): void {
    this.#isHeld = false;
    this.#handOn();
  }

  get held(): number {
    return this.#waiting.reduce((sum, { length }) => sum + length, 0);
  }

  // What the connection says.

  read(bytes: Buffer): void {
    if (this.#isOver) return;
    if (!this.#connection.isBlocked) this.#mark();
    if (this.#isHeld || this.#waiting.length > 0) this.#waiting.push(Buffer.from(bytes));
    else this.#o.events.onBytes(bytes);
    this.#handOn();
  }

  ended(): void {
    this.#hasEnded = true;
    this.#handOn();
  }

  closed(): void {
    if (this.#isOver) return;
    // Ended in good order while its bytes are taken slowly: what has come is still handed on.
    if (this.#hasEnded && !this.#isEndTold && !this.#connection.fault) return;
    this.#gone('closed');
  }

  drained(): void {
    this.#mark();
    this.#o.events.onReady();
  }

  expired(): void {
    if (this.#isOver) return;
    if (!this.#connection.isBlocked) return this.#gone('idle');
    const left = this.#connection.unsent;
    if (left === this.#leftToWrite) return this.#gone('write');
    this.#leftToWrite = left;
    this.#mark(this.#o.limits.writeMs);
  }

  /** Lasts until its time is up or somebody cuts it: there is no point at which it could take a break. */
  retire(): void {}

  #handOn(): void {
    if (this.#isHandingOn) return;
    this.#isHandingOn = true;
    while (!this.#isHeld && this.#waiting.length > 0) this.#o.events.onBytes(this.#waiting.shift()!);
    this.#isHandingOn = false;
    if (this.#hasEnded && !this.#isHeld && !this.#isEndTold && !this.#isOver) {
      this.#isEndTold = true;
      this.#o.events.onEnd();
      if (this.#connection.isClosed && !this.#isFinished) this.#gone('closed');
      else this.#leaveWhenDone();
    }
    this.#throttle();
  }

  /** Whatever comes while nothing may be handed on stays with the sender, but for the piece that is here. */
  #throttle(): void {
    const isFull = this.#isHeld && this.#waiting.length > 0;
    if (isFull === this.#isPaused || this.#isOver) return;
    this.#isPaused = isFull;
    if (isFull) this.#connection.pause();
    else this.#connection.resume();
  }

  /** Both directions have ended: the socket closes by itself, or is cut should it not. */
  #leaveWhenDone(): void {
    if (!this.#isFinished || !this.#isEndTold || this.#isOver) return;
    const { connection, monotonic, limits } = this.#o;
    connection.handler = leaving(connection, () => {
      connection.deadline = monotonic() + limits.writeMs;
    });
    this.#finish();
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#o.onOver();
  }

  #gone(why: 'closed' | 'idle' | 'write'): void {
    this.cut();
    this.#o.events.onGone(why);
  }

  #mark(ms: number = this.#o.limits.tunnelIdleMs): void {
    this.#connection.deadline = this.#o.monotonic() + ms;
  }
}

/** For a connection of which both directions have ended while its last bytes still leave, however slowly they are taken. */
function leaving(connection: Connection, wait: () => void): ConnectionHandler {
  let left = connection.unsent;
  wait();
  return {
    ...idle,
    expired() {
      const now = connection.unsent;
      if (now === 0 || now === left) return connection.cut();
      left = now;
      wait();
    },
  };
}

/** The events of the end that the caller holds. */
export function callerEvents(exchange: Exchange, { onLimit }: { onLimit: (limit: string) => void }): TunnelEvents {
  return {
    onBytes: (bytes) => exchange.requestData(bytes),
    onEnd: () => exchange.requestEnd([]),
    onReady: () => exchange.downstreamReady(),
    onGone(why) {
      if (why !== 'closed') onLimit(limitNames[why]);
      exchange.requestAbort(fail('DOWNSTREAM_CLOSED'));
    },
  };
}

export interface CalledOptions {
  readonly limits: Limits;
  readonly onLimit: (limit: string) => void;
  readonly faultOf: (fault: UpstreamFault) => PosternError;
}

/** The events of the end that is called. */
export function calledEvents(exchange: Exchange, { limits, onLimit, faultOf }: CalledOptions): TunnelEvents {
  return {
    onBytes: (bytes) => exchange.responseData(bytes),
    onEnd: () => exchange.responseEnd([]),
    onReady: () => exchange.upstreamReady(),
    onGone(why) {
      if (why === 'closed') return exchange.responseFail(faultOf({ kind: 'closed' }), undefined);
      onLimit(limitNames[why]);
      const ms = why === 'idle' ? limits.tunnelIdleMs : limits.writeMs;
      exchange.responseFail(faultOf({ kind: 'timeout', ms }), undefined);
    },
  };
}

const limitNames = { idle: 'tunnel-idle', write: 'write' } as const;
