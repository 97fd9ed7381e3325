// Routes of connections whose bytes are nobody's business here: TCP by who calls and the port, TLS also by the server name that it asks for.
import type { TcpRoute, TlsRoute } from '#wire';
import type { TunnelAction } from './action.ts';
import { durationOf } from './amounts.ts';
import { compileSources } from './match-source.ts';
import { compileTargets } from './targets.ts';

export interface AskedTunnel {
  readonly from: string;
  readonly port: number;
  /** Of TLS. */
  readonly sni?: string | undefined;
}

export interface TunnelCondition {
  /** As people read it after "not". */
  what(): string;
  readonly isMet: (asked: AskedTunnel) => boolean;
}

export interface TunnelRoute {
  readonly action: TunnelAction;
  readonly matches: (asked: AskedTunnel) => boolean;
}

export function compileTunnelRoute(
  given: TcpRoute | TlsRoute,
  o: { virtualService: string; label: string },
): TunnelRoute {
  const alternatives = given.match?.map(compileTunnelMatch);
  return {
    action: {
      virtualService: o.virtualService,
      route: o.label,
      ...compileTargets(given.route),
      idleTimeoutMs: given.idleTimeout === undefined ? undefined : durationOf(given.idleTimeout),
    },
    matches: alternatives
      ? (asked) => alternatives.some((conditions) => conditions.every(({ isMet }) => isMet(asked)))
      : () => true,
  };
}

type TunnelMatch = NonNullable<TcpRoute['match']>[number] | TlsRoute['match'][number];

export function compileTunnelMatch(match: TunnelMatch): TunnelCondition[] {
  const { from, ports } = match;
  const conditions: TunnelCondition[] = [];
  const names = 'sni' in match ? match.sni : undefined;
  if (names)
    conditions.push({
      what: () => `server name ${names.join(', ')}`,
      isMet: ({ sni }) => sni !== undefined && names.some((name) => isNamed(sni, name)),
    });
  if (ports) conditions.push({ what: () => `port ${ports.join(', ')}`, isMet: ({ port }) => ports.includes(port) });
  const isFrom = from && compileSources(from);
  if (isFrom) conditions.push({ what: () => `from ${from.join(', ')}`, isMet: (asked) => isFrom(asked.from) });
  return conditions;
}

/** `*.example.com` is every name below it, however deep. */
export function isNamed(name: string, pattern: string): boolean {
  return (
    name === pattern || (pattern.startsWith('*.') && name.length >= pattern.length && name.endsWith(pattern.slice(1)))
  );
}
