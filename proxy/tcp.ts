// TCP services: a connection of a caller as an exchange that asks for a tunnel, and a connection to an application that is such a tunnel's other
// end. Neither side's bytes are looked at, and nobody waits for the other to speak first.
import type { PosternError } from '#base/error';
import { type Connection, idle } from './connection.ts';
import type { Downstream, Exchange, ResponseHead, Upstream, UpstreamFault } from './exchange.ts';
import type { Limits } from './limits.ts';
import { type RawHead, unknownLength } from './request-head.ts';
import { calledEvents, callerEvents, TunnelEnd } from './tunnel.ts';

/** What such a connection asks for, as policy, router and record see it. */
export function tunnelTo(host: string): RawHead {
  return {
    method: 'CONNECT',
    target: '',
    host,
    fields: [],
    length: unknownLength,
    expectsContinue: false,
    tunnel: 'connect',
  };
}

const nothing = Buffer.alloc(0);

interface EndOptions {
  readonly connection: Connection;
  readonly limits: Limits;
  readonly monotonic: () => number;
  readonly onLimit: (limit: string) => void;
}

/** A caller that cannot be told why it is refused: its connection is reset. */
export class TcpDownstream implements Downstream {
  readonly #o: EndOptions;
  #end: TunnelEnd | undefined;
  #isRefused = false;

  constructor(options: EndOptions) {
    this.#o = options;
  }

  get caller(): string | undefined {
    return this.#o.connection.peer?.id;
  }

  /** Before anything else; nothing of the caller's is handed on before the exchange asks for it. */
  begin(exchange: Exchange, rest: Buffer = nothing): void {
    const events = callerEvents(exchange, this.#o);
    this.#end = new TunnelEnd({ ...this.#o, rest, hasEnded: false, events, onOver: () => undefined });
  }

  inform(): void {}

  head({ status }: ResponseHead): void {
    this.#isRefused = status >= 300;
  }

  data(bytes: Buffer): boolean {
    return this.#isRefused || this.#end!.send(bytes);
  }

  end(): void {
    if (this.#isRefused) this.#end!.cut();
    else this.#end!.end();
  }

  abort(): void {
    this.#end!.cut();
  }

  pauseRequest(): void {
    this.#end!.hold();
  }

  resumeRequest(): void {
    this.#end!.unhold();
  }
}

export interface TcpUpstreamOptions extends EndOptions {
  readonly faultOf: (fault: UpstreamFault) => PosternError;
  /** It carries nothing (more). */
  readonly onGone: (upstream: TcpUpstream) => void;
}

/** A connection to the application, for one exchange. */
export class TcpUpstream implements Upstream {
  readonly connection: Connection;
  readonly #o: TcpUpstreamOptions;
  #end: TunnelEnd | undefined;
  #isGone = false;

  constructor(options: TcpUpstreamOptions) {
    this.#o = options;
    this.connection = options.connection;
    // Before it is used, what the application says waits in the kernel.
    this.connection.handler = { ...idle, closed: () => this.#leave() };
    this.connection.pause();
  }

  get isIdle(): boolean {
    return false;
  }

  /** The application has taken the connection, and that is all there is to an answer. */
  start(exchange: Exchange): this {
    if (this.connection.isClosed) {
      queueMicrotask(() => exchange.responseFail(this.#o.faultOf({ kind: 'closed' }), 'surely'));
      return this;
    }
    const end = new TunnelEnd({
      ...this.#o,
      rest: nothing,
      hasEnded: false,
      events: calledEvents(exchange, this.#o),
      onOver: () => this.#leave(),
    });
    this.#end = end;
    this.connection.resume();
    exchange.responseHead({ status: 200, reason: 'OK', fields: [], length: unknownLength });
    end.unhold();
    return this;
  }

  /** Nothing is to be sent over it after all. */
  release(): void {
    this.retire();
  }

  retire(): void {
    if (this.#end) return;
    this.connection.cut();
    this.#leave();
  }

  data(bytes: Buffer): boolean {
    return this.#end?.send(bytes) ?? true;
  }

  end(): void {
    this.#end?.end();
  }

  abort(): void {
    this.#end?.cut();
  }

  pauseResponse(): void {
    this.#end?.hold();
  }

  resumeResponse(): void {
    this.#end?.unhold();
  }

  #leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#o.onGone(this);
  }
}
