// Sets of requests, and single ones, as one line for people. The whole set is in -o json; a line is cut, and says so.
import type { Change, Needs, Witness } from '#policy/tools';
import { shortId } from './names.ts';

const mostShown = 6;

/** `a, b and 3 more, but not c`. */
export function setText({ include, except }: Change['from'], trustDomain: string): string {
  const but = except.length > 0 ? ` but not ${listText(except, trustDomain)}` : '';
  return `${listText(include, trustDomain)}${but}`;
}

/** `web -> payments GET /x (port 80, x-env: prod)`. */
export function requestText(
  { from, to, method, path, port, headers = {}, claims = {}, address, time }: Witness,
  trustDomain: string,
): string {
  const given = Object.entries(headers).flatMap(([name, values]) => values.map((value) => `${name}: ${value}`));
  const claimed = Object.entries(claims).map(([name, values]) => `claim ${name}: ${values.join(' + ')}`);
  const place = [...(address === undefined ? [] : [`from ${address}`]), ...(time === undefined ? [] : [`at ${time}`])];
  const extra = [...(port === undefined ? [] : [`port ${port}`]), ...given, ...claimed, ...place];
  const call = `${shortId(from, trustDomain)} -> ${shortId(to, trustDomain)} ${method} ${path}`;
  return extra.length > 0 ? `${call} (${extra.join(', ')})` : call;
}

/** `payments-access/reads (ports 80; header:x-env in prod)`. */
export function needsText({ rule, ports, when }: Needs): string {
  const parts = [
    ...(ports ? [`port ${ports.join(' or ')}`] : []),
    ...(when ?? []).map(({ key, in: values }) => `${key} in ${values.join(', ')}`),
  ];
  return parts.length > 0 ? `${rule} (${parts.join('; ')})` : rule;
}

function listText(items: readonly string[], trustDomain: string): string {
  const shown = items.slice(0, mostShown).map((item) => shortId(item, trustDomain));
  const more = items.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ');
}
