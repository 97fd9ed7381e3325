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

/** What conditions ask about beyond headers, as it is typed. */
export interface CircumstanceWords {
  readonly claims?: string | Readonly<Record<string, unknown>>;
  readonly address?: string;
  readonly time?: string;
}

/** Throws `CLI_USAGE`. `shown`: what was given, for output. */
export async function readCircumstances({ claims, address, time }: CircumstanceWords) {
  const { isAddress, valuesOf } = await import('#policy');
  const refuse = (problem: string, fix: string): never => {
    throw fail('CLI_USAGE', { problem, fix });
  };
  const payload = typeof claims === 'string' ? parseClaims(claims) : claims;
  if (typeof claims === 'string' && !payload) refuse('--claims is not a JSON object', 'write \'{"role":"clerk"}\'');
  if (address !== undefined && !isAddress(address))
    refuse(`${address} is not an address`, 'write it as 10.1.2.3 or fd00::1');
  const at = time === undefined || !/^\d{4}-\d{2}-\d{2}T/.test(time) ? Number.NaN : Date.parse(time);
  if (time !== undefined && Number.isNaN(at)) refuse(`${time} is not a time`, 'write it as 2026-01-31T08:00:00Z');
  return {
    ...(payload ? { claims: (name: string) => valuesOf(payload, name) } : {}),
    ...(address === undefined ? {} : { address }),
    ...(time === undefined ? {} : { time: at }),
    shown: {
      ...(payload ? { claims: payload } : {}),
      ...(address === undefined ? {} : { address }),
      ...(time === undefined ? {} : { time }),
    },
  };
}

function parseClaims(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isMap ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}
