// When a try is made again, and how long it waits before.
import type { Retries } from '#wire';
import type { Outcome, RetryPlan } from './action.ts';
import { durationOf } from './amounts.ts';

/** What a request gets that no route says otherwise of: only what was not processed is tried again. */
export const defaultRetries: Retries = { attempts: 2 };

/**
 * Methods of which doing it twice does no harm (RFC 9110 section 9.2.2): its own, and those of the registry that only ask. The one list: what a route
 * tries again and what a connection that died unanswered may send once more.
 */
const idempotent: readonly string[] = [
  ...['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'],
  ...['PROPFIND', 'QUERY', 'REPORT', 'SEARCH'],
];
const idempotentSet: ReadonlySet<string> = new Set(idempotent);

export function isIdempotent(method: string): boolean {
  return idempotentSet.has(method);
}

const grpcStatusOf: Readonly<Record<string, number>> = {
  'grpc-cancelled': 1,
  'grpc-deadline-exceeded': 4,
  'grpc-resource-exhausted': 8,
  'grpc-internal': 13,
  'grpc-unavailable': 14,
};
const gatewayErrors = [502, 503, 504];

export function compileRetries(given: Retries | undefined): RetryPlan {
  return given ? compile(given) : usualRetries;
}

function compile(given: Retries): RetryPlan {
  const conditions = new Set(given.on ?? ['connect-failure', 'refused-stream']);
  const statuses = new Set<number>();
  const grpcStatuses = new Set<number>();
  for (const condition of conditions) {
    if (/^[1-5][0-9][0-9]$/.test(condition)) statuses.add(Number(condition));
    const grpc = grpcStatusOf[condition];
    if (grpc !== undefined) grpcStatuses.add(grpc);
  }
  if (conditions.has('gateway-error')) for (const status of gatewayErrors) statuses.add(status);
  if (conditions.has('retriable-4xx')) statuses.add(409);
  const every5xx = conditions.has('5xx');
  /** `5xx` is also said of no answer at all, as Envoy has it. */
  const named = {
    'connect-failed': every5xx || conditions.has('connect-failure'),
    refused: every5xx || conditions.has('refused-stream'),
    reset: every5xx || conditions.has('reset'),
    timeout: every5xx || conditions.has('timeout'),
  };
  const methods = new Set(given.methods ?? idempotent);
  // A call of gRPC is always a POST: whoever names a status of gRPC means that.
  const grpcMethods = new Set(given.methods ?? [...idempotent, 'POST']);
  const base = durationOf(given.backoff?.base ?? '25ms');
  const max = durationOf(given.backoff?.max ?? '250ms');

  const isAnswerWanted = ({ status, grpcStatus }: Extract<Outcome, { kind: 'answered' }>, method: string): boolean => {
    if (grpcStatus !== undefined && grpcStatuses.has(grpcStatus)) return grpcMethods.has(method);
    return (statuses.has(status) || (every5xx && status >= 500)) && methods.has(method);
  };
  return {
    attempts: given.attempts,
    perTryTimeoutMs: given.perTryTimeout === undefined ? undefined : durationOf(given.perTryTimeout),
    anotherEndpoint: given.anotherEndpoint ?? true,
    isWanted(outcome, method) {
      if (outcome.kind === 'answered') return isAnswerWanted(outcome, method);
      if (!named[outcome.kind]) return false;
      return outcome.kind === 'connect-failed' || outcome.kind === 'refused' || methods.has(method);
    },
    backoffMs: (retry, at) => at * Math.min(max, base * 2 ** (retry - 1)),
  };
}

/** Of nearly every route, and where no route says how: only what nobody has taken is sent again. */
export const usualRetries: RetryPlan = compile(defaultRetries);
