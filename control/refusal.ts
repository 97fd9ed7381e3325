// The one place where an error becomes an answer. Detail goes to verified callers only; nobody is ever shown a stack.
import { randomBytes } from 'node:crypto';
import { diskReason } from '#base/database';
import { isPosternError, messageOf, type PosternError } from '#base/error';
import type { Log } from '#base/log';
import type { ErrorReply } from '#wire';
import type { Caller } from './caller.ts';
import { fail } from './errors.ts';

/** Any thrown value as an error of ours; what is not understood is logged under a fault id, and only the id is told. */
export function refusalOf(thrown: unknown, log: Log): PosternError {
  if (isPosternError(thrown)) return thrown;
  const { code = '', errcode } = thrown as { code?: string; errcode?: number };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return fail('REQUEST_TOO_LARGE');
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return invalid('the body must be application/json');
  if (code.startsWith('FST_ERR_CTP') || code === 'FST_ERR_BAD_URL') return invalid(messageOf(thrown));
  if (thrown instanceof SyntaxError && (thrown as { statusCode?: number }).statusCode === 400) {
    return invalid('the body is not JSON');
  }
  if (code === 'ERR_SQLITE_ERROR' || errcode !== undefined) {
    log.error('the store refused a write', { reason: messageOf(thrown), errcode });
    return fail('SERVER_STORE_FAILED', { reason: diskReason(thrown) ?? messageOf(thrown) }, { cause: thrown });
  }
  const fault = randomBytes(6).toString('hex');
  log.error('a request failed', { fault, error: messageOf(thrown), stack: (thrown as Error)?.stack });
  return fail('SERVER_FAULT', { fault }, { cause: thrown });
}

/** What this caller is told. */
export function replyOf(error: PosternError, caller: Caller | undefined): ErrorReply {
  if (!caller || caller.kind === 'public') return { error: { code: error.code, message: error.exposed } };
  const { code, message, hint, problems } = error;
  return {
    error: { code, message, ...(hint ? { hint } : {}), ...(problems.length > 0 ? { problems } : {}) },
  };
}

function invalid(reason: string): PosternError {
  return fail('REQUEST_INVALID', { reason });
}
