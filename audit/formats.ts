// Decision records as other systems read them: OCSF 1.x HTTP Activity, Elastic Common Schema, OpenTelemetry logs, CSV. Pure; adds nothing.
import type { DecisionRecord } from '#wire';

export const exportFormats = ['ocsf', 'ecs', 'otlp-json', 'csv', 'jsonl'] as const;
export type ExportFormat = (typeof exportFormats)[number];

const csvColumns = [
  ...['time', 'instance', 'seq', 'hop', 'kind', 'id', 'peer', 'to', 'method', 'host', 'path', 'decision', 'reason'],
  ...['rule', 'policyRevision', 'endpoint', 'status', 'bytesIn', 'bytesOut', 'ms', 'remote', 'serial', 'traceId'],
  ...[
    'virtualService',
    'route',
    'cluster',
    'tries',
    'protocol',
    'security',
    'grpcStatus',
    'fault',
    'mirrored',
    'spanId',
    'edge',
  ],
] as const;

/** What comes before the first record; empty for most. */
export const headOf = (format: ExportFormat): string => (format === 'csv' ? `${csvColumns.join(',')}\n` : '');

/** A batch of records, each on a line; OTLP puts a batch on one. */
export function formatRecords(format: ExportFormat, records: readonly DecisionRecord[]): string {
  if (records.length === 0) return '';
  if (format === 'otlp-json') return `${JSON.stringify(otlpOf(records))}\n`;
  const line = { csv: csvOf, ecs: json(ecsOf), ocsf: json(ocsfOf), jsonl: json((record) => record) }[format];
  return records.map((record) => `${line(record)}\n`).join('');
}

const json =
  (map: (record: DecisionRecord) => unknown) =>
  (record: DecisionRecord): string =>
    JSON.stringify(map(record));

function csvOf(record: DecisionRecord): string {
  return csvColumns
    .map((column) => String(record[column] ?? ''))
    .map((text) => (/^[=+\-@\t\r]/.test(text) && !/^-?[0-9.]+$/.test(text) ? `'${text}` : text))
    .map((text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text))
    .join(',');
}

/** Elastic Common Schema. */
function ecsOf(r: DecisionRecord): object {
  const [ip, port] = splitAddress(r.remote);
  return {
    '@timestamp': r.time,
    'event.kind': 'event',
    'event.category': ['network', 'web'],
    'event.type': [r.decision === 'allow' ? 'allowed' : r.decision === 'deny' ? 'denied' : 'error'],
    'event.action': r.kind,
    'event.outcome': r.decision === 'allow' ? 'success' : 'failure',
    'event.reason': r.reason,
    'event.id': r.id,
    'event.sequence': r.seq,
    'event.duration': Math.round(r.ms * 1e6),
    'rule.name': r.rule,
    'rule.version': r.policyRevision === undefined ? undefined : String(r.policyRevision),
    'source.ip': ip,
    'source.port': port,
    'source.user.id': r.peer,
    'destination.address': r.endpoint,
    'destination.user.id': r.to,
    'http.request.method': r.method,
    'http.request.body.bytes': r.bytesIn,
    'http.response.status_code': r.status,
    'http.response.body.bytes': r.bytesOut,
    'url.domain': r.host,
    'url.path': r.path,
    'tls.client.x509.serial_number': r.serial,
    'trace.id': r.traceId,
    'span.id': r.spanId,
    'network.protocol': r.protocol ?? 'http',
    labels: labelsOf(r),
    'network.direction': r.hop,
    'observer.name': r.instance,
    'service.name': r.service,
  };
}

/** What the schema has no field for: Elastic's labels are keywords. */
function labelsOf(r: DecisionRecord): object | undefined {
  const { virtualService, route, cluster, tries, security, fault, grpcStatus, mirrored, edge } = r;
  const given = {
    virtual_service: virtualService,
    route,
    cluster,
    tries,
    security,
    fault,
    grpc_status: grpcStatus,
    mirrored,
    edge,
  };
  const labels = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
  return labels.length > 0 ? Object.fromEntries(labels) : undefined;
}

