// Is an HTTP route one that can be carried out?
import type { Report } from '#policy';
import type { HttpRoute, RateLimit, Retries } from '#wire';
import { readReplacement } from '../rewrite.ts';
import { checkDuration } from './amount.ts';
import { checkCors } from './cors.ts';
import { checkFields, checkHeaders } from './header.ts';
import type { Known } from './known.ts';
import { checkCanonical, checkMatch, checkRegex } from './match.ts';
import { checkNoPattern } from './name.ts';
import { checkTarget, checkTargets } from './target.ts';

const redirectStatuses = [301, 302, 303, 307, 308];
/** RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5. */
const bodiless = [204, 205, 304];
/** What is of no use when nothing is sent on. */
const forwardOnly = ['rewrite', 'mirror', 'timeout', 'idleTimeout', 'retries', 'maxBody'] as const;

export function checkHttpRoute(
  route: HttpRoute,
  at: string,
  o: { readonly known: Known; readonly report: Report },
): void {
  const { known, report } = o;
  for (const [index, match] of (route.match ?? []).entries()) checkMatch(match, `${at}/match/${index}`, report);
  const kinds = (['route', 'redirect', 'directResponse'] as const).filter((kind) => route[kind] !== undefined);
  if (kinds.length === 0) report(at, 'it does nothing', 'write one of route, redirect and directResponse');
  if (kinds.length > 1) report(`${at}/${kinds[1]}`, `it has ${kinds.join(' and ')}`, 'write one of them');
  if (kinds.length > 0 && !route.route)
    for (const what of forwardOnly)
      if (route[what] !== undefined) report(`${at}/${what}`, `${what} means nothing without route: nothing is sent on`);
  if (!route.route && route.headers?.request)
    report(`${at}/headers/request`, 'headers.request means nothing without route: nothing is sent on');

  if (route.route) checkTargets(route.route, { pointer: `${at}/route`, protocol: 'http', known, report });
  for (const [index, mirror] of (route.mirror ?? []).entries())
    checkTarget(mirror, { pointer: `${at}/mirror/${index}`, protocol: 'http', known, report });
  checkHeaders(route.headers, `${at}/headers`, report);
  checkRedirect(route, at, report);
  checkResponse(route, at, report);
  checkRewrite(route, at, report);
  checkFault(route, at, report);
  const timeout = checkDuration(route.timeout, `${at}/timeout`, report);
  checkDuration(route.idleTimeout, `${at}/idleTimeout`, report);
  if (route.retries) checkRetries(route.retries, `${at}/retries`, { timeout, report });
  if (route.cors) checkCors(route.cors, `${at}/cors`, report);
  checkRateLimits(route.rateLimit, `${at}/rateLimit`, report);
}

function checkRedirect({ redirect, match }: HttpRoute, at: string, report: Report): void {
  if (!redirect) return;
  const { path, prefix, host, scheme, port, status } = redirect;
  const pointer = `${at}/redirect`;
  if ([path, prefix, host, scheme, port].every((part) => part === undefined))
    report(pointer, 'it leads where it comes from', 'write path, prefix, host, scheme or port');
  if (path !== undefined && prefix !== undefined)
    report(`${pointer}/prefix`, 'it has path and prefix', 'write one of them');
  if (path !== undefined) checkCanonical(path, `${pointer}/path`, report);
  if (prefix !== undefined) checkCanonical(prefix, `${pointer}/prefix`, report);
  if (prefix !== undefined && !(match ?? [{}]).every((one) => one.path?.prefix !== undefined))
    report(`${pointer}/prefix`, 'there is no prefix to replace', 'match by path.prefix, or write path');
  if (status !== undefined && !redirectStatuses.includes(status))
    report(`${pointer}/status`, `${status} is no redirect`, `one of ${redirectStatuses.join(', ')}`);
  checkNoPattern(host, `${pointer}/host`, report);
}

function checkResponse({ directResponse }: HttpRoute, at: string, report: Report): void {
  if (!directResponse) return;
  const { status, body, headers } = directResponse;
  if (bodiless.includes(status) && body) report(`${at}/directResponse/body`, `an answer of ${status} has no body`);
  checkFields(headers ?? {}, `${at}/directResponse/headers`, report);
}

