// HOST:PORT: how an address is written in settings, messages and logs, and what its host says about who can reach it.
import { isIPv4, isIPv6 } from 'node:net';

export interface HostPort {
  /** Without the brackets of an IPv6 address. */
  readonly host: string;
  readonly port: number;
}

const port = '([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])';
/** The JSON Schema pattern of an address. Whether an IPv6 address in it is one is for `parseHostPort` to say. */
export const hostPortPattern = `^(\\[[0-9a-fA-F:.]+\\]|[a-zA-Z0-9._-]+):${port}$`;
const hostPort = new RegExp(hostPortPattern);

/** The parts of `HOST:PORT` or `[IPV6]:PORT`; `undefined` for anything else. Port 0 is a port here: it may mean any free one. */
export function parseHostPort(text: string): HostPort | undefined {
  const [, written = '', digits] = hostPort.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const bracketed = written.startsWith('[') ? written.slice(1, -1) : undefined;
  if (bracketed !== undefined && !isIPv6(bracketed)) return undefined;
  return { host: bracketed ?? written, port: Number(digits) };
}

export function formatHostPort({ host, port }: HostPort): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True when only processes of this machine can reach it: 127.0.0.0/8, ::1 and the name localhost. */
export function isLoopback(host: string): boolean {
  return (isIPv4(host) && host.startsWith('127.')) || host === '::1' || host.toLowerCase() === 'localhost';
}

/** True for the two addresses that mean every address of this machine. */
export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}
