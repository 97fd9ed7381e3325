// Is a length of time one that can be waited for?
import { parseDuration } from '#base/duration';
import type { Report } from '#policy';

/** A timer of Node takes no more. */
const longestMs = 2 ** 31 - 1;

/** Milliseconds; `undefined` when there is none or it was refused. */
export function checkDuration(text: string | undefined, pointer: string, report: Report): number | undefined {
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  const what = pointer.slice(pointer.lastIndexOf('/') + 1);
  if (ms === undefined || ms > longestMs) report(pointer, `${what} ${text} is longer than 24 days`);
  else if (ms === 0) report(pointer, `${what} is zero`, 'leave it out when there should be none');
  else return ms;
  return undefined;
}
