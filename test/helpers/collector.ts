// An OTLP/HTTP receiver of traces that takes only what the protocol buffers' JSON mapping allows: unknown keys, wrong types and ids of a wrong length are refused.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { check, type JsonSchema, s } from '#base/schema';

const anyValue = s.object({
  stringValue: s.optional(s.string()),
  boolValue: s.optional(s.boolean()),
  intValue: s.optional(s.string({ pattern: '^-?[0-9]+$' })),
  doubleValue: s.optional(s.number()),
});
const attributes = s.array(s.object({ key: s.string({ minLength: 1 }), value: anyValue }), { maxItems: 128 });
const hex = (digits: number) => s.string({ pattern: `^(?!0+$)[0-9a-f]{${digits}}$` });
const nanos = s.string({ pattern: '^[1-9][0-9]*$' });

const span = s.object({
  traceId: hex(32),
  spanId: hex(16),
  parentSpanId: s.optional(hex(16)),
  traceState: s.optional(s.string()),
  flags: s.integer({ minimum: 0, maximum: 0xffff_ffff }),
  name: s.string({ minLength: 1 }),
  kind: s.integer({ minimum: 1, maximum: 5 }),
  startTimeUnixNano: nanos,
  endTimeUnixNano: nanos,
  attributes,
  status: s.object({ code: s.optional(s.integer({ minimum: 0, maximum: 2 })), message: s.optional(s.string()) }),
});
const scope = s.object({ name: s.string(), version: s.string() });
const request = s.object({
  resourceSpans: s.array(
    s.object({
      resource: s.object({ attributes }),
      scopeSpans: s.array(s.object({ scope, spans: s.array(span, { minItems: 1 }) })),
    }),
    { minItems: 1 },
  ),
});

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code?: number; readonly message?: string };
  /** Of the span, and those of its resource; numbers as numbers. */
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
}

export interface Collector {
  readonly url: string;
  readonly port: number;
  readonly spans: ReceivedSpan[];
  /** What it found wrong in what it was sent; empty in a good test. */
  readonly problems: unknown[];
  readonly batches: number;
  /** Answers instead of it, until taken away. */
  answer: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
}

export async function startCollector(): Promise<Collector> {
  const server = createServer((incoming, response) => {
    const parts: Buffer[] = [];
    incoming.on('data', (part: Buffer) => parts.push(part));
    incoming.on('end', () => {
      if (collector.answer) return collector.answer(incoming, response);
      if (incoming.method !== 'POST' || incoming.url !== '/v1/traces') collector.problems.push(incoming.url);
      if (incoming.headers['content-type'] !== 'application/json') collector.problems.push(incoming.headers);
      take(JSON.parse(Buffer.concat(parts).toString('utf8')));
      response.setHeader('content-type', 'application/json').end('{"partialSuccess":{}}');
    });
  });
  const take = (body: unknown): void => {
    collector.batches++;
    collector.problems.push(...check(request as JsonSchema, body));
    const { resourceSpans } = body as ReturnType<typeof asRequest>;
    for (const { resource, scopeSpans } of resourceSpans)
      for (const { spans } of scopeSpans)
        for (const { attributes: own, ...rest } of spans)
          collector.spans.push({
            ...rest,
            attributes: { ...plain(resource.attributes), ...plain(own) },
          } as ReceivedSpan);
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const collector: { -readonly [K in keyof Collector]: Collector[K] } = {
    url: `http://127.0.0.1:${port}`,
    port,
    spans: [],
    problems: [],
    batches: 0,
    answer: undefined,
  };
  return collector;
}

type Attributes = readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];
const asRequest = (body: unknown) =>
  body as {
    readonly resourceSpans: readonly {
      readonly resource: { readonly attributes: Attributes };
      readonly scopeSpans: readonly { readonly spans: readonly { readonly attributes: Attributes }[] }[];
    }[];
  };

function plain(list: Attributes): Record<string, string | number | boolean> {
  return Object.fromEntries(
    list.map(({ key, value }) => {
      const [[kind, content]] = Object.entries(value) as [[string, string | number | boolean]];
      return [key, kind === 'intValue' ? Number(content) : content];
    }),
  );
}
