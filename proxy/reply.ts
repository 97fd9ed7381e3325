// The one place that turns a fault or a denial into an answer of our own. Detail goes only to verified peers.
import type { PosternError } from '#base/error';
import type { Exchange, ResponseHead } from './exchange.ts';
import { type FieldList, isGrpc, type RequestHead, unknownLength } from './request-head.ts';
import { phraseOf } from './status-phrases.ts';

export interface Reply {
  readonly head: ResponseHead;
  readonly body: Buffer;
}

export interface ReplyOptions {
  readonly hop: 'inbound' | 'outbound';
  /** The id under which the record can be found. */
  readonly decision: string;
  /** Whether the asker may know why. */
  readonly isVerified: boolean;
  /** What was asked, when it was a request at all. */
  readonly request?: RequestHead | undefined;
  /** Of a decision: its reason and the rule behind it. */
  readonly reason?: string | undefined;
  readonly rule?: string | undefined;
}

export function replyTo(fault: PosternError, options: ReplyOptions): Reply {
  const { hop, decision, isVerified, reason, rule, request } = options;
  const error = {
    code: fault.code,
    message: isVerified ? fault.message : fault.exposed,
    decision,
    hop,
    ...(isVerified && reason !== undefined && { reason }),
    ...(isVerified && rule !== undefined && { rule }),
    ...(isVerified && fault.hint !== undefined && { hint: fault.hint }),
  };
  // Not for a tunnel, whatever its fields say: the 200 would open it.
  if (request && request.tunnel === undefined && isGrpc(request.fields)) return grpcReply(fault, options);
  const body = Buffer.from(`${JSON.stringify({ error })}\n`);
  // A caller that is gone is not answered; 499 is only for the record.
  const status = fault.status === 499 ? 400 : fault.status;
  const fields: FieldList = [
    'content-type',
    'application/json; charset=utf-8',
    'cache-control',
    'no-store',
    'x-postern-decision',
    decision,
    'x-postern-hop',
    hop,
    ...(hop === 'inbound' ? toldOf(fault) : []),
    ...(typeof fault.details.seconds === 'number' ? ['retry-after', String(fault.details.seconds)] : []),
    ...(status === 401 ? ['www-authenticate', 'Bearer'] : []),
    ...(status === 405 ? ['allow', 'GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS'] : []),
  ];
  return { head: { status, reason: phraseOf(status), fields, length: body.length }, body };
}

/** The whole answer in its head, as gRPC clients read it ("Trailers-Only" of the gRPC protocol over HTTP/2). */
function grpcReply(fault: PosternError, { hop, decision, isVerified }: ReplyOptions): Reply {
  const fields: FieldList = [
    'content-type',
    'application/grpc',
    'grpc-status',
    String(grpcStatus(fault.status)),
    'grpc-message',
    encodeURI(`${fault.code}: ${isVerified ? fault.message : fault.exposed}`),
    'x-postern-decision',
    decision,
    'x-postern-hop',
    hop,
    ...(hop === 'inbound' ? toldOf(fault) : []),
  ];
  return { head: { status: 200, reason: 'OK', fields, length: unknownLength }, body: Buffer.alloc(0) };
}

/** Said from proxy to proxy: nothing of the request has reached the application. */
const unprocessedField = 'x-postern-unprocessed';
/** Not where there is too much of it: sending that again would make it more. */
const unprocessed = new Set([
  'APP_CONNECT_FAILED',
  'UPSTREAM_CONNECT_FAILED',
  'SERVICE_WITHOUT_ENDPOINTS',
  'PROXY_NOT_READY',
]);
/** The same way: the application has broken off, or has not answered in time. It may have done what it was asked. */
const endedField = 'x-postern-ended';
const ended: ReadonlyMap<string, 'reset' | 'timeout'> = new Map([
  ['APP_CLOSED', 'reset'],
  ['APP_REPLY_INVALID', 'reset'],
  ['APP_TIMEOUT', 'timeout'],
  ['UPSTREAM_CLOSED', 'reset'],
  ['UPSTREAM_REPLY_INVALID', 'reset'],
  ['UPSTREAM_TIMEOUT', 'timeout'],
]);

function toldOf({ code }: PosternError): FieldList {
  if (unprocessed.has(code)) return [unprocessedField, '1'];
  const how = ended.get(code);
  return how ? [endedField, how] : [];
}

/** What the proxy beside an application says in its own answer of how the request ended there; nothing when the answer is the application's. */
export function outcomeTold(fields: FieldList): 'connect-failed' | 'reset' | 'timeout' | undefined {
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] === unprocessedField) return 'connect-failed';
    if (fields[at] === endedField) return fields[at + 1] === 'timeout' ? 'timeout' : 'reset';
  }
  return undefined;
}

/** Answers with what a route says, as an application would. */
export function answerWith(
  exchange: Exchange,
  { status, fields, body }: { readonly status: number; readonly fields: FieldList; readonly body: string },
): void {
  const bytes = Buffer.from(body);
  // Whoever asks for a tunnel would take a 2xx for one (RFC 9110 section 9.3.6, RFC 8441 section 5), and there is none.
  const said = exchange.head.tunnel !== undefined && status < 300 ? 404 : status;
  const head = { status: said, reason: phraseOf(said), fields: exchange.responseFields(fields), length: bytes.length };
  exchange.reply(head, bytes);
}

/** As gRPC clients would read the HTTP status, but finer (grpc/doc/http-grpc-status-mapping.md, statuscodes.md). */
function grpcStatus(status: number): number {
  if (status === 401) return 16;
  if (status === 403) return 7;
  if (status === 404 || status === 501) return 12;
  if (status === 408 || status === 504) return 4;
  if (status === 429 || status === 431) return 8;
  if (status === 502 || status === 503) return 14;
  return status >= 500 ? 13 : 3;
}
