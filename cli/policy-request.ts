// The request that a policy question is about, as people type it. Refuses what the data plane would never show to policy.
import { parseSpiffeId, spiffeIdOf } from '#spiffe';
import { fail } from './errors.ts';

/** A service's name in this trust domain, or a SPIFFE ID, as a SPIFFE ID. Throws `SPIFFE_ID_INVALID`. */
export function idOf(text: string, trustDomain: string): string {
  return (text.startsWith('spiffe://') ? parseSpiffeId(text) : spiffeIdOf({ trustDomain, service: text })).uri;
}

/** Lower-case names with all their values. */
export function readHeaders(pairs: readonly string[]): Map<string, string[]> {
  const headers = new Map<string, string[]>();
  for (const pair of pairs) {
    const colon = pair.indexOf(':');
    if (colon < 1)
      throw fail('CLI_USAGE', { problem: `--header ${pair} has no name`, fix: 'write --header name:value' });
    const name = pair.slice(0, colon).trim().toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), pair.slice(colon + 1).trim()]);
  }
  return headers;
}

export function readMethod(method: string): string {
  if (/^[A-Z0-9!#$%&'*+.^_`|~-]{1,32}$/.test(method)) return method;
  throw fail('CLI_USAGE', { problem: `${method} is not a method`, fix: 'write it in upper case, such as GET' });
}

/** Canonical, without its query. */
export async function readPath(given: string): Promise<string> {
  const { pathFault } = await import('#policy');
  const path = given.split('?', 1)[0]!;
  const fault = pathFault(path);
  if (!fault) return path;
  const fix = 'requests are folded to one form, or refused, before policy sees them: write the path in that form';
  throw fail('CLI_USAGE', { problem: `the path ${given}: ${fault}`, fix });
}

export function readPort(given: string | undefined): number | undefined {
  const port = given === undefined ? undefined : Number(given);
  if (port === undefined || (Number.isInteger(port) && port >= 1 && port <= 65_535)) return port;
  throw fail('CLI_USAGE', { problem: `--port ${given} is not a port`, fix: 'write a number from 1 to 65535' });
}
