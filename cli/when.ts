// Times as tables show them.
import { formatDuration } from '#base/duration';
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
