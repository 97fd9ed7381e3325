// Times as tables show them.
import { formatDuration, parseDuration } from '#base/duration';
import { fail } from './errors.ts';
import type { Cell } from './table.ts';

/** `5m ago`, `now`. */
export function ago(at: number, now: number): string {
  return now - at < 1_000 ? 'now' : `${formatDuration(now - at)} ago`;
}

/** The life that is left, coloured when little is: under a fifth of the whole, or over. */
export function left({ notBefore, notAfter, now }: { notBefore?: number; notAfter: number; now: number }): Cell {
  if (notAfter <= now) return { text: `expired ${formatDuration(now - notAfter)} ago`, tone: 'bad' };
  const text = formatDuration(notAfter - now);
  const short = notBefore !== undefined && notAfter - now < (notAfter - notBefore) / 5;
  return short ? { text, tone: 'warn' } : text;
}

/** RFC 3339 in UTC, to the second. */
export function utc(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** Epoch milliseconds of how long ago (`10m`) or of an RFC 3339 time; throws `CLI_USAGE`. */
export function timeOf(text: string, option: string, now: number): number {
  const ago = parseDuration(text);
  if (ago !== undefined) return now - ago;
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time))
    throw fail('CLI_USAGE', {
      problem: `${option} ${text} is not a time`,
      fix: 'write how long ago, such as 10m or 7d, or a time such as 2026-01-31T08:00:00Z',
    });
  return time;
}
