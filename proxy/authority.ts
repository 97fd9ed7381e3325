// Which host and port a request names: one spelling for each, whatever the case, the trailing dot or the default port.
import { isIPv6 } from 'node:net';
import { fail } from './errors.ts';

export interface Authority {
  /** `host` or `host:port`, lower case, without the default port 80. */
  readonly text: string;
  /** Lower case, no trailing dot; an IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number | undefined;
}

const simple = /^(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?$/;
/** Hosts repeat: the last few are remembered. */
const remembered = 256;

/** Makes a parser with a small memory of its own. */
export function createAuthorityParser(): (raw: string) => Authority {
  const known = new Map<string, Authority>();
  return (raw) => {
    const found = known.get(raw);
    if (found) return found;
    const authority = parseAuthority(raw);
    if (known.size >= remembered) known.clear();
    known.set(raw, authority);
    return authority;
  };
}

/** Parses the value of a Host field or the authority of an absolute target; throws `HTTP_TARGET_INVALID`. */
export function parseAuthority(raw: string): Authority {
  const [, bracketed, named, digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^[\]:]+))(?::([0-9]+))?$/.exec(raw) ?? [];
  const port = digits === undefined ? undefined : Number(digits);
  if (port !== undefined && (port < 1 || port > 65_535 || digits!.length > 5)) refuse('its port is out of range');
  if (bracketed !== undefined && !isIPv6(bracketed)) refuse('its host is not an IPv6 address');
  const host = (bracketed ?? named ?? '').toLowerCase().replace(/\.$/, '');
  if (bracketed === undefined && (host.length > 253 || !simple.test(host))) refuse('its host is not a host name');
  const text = bracketed === undefined ? host : `[${host}]`;
  return { text: port === undefined || port === 80 ? text : `${text}:${port}`, host, port };
}

function refuse(reason: string): never {
  throw fail('HTTP_TARGET_INVALID', { reason });
}