function checkRewrite({ rewrite, match }: HttpRoute, at: string, report: Report): void {
  if (!rewrite) return;
  const { path, host, regex } = rewrite;
  const pointer = `${at}/rewrite`;
  if (path === undefined && host === undefined && !regex)
    report(pointer, 'it changes nothing', 'write path, regex or host');
  if (path !== undefined && regex) report(`${pointer}/regex`, 'it has path and regex', 'write one of them');
  if (path !== undefined) checkCanonical(path, `${pointer}/path`, report);
  checkNoPattern(host, `${pointer}/host`, report);
  if (path !== undefined) checkReplaced(match, `${pointer}/path`, report);
  if (!regex) return;
  const groups = checkRegex(regex.match, `${pointer}/regex/match`, report);
  const parts = readReplacement(regex.replace);
  const [first] = parts;
  if (first === undefined || (typeof first === 'string' && !first.startsWith('/')))
    report(`${pointer}/regex/replace`, 'what replaces a path begins with /');
  for (const part of parts)
    if (typeof part === 'number' && groups !== undefined && part > groups)
      report(`${pointer}/regex/replace`, `there is no group ${part}: the expression has ${groups}`);
}

/** A route that matches some requests by a prefix and others not would mean two things by one path. */
function checkReplaced(match: HttpRoute['match'], pointer: string, report: Report): void {
  const byPrefix = (match ?? []).filter((one) => one.path?.prefix !== undefined).length;
  if (byPrefix > 0 && byPrefix < match!.length)
    report(pointer, 'it replaces a prefix for some matches and the whole path for others', 'make them two routes');
}

function checkFault({ fault }: HttpRoute, at: string, report: Report): void {
  if (!fault) return;
  const { delay, abort } = fault;
  if (!delay && !abort) report(`${at}/fault`, 'it does nothing', 'write delay or abort');
  if (delay) checkDuration(delay.fixed, `${at}/fault/delay/fixed`, report);
  if (abort && (abort.status === undefined) === (abort.grpcStatus === undefined))
    report(`${at}/fault/abort`, 'write one of status and grpcStatus');
}

function checkRetries(
  { attempts, perTryTimeout, on, methods, backoff, anotherEndpoint }: Retries,
  at: string,
  { timeout, report }: { readonly timeout: number | undefined; readonly report: Report },
): void {
  if (attempts === 0 && [perTryTimeout, on, methods, backoff, anotherEndpoint].some((part) => part !== undefined))
    report(`${at}/attempts`, 'it says how to try again, and that it never does');
  const perTry = checkDuration(perTryTimeout, `${at}/perTryTimeout`, report);
  if (perTry !== undefined && timeout !== undefined && perTry > timeout)
    report(`${at}/perTryTimeout`, 'one try may take longer than the whole request');
  const base = checkDuration(backoff?.base, `${at}/backoff/base`, report) ?? 25;
  const max = checkDuration(backoff?.max, `${at}/backoff/max`, report) ?? Math.max(250, base);
  if (base > max) report(`${at}/backoff/max`, 'the longest back-off is shorter than the first');
}

function checkRateLimits(given: HttpRoute['rateLimit'], pointer: string, report: Report): void {
  if (given === undefined) return;
  const isList = Array.isArray(given);
  for (const [index, { per }] of (isList ? (given as readonly RateLimit[]) : [given as RateLimit]).entries())
    checkDuration(per, `${pointer}${isList ? `/${index}` : ''}/per`, report);
}

/** Whether nothing can get past it. */
export function isCatchAll({ match }: Pick<HttpRoute, 'match'>): boolean {
  return !match || match.some((one) => Object.keys(one).every((key) => key === 'path') && isEveryPath(one.path));
}

function isEveryPath(path: NonNullable<HttpRoute['match']>[number]['path']): boolean {
  if (path?.regex !== undefined) return path.regex === '.*' || path.regex === '/.*';
  if (path?.template !== undefined) return path.template === '/**';
  if (path?.exact !== undefined || path === undefined) return path === undefined;
  return path.prefix === '/';
}
