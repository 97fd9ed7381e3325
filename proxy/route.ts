// Where a permitted request goes: the first route of its virtual host that matches. Only with a permit for the very service that a call to this host is a call to.
import type { HttpAction, TunnelAction, VirtualHost } from '#routing';
import type { Permit } from './authorize.ts';
import type { RequestHead } from './request-head.ts';

/** Made only by `routeTo`. */
export interface Route {
  readonly permit: Permit;
  readonly host: VirtualHost;
  readonly action: HttpAction | TunnelAction;
}

/** `undefined`: no route matches. Throws `TypeError` when the permit is for another service. */
export function routeTo(permit: Permit, host: VirtualHost, { head, from, sni }: Asking): Route | undefined {
  if (permit.to !== host.id) throw new TypeError('the permit is for another service');
  const port = portOf(head);
  const { method, path, query, fields } = head;
  const action =
    sni !== undefined
      ? host.tls({ from, port, sni })
      : head.tunnel === 'connect'
        ? host.tcp({ from, port })
        : host.http({ method, port, path, query, fields, from });
  return action && { permit, host, action };
}

interface Asking {
  readonly head: RequestHead;
  /** SPIFFE ID of the caller. */
  readonly from: string;
  /** Of TLS that does not end here. */
  readonly sni?: string | undefined;
}

/** That of the Host header; 80 when it has none. */
export function portOf({ authority, host }: Pick<RequestHead, 'authority' | 'host'>): number {
  if (authority.length === host.length) return 80;
  return Number(/:([0-9]+)$/.exec(authority.slice(host.length))?.[1] ?? 80);
}