/** OCSF HTTP Activity (class 4002) with the security_control profile. */
function ocsfOf(r: DecisionRecord): object {
  const activity = r.kind === 'exchange' ? activityOf(r.method) : 0;
  const [ip, port] = splitAddress(r.remote);
  const allowed = r.decision === 'allow';
  return {
    ...{ category_uid: 4, class_uid: 4002, activity_id: activity, type_uid: 400_200 + activity },
    time: Date.parse(r.time),
    duration: Math.round(r.ms),
    ...{ severity_id: allowed ? 1 : 2, status_id: allowed ? 1 : 2, status_detail: r.reason },
    status_code: r.status === undefined ? undefined : String(r.status),
    ...{ action_id: allowed ? 1 : 2, disposition_id: allowed ? 1 : 2 },
    policy:
      r.rule === undefined ? undefined : { uid: r.rule, version: String(r.policyRevision ?? ''), is_applied: true },
    actor: { user: { uid: r.peer, type_id: 3 }, authorizations: [{ decision: r.decision }] },
    src_endpoint: { ip, port, svc_name: r.peer },
    dst_endpoint: { svc_name: r.to, name: r.endpoint },
    http_request: { http_method: r.method, url: { hostname: r.host, path: r.path }, length: r.bytesIn },
    http_response: { code: r.status ?? 0, length: r.bytesOut },
    metadata: {
      ...{ version: '1.5.0', uid: r.id, sequence: r.seq, profiles: ['security_control'] },
      ...{ product: { name: 'Postern', vendor_name: 'Postern' }, log_name: r.instance, correlation_uid: r.traceId },
    },
    unmapped: {
      ...{ hop: r.hop, kind: r.kind, matched: r.matched, shadow: r.shadow },
      ...{ virtualService: r.virtualService, route: r.route, cluster: r.cluster, tries: r.tries, fault: r.fault },
      ...{ protocol: r.protocol, security: r.security, grpcStatus: r.grpcStatus, mirrored: r.mirrored, edge: r.edge },
    },
  };
}

function activityOf(method: string | undefined): number {
  const known = ['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'TRACE', 'PATCH'];
  const at = known.indexOf(method ?? '');
  return at < 0 ? 99 : at + 1;
}

/** The body of an OTLP/HTTP logs request (opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest, JSON). */
export function otlpOf(records: readonly DecisionRecord[]): object {
  const resources = new Map<string, DecisionRecord[]>();
  for (const record of records) {
    const key = `${record.instance} ${record.service}`;
    resources.set(key, [...(resources.get(key) ?? []), record]);
  }
  return {
    resourceLogs: [...resources.values()].map((group) => ({
      resource: {
        attributes: [text('service.name', group[0]!.service), text('service.instance.id', group[0]!.instance)],
      },
      scopeLogs: [{ scope: { name: 'postern.audit' }, logRecords: group.map(logRecordOf) }],
    })),
  };
}

function logRecordOf(r: DecisionRecord): object {
  const severity = { allow: [9, 'INFO'], deny: [13, 'WARN'], error: [17, 'ERROR'] } as const;
  const [severityNumber, severityText] = severity[r.decision];
  const { v: _, time, instance: _instance, service: _service, traceId, spanId, salts: _salts, ...fields } = r;
  const isTrace = /^[0-9a-f]{32}$/.test(traceId ?? '');
  const isSpan = isTrace && /^[0-9a-f]{16}$/.test(spanId ?? '');
  return {
    timeUnixNano: `${BigInt(Date.parse(time)) * 1_000_000n}`,
    ...{ severityNumber, severityText, eventName: `postern.${r.kind}` },
    body: { stringValue: `${r.decision} ${r.peer ?? '-'} ${r.method ?? ''} ${r.to ?? ''} ${r.path ?? ''}` },
    attributes: Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => ({ key: `postern.${name}`, value: anyValueOf(value) })),
    ...(isTrace ? { traceId } : {}),
    ...(isSpan ? { spanId, flags: r.sampled ? 1 : 0 } : {}),
  };
}

function anyValueOf(value: unknown): object {
  if (Array.isArray(value)) return { arrayValue: { values: value.map(anyValueOf) } };
  if (typeof value !== 'number') return { stringValue: String(value) };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}

const text = (key: string, value: string) => ({ key, value: { stringValue: value } });

function splitAddress(address: string | undefined): [ip: string | undefined, port: number | undefined] {
  const [, host, port] = /^\[?([^\]]*?)\]?:([0-9]+)$/.exec(address ?? '') ?? [];
  return [host, port === undefined ? undefined : Number(port)];
}
