// Sends a permitted request where its route leads: tries endpoints of the cluster until one gives an answer that is for the caller. How often, how long and
// after what is the route's word; how many at a time, the cluster's.
import { isPosternError, type PosternError } from '#base/error';
import type { Endpoint, LiveCluster, Outcome, RetryPlan } from '#routing';
import { fail } from './errors.ts';
import { type Exchange, grpcStatusOf, type ResponseHead } from './exchange.ts';
import { Patience } from './patience.ts';
import type { Place, Pool } from './pool.ts';
import { outcomeTold } from './reply.ts';
import { type FieldList, isGrpc } from './request-head.ts';
import { type Running, send } from './serve.ts';

/** Where to, and with what. */
export interface Forwarding {
  /** For messages. */
  readonly service: string;
  readonly cluster: LiveCluster;
  readonly subset: string | undefined;
  readonly hash: number | undefined;
  readonly pool: (endpoint: Endpoint) => Pool;
  readonly fields: FieldList;
  readonly retries: RetryPlan;
  /** From now to the end of the answer. */
  readonly timeoutMs: number | undefined;
  readonly idleTimeoutMs: number | undefined;
  /** Whether the other end is a proxy of ours, whose word on what it has done counts. */
  readonly isMesh: boolean;
}

const none: ReadonlySet<string> = new Set();
/** Endpoints that one request may fail to connect to before each further one counts as a retry: each may cost the whole time to connect. */
const mostMoves = 8;

/** Throws when no try has come to an answer that the caller may have. */
export function forward(running: Running, o: Forwarding): Promise<void> {
  const { exchange, heard } = running;
  const { plane } = heard;
  const { cluster, service } = o;
  const leave = cluster.admit();
  if (!leave) {
    plane.metrics.limit('cluster-requests');
    throw fail('UPSTREAM_OVERLOADED', { service });
  }
  if (o.retries.attempts > 0 && exchange.head.length <= plane.keeping.each) exchange.keepBody(plane.keeping);
  return new Tries(running, o, leave).run();
}

/** The tries of one exchange, one after the other. */
class Tries {
  readonly #running: Running;
  readonly #o: Forwarding;
  /** Gives back the place among the requests of the cluster. */
  readonly #leave: () => void;
  readonly #patience: Patience | undefined;
  readonly #stopWatching: (() => void) | undefined;
  readonly #isGrpc: boolean;
  #tried: Set<string> | undefined;
  /** The next one, when it is known already. */
  #picked: Endpoint | undefined;
  #count = 0;
  #moves = 0;
  #retries = 0;
  /** Gives back the place of a retry: the one that runs, and the one that is about to. */
  #place: (() => void) | undefined;
  #next: (() => void) | undefined;
  #outcome: Outcome | undefined;

  constructor(running: Running, o: Forwarding, leave: () => void) {
    const { timeoutMs, idleTimeoutMs, service } = o;
    this.#running = running;
    this.#o = o;
    this.#leave = leave;
    this.#patience = timeoutMs === undefined ? undefined : patienceFor(running, timeoutMs, service);
    this.#stopWatching = idleTimeoutMs === undefined ? undefined : watchIdle(running, idleTimeoutMs);
    this.#isGrpc = isGrpc(running.exchange.head.fields);
  }

