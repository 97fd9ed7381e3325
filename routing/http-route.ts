// One HTTP route as what it tells a proxy to do.
import type { Fault, HttpRoute, RateLimit } from '#wire';
import type { FaultPlan, HttpAction, RateLimitPlan } from './action.ts';
import { bytesOf, durationOf } from './amounts.ts';
import { compileCors } from './cors.ts';
import { compileEdits } from './header-edits.ts';
import { compileRetries } from './retries.ts';
import { compileRedirect, compileRewrite } from './rewrite.ts';
import { compileTargets, targetOf } from './targets.ts';

export interface RouteOptions {
  readonly virtualService: string;
  /** Its name or its place. */
  readonly label: string;
  /** What it matched by, if that was a prefix. */
  readonly prefix: string | undefined;
}

export function compileHttpRoute(given: HttpRoute, { virtualService, label, prefix }: RouteOptions): HttpAction {
  const common = {
    virtualService,
    route: label,
    fault: compileFault(given.fault),
    cors: compileCors(given.cors),
    rateLimits: compileRateLimits(given.rateLimit, `${virtualService} ${label}`),
    maxBody: given.maxBody === undefined ? undefined : bytesOf(given.maxBody),
    response: compileEdits(given.headers?.response),
  };
  if (given.redirect) return { ...common, kind: 'redirect', ...compileRedirect(given.redirect, prefix) };
  if (given.directResponse) {
    const { status, body = '', headers = {} } = given.directResponse;
    const fields = Object.entries(headers).flatMap(([name, value]) => [name.toLowerCase(), value]);
    return { ...common, kind: 'respond', status, body, fields };
  }
  if (!given.route) throw new TypeError(`route ${label} of ${virtualService} leads nowhere`);
  return {
    ...common,
    kind: 'forward',
    ...compileTargets(given.route),
    request: compileEdits(given.headers?.request),
    rewritePath: compileRewrite(given.rewrite, prefix),
    rewriteHost: given.rewrite?.host,
    mirrors: (given.mirror ?? []).map((mirror) => ({
      target: targetOf(mirror),
      share: (mirror.percentage ?? 100) / 100,
    })),
    timeoutMs: given.timeout === undefined ? undefined : durationOf(given.timeout),
    idleTimeoutMs: given.idleTimeout === undefined ? undefined : durationOf(given.idleTimeout),
    retries: compileRetries(given.retries),
  };
}

/** What callers are told that do not speak gRPC (google.rpc.Code); 500 for all others. */
const httpStatusOf: Readonly<Record<number, number>> = {
  ...{ 1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 14: 503, 16: 401 },
};

function compileFault(fault: Fault | undefined): FaultPlan | undefined {
  if (!fault) return undefined;
  const { delay, abort } = fault;
  return {
    delay: delay && { ms: durationOf(delay.fixed), share: (delay.percentage ?? 100) / 100 },
    abort: abort && {
      status: abort.status ?? httpStatusOf[abort.grpcStatus!] ?? 500,
      grpcStatus: abort.grpcStatus,
      share: (abort.percentage ?? 100) / 100,
    },
  };
}

function compileRateLimits(given: HttpRoute['rateLimit'], owner: string): RateLimitPlan[] {
  const limits: readonly RateLimit[] = given === undefined ? [] : Array.isArray(given) ? given : [given as RateLimit];
  return limits.map(({ requests, per = '1s', burst = requests, each = 'route' }, index) => {
    const perMs = durationOf(per);
    return { key: `${owner} ${index} ${requests}/${perMs} ${burst} ${each}`, requests, perMs, burst, each };
  });
}
