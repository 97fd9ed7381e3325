// The one client of the control plane's API: calls and streams over TLS 1.3, to spiffe://TRUST-DOMAIN/postern/server and nobody else.
// It never sends a byte before the server's identity is verified, never follows a redirect and never reads without a bound.
import type { IncomingMessage } from 'node:http';
import type { Clock } from '#base/clock';
import { isPosternError, PosternError } from '#base/error';
import { check, type Schema } from '#base/schema';
import type { Identity, TrustBundle } from '#spiffe';
import { type Connector, createConnector, explain, JsonText } from './connector.ts';
import { fail } from './errors.ts';
import { readLines, withinSilence } from './lines.ts';
import { errorReply } from './refusal.ts';

export { JsonText };

export interface ChannelOptions {
  /** An https origin, such as `https://127.0.0.1:8443`. */
  readonly url: string;
  /** Read again for each new connection; `undefined` connects without a certificate, as an enrolment does. */
  readonly identity: () => Identity | undefined;
  /** Read again for each new connection; a changed one closes the idle connections made with the old one. */
  readonly bundle: () => TrustBundle;
  readonly clock: Clock;
  /** The longest that a whole call, and the opening of a stream, may take; 10 s by default. */
  readonly timeoutMs?: number;
}

export type Method = 'GET' | 'POST' | 'DELETE';

export interface Channel {
  /**
   * One request and its whole reply, at most 64 MiB. Throws the server's own refusal (its code, message, hint and problems),
   * or CONTROL_UNREACHABLE, CONTROL_UNTRUSTED, CONTROL_REFUSED, CONTROL_REPLY_INVALID.
   */
  call<T = unknown>(o: {
    readonly method: Method;
    readonly path: string;
    /** Sent as JSON, which a `JsonText` is already. */
    readonly body?: unknown;
    readonly headers?: Readonly<Record<string, string>>;
    /** What the reply must be, unknown keys refused. */
    readonly reply?: Schema<T>;
  }): Promise<T>;
  /**
   * One JSON value for each line of the reply, until the server ends it or `signal` aborts it (neither throws).
   * Lines are at most 64 MiB; `silenceMs` without a byte throws CONTROL_UNREACHABLE. A line above `largeBytes` comes unread, as a `Uint8Array`.
   */
  stream(o: {
    readonly method: Method;
    readonly path: string;
    readonly body?: unknown;
    readonly signal?: AbortSignal;
    readonly silenceMs?: number;
    readonly largeBytes?: number;
  }): AsyncIterable<unknown>;
  /** Closes every connection; what still runs fails as CONTROL_UNREACHABLE. */
  close(): void;
}

/** The largest reply and the longest line of a stream, in bytes: a snapshot of a large mesh fits. */
const largestReply = 64 * 1024 * 1024;

export function createChannel({ url, identity, bundle, clock, timeoutMs = 10_000 }: ChannelOptions): Channel {
  const connector = createConnector({ url, identity, bundle, clock, timeoutMs });
  return {
    async call({ method, path, body, headers = {}, reply }) {
      const exchange = () => callOnce(connector, { method, path, body, headers, clock, timeoutMs, url });
      let text: string;
      try {
        text = await exchange();
      } catch (thrown) {
        // A pooled connection may be closed by the server just as it is used; reading again is safe, writing is not.
        if (!(method === 'GET' && isPosternError(thrown) && thrown.details.pooled === true)) throw thrown;
        text = await exchange();
      }
      const value = text === '' ? undefined : parse(text, url);
      const [problem] = reply ? check(reply, value) : [];
      if (problem)
        throw fail('CONTROL_REPLY_INVALID', { url, reason: `${problem.pointer || 'it'} ${problem.message}` });
      // The schema, when there is one, has just vouched for the shape.
      return value as never;
    },
    stream: (request) => streamLines(connector, { ...request, clock, timeoutMs, url }),
    close: () => connector.close(),
  };
}

interface Exchange {
  readonly method: Method;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly url: string;
}

