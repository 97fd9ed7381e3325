// The one place that turns a fault or a denial into an answer of our own. Detail goes only to verified peers.
import type { PosternError } from '#base/error';
import type { ResponseHead } from './exchange.ts';
import type { FieldList } from './request-head.ts';

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
  /** Of a decision: its reason and the rule behind it. */
  readonly reason?: string | undefined;
  readonly rule?: string | undefined;
}

export function replyTo(fault: PosternError, { hop, decision, isVerified, reason, rule }: ReplyOptions): Reply {
  const error = {
    code: fault.code,
    message: isVerified ? fault.message : fault.exposed,
    decision,
    hop,
    ...(isVerified && reason !== undefined && { reason }),
    ...(isVerified && rule !== undefined && { rule }),
    ...(isVerified && fault.hint !== undefined && { hint: fault.hint }),
  };
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
    ...(status === 405 ? ['allow', 'GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS'] : []),
  ];
  return { head: { status, reason: phrases[status] ?? 'Error', fields, length: body.length }, body };
}

const phrases: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};
