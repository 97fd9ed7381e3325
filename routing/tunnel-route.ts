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
  readonly sni?: string;
}

export interface TunnelRoute {
  readonly action: TunnelAction;
  readonly matches: (asked: AskedTunnel) => boolean;
}

export function compileTunnelRoute(
  given: TcpRoute | TlsRoute,
  o: { virtualService: string; label: string },
): TunnelRoute {
  const alternatives = given.match?.map(compileMatch);
  return {
    action: {
      virtualService: o.virtualService,
      route: o.label,
      ...compileTargets(given.route),
      idleTimeoutMs: given.idleTimeout === undefined ? undefined : durationOf(given.idleTimeout),
    },
    matches: alternatives ? (asked) => alternatives.some((match) => match(asked)) : () => true,
  };
}

type TunnelMatch = NonNullable<TcpRoute['match']>[number] | TlsRoute['match'][number];

function compileMatch(match: TunnelMatch): (asked: AskedTunnel) => boolean {
  const { from, ports } = match;
  const isFrom = from && compileSources(from);
  const names = 'sni' in match ? match.sni : undefined;
  return ({ from: caller, port, sni }) =>
    (!ports || ports.includes(port)) &&
    (!isFrom || isFrom(caller)) &&
    (!names || (sni !== undefined && names.some((name) => isNamed(sni, name))));
}

/** `*.example.com` is every name below it, however deep. */
export function isNamed(name: string, pattern: string): boolean {
  return (
    name === pattern || (pattern.startsWith('*.') && name.length >= pattern.length && name.endsWith(pattern.slice(1)))
  );
}