  /** Once. */
  async run(): Promise<void> {
    let last: PosternError | undefined;
    try {
      for (;;) {
        const endpoint = this.#pick();
        if (!endpoint) throw last ?? fail('SERVICE_WITHOUT_ENDPOINTS', { service: this.#o.service });
        const end = this.#begin(endpoint);
        try {
          if ((await this.#try(endpoint)) === 'done') return this.#noteAnswer();
        } catch (thrown) {
          if (!isPosternError(thrown)) throw thrown;
          last = thrown;
          if (!this.#mayGoOn(thrown, endpoint)) throw thrown;
        } finally {
          end(this.#outcome);
        }
        this.#place?.();
        this.#place = this.#next;
        this.#next = undefined;
        if (this.#place) await this.#backOff();
      }
    } finally {
      this.#place?.();
      this.#next?.();
      this.#leave();
      this.#patience?.end();
      this.#stopWatching?.();
    }
  }

  #begin(endpoint: Endpoint): (outcome: Outcome | undefined) => void {
    const { record } = this.#running;
    record.endpoint = endpoint.address;
    if (++this.#count > 1) record.tries = this.#count;
    this.#outcome = undefined;
    return this.#o.cluster.begin(endpoint);
  }

  #noteAnswer(): void {
    const { status = 0, grpcStatus } = this.#running.exchange;
    this.#outcome ??= { kind: 'answered', status, grpcStatus };
  }

  #pick(): Endpoint | undefined {
    const { cluster, subset, hash } = this.#o;
    const picked = this.#picked;
    this.#picked = undefined;
    if (picked) return picked;
    const endpoint = cluster.pick({ subset, hash, tried: this.#tried ?? none });
    if (endpoint || !this.#tried) return endpoint;
    // All were tried, and a retry was granted all the same.
    this.#tried = undefined;
    return cluster.pick({ subset, hash, tried: none });
  }

  #try(endpoint: Endpoint): Promise<'done' | 'rejected'> {
    const { perTryTimeoutMs: ms } = this.#o.retries;
    return ms === undefined ? this.#send(endpoint, undefined) : this.#tryFor(endpoint, ms);
  }

  async #tryFor(endpoint: Endpoint, ms: number): Promise<'done' | 'rejected'> {
    const own = this.#patienceForTry(ms);
    try {
      const sent = await this.#send(endpoint, own);
      if (sent === 'rejected' && own.fault) throw own.fault;
      return sent;
    } finally {
      own.end();
    }
  }

  #send(endpoint: Endpoint, own: Patience | undefined): Promise<'done' | 'rejected'> {
    const judge = (head: ResponseHead): boolean => this.#isRejected(head, endpoint);
    const wait = own || this.#patience ? (taken: Promise<Place>) => this.#wait(taken, own) : undefined;
    return send(this.#running, this.#o.pool(endpoint), this.#o.fields, { judge, wait });
  }

  #patienceForTry(ms: number): Patience {
    const { exchange, heard } = this.#running;
    const fault = (): PosternError => fail('UPSTREAM_TIMEOUT', { service: this.#o.service, ms });
    return new Patience({ clock: heard.plane.clock, ms, fault, over: () => exchange.giveUp() });
  }

  #wait(taken: Promise<Place>, own: Patience | undefined): Promise<Place> {
    const release = (place: Place): void => place.release();
    const inTime = own ? own.wait(taken, release) : taken;
    return this.#patience ? this.#patience.wait(inTime, release) : inTime;
  }

  /** Whether this answer is not for the caller, because there is another try. */
  #isRejected(head: ResponseHead, endpoint: Endpoint): boolean {
    const { status } = head;
    if (status < 400 && !this.#isGrpc) return false;
    const grpcStatus = this.#isGrpc ? grpcStatusOf(head.fields) : undefined;
    if (status < 400 && (grpcStatus ?? 0) === 0) return false;
    this.#outcome = this.#endOf(head.fields) ?? { kind: 'answered', status, grpcStatus };
    return this.#retry(this.#outcome, endpoint);
  }

  /** How it ended at the application, by the word of the proxy beside it: what routes name by its status is that status all the same. */
  #endOf(fields: FieldList): Outcome | undefined {
    const kind = this.#o.isMesh ? outcomeTold(fields) : undefined;
    if (kind === undefined) return undefined;
    const isWanted =
      kind === 'connect-failed' || this.#o.retries.isWanted({ kind }, this.#running.exchange.head.method);
    return isWanted ? { kind } : undefined;
  }

  /** After a fault: at another endpoint when nothing of it was sent, or as a retry. Also says what became of the try. */
  #mayGoOn(fault: PosternError, endpoint: Endpoint): boolean {
    const { exchange } = this.#running;
    const isOurs = this.#patience?.fault === fault;
    this.#outcome = isOurs ? timedOut : outcomeOf(fault, exchange);
    if (isOurs) return false;
    if (exchange.stopped || !exchange.canSendAgain) return false;
    if (fault.code === 'UPSTREAM_OVERLOADED') return this.#mayMoveOn(endpoint);
    return this.#outcome !== undefined && this.#retry(this.#outcome, endpoint);
  }

  #retry(outcome: Outcome, endpoint: Endpoint): boolean {
    const { retries, cluster } = this.#o;
    const { exchange, heard } = this.#running;
    if (retries.attempts === 0 || !retries.isWanted(outcome, exchange.head.method)) return false;
    if (!exchange.canSendAgain || this.#patience?.fault) return false;
    if (outcome.kind === 'connect-failed' && this.#mayMoveOn(endpoint)) return true;
    if (this.#retries >= retries.attempts) return false;
    this.#next = cluster.admitRetry();
    if (!this.#next) {
      heard.plane.metrics.limit('retry-budget');
      return false;
    }
    this.#retries++;
    if (retries.anotherEndpoint && outcome.kind !== 'connect-failed') this.#isOneLeft(endpoint);
    heard.plane.metrics.retried(heard.hop, cluster.name);
    return true;
  }

  /** Nothing was sent: another endpoint costs no more than the time to connect. */
  #mayMoveOn(endpoint: Endpoint): boolean {
    return this.#isOneLeft(endpoint) && this.#moves++ < mostMoves;
  }

  /** Notes that this one was tried, and picks another. */
  #isOneLeft({ address }: Endpoint): boolean {
    this.#tried = (this.#tried ?? new Set()).add(address);
    const { cluster, subset, hash } = this.#o;
    this.#picked = cluster.pick({ subset, hash, tried: this.#tried });
    return this.#picked !== undefined;
  }

  #backOff(): Promise<void> {
    const { plane } = this.#running.heard;
    const ms = this.#o.retries.backoffMs(this.#retries, plane.random());
    return pause(this.#running, ms, this.#patience);
  }
}

/** Waits; rejects when the exchange is over before. */
export async function pause({ exchange, heard }: Running, ms: number, patience?: Patience): Promise<void> {
  if (ms > 0) {
    const work = new Promise<void>((resolve) => heard.plane.clock.after(ms, resolve));
    await (patience ? patience.wait(work, () => undefined) : work);
  }
  const { stopped } = exchange;
  if (stopped) throw stopped;
}

function patienceFor({ exchange, heard }: Running, ms: number, service: string): Patience {
  return new Patience({
    clock: heard.plane.clock,
    ms,
    fault: () => fail('UPSTREAM_TIMEOUT', { service, ms }),
    over: (fault) => exchange.cut(fault),
  });
}

/** Cuts the exchange when no byte of a body has passed for so long; looked at four times in it. */
function watchIdle({ exchange, heard }: Running, ms: number): () => void {
  const { clock } = heard.plane;
  let moved = -1;
  let since = clock.monotonic();
  let cancel = (): void => undefined;
  const look = (): void => {
    const now = clock.monotonic();
    const bytes = exchange.bytesIn + exchange.bytesOut;
    if (bytes !== moved) [moved, since] = [bytes, now];
    if (now - since >= ms) return exchange.cut(fail('HTTP_TIMEOUT', { what: 'stream', ms }));
    cancel = clock.after(ms / 4, look);
  };
  cancel = clock.after(ms / 4, look);
  return () => cancel();
}

/** What a fault says of the endpoint; nothing when it is the caller's or our own. */
function outcomeOf({ code }: PosternError, exchange: Exchange): Outcome | undefined {
  if (code === 'UPSTREAM_CONNECT_FAILED' || code === 'UPSTREAM_IDENTITY_WRONG') return connectFailed;
  if (code === 'UPSTREAM_TIMEOUT') return timedOut;
  if (code === 'UPSTREAM_CLOSED') return exchange.wasUntouched ? refused : reset;
  return code === 'UPSTREAM_REPLY_INVALID' ? reset : undefined;
}
const connectFailed: Outcome = { kind: 'connect-failed' };
const timedOut: Outcome = { kind: 'timeout' };
const refused: Outcome = { kind: 'refused' };
const reset: Outcome = { kind: 'reset' };
