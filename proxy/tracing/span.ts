// The span of one exchange at one hop, as OTLP says it in JSON: a view of the decision record, so that trace and log never tell two stories.
// Names of attributes are those of OpenTelemetry's semantic conventions, and `postern.` for what they do not know.
import { parseHostPort } from '#base/host-port';
import type { RecordDraft } from '../exchange-record.ts';

export interface Resource {
  /** The service's name, which is its SPIFFE path. */
  readonly service: string;
  readonly trustDomain: string;
  readonly instance: string;
  readonly version: string;
}

type Value = string | number | boolean | undefined;
interface Attribute {
  readonly key: string;
  readonly value: object;
}

/** The body of an OTLP/HTTP trace request: opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest in its JSON mapping. */
export function traceRequest(resource: Resource, records: readonly RecordDraft[]): object {
  const { service, trustDomain, instance, version } = resource;
  return {
    resourceSpans: [
      {
        resource: {
          attributes: attributesOf({
            'service.name': service,
            'service.namespace': trustDomain,
            'service.instance.id': instance,
            'telemetry.sdk.name': 'postern',
            'telemetry.sdk.language': 'nodejs',
            'telemetry.sdk.version': version,
          }),
        },
        scopeSpans: [{ scope: { name: 'postern', version }, spans: records.map(spanOf) }],
      },
    ],
  };
}

const server = 2;
const client = 3;
const failed = 2;

function spanOf(r: RecordDraft): object {
  // What a gateway sends on for callers from outside is their arrival in the mesh.
  const kind = r.hop === 'inbound' || (r.edge !== undefined && !r.mirrored) ? server : client;
  const start = BigInt(Date.parse(r.time)) * 1_000_000n;
  const error = errorOf(r, kind);
  return {
    traceId: r.traceId,
    spanId: r.spanId,
    ...(r.parentSpanId === undefined ? {} : { parentSpanId: r.parentSpanId }),
    // The lowest bits are the trace flags; 0x100 says that it is known whether the parent is of another process (0x200: it is).
    flags: r.parentSpanId === undefined ? 0x101 : 0x301,
    name: nameOf(r),
    kind,
    startTimeUnixNano: String(start),
    endTimeUnixNano: String(start + BigInt(Math.round(r.ms * 1e6))),
    attributes: attributesOf({ ...commonOf(r, kind), ...protocolOf(r, kind), 'error.type': error }),
    status: error === undefined ? {} : { code: failed, ...(r.decision === 'allow' ? {} : { message: r.reason }) },
  };
}

/** Of few values: no path that a caller may choose, but for a call of gRPC that was allowed and answered, whose path names a method. */
function nameOf(r: RecordDraft): string {
  const to = nameIn(r.to);
  if (r.protocol === 'tcp') return to === '' ? 'tcp' : `tcp ${to}`;
  if (isAnsweredCall(r)) return r.path!.slice(1);
  const method = knownMethods.has(r.method ?? '') ? r.method! : 'HTTP';
  return to === '' ? method : `${method} ${to}`;
}

/** 12 is UNIMPLEMENTED. */
const isAnsweredCall = (r: RecordDraft): boolean =>
  r.protocol === 'grpc' && r.decision === 'allow' && r.grpcStatus !== 12 && r.path !== undefined;

function errorOf(r: RecordDraft, kind: number): string | undefined {
  if (r.decision === 'error') return r.reason;
  if (r.status !== undefined && r.status >= (kind === client ? 400 : 500)) return String(r.status);
  return r.grpcStatus === undefined || !isFailedCall(r.grpcStatus, kind) ? undefined : String(r.grpcStatus);
}

/** For the called side only what is its own fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS. */
function isFailedCall(status: number, kind: number): boolean {
  return kind === client ? status !== 0 : [2, 4, 12, 13, 14, 15].includes(status);
}

function commonOf(r: RecordDraft, kind: number): Record<string, Value> {
  const peer = parseHostPort((kind === client ? r.endpoint : r.remote) ?? '');
  return {
    'network.peer.address': peer?.host,
    'network.peer.port': peer?.port,
    'postern.hop': r.hop,
    'postern.decision': r.decision,
    'postern.decision.id': r.id,
    'postern.reason': r.reason,
    'postern.rule': r.rule,
    'postern.policy.revision': r.policyRevision,
    'postern.source': r.peer,
    'postern.destination': r.to,
    'postern.virtual_service': r.virtualService,
    'postern.route': r.route,
    'postern.cluster': r.cluster,
    'postern.endpoint': kind === client ? undefined : r.endpoint,
    'postern.tries': r.tries,
    'postern.fault': r.fault,
    'postern.mirrored': r.mirrored,
    'postern.security': r.security,
    'postern.upstream.ms': r.upstreamMs,
  };
}

function protocolOf(r: RecordDraft, kind: number): Record<string, Value> {
  const [host, port] = splitHost(r.host ?? '');
  const place = { 'server.address': host, 'server.port': port };
  if (r.protocol === 'tcp') return { ...place, 'network.transport': 'tcp' };
  const isKnown = knownMethods.has(r.method ?? '');
  return {
    ...place,
    'http.request.method': isKnown ? r.method : '_OTHER',
    'http.request.method_original': isKnown ? undefined : r.method,
    'http.response.status_code': r.status,
    'http.request.body.size': r.bytesIn,
    'http.response.body.size': r.bytesOut,
    'url.scheme': r.edge ?? 'http',
    'url.path': r.path,
    ...(kind === client && r.host !== undefined ? { 'url.full': `http://${r.host}${r.path ?? '/'}` } : {}),
    ...(r.protocol === 'grpc' ? callOf(r) : {}),
    ...(r.protocol === 'websocket' ? { 'network.protocol.name': 'websocket' } : {}),
  };
}

function callOf(r: RecordDraft): Record<string, Value> {
  const [, service, method] = /^\/(.+)\/([^/]+)$/.exec(r.path ?? '') ?? [];
  return {
    'rpc.system': 'grpc',
    'rpc.service': service,
    'rpc.method': method,
    'rpc.grpc.status_code': r.grpcStatus,
  };
}

/** The methods of RFC 9110 section 9, RFC 5789 and QUERY: the others are `_OTHER`, so that nobody fills a backend with names of his own. */
const knownMethods = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY', 'TRACE']);

function splitHost(authority: string): [host: string | undefined, port: number | undefined] {
  const [, host, port] = /^(\[[^\]]*\]|[^:]*)(?::([0-9]+))?$/.exec(authority) ?? [];
  return [host || undefined, port === undefined ? undefined : Number(port)];
}

function nameIn(id: string | undefined): string {
  return id?.replace(/^spiffe:\/\/[^/]+\//, '') ?? '';
}

function attributesOf(values: Readonly<Record<string, Value>>): Attribute[] {
  return Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: anyValue(value) }],
  );
}

function anyValue(value: string | number | boolean): object {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}