/** The text of a good reply; a refusal throws. */
async function callOnce(connector: Connector, exchange: Exchange): Promise<string> {
  const late = new AbortController();
  const disarm = exchange.clock.after(exchange.timeoutMs, () => late.abort());
  try {
    const response = await connector.open({ ...exchange, signal: late.signal });
    const text = await readWhole(response, exchange.url);
    if (isGood(response)) return text;
    throw refusalOf(response, text, exchange.url);
  } catch (thrown) {
    if (late.signal.aborted) throw unreachable(exchange.url, `no answer within ${exchange.timeoutMs / 1_000} s`);
    throw asFailure(thrown, exchange.url);
  } finally {
    disarm();
  }
}

async function* streamLines(
  connector: Connector,
  request: Exchange & { readonly signal?: AbortSignal; readonly silenceMs?: number; readonly largeBytes?: number },
): AsyncGenerator<unknown> {
  const { clock, url, timeoutMs, silenceMs, largeBytes, signal } = request;
  if (signal?.aborted) return;
  const stop = new AbortController();
  const onAbort = (): void => stop.abort();
  signal?.addEventListener('abort', onAbort, { once: true });
  let reason = '';
  let finished = false;
  const silent = (ms: number): void => {
    reason = `it was silent for ${ms / 1_000} s`;
    stop.abort();
  };
  const disarm = clock.after(timeoutMs, () => silent(timeoutMs));
  try {
    const response = await connector.open({ ...request, signal: stop.signal });
    disarm();
    if (!isGood(response)) throw refusalOf(response, await readWhole(response, url), url);
    const chunks = silenceMs === undefined ? response : withinSilence(response, { clock, silenceMs, silent });
    const bounds = { longest: largestReply, url, ...(largeBytes !== undefined && { large: largeBytes }) };
    for await (const line of readLines(chunks, bounds)) yield typeof line === 'string' ? parse(line, url) : line;
    finished = true;
  } catch (thrown) {
    if (signal?.aborted) return;
    throw reason ? unreachable(url, reason) : asFailure(thrown, url);
  } finally {
    disarm();
    signal?.removeEventListener('abort', onAbort);
    // A finished request has given its connection back to the pool; anything else is cut.
    if (!finished) stop.abort();
  }
}

/** The whole body as text; a refusal's body is cut short by the same bound. */
async function readWhole(response: IncomingMessage, url: string): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    size += (chunk as Buffer).length;
    if (size > largestReply) {
      throw fail('CONTROL_REPLY_INVALID', { url, reason: `it is longer than ${largestReply} bytes` });
    }
    chunks.push(chunk as Buffer);
  }
  if (!response.complete) throw unreachable(url, 'the connection ended in the middle of the answer');
  return Buffer.concat(chunks).toString('utf8');
}

function isGood(response: IncomingMessage): boolean {
  return response.statusCode !== undefined && response.statusCode >= 200 && response.statusCode < 300;
}

/** The server's own error; its words are kept as they are, braces included. */
function refusalOf(response: IncomingMessage, text: string, url: string): PosternError {
  const status = response.statusCode ?? 0;
  const odd = (): PosternError =>
    fail('CONTROL_REPLY_INVALID', { url, reason: `status ${status} without an error that is understood` });
  if (status < 400) return odd();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return odd();
  }
  if (check(errorReply, body).length > 0) return odd();
  const { code, message, hint, problems = [] } = (body as { error: Refusal }).error;
  const spec = { message: '{message}', ...(hint === undefined ? {} : { hint: '{hint}' }), status };
  const retryable = status === 429 || status >= 500;
  return new PosternError(code, { ...spec, retryable }, { message, hint }, { problems });
}

interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly problems?: PosternError['problems'];
}

function parse(text: string, url: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw fail('CONTROL_REPLY_INVALID', { url, reason: 'it is not JSON' }, { cause });
  }
}

/** What is an error of ours already, the server's own refusals among them, stays as it is. */
function asFailure(thrown: unknown, url: string): PosternError {
  return isPosternError(thrown) ? thrown : explain(thrown, { url, pooled: false });
}

function unreachable(url: string, reason: string): PosternError {
  return fail('CONTROL_UNREACHABLE', { url, reason });
}
