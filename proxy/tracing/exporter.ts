// Spans on their way to a collector, by OTLP/HTTP in JSON. The request path only puts a record into a bounded queue; what finds no room there, or is
// refused, is counted. One batch is under way at a time, and a collector that is away is asked again ever more slowly.
import type { IncomingMessage } from 'node:http';
import { createBackoff } from '#base/backoff';
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';
import type { RecordDraft } from '../exchange-record.ts';
import { type Resource, traceRequest } from './span.ts';

export interface ExporterOptions {
  readonly resource: Resource;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Spans that may wait; 4 096 by default. */
  readonly mostWaiting?: number;
}

export interface SpanExporter {
  /** Where spans go from now on; `undefined`: nowhere, and those that wait are dropped. */
  sendTo(url: string | undefined): void;
  /** Keeps the record's span when its trace is sampled and there is somewhere to send it. Never throws or waits. */
  note(record: RecordDraft): void;
  /** Sends what waits, once; resolves when it was taken or not. */
  close(): Promise<void>;
}

const defaultMostWaiting = 4_096;
const mostInBatch = 512;
/** The longest that a span waits for others. */
const gatherMs = 1_000;
const answerMs = 10_000;
/** Of a batch, before it is given up. */
const mostAttempts = 6;
const longestAnswer = 65_536;
/** Those that the specification of OTLP says to try again after. */
const retryable = new Set([429, 502, 503, 504]);

export function createSpanExporter(o: ExporterOptions): SpanExporter {
  const { clock, log, metrics, mostWaiting = defaultMostWaiting } = o;
  const exported = metrics.counter({ name: 'postern_spans_exported_total', help: 'Spans that the collector took.' })();
  const dropped = metrics.counter({
    name: 'postern_spans_dropped_total',
    help: 'Spans that reached no collector, by why: queue-full, refused, unreachable, unset (no collector any more).',
    labels: ['reason'],
  });
  let queue: RecordDraft[] = [];
  metrics.gauge({
    name: 'postern_spans_waiting',
    help: 'Spans that wait for the collector.',
    read: () => queue.length + underWay,
  });
  const backoff = createBackoff({ firstMs: 500, longestMs: 30_000, random: o.random });
  let target: URL | undefined;
  let underWay = 0;
  let flushing: Promise<void> = Promise.resolve();
  let cancel: (() => void) | undefined;
  let isClosed = false;
  let isTroubled = false;

  const plan = (ms: number): void => {
    cancel ??= clock.after(ms, () => {
      cancel = undefined;
      flushing = flush();
    });
  };

  const drop = (reason: string, count: number): void => {
    if (count > 0) dropped(reason).value += count;
  };

  /** One batch, until it is taken or given up. */
  const flush = async (): Promise<void> => {
    if (underWay > 0 || queue.length === 0 || !target) return;
    const batch = queue.slice(0, mostInBatch);
    queue = queue.slice(batch.length);
    underWay = batch.length;
    const body = Buffer.from(JSON.stringify(traceRequest(o.resource, batch)));
    for (let attempt = 1; ; attempt++) {
      const outcome = await post(target, body, batch.length).catch((thrown: unknown) => ({
        again: messageOf(thrown),
        afterMs: 0,
      }));
      if ('rejected' in outcome) {
        exported.value += batch.length - outcome.rejected;
        drop('refused', outcome.rejected);
        noteTrouble(outcome.rejected > 0 ? `it rejected ${outcome.rejected} spans` : undefined);
        backoff.reset();
        break;
      }
      if ('refused' in outcome) {
        noteTrouble(outcome.refused);
        drop('refused', batch.length);
        break;
      }
      noteTrouble(outcome.again);
      if (attempt >= mostAttempts || isClosed || !target) {
        drop('unreachable', batch.length);
        break;
      }
      await new Promise<void>((resolve) => clock.after(Math.max(backoff.next(), outcome.afterMs), resolve));
    }
    underWay = 0;
    if (queue.length > 0 && !isClosed) plan(queue.length >= mostInBatch ? 0 : gatherMs);
  };

  const noteTrouble = (reason: string | undefined): void => {
    if (reason !== undefined && !isTroubled)
      log.warn('spans do not reach the collector', { url: target?.href, reason });
    if (reason === undefined && isTroubled) log.info('spans reach the collector again', { url: target?.href });
    isTroubled = reason !== undefined;
  };

  return {
    sendTo(url) {
      const next = url === undefined || !URL.canParse(url) ? undefined : tracesAt(url);
      if (next?.href === target?.href) return;
      target = next;
      if (target) return;
      drop('unset', queue.length);
      queue = [];
    },
    note(record) {
      if (!record.sampled || !target || isClosed) return;
      if (queue.length + underWay >= mostWaiting) return drop('queue-full', 1);
      queue.push(record);
      if (underWay > 0) return;
      if (queue.length === mostInBatch) {
        cancel?.();
        cancel = undefined;
        plan(0);
      } else plan(gatherMs);
    },
    async close() {
      isClosed = true;
      cancel?.();
      await flushing;
      while (queue.length > 0 && target) await flush();
    },
  };
}

/** `/v1/traces` when the URL has no path. */
function tracesAt(text: string): URL {
  const url = new URL(text);
  if (url.pathname === '/') url.pathname = '/v1/traces';
  return url;
}

type Answer =
  | { readonly rejected: number }
  | { readonly again: string; readonly afterMs: number }
  | { readonly refused: string };

async function post(url: URL, body: Buffer, count: number): Promise<Answer> {
  const { request } = await (url.protocol === 'https:' ? import('node:https') : import('node:http'));
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': body.length, 'user-agent': 'postern' };
    const sending = request(url, { method: 'POST', headers, signal: AbortSignal.timeout(answerMs) }, resolve);
    sending.on('error', reject);
    sending.end(body);
  });
  const text = await textOf(response);
  const { statusCode = 0 } = response;
  if (statusCode >= 200 && statusCode < 300) return { rejected: rejectedIn(text, count) };
  const reason = `it answered ${statusCode}`;
  if (!retryable.has(statusCode)) return { refused: reason };
  const seconds = Number(response.headers['retry-after']);
  return { again: reason, afterMs: seconds > 0 ? Math.min(seconds * 1_000, 60_000) : 0 };
}

/** Reads at most `longestAnswer`; what is longer is not worth reading. */
function textOf(response: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (part: string) => {
      text += part;
      if (text.length > longestAnswer) response.destroy(new Error('its answer is too long'));
    });
    response.on('end', () => resolve(text));
    response.on('error', reject);
    response.on('close', () => reject(new Error('its answer was cut')));
  });
}

/** `{"partialSuccess": {"rejectedSpans": "3"}}`; anything else rejects nothing. */
function rejectedIn(text: string, most: number): number {
  try {
    const { partialSuccess } = JSON.parse(text) as { partialSuccess?: { rejectedSpans?: string | number } };
    const rejected = Number(partialSuccess?.rejectedSpans ?? 0);
    return rejected > 0 ? Math.min(rejected, most) : 0;
  } catch {
    return 0;
  }
}
