// The W3C trace context of a request (https://www.w3.org/TR/trace-context/): read from its fields, carried on with a span of this hop, or begun. A context that
// breaks the rules is none at all; nothing in it is ever more than a number that others made up.
import { randomFillSync } from 'node:crypto';
import type { MeshEntry } from '#wire';
import type { FieldList } from '../request-head.ts';

/** What came with a request. */
export interface TraceParent {
  /** 32 lower-case hex digits. */
  readonly traceId: string;
  /** 16 of them. */
  readonly spanId: string;
  /** Bits that this version knows: `sampled`, `random`. */
  readonly flags: number;
}

/** Of one exchange at this hop. */
export interface Trace extends TraceParent {
  readonly parentSpanId: string | undefined;
  /** The `tracestate` to pass on; empty when there is none. */
  readonly state: string;
}

/** How this proxy takes part. */
export interface Tracing {
  /** Of the traces that begin here, 0 to 1. */
  readonly share: number;
  /** Whether what comes from outside the mesh is carried on there too. */
  readonly trustsEdge: boolean;
}

export function tracingOf(mesh: MeshEntry | undefined): Tracing | undefined {
  if (!mesh?.tracing) return undefined;
  const { sampling = 1, trustEdge = false } = mesh.tracing;
  return { share: sampling / 100, trustsEdge: trustEdge };
}

export const sampled = 1;
/** The right half of the trace ID is random (level 2): passed on as it is. */
const random = 2;

/** The one valid `traceparent` among the fields (sections 3.2 and 4.3): two of them, or a malformed one, count as none. */
export function readTraceParent(fields: FieldList): TraceParent | undefined {
  let value: string | undefined;
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== 'traceparent') continue;
    if (value !== undefined) return undefined;
    value = fields[at + 1]!;
  }
  if (value === undefined || !traceparent.test(value)) return undefined;
  const version = value.slice(0, 2);
  if (version === 'ff' || (version === '00' && value.length > 55)) return undefined;
  // Strings of their own: parts of another one are slow to write out, and keep it.
  scratch.write(value, 0, 55, 'latin1');
  const traceId = scratch.toString('latin1', 3, 35);
  const spanId = scratch.toString('latin1', 36, 52);
  if (traceId === noTrace || spanId === noSpan) return undefined;
  return { traceId, spanId, flags: Number.parseInt(value.slice(53, 55), 16) & (sampled | random) };
}
/** A higher version begins like this one, and what follows in it is its own business. */
const traceparent = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?$/;
const scratch = Buffer.allocUnsafe(55);
const noTrace = '0'.repeat(32);
const noSpan = '0'.repeat(16);

/** The `tracestate` fields as one (section 3.3), empty when any part breaks the rules; cut to `longestState` by the specification's order. */
export function readTraceState(fields: FieldList): string {
  if (!fields.includes('tracestate')) return '';
  const values = fields.filter((_, at) => at % 2 === 1 && fields[at - 1] === 'tracestate');
  const members = values
    .join(',')
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '');
  if (members.length > mostMembers || !members.every((text) => member.test(text))) return '';
  const fits = (list: readonly string[]): boolean => list.join(',').length <= longestState;
  let kept = members;
  if (!fits(kept)) kept = kept.filter(({ length }) => length <= longMember);
  while (!fits(kept)) kept = kept.slice(0, -1);
  return kept.join(',');
}
const mostMembers = 32;
const longestState = 512;
const longMember = 128;
const member =
  /^(?:[a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** Gives each exchange its place in a trace. */
export interface Tracer {
  /** `at` is uniform in [0, 1). */
  begin(
    fields: FieldList,
    o: { readonly tracing: Tracing; readonly isFromOutside: boolean; readonly at: number },
  ): Trace;
  /** A further span right under that one. */
  under(trace: Trace): Trace;
}

export function createTracer(): Tracer {
  const nextHex = createHex();
  return {
    begin(fields, { tracing, isFromOutside, at }) {
      const parent = isFromOutside && !tracing.trustsEdge ? undefined : readTraceParent(fields);
      const spanId = nextHex(8);
      if (!parent) {
        const flags = at < tracing.share ? sampled : 0;
        return { traceId: nextHex(16), spanId, parentSpanId: undefined, flags, state: '' };
      }
      const { traceId, flags } = parent;
      return { traceId, spanId, parentSpanId: parent.spanId, flags, state: readTraceState(fields) };
    },
    under: (trace) => ({ ...trace, spanId: nextHex(8), parentSpanId: trace.spanId }),
  };
}

/** Adds the context for the next hop to fields that hold none. */
export function addTrace(fields: string[], { traceId, spanId, flags, state }: Trace): void {
  fields.push('traceparent', `00-${traceId}-${spanId}-0${flags}`);
  if (state !== '') fields.push('tracestate', state);
}

export function isTraceField(name: string): boolean {
  return name.charCodeAt(0) === 116 && (name === 'traceparent' || name === 'tracestate');
}

/** Random bytes as hex digits: fetched in pieces, since asking costs more than having. */
function createHex(): (bytes: number) => string {
  const pool = Buffer.allocUnsafe(4_096);
  let at = pool.length;
  return (bytes) => {
    if (at + bytes > pool.length) {
      randomFillSync(pool);
      at = 0;
    }
    at += bytes;
    return pool.toString('hex', at - bytes, at);
  };
}
