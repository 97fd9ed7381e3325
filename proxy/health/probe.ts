// One question to one endpoint on a connection of its own: does it serve? Answered within its time, whatever the other side does.
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import { formatHostPort, type HostPort } from '#base/host-port';
import { parseAuthority } from '../authority.ts';
import type { ExternalLink } from '../cluster-link.ts';
import { fail } from '../errors.ts';
import { type Downstream, Exchange, type ResponseHead } from '../exchange.ts';
import type { Limits } from '../limits.ts';
import type { Pool } from '../pool.ts';
import { canonicalHead, type FieldList, type RawHead } from '../request-head.ts';
import type { Asked, HealthCheck } from './check.ts';
import { healthMethod, healthRequest, isServing } from './grpc-health.ts';

/** A pool of one connection to that endpoint, spoken to in that way, with these limits. */
export type OpenPool = (link: ExternalLink, endpoint: HostPort, limits: Partial<Limits>) => Pool;

export interface ProbeOptions {
  readonly check: HealthCheck;
  /** How the endpoint is spoken to when it serves requests. */
  readonly link: ExternalLink;
  readonly endpoint: HostPort;
  readonly clock: Clock;
  readonly openPool: OpenPool;
}

/** Why it does not serve; `undefined` when it does. Never rejects. */
export async function probe(o: ProbeOptions): Promise<string | undefined> {
  const { timeoutMs, asked } = o.check;
  const link = linkFor(asked, o.link);
  const limits = { connectMs: timeoutMs, responseMs: timeoutMs, streamMs: timeoutMs, poolPendingMs: timeoutMs };
  const pool = o.openPool(link, o.endpoint, limits);
  const asking = new Asking(asked, link, o);
  const cancel = o.clock.after(timeoutMs, () => asking.giveUp());
  try {
    const place = await pool.take({ fresh: true });
    if (asked.kind === 'tcp' || asking.isLate) {
      place.release();
      return asking.isLate ? asking.late : undefined;
    }
    await asking.exchange.relay((one) => place.start(one, asking.exchange.head.fields));
    return asking.verdict();
  } catch (thrown) {
    return asking.isLate ? asking.late : messageOf(thrown);
  } finally {
    cancel();
    pool.retire();
  }
}

/** gRPC is HTTP/2, whatever else the endpoint speaks; to see whether anybody listens, nothing has to be spoken. */
function linkFor({ kind }: Asked, link: ExternalLink): ExternalLink {
  const protocol = kind === 'grpc' ? 'h2c' : kind === 'tcp' ? 'tcp' : link.protocol === 'h2c' ? 'h2c' : 'http';
  return { ...link, protocol, maxConnections: 1, maxPending: 1 };
}

/** More than this of an answer is not read. */
const mostBytes = 65_536;

class Asking implements Downstream {
  readonly exchange: Exchange;
  readonly late: string;
  isLate = false;
  readonly #asked: Asked;
  #answer: ResponseHead | undefined;
  #body: Buffer[] = [];
  #bytes = 0;
  #trailers: FieldList = [];

  constructor(asked: Asked, link: ExternalLink, { endpoint, check, clock }: ProbeOptions) {
    this.#asked = asked;
    this.late = `it did not answer within ${check.timeoutMs} ms`;
    const host = (asked.kind === 'http' ? asked.host : undefined) ?? link.authority ?? formatHostPort(endpoint);
    this.exchange = new Exchange({
      head: canonicalHead(headOf(asked, host), { parseAuthority }),
      downstream: this,
      responseFields: (fields) => fields,
      clock,
    });
  }

  giveUp(): void {
    this.isLate = true;
    this.exchange.cut(fail('DOWNSTREAM_CLOSED'));
  }

  /** After the whole answer. */
  verdict(): string | undefined {
    const { status = 0, fields = [] } = this.#answer ?? {};
    if (this.#asked.kind !== 'grpc') {
      const { expect } = this.#asked as Extract<Asked, { kind: 'http' }>;
      const isGood = expect ? expect.has(status) : status >= 200 && status < 300;
      return isGood ? undefined : `it answered ${status}`;
    }
    const code = fieldOf(this.#trailers, 'grpc-status') ?? fieldOf(fields, 'grpc-status');
    if (status !== 200 || code !== '0') return `it answered ${status} with the gRPC status ${code ?? 'missing'}`;
    return isServing(Buffer.concat(this.#body)) ? undefined : 'it is not serving';
  }

  inform(): void {}

  head(head: ResponseHead): void {
    this.#answer = head;
  }

  data(bytes: Buffer): boolean {
    this.#bytes += bytes.length;
    if (this.#bytes > mostBytes)
      this.exchange.cut(fail('UPSTREAM_REPLY_INVALID', { reason: 'it is too long for a health check' }));
    else if (this.#asked.kind === 'grpc') this.#body.push(Buffer.from(bytes));
    return true;
  }

  end(trailers: FieldList): void {
    this.#trailers = trailers;
  }

  abort(): void {}
  pauseRequest(): void {}

  /** The body may come. */
  resumeRequest(): void {
    const { exchange } = this;
    const asked = this.#asked;
    if (asked.kind !== 'grpc') return;
    queueMicrotask(() => {
      if (exchange.isOver || exchange.bytesIn > 0) return;
      exchange.requestData(healthRequest(asked.service));
      exchange.requestEnd([]);
    });
  }
}

function headOf(asked: Asked, host: string): RawHead {
  const isGrpc = asked.kind === 'grpc';
  return {
    method: isGrpc ? 'POST' : 'GET',
    target: asked.kind === 'http' ? asked.path : healthMethod,
    host,
    fields: [
      'user-agent',
      'postern-health-check',
      ...(isGrpc ? ['content-type', 'application/grpc', 'te', 'trailers'] : []),
    ],
    length: asked.kind === 'grpc' ? healthRequest(asked.service).length : 0,
    expectsContinue: false,
    tunnel: undefined,
  };
}

function fieldOf(fields: FieldList, name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1];
  return undefined;
}
